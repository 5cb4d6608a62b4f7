"""A container without an engine: the image's program in a root folder of its own, which holds what the image holds and cannot be written, with volumes where
they are mounted. The same user, paths, arguments and environment as in a cluster; only the network is the machine's, where each container has an
address of its own below 127.0.0.0/8.
"""

import contextlib
import json
import os
import random
import re
import shlex
import socket
import subprocess
import time
from collections import namedtuple
from pathlib import Path

import tools

ROOT = tools.HERE.parent.parent
CONTAINERFILE = ROOT / "deploy" / "images" / "Containerfile"
PORTS = [7070, 7071, 7072, 8080]

# What the image says, and the file that stands for the program in it.
Image = namedtuple("Image", "entrypoint command environment user program")
# A folder or a file of this machine, and where the container sees it.
Mount = namedtuple("Mount", "source path is_writable")


def image(program):
    """The image that the Containerfile makes, with a program that is built already."""
    text = re.sub(r"\\\n", " ", CONTAINERFILE.read_text())
    last = re.split(r"^FROM ", text, flags=re.M)[-1]
    said = {}
    environment = {}
    for word, rest in re.findall(r"^([A-Z]+) (.*)$", last, flags=re.M):
        said[word] = rest
        if word == "ENV":
            environment.update(pair.split("=", 1) for pair in shlex.split(rest))
    user, _, group = said["USER"].partition(":")
    return Image(json.loads(said["ENTRYPOINT"]), json.loads(said["CMD"]), environment, (int(user), int(group)), Path(program))


def libraries(program):
    """The files that the loader maps for a program."""
    told = tools.run(["ldd", str(program)])
    return sorted({Path(found) for found in re.findall(r"(/\S+) \(0x", told)})


class Addresses:
    """Addresses of loopback that nobody else uses, one for each container."""

    def __init__(self):
        for _ in range(20):
            self.block = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"
            self.last = 0
            if all(is_free(f"{self.block}.1", port) for port in PORTS):
                return
        raise tools.Missing(f"something on this machine listens on all addresses at one of the ports {PORTS}")

    def take(self):
        self.last += 1
        return f"{self.block}.{self.last}"


def is_free(address, port):
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((address, port))
        except OSError:
            return False
        return True


def is_root():
    return os.geteuid() == 0


def own(path, user, mode):
    """Gives a file or folder to a user and a group; it stays the caller's when there is only the caller."""
    if is_root():
        os.chown(path, *user)
    path.chmod(mode)


def possible():
    """Raises Missing where the system lets nobody mount."""
    for program in ("unshare", "setpriv", "chroot", "ldd"):
        with contextlib.suppress(FileNotFoundError):
            subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            continue
        raise tools.Missing(f"there is no {program}")
    tools.run([*namespace(), "sh", "-c", "mount -t tmpfs root /mnt"])


def namespace():
    return ["unshare", "--mount", "--uts"] if is_root() else ["unshare", "--map-root-user", "--mount", "--uts"]


class Container:
    """One process to be. `folder` holds its root's mount point and its log."""

    def __init__(self, name, image, command, environment, mounts, hosts, folder, user=None):
        self.name, self.image, self.folder = name, image, Path(folder)
        self.command, self.mounts = command, mounts
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/home/nonroot", "HOSTNAME": name, **image.environment, **environment}
        self.user = user or image.user
        self.folder.mkdir(parents=True)
        self.root, self.log = self.folder / "root", self.folder / "log"
        self.root.mkdir()
        self.made = self.folder / "made"
        self.made.mkdir(mode=0o755)
        (self.made / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{address} {host}\n" for host, addresses in hosts.items() for address in addresses))
        (self.made / "nsswitch.conf").write_text("hosts: files dns\n")
        self.process = None

    def script(self):
        """Builds the root in a mount namespace, closes it, and becomes the program."""
        root = shlex.quote(str(self.root))
        lines = ["set -e", f"echo {shlex.quote(self.name)} > /proc/sys/kernel/hostname", f"mount -t tmpfs -o mode=755 root {root}", f"mkdir -p {root}/proc {root}/dev {root}/home/nonroot", f"mount --rbind /proc {root}/proc"]

        def bound(source, path, is_writable=False):
            target = shlex.quote(f"{self.root}{path}")
            place = f"mkdir -p {target}" if Path(source).is_dir() else f"mkdir -p $(dirname {target}); : > {target}"
            lines.extend([place, f"mount --bind {shlex.quote(str(source))} {target}"])
            if not is_writable:
                lines.append(f"mount -o remount,bind,ro,nosuid,nodev {target}")

        for device in ("null", "zero", "random", "urandom"):
            lines.extend([f": > {root}/dev/{device}", f"mount --bind /dev/{device} {root}/dev/{device}"])
        for name in ("hosts", "nsswitch.conf"):
            bound(self.made / name, f"/etc/{name}")
        for library in libraries(self.image.program):
            bound(library.resolve(), library)
        if Path("/etc/ssl/certs").is_dir():
            bound("/etc/ssl/certs", "/etc/ssl/certs")
        bound(self.image.program.resolve(), self.image.entrypoint[0])
        for mount in self.mounts:
            bound(mount.source, mount.path, mount.is_writable)
        lines.append(f"mount -o remount,ro {root}")
        user = f"--userspec={self.user[0]}:{self.user[1]} --groups=" if is_root() else ""
        words = [*self.image.entrypoint, *self.command]
        environment = [f"{name}={value}" for name, value in self.environment.items()]
        lines.append(f"exec setpriv --no-new-privs chroot {user} {root} {shlex.join(words)}".replace("  ", " "))
        return "\n".join(lines), environment

    def start(self):
        script, environment = self.script()
        file = self.folder / "start.sh"
        file.write_text(script)
        # The program's own environment, and nothing of the caller's: PATH is for the words of the script too.
        command = ["env", "-i", *environment, *namespace(), "sh", str(file)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def printed(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def still_runs(self):
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}: {self.printed()[-1200:]}"

    def complete(self, limit_s):
        """Runs it to its end, which must be a good one."""
        self.start()
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} was not done within {limit_s} s: {self.printed()[-800:]}") from None
        assert code == 0, f"{self.name} ended with {code}: {self.printed()[-1200:]}"

    def terminate(self, grace_s):
        """Asks it to end, as a kubelet does. Gives the seconds that it took; it must end by itself, and well."""
        start = time.monotonic()
        self.process.terminate()
        try:
            code = self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within its {grace_s} s: {self.printed()[-800:]}") from None
        assert code == 0, f"{self.name} ended with {code}: {self.printed()[-800:]}"
        return time.monotonic() - start

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def bounds(self):
        """What the kernel says of it: (user, whether it can gain privileges, its capabilities)."""
        said = dict(line.split(":\t", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if ":\t" in line)
        return int(said["Uid"].split()[0]), said["NoNewPrivs"] != "1", int(said["CapEff"], 16)
