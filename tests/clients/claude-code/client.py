"""Claude Code does a task with tools; what it shall do stands in the prompt, for the sandbox's model `errand` to read."""

import asyncio
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


class Session:
    def __init__(self, program, base, key):
        self.account = Account()
        self.program, self.base, self.key = program, base, key
        self.home = Path.cwd() / "home"
        self.home.mkdir()
        self.trials = 0

    def environment(self, wire):
        own = {name: os.environ[name] for name in PASSED if name in os.environ}
        return own | {
            "HOME": str(self.home), "CLAUDE_CONFIG_DIR": str(self.home / "config"),
            "ANTHROPIC_BASE_URL": wire.address, "ANTHROPIC_API_KEY": self.key,
            # It has no other model to ask for small things.
            **{f"ANTHROPIC_DEFAULT_{size}_MODEL": MODEL for size in ("HAIKU", "SONNET", "OPUS")},
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1",
            # Whatever else it tries comes to the wire, which lets nothing out.
            "HTTP_PROXY": wire.address, "HTTPS_PROXY": wire.address, "NO_PROXY": "127.0.0.1",
        }

    def does(self, steps, *options):
        """Runs the program on a prompt of these lines, in a folder of its own; what it printed, and the folder's name for the lines."""
        prompt = "\n".join(["Do this.", *(f"sandbox: {step}" for step in steps)])
        command = [self.program, "--print", prompt, "--model", MODEL, "--permission-mode", "acceptEdits", *options]
        with Wire(self.base) as wire:
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment(wire), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S
            )
        billed = self.account_for(wire)
        expect(done.returncode == 0, f"ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}; {wire.passed}")
        equal(wire.outside, [], "requests for somewhere else")
        equal([(request["path"], request["status"], request["error"]) for request in wire.passed if request["status"] != 200 or request["error"]], [], "refused")
        return done.stdout, billed

    def account_for(self, wire):
        """Tells of every message; how many there were."""
        messages = [request for request in wire.passed if request["method"] == "POST" and request["path"].endswith("/v1/messages")]
        self.account.wire += [{"generation": request["generation"], "status": request["status"]} for request in messages]
        for request in messages:
            if request["usage"]:
                self.account.settled(request["usage"])
        return len(messages)

    def begin(self):
        """An empty folder for the next task."""
        self.trials += 1
        self.folder = Path.cwd() / f"task-{self.trials}"
        self.folder.mkdir()
        return self.folder


def call(tool, **arguments):
    return f"call {tool} {json.dumps(arguments)}"


async def answer_in_words(s):
    s.begin()
    printed, billed = s.does(["say The sandbox has nothing to do."])
    equal((printed.strip(), billed), ("The sandbox has nothing to do.", 1), "printed text and requests")


async def tool_task(s):
    folder = s.begin()
    note, copy, listing = folder / "note.txt", folder / "copy.txt", folder / "listing.txt"
    note.write_text("marmalade, 8 °C\n")
    steps = [
        call("Read", file_path=str(note)),
        call("Write", file_path=str(copy), content="marmalade, \"8 °C\"\n"),
        call("Edit", file_path=str(copy), old_string="marmalade", new_string="jam"),
        call("Bash", command=f"ls {folder} > {listing}", description="Lists the folder"),
        "say All is written.",
    ]
    printed, billed = s.does(steps, "--allowedTools", "Read,Write,Edit,Bash", "--output-format", "stream-json", "--verbose")
    lines = [json.loads(line) for line in printed.splitlines()]
    result = lines[-1]
    equal((result["type"], result["is_error"], result["permission_denials"], result["result"]), ("result", False, [], "All is written."), "result")
    thoughts = [block for line in lines if line["type"] == "assistant" for block in line["message"]["content"] if block["type"] == "thinking"]
    equal([bool(block["signature"]) for block in thoughts], [PROVIDER == "anthropic"] * 5, "thoughts, signed where Anthropic's are")
    results = [block for line in lines if line["type"] == "user" for block in line["message"]["content"] if block["type"] == "tool_result"]
    equal([bool(block.get("is_error")) for block in results], [False] * 4, "tools that failed")
    expect("marmalade, 8 °C" in str(results[0]["content"]), f"what was read is not in {results[0]}")
    equal(copy.read_text(), "jam, \"8 °C\"\n", "the file that it wrote and edited")
    equal(listing.read_text().split(), ["copy.txt", "listing.txt", "note.txt"], "what its shell wrote")
    equal((billed, result["num_turns"]), (5, 5), "requests and turns")


FEATURES = [("answer in words", answer_in_words), ("tool task", tool_task)]


async def main():
    session = Session(sys.argv[1], os.environ["CLIENT_URL"], os.environ["CLIENT_KEY"])
    await run(session.account, FEATURES, session)


asyncio.run(main())
