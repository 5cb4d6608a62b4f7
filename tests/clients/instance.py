"""`waybill up` on a sandbox that speaks one of the dialects, in a state folder of its own, and the ledger it leaves."""

import json
import os
import signal
import subprocess
import time

import provider

# A list of what passes, not of what is taken away: a provider key with a name nobody thought of must not be used either.
PASSED = ("PATH", "HOME", "TMPDIR", "LANG", "TZ", "RUST_BACKTRACE")
START_LIMIT_S = 60
# The product itself drains for at most 30 s.
END_LIMIT_S = 45
LEDGER_LIMIT_S = 60
LOOK_S = 0.01


def clean_environment(**more):
    return {name: os.environ[name] for name in PASSED if name in os.environ} | more


class Instance:
    """A running `waybill up`; leaving the context ends it."""

    def __init__(self, program, folder, dialect, clients):
        self.program, self.folder, self.dialect, self.clients = program, folder, dialect, clients
        self.state, self.log = folder / "state", folder / "log"
        self.process, self.sandbox = None, None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        ready, config = self.folder / "ready.json", self.folder / "provider.yaml"
        if self.dialect == "openai":
            provider.write(provider.own_sandbox(self.clients), config)
        else:
            self.sandbox = provider.Sandbox(self.program.with_name("waybill-sandbox"), self.folder, clean_environment())
            provider.write(provider.anthropic_sandbox(self.sandbox.__enter__(), self.clients), config)
        command = [self.program, "up", "--state", self.state, "--ready-file", ready, "--sandbox", "off" if self.sandbox else "on", "--config", config]
        for listener in ("--listen", "--admin-listen", "--ops-listen"):
            command += [listener, "127.0.0.1:0"]
        environment = clean_environment(**{provider.SECRET_VARIABLE: provider.SECRET})
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self.ready = self._wait_for(ready)

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.sandbox:
            self.sandbox.__exit__()

    def _wait_for(self, ready):
        end = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end:
            # It may be seen before it is complete, hence a text that does not parse is not yet an error.
            try:
                return json.loads(ready.read_text())
            except (FileNotFoundError, json.JSONDecodeError):
                pass
            if self.process.poll() is not None:
                raise RuntimeError(f"waybill up ended with {self.process.returncode}:\n{self.printed()}")
            time.sleep(LOOK_S)
        raise RuntimeError(f"waybill up was not ready within {START_LIMIT_S} s:\n{self.printed()}")

    def terminate(self):
        """Asks it to end; its exit code, or none if it did not end in time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            return None

    def printed(self):
        """The last of what it printed, without the key of its banner."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if "wb_live_" not in line][-30:])

    def complaints(self):
        return [line for line in self.log.read_text(errors="replace").splitlines() if " WARN " in line or " ERROR " in line]

    def ledger(self, verb):
        """What `waybill ledger VERB` says of the state folder, nothing running on it: exit code, answer, complaint."""
        done = subprocess.run(
            [str(self.program), "ledger", verb, "--state", str(self.state), "--output", "json"],
            env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LEDGER_LIMIT_S,
        )
        answer = json.loads(done.stdout) if done.stdout.strip() else None
        return done.returncode, answer, done.stderr.strip()
