"""Brings client libraries into the tests' cache, one environment for each client: their pins do not agree with each other."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waybill-tests" / "clients"
# For everything that one client needs. A registry that does not answer is given up long before.
LIMIT_S = 300
PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--only-binary=:all:", "--retries=1", "--timeout=15"]
# Nothing a package brings is run at its installation.
NPM = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=15000", "--loglevel=error"]


class Unavailable(Exception):
    """The client cannot be had here; the reason is for people."""


class Installed:
    """A client library that can be used: its version, and how its programs are started."""

    def __init__(self, client, folder):
        self.client, self.folder = client, folder
        self.version = self._python_version() if client.language == "python" else self._node_version()
        if client.language == "program":
            self._program()

    def command(self, scratch):
        """The command of the client program; files it needs are put into `scratch`."""
        source = HERE / self.client.folder
        if self.client.language == "program":
            return [sys.executable, "-B", str(source / "client.py"), str(self._program()), *self.client.arguments]
        if self.client.language == "python":
            return [str(self.folder / "bin" / "python"), "-B", str(source / "client.py"), *self.client.arguments]
        # Node looks for modules beside the program's real file.
        shutil.copy(source / "client.mjs", scratch)
        shutil.copy(HERE / "account.mjs", scratch)
        (scratch / "node_modules").symlink_to(self.folder / "node_modules")
        return ["node", str(scratch / "client.mjs"), *self.client.arguments]

    def _program(self):
        """The program itself: its package has a part for each kind of machine, and what would join them is not run at its installation."""
        found = sorted(self.folder.glob(f"node_modules/{self.client.package}-*/claude"))
        if not found:
            raise Unavailable(f"{self.client.package} has no program for this machine")
        return found[0]

    def _python_version(self):
        code = f"import importlib.metadata; print(importlib.metadata.version({self.client.package!r}))"
        return _run([self.folder / "bin" / "python", "-c", code], self.folder).strip()

    def _node_version(self):
        return json.loads((self.folder / "node_modules" / self.client.package / "package.json").read_text())["version"]


def install(client, newest, refused={}):
    """The pinned version, kept once it is there; or the newest, looked for anew each time. What was refused once is not tried again in this run."""
    try:
        if client.folder in refused:
            raise Unavailable(refused[client.folder])
        return _install(client, newest)
    except Unavailable as reason:
        refused[client.folder] = str(reason)
        raise


def _install(client, newest):
    source = HERE / client.folder
    lock = source / ("requirements.txt" if client.language == "python" else "package-lock.json")
    if newest:
        folder = CACHE / f"{client.folder}-newest"
    else:
        own = platform.python_version() if client.language == "python" else "node"
        folder = CACHE / f"{client.folder}-{hashlib.sha256(lock.read_bytes() + own.encode()).hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        complete = folder / "complete"
        if newest or not complete.exists():
            complete.unlink(missing_ok=True)
            if not newest:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(exist_ok=True)
            _python(client, folder, lock, newest) if client.language == "python" else _node(client, folder, source, newest)
            complete.touch()
        return Installed(client, folder)


def _python(client, folder, lock, newest):
    if not (folder / "bin" / "python").exists():
        _run([sys.executable, "-m", "venv", folder], folder)
    what = ["--upgrade", client.package] if newest else ["--requirement", lock]
    _run([folder / "bin" / "python", *PIP, *what], folder)


def _node(client, folder, source, newest):
    if newest:
        (folder / "package.json").write_text('{"private": true}\n')
        (folder / "package-lock.json").unlink(missing_ok=True)
        _run(["npm", "install", *NPM, f"{client.package}@latest"], folder)
    else:
        shutil.copy(source / "package.json", folder)
        shutil.copy(source / "package-lock.json", folder)
        _run(["npm", "ci", *NPM], folder)


def _run(command, folder):
    """What a command prints; any failure means that the client is not available."""
    name = Path(command[0]).name
    try:
        done = subprocess.run([str(word) for word in command], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S)
    except FileNotFoundError:
        raise Unavailable(f"{name} is not installed here") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{name} was not ready within {LIMIT_S} s") from None
    if done.returncode != 0:
        told = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        # The first error is the cause; what pip and npm say last is advice.
        reason = next((line for line in told if line.lower().startswith(("error", "npm error"))), told[-1] if told else "without a word")
        raise Unavailable(f"{name} ended with {done.returncode}: {reason}")
    return done.stdout


@contextmanager
def _alone(folder):
    """Two runs at once do not install into one folder."""
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
