#!/usr/bin/env python3
"""Gets the real servers that suites run against: `fetch.py [NAME…]`, all of them without a name.

What is fetched lies in $WAYBILL_TESTS_CACHE/servers/NAME-VERSION, outside the checkout, and is fetched once. Where each server is, or why it
cannot be had, goes to $WAYBILL_TESTS_CACHE/servers/servers.json, which the suites read. A server that cannot be had is no error here: the suite
that needs it says `skipped`, and fails under CI=true.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("WAYBILL_TESTS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waybill-tests")
SERVERS = CACHE / "servers"

# One build or download may take so long, in seconds: five times what it takes with two cores and nothing cached.
LIMIT = 900

ETCD, ETCD_LEAST = "3.6.16", (3, 5)
KAFKA, KAFKA_LEAST = "4.3.1", (4, 0)
JAVA_LEAST = 17
POSTGRES_LEAST = 14
PROMETHEUS_LEAST = (2, 40)


class Missing(Exception):
    """Why a server cannot be had this way."""


# --- The table of servers: name, and the ways to get it, in the order in which they are tried. A way gives what the suites are told, or raises Missing.
Way = namedtuple("Way", "says get")


def servers():
    return {
        "etcd": [
            Way("built by go from tests/real/servers/etcd", etcd_built),
            Way("installed", etcd_installed),
            Way("apt-get download etcd-server etcd-client", etcd_of_debian),
        ],
        "kafka": [Way("jars by mvn from tests/real/servers/kafka", kafka_resolved), Way("installed, KAFKA_HOME", kafka_installed)],
        "postgres": [Way("installed", postgres_installed), Way("apt-get install postgresql", postgres_of_debian)],
        "prometheus": [Way("installed", prometheus_installed), Way("apt-get download prometheus", prometheus_of_debian)],
    }


def run(command, cwd=None, environment=None):
    """What a command prints, or Missing with the end of it."""
    if not shutil.which(command[0]):
        raise Missing(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command, cwd=cwd, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"`{' '.join(command)}` took more than {LIMIT} s") from None
    if done.returncode != 0:
        said = " / ".join(done.stdout.strip().splitlines()[-3:])
        raise Missing(f"`{' '.join(command)}` ended with {done.returncode}: {said}")
    return done.stdout


def cached(name, is_whole, make):
    """A folder of the cache. `make` fills a fresh one, which takes its place only when it is whole, so that nobody ever sees half of it."""
    folder = SERVERS / name
    if is_whole(folder):
        return folder
    SERVERS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SERVERS, prefix=f".{name}-") as scratch:
        fresh = Path(scratch) / name
        fresh.mkdir()
        make(fresh)
        if not is_whole(fresh):
            raise Missing(f"{name}: what was fetched is not whole")
        try:
            fresh.rename(folder)
        except OSError:
            # Another run was first, or half of it was left by somebody else.
            if not is_whole(folder):
                shutil.rmtree(folder)
                fresh.rename(folder)
    return folder


def version(text, least, what):
    """The first version number in a text, or Missing when it is older than the least that is supported."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if not found:
        raise Missing(f"{what} does not say its version")
    if tuple(int(part) for part in found.groups(default="0"))[: len(least)] < least:
        raise Missing(f"{what} is {found[0]}, older than {'.'.join(map(str, least))}")
    return found[0]


def etcd_built():
    def make(folder):
        flags = {"GOFLAGS": "-buildvcs=false -modcacherw -mod=readonly"}
        for program, package in [("etcd", "./server"), ("etcdctl", "./ctl")]:
            run(["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(folder / "bin" / program), package], HERE / "servers/etcd", flags)

    folder = cached(f"etcd-{ETCD}", lambda folder: all((folder / "bin" / name).is_file() for name in ("etcd", "etcdctl")), make)
    return {"version": ETCD, "server": str(folder / "bin" / "etcd"), "control": str(folder / "bin" / "etcdctl")}


def etcd_at(server, control):
    if not server or not control:
        raise Missing("no etcd and etcdctl on PATH")
    return {"version": version(run([server, "--version"]), ETCD_LEAST, server), "server": server, "control": control}


def etcd_installed():
    return etcd_at(shutil.which("etcd"), shutil.which("etcdctl"))


def etcd_of_debian():
    def make(folder):
        with tempfile.TemporaryDirectory() as packages:
            # Unpacked, not installed: no service is started, and nothing needs root.
            run(["apt-get", "download", "-qq", "etcd-server", "etcd-client"], packages)
            for package in Path(packages).glob("*.deb"):
                run(["dpkg", "-x", str(package), str(folder)])

    folder = cached("etcd-debian", lambda folder: (folder / "usr/bin/etcd").is_file() and (folder / "usr/bin/etcdctl").is_file(), make)
    return etcd_at(str(folder / "usr/bin/etcd"), str(folder / "usr/bin/etcdctl"))


def java():
    said = run(["java", "-version"])
    found = re.search(r'version "(\d+)', said)
    if not found or int(found[1]) < JAVA_LEAST:
        raise Missing(f"java {JAVA_LEAST} or newer is needed")
    return shutil.which("java")


def kafka_resolved():
    program = java()

    def make(folder):
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}", "-DincludeScope=runtime"]
        run(["mvn", "-B", "-ntp", "-q", *goal], HERE / "servers/kafka")

    folder = cached(f"kafka-{KAFKA}", lambda folder: (folder / "lib" / f"kafka_2.13-{KAFKA}.jar").is_file(), make)
    return {"version": KAFKA, "lib": str(folder / "lib"), "java": program}


def kafka_installed():
    program = java()
    libs = Path(os.environ.get("KAFKA_HOME") or "/opt/kafka") / "libs"
    jars = list(libs.glob("kafka_2.13-*.jar"))
    if not jars:
        raise Missing(f"no Kafka in {libs}")
    return {"version": version(jars[0].stem.removeprefix("kafka_2.13-"), KAFKA_LEAST, str(libs)), "lib": str(libs), "java": program}


def postgres_at(folder):
    said = run([str(folder / "postgres"), "--version"])
    return {"version": version(said, (POSTGRES_LEAST,), str(folder)), "bin": str(folder)}


def postgres_installed():
    folders = [Path(os.path.realpath(found)).parent for found in [shutil.which("postgres")] if found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0), reverse=True)
    programs = ("postgres", "initdb", "pg_isready")
    for folder in folders:
        if all((folder / program).is_file() for program in programs):
            return postgres_at(folder)
    raise Missing(f"no folder with {', '.join(programs)}")


def postgres_of_debian():
    if os.geteuid() != 0:
        raise Missing("installing a package needs root")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    # A cluster and a service of the distribution's would only be in the way.
    Path("/etc/postgresql-common").mkdir(parents=True, exist_ok=True)
    settings = Path("/etc/postgresql-common/createcluster.conf")
    if not settings.exists():
        settings.write_text("create_main_cluster = false\n")
    run(["apt-get", "update", "-qq"])
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql"], environment=environment)
    return postgres_installed()


def prometheus_at(server, tool):
    if not server or not tool:
        raise Missing("no prometheus and promtool on PATH")
    return {"version": version(run([server, "--version"]), PROMETHEUS_LEAST, server), "server": server, "control": tool}


def prometheus_installed():
    return prometheus_at(shutil.which("prometheus"), shutil.which("promtool"))


def prometheus_of_debian():
    def make(folder):
        with tempfile.TemporaryDirectory() as packages:
            # Unpacked, not installed, as etcd's: the programs need nothing else.
            run(["apt-get", "download", "-qq", "prometheus"], packages)
            for package in Path(packages).glob("*.deb"):
                run(["dpkg", "-x", str(package), str(folder)])

    folder = cached("prometheus-debian", lambda folder: all((folder / "usr/bin" / name).is_file() for name in ("prometheus", "promtool")), make)
    return prometheus_at(str(folder / "usr/bin/prometheus"), str(folder / "usr/bin/promtool"))


def get(name, ways):
    """What the suites are told of one server."""
    reasons = []
    for way in ways:
        try:
            return {**way.get(), "by": way.says}
        except Missing as missing:
            reasons.append(f"{way.says}: {missing}")
    return {"missing": "; ".join(reasons)}


def main(names):
    table = servers()
    unknown = [name for name in names if name not in table]
    if unknown:
        sys.exit(f"no server is called {unknown[0]}; there are {', '.join(table)}")
    SERVERS.mkdir(parents=True, exist_ok=True)
    record = SERVERS / "servers.json"
    told = json.loads(record.read_text()) if record.exists() else {}
    for name in names or table:
        told[name] = get(name, table[name])
        print(f"{name}: " + (f"missing: {told[name]['missing']}" if "missing" in told[name] else f"{told[name]['version']}, {told[name]['by']}"), flush=True)
    with tempfile.NamedTemporaryFile("w", dir=SERVERS, delete=False) as fresh:
        json.dump(told, fresh, indent=1)
    os.replace(fresh.name, record)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
