#!/usr/bin/env python3
"""The ways to run Waybill on containers. The chart: rendered, judged, installed on a real Kubernetes API server, its pods run against real servers. The
compose file and the image likewise. Alerts and dashboards: by the real Prometheus.

  run.py --bin FOLDER [--cached] [--json FILE]

--cached  only if the tools are there already, else the suite is told as skipped. Without it they are built: about a quarter of an hour, once.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True  # the tree stays as it is

import chart
import compose
import image
import install
import operate
import policy
import seeing
import serve
import tools


class Report:
    """Rows of (what, version, what went wrong or nothing)."""

    def __init__(self):
        self.rows, self.skipped, self.figures = [], [], []

    def check(self, what, column, work):
        start = time.monotonic()
        try:
            work()
            message = ""
        except AssertionError as fault:
            message = str(fault) or "failed"
        except Exception:  # noqa: BLE001 a fault of the suite is a failed row too
            message = traceback.format_exc()[-1500:]
        self.rows.append((what, column, message, time.monotonic() - start))
        return not message

    def skip(self, name, reason):
        """What cannot be had here; where everything has to be there, a failure."""
        if os.environ.get("CI") == "true":
            self.rows.append((name, "skipped", reason, 0))
        else:
            self.skipped.append((name, str(reason)))

    def show(self):
        columns = list(dict.fromkeys(row[1] for row in self.rows))
        cells = {(row[0], row[1]): "FAILED" if row[2] else "ok" for row in self.rows}
        names = list(dict.fromkeys(row[0] for row in self.rows))
        first = max(map(len, names), default=0)
        widths = [max(len(column), 6) for column in columns]
        for line in [["", *columns], *([name, *(cells.get((name, column), "-") for column in columns)] for name in names)]:
            print("  ".join([line[0].ljust(first), *(cell.ljust(width) for cell, width in zip(line[1:], widths))]).rstrip())
        for what, column, message, _ in self.rows:
            if message:
                print(f"miss: {what}: {column}: {message}")
        for name, reason in self.skipped:
            print(f"skipped: {name}: {reason}")
        failed = sum(1 for row in self.rows if row[2])
        print(f"{len(self.rows) - failed} passed, {failed} failed, {len(self.skipped)} skipped", flush=True)
        return failed


def expect(faults):
    faults = list(faults)
    assert not faults, "; ".join(faults)


def judged(objects):
    for rule in policy.ALL:
        expect(rule(objects))


def refused(arguments, words, home):
    ended = chart.render(3, arguments, home, check=False)
    assert ended.returncode != 0, "it was taken"
    assert words in ended.stderr, f"the refusal does not name {words}: {ended.stderr.strip()[-400:]}"


def rules_can_fail(objects):
    """Each rule finds the fault that it is there for: a rule that can find nothing is none."""
    import copy

    def broken(change):
        tree = copy.deepcopy(objects)
        change(tree)
        return tree

    def pod(tree, role="proxy"):
        return next(pod["spec"] for owner, pod in policy.pods(tree) if owner["kind"] != "Job" and policy.role_of(pod["metadata"]["labels"]) == role)

    changes = [
        (policy.restricted, lambda tree: pod(tree)["securityContext"].pop("runAsNonRoot")),
        (policy.restricted, lambda tree: pod(tree)["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False)),
        (policy.no_rights, lambda tree: pod(tree).update(automountServiceAccountToken=True)),
        (policy.secrets, lambda tree: pod(tree)["volumes"].append({"name": "ledger", "secret": {"secretName": "x"}})),
        (policy.probes, lambda tree: pod(tree)["containers"][0]["readinessProbe"]["httpGet"].update(path="/healthz")),
        (policy.selectors, lambda tree: next(thing for thing in tree if thing["kind"] == "Service")["spec"]["selector"].update(other="x")),
        (policy.network, lambda tree: next(thing for thing in tree if thing["kind"] == "NetworkPolicy")["spec"].update(policyTypes=["Ingress"])),
        (policy.network, lambda tree: next(thing for thing in tree if thing["kind"] == "NetworkPolicy" and thing["metadata"]["name"].endswith("-migrate"))["metadata"].pop("annotations")),
        (policy.network, lambda tree: next(thing for thing in tree if thing["kind"] == "NetworkPolicy")["spec"]["egress"].append({})),
        (policy.availability, lambda tree: pod(tree).update(terminationGracePeriodSeconds=30)),
        (policy.money, lambda tree: next(thing for thing in tree if thing["kind"] == "StatefulSet")["spec"].pop("volumeClaimTemplates")),
    ]
    for rule, change in changes:
        assert list(rule(broken(change))), f"the rule `{rule.__name__}` does not see its fault"
    found = {rule for rule, _ in changes}
    assert found == set(policy.ALL), "a rule has no fault of its own"


def static(report, home):
    """Everything that needs no API server."""
    for version in (3, 4):
        report.check("lint", f"helm {version}", lambda version=version: chart.lint(version, home))
    for name, arguments in chart.MATRIX.items():
        texts = {}
        for version in (3, 4):
            report.check(f"render {name}", f"helm {version}", lambda version=version: texts.update({version: chart.render(version, arguments, home).stdout}))
        if 3 not in texts or 4 not in texts:
            continue
        objects = chart.loads(texts[3])
        report.check(f"render {name}", "same", lambda: expect(["the two helms differ"] if chart.loads(texts[3]) != chart.loads(texts[4]) else []))
        report.check(f"render {name}", "policy", lambda: judged(objects))
        for kubernetes in tools.SCHEMAS:
            text = chart.render(3, arguments, home, kubernetes=kubernetes).stdout
            report.check(f"render {name}", kubernetes, lambda: chart.conform(text, kubernetes))
    report.check("each rule finds its fault", "policy", lambda: rules_can_fail(chart.loads(chart.render(3, [], home).stdout)))
    for name, (arguments, words) in chart.REFUSED.items():
        report.check(f"refused: {name}", "helm 3", lambda: refused(arguments, words, home))


def part(report, name, work):
    """A part of the suite in a folder of its own. What it needs may be missing; anything else that goes wrong is a failure."""
    with tempfile.TemporaryDirectory(prefix=f"waybill-{name}-") as folder:
        try:
            work(Path(folder))
        except tools.Missing as missing:
            report.skip(name, missing)
        except Exception as fault:  # noqa: BLE001
            report.rows.append((name, "runs", "".join(traceback.format_exception(fault))[-1500:], 0))


def pods(report, programs, folder):
    """The rendered pods, and what Prometheus sees of them."""
    with serve.Live(programs, folder) as live:
        if serve.journey(report, live):
            operate.check(report, live, lambda: part(report, "seeing", lambda folder: seeing.live(report, live, folder)))
            report.check("rendered pods: end", serve.COLUMN, live.end)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cached", action="store_true")
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    report = Report()
    if asked.cached and not tools.is_cached():
        print("skipped: kube: its tools are not built yet; `tests/run kube` builds them")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    try:
        tools.fetch()
    except tools.Missing as missing:
        report.skip("kube", missing)
    else:
        part(report, "chart", lambda folder: static(report, folder))
        part(report, "alerts", lambda folder: seeing.rules(report, folder))
        part(report, "image", lambda _: image.check(report, asked.bin))
        part(report, "pods", lambda folder: pods(report, asked.bin, folder))
        part(report, "compose", lambda folder: compose.check(report, asked.bin, folder))
        part(report, "kubernetes", lambda folder: install.run(report, asked.bin, folder))
    failed = report.show()
    if asked.json:
        asked.json.write_text(json.dumps(report.figures))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
