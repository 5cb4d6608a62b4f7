"""Claude Code does a task with tools; what it shall do stands in the prompt, for the sandbox's model `errand` to read."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from pathlib import Path

from account import PROVIDER, Account, equal, expect, run
from wire import Wire

# It is asked to think, so that what signs its thoughts goes back and forth with the results of tools.
MODEL = "sandbox/thoughtful-errand"
PASSED = ("PATH", "TMPDIR", "LANG", "TZ")
LIMIT_S = 25
# One pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Session:
    def __init__(self, program, base, key):
        self.account = Account()
        self.program, self.base, self.key = program, base, key
        self.home = Path.cwd() / "home"
        self.home.mkdir()
        self.trials = 0

    def environment(self, wire, model, key):
        own = {name: os.environ[name] for name in PASSED if name in os.environ}
        return own | {
            "HOME": str(self.home), "CLAUDE_CONFIG_DIR": str(self.home / "config"),
            "ANTHROPIC_BASE_URL": wire.address, "ANTHROPIC_API_KEY": key,
            # It has no other model to ask for small things.
            **{f"ANTHROPIC_DEFAULT_{size}_MODEL": model for size in ("HAIKU", "SONNET", "OPUS")},
            # It tries again once, where it would do so ten times.
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1",
            # Whatever else it tries comes to the wire, which lets nothing out.
            "HTTP_PROXY": wire.address, "HTTPS_PROXY": wire.address, "NO_PROXY": "127.0.0.1",
        }

    def runs(self, prompt, *options, model=MODEL, key=None):
        """Runs the program in the task's folder; it, and what went over its wire."""
        command = [self.program, "--print", prompt, "--model", model, "--permission-mode", "acceptEdits", *options]
        with Wire(self.base) as wire:
            environment = self.environment(wire, model, key or self.key)
            done = subprocess.run(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S
            )
        self.account_for(wire)
        equal(wire.outside, [], "requests for somewhere else")
        return done, [request["status"] for request in wire.passed]

    def does(self, steps, *options):
        """Has it do these steps; the lines that it printed of them. Nothing is refused, and each step is one request."""
        prompt = "\n".join(["Do this.", *(f"sandbox: {step}" for step in steps)])
        done, statuses = self.runs(prompt, *options, "--output-format", "stream-json", "--verbose")
        expect(done.returncode == 0, f"ended with {done.returncode}, {statuses}: {done.stdout[-500:]} {done.stderr[-500:]}")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        # There is another one for each agent that went on beside it.
        results = [line for line in lines if line["type"] == "result"]
        equal([(line["is_error"], line["permission_denials"]) for line in results], [(False, [])] * len(results), "errors and denials")
        expect(any(line["result"] == steps[-1].removeprefix("say ") for line in results), f"the last words are not in {results}")
        return lines, statuses

    def account_for(self, wire):
        """Tells of every message what it comes to by its status and its end."""
        messages = [request for request in wire.passed if request["method"] == "POST" and request["path"].endswith("/v1/messages")]
        equal(len(messages), len(wire.passed), f"requests for messages among {wire.passed}")
        self.account.wire += [{"generation": request["generation"], "status": request["status"]} for request in messages]
        for request in messages:
            if request["status"] == 200:
                self.account.partial() if request["error"] else self.account.settled(request["usage"])
            else:
                self.account.refused() if request["status"] in (401, 404) else self.account.failed()

    def begin(self):
        """An empty folder for the next task."""
        self.trials += 1
        self.folder = Path.cwd() / f"task-{self.trials}"
        self.folder.mkdir()
        return self.folder


def call(tool, verb="call", **arguments):
    return f"{verb} {tool} {json.dumps(arguments)}"


def blocks(lines, speaker, kind):
    """What the program told of either side's blocks."""
    return [block for line in lines if line["type"] == speaker for block in line["message"]["content"] if block["type"] == kind]


async def answer_in_words(s):
    s.begin()
    done, statuses = s.runs("Do this.\nsandbox: say The sandbox has nothing to do.")
    equal((done.stdout.strip(), done.returncode, statuses), ("The sandbox has nothing to do.", 0, [200]), "printed text, end and requests")


async def tool_task(s):
    folder = s.begin()
    note, copy, listing = folder / "note.txt", folder / "copy.txt", folder / "listing.txt"
    note.write_text("marmalade, 8 °C\n")
    steps = [
        call("Read", file_path=str(note)),
        call("Write", file_path=str(copy), content='marmalade, "8 °C"\n'),
        call("Edit", file_path=str(copy), old_string="marmalade", new_string="jam"),
        call("Bash", command=f"ls {folder} > {listing}", description="Lists the folder"),
        "say All is written.",
    ]
    lines, statuses = s.does(steps, "--allowedTools", "Read,Write,Edit,Bash")
    # Its thoughts go back with the results of its tools; only Anthropic signs them.
    thoughts = blocks(lines, "assistant", "thinking")
    equal([bool(block["signature"]) for block in thoughts], [PROVIDER == "anthropic"] * 5, "thoughts, signed or not")
    results = blocks(lines, "user", "tool_result")
    equal([bool(block.get("is_error")) for block in results], [False] * 4, "tools that failed")
    expect("marmalade, 8 °C" in str(results[0]["content"]), f"what was read is not in {results[0]}")
    equal(copy.read_text(), 'jam, "8 °C"\n', "the file that it wrote and edited")
    equal(listing.read_text().split(), ["copy.txt", "listing.txt", "note.txt"], "what its shell wrote")
    equal((len(statuses), lines[-1]["num_turns"]), (5, 5), "requests and turns")


async def tools_at_once(s):
    folder = s.begin()
    for name in ("one", "two"):
        (folder / name).write_text(f"this is {name}\n")
    steps = [call("Read", file_path=str(folder / "one")), call("Read", "and", file_path=str(folder / "two")), "say Both are read."]
    lines, statuses = s.does(steps, "--allowedTools", "Read")
    # In the order in which they were done.
    results = sorted(str(block["content"]) for block in blocks(lines, "user", "tool_result"))
    expect(len(results) == 2 and "this is one" in results[0] and "this is two" in results[1], f"{results}")
    equal(len(statuses), 2, "requests")


async def picture(s):
    folder = s.begin()
    (folder / "pixel.png").write_bytes(base64.b64decode(PNG))
    lines, statuses = s.does([call("Read", file_path=str(folder / "pixel.png")), "say It is seen."], "--allowedTools", "Read")
    [result] = blocks(lines, "user", "tool_result")
    equal(([block["type"] for block in result["content"]], len(statuses)), (["image"], 2), "result and requests")


async def agent_of_its_own(s):
    folder = s.begin()
    (folder / "note.txt").write_text("marmalade\n")
    errand = "\n".join(["Look.", "sandbox: " + call("Read", file_path=str(folder / "note.txt")), "sandbox: say It is marmalade."])
    agent = call("Agent", description="Looks", prompt=errand, subagent_type="general-purpose")
    lines, statuses = s.does([agent, "say It is known."], "--allowedTools", "Agent,Read")
    # Some versions wait for it and give its words as the tool's result, others let it go on beside them.
    said = [block["text"] for block in blocks(lines, "assistant", "text")] + [str(block["content"]) for block in blocks(lines, "user", "tool_result")]
    expect(any("It is marmalade." in words for words in said), f"{said}")
    expect(len(statuses) in (4, 5), f"{len(statuses)} requests")


async def tries_again(s):
    s.begin()
    done, statuses = s.runs("Say something.", model="sandbox/flaky-1")
    expect(done.returncode == 0 and "sandbox" in done.stdout, f"ended with {done.returncode}: {done.stdout} {done.stderr}")
    equal(statuses, [503, 200], "requests")


async def error_in_stream(s):
    # It asks again, whole, and then tells the user what the provider said.
    s.begin()
    done, statuses = s.runs("Say something.", model="sandbox/error-in-200")
    expect(done.returncode == 1 and "failed after it had begun" in done.stdout, f"ended with {done.returncode}: {done.stdout} {done.stderr}")
    equal(statuses[0], 200, "the first request")


async def refused(s):
    s.begin()
    rows = [({"model": "sandbox/nothing"}, "selected model (sandbox/nothing)", 404), ({"key": "sk-nothing-of-ours"}, "API key is not known", 401)]
    for changes, words, status in rows:
        done, statuses = s.runs("Say something.", **changes)
        expect(done.returncode == 1 and words in done.stdout, f"ended with {done.returncode}: {done.stdout} {done.stderr}")
        equal(set(statuses), {status}, "requests")


FEATURES = [
    ("answer in words", answer_in_words), ("tool task", tool_task), ("tools at once", tools_at_once), ("picture", picture),
    ("agent of its own", agent_of_its_own), ("tries again", tries_again), ("error in a stream", error_in_stream), ("bad model, bad key", refused),
]


async def main():
    session = Session(sys.argv[1], os.environ["CLIENT_URL"], os.environ["CLIENT_KEY"])
    await run(session.account, FEATURES, session)


asyncio.run(main())
