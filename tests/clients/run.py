#!/usr/bin/env python3
"""Real clients against `waybill up`, on a provider of their own dialect and on one of the other, and the ledger afterwards.

  run.py [--newest] [--json FILE] [--client NAME]… [--provider DIALECT]… [--bin FOLDER]

Each client does what applications do, feature by feature. Then the instance is ended and its ledger must hold exactly what the clients saw. A client that
cannot be installed is told as skipped. See account.py for what client programs tell, books.py for what is asked of the ledger, provider.py for the
providers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

sys.dont_write_bytecode = True  # the tree stays as it is

from books import compare
from install import CACHE, Unavailable, install
from instance import Instance, clean_environment
from provider import DIALECTS

HERE = Path(__file__).resolve().parent
# For all features of one client: about 10 s on an idle machine, 20 s for a whole program.
CLIENT_LIMIT_S = 240
# They mostly wait: for paced streams, and before they try again.
AT_ONCE = 4

Client = namedtuple("Client", "name folder language package arguments")
CLIENTS = [
    Client("openai-python", "openai-python", "python", "openai", ["sync"]),
    Client("openai-python-async", "openai-python", "python", "openai", ["async"]),
    Client("openai-node", "openai-node", "node", "openai", []),
    Client("openrouter-python", "openrouter-python", "python", "openrouter", []),
    Client("openrouter-node", "openrouter-node", "node", "@openrouter/sdk", []),
    Client("anthropic-python", "anthropic-python", "python", "anthropic", ["sync"]),
    Client("anthropic-python-async", "anthropic-python", "python", "anthropic", ["async"]),
    Client("anthropic-node", "anthropic-node", "node", "@anthropic-ai/sdk", []),
    Client("claude-code", "claude-code", "program", "@anthropic-ai/claude-code", []),
]


class Report:
    """Rows of (provider, client or ledger, feature, what went wrong or nothing)."""

    def __init__(self):
        self.rows, self.skipped, self.versions = [], [], {}

    def of(self, provider):
        """Adds rows of one provider."""
        return lambda subject, feature, message="": self.rows.append((provider, subject, feature, message))

    def failed(self):
        return [row for row in self.rows if row[3]]

    def show(self):
        """A table for each provider, then everything that went wrong in full."""
        for provider in dict.fromkeys(row[0] for row in self.rows):
            self._show(f"provider: {provider}", [row[1:] for row in self.rows if row[0] == provider])
        for provider, subject, feature, message in self.failed():
            print(f"miss: {provider}: {subject}: {feature}: {message}")
        for name, reason in self.skipped:
            print(f"skipped: {name}: {reason}")
        print(f"{len(self.rows) - len(self.failed())} passed, {len(self.failed())} failed, {len(self.skipped)} skipped", flush=True)

    def _show(self, title, rows):
        subjects = [subject for subject in self.versions if any(row[0] == subject for row in rows)]
        cells = {(subject, feature): "FAILED" if message else "ok" for subject, feature, message in rows}
        features = list(dict.fromkeys(feature for subject, feature, _ in rows if subject in self.versions))
        first = max(map(len, [title, *features]))
        widths = [max(len(subject), len(self.versions[subject]), len("FAILED")) for subject in subjects]
        lines = [[title, *subjects], ["", *(self.versions[subject] for subject in subjects)]]
        lines += [[feature, *(cells.get((subject, feature), "-") for subject in subjects)] for feature in features]
        for line in lines:
            print(f"{line[0]:<{first}}", *(f"{word:>{width}}" for word, width in zip(line[1:], widths)), sep="  ")
        for subject, feature, message in rows:
            if subject not in self.versions:
                print(f"{subject}: {feature}: {'FAILED' if message else 'ok'}")
        print()

    def figures(self):
        versions = [{"name": f"clients.{name}.version", "value": version, "unit": "version", "reach": None, "ok": True} for name, version in self.versions.items()]
        return versions + [
            {"name": f"clients.{provider}.{subject}.{feature}", "value": int(not message), "unit": "passed", "reach": 1, "ok": not message}
            for provider, subject, feature, message in self.rows
        ]


def ask(client, installed, instance, add):
    """Runs one client program; the requests it made."""
    environment = clean_environment(
        CLIENT_URL=f"http://{instance.ready['http']}", CLIENT_KEY=instance.ready["api_key"], CLIENT_NAME=client.name, CLIENT_PROVIDER=instance.dialect,
        PYTHONPATH=str(HERE), PYTHONUTF8="1", NO_COLOR="1",
    )
    with tempfile.TemporaryDirectory() as scratch:
        process = subprocess.Popen(
            installed.command(Path(scratch)), cwd=scratch, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        late = False
        try:
            out, complaint = process.communicate(timeout=CLIENT_LIMIT_S)
        except subprocess.TimeoutExpired:
            late = True
            process.kill()
            out, complaint = process.communicate()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    planned, told, requests = [], set(), []
    for line in out.splitlines():
        said = json.loads(line, parse_float=Decimal)
        planned += said.get("plan", [])
        if "feature" in said:
            told.add(said["feature"])
            add(client.name, said["feature"], "" if said["ok"] else said["message"] or "failed without a word")
        elif "request" in said:
            requests.append({"client": client.name, **said["request"]})
    if late or process.returncode != 0 or not planned:
        last = complaint.strip().splitlines()[-1:] or ["without a word"]
        add(client.name, "program", f"not within {CLIENT_LIMIT_S} s" if late else f"ended with {process.returncode}: {last[0]}")
    for feature in planned:
        if feature not in told:
            add(client.name, feature, "never reached")
    return requests


def settle(instance, requests, add):
    """Ends the instance and reads its ledger."""
    code = instance.terminate()
    add("ledger", "SIGTERM drains and ends with 0", "" if code == 0 else f"{'it did not end' if code is None else code}:\n{instance.printed()}")
    if code is None:
        return
    code, rows, complaint = instance.ledger("show")
    add("ledger", "show", "" if code == 0 and rows else f"ended with {code}: {complaint}")
    for name, faults in compare(rows or [], requests):
        add("ledger", name, "; ".join(faults))
    for verb, wrong in (("verify", "faults"), ("recompute", "differences")):
        code, answer, complaint = instance.ledger(verb)
        events = int((answer or {}).get("events", 0))
        sound = code == 0 and not answer.get(wrong) and events >= len(rows or []) > 0
        add("ledger", verb, "" if sound else f"ended with {code}: {answer} {complaint}")


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--newest", action="store_true", help="the newest version of each client instead of the pinned one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also writes a list of {name, value, unit, reach, ok}")
    parser.add_argument("--client", action="append", choices=[client.name for client in CLIENTS], help="only this one; may be given several times")
    parser.add_argument("--provider", action="append", choices=DIALECTS, help="only the provider that speaks this; may be given several times")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CACHE.parent / "target")
    parser.add_argument("--bin", type=Path, metavar="FOLDER", default=target / "debug", help="where the waybill program lies")
    return parser.parse_args()


def main():
    chosen = options()
    program = chosen.bin.resolve() / "waybill"
    if not program.is_file():
        sys.exit(f"{program} is not there: build the workspace first, as `tests/run` does")
    report, ready = Report(), []
    for client in CLIENTS:
        if chosen.client and client.name not in chosen.client:
            continue
        try:
            ready.append((client, install(client, chosen.newest)))
            report.versions[client.name] = ready[-1][1].version
        except Unavailable as reason:
            report.skipped.append((client.name, str(reason)))
    for dialect in chosen.provider or DIALECTS if ready else ():
        add = report.of(dialect)
        names = [client.name for client, _ in ready]
        with tempfile.TemporaryDirectory() as folder, Instance(program, Path(folder), dialect, names) as instance, ThreadPoolExecutor(AT_ONCE) as pool:
            # A whole program takes longest, so it begins first.
            order = sorted(ready, key=lambda one: one[0].language != "program")
            asked = [pool.submit(ask, client, installed, instance, add) for client, installed in order]
            settle(instance, [request for one in asked for request in one.result()], add)
            for line in instance.complaints():
                print(line)
    report.show()
    if chosen.json:
        chosen.json.write_text(json.dumps(report.figures(), indent=1) + "\n")
    return 1 if report.failed() else 0


if __name__ == "__main__":
    sys.exit(main())
