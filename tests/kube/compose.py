"""The compose file: read as `docker compose` reads it, judged, and its services of ours run as containers in its order, against real servers."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import container
import stand
import tools
from relay import Relay

COLUMN = "compose"
FOLDER = container.ROOT / "deploy" / "compose"
# Servers of others: what the real ones stand for, and at which port.
SERVERS = {"etcd": 2379, "kafka": 9092, "postgres": 5432}
ONCE_S = 60


def project(folder):
    """The project as it is resolved, with secrets made by its own script, in a copy below `folder`."""
    place = folder / "deploy" / "compose"
    place.mkdir(parents=True)
    for name in ("compose.yaml", "secrets.sh"):
        shutil.copy(FOLDER / name, place)
    made = subprocess.run([place / "secrets.sh"], env=stand.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert made.returncode == 0, f"secrets.sh ended with {made.returncode}: {made.stdout}"
    again = subprocess.run([place / "secrets.sh"], env=stand.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert again.returncode == 1 and "nothing was made" in again.stdout, "secrets.sh makes a second pepper"
    (place / "providers.env").write_text(f"PROVIDER_KEY={stand.PROVIDER_KEY}\n")
    program = next(tools.path_of(tool) for tool in tools.GO if tool.name == "compose")
    read = subprocess.run([program, "-format", "json", "compose.yaml"], cwd=place, env=stand.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert read.returncode == 0, f"the compose file is refused: {read.stderr[-600:]}"
    return json.loads(read.stdout)


def is_ours(service):
    return "build" in service


def is_role(service, role):
    return is_ours(service) and service["command"] == [role]


def faults(project):
    """What is wrong with it beyond its form."""
    used = set()
    for name, service in project["services"].items():
        image, once = service["image"], "healthcheck" not in service
        if not is_ours(service) and not re.search(r":v?\d+\.\d+(\.\d+)?$|@sha256:", image):
            yield f"{name}: {image} is not pinned"
        for port in service.get("ports", []):
            if port.get("host_ip") != "127.0.0.1":
                yield f"{name}: port {port['target']} is open to the network"
        for other, how in service.get("depends_on", {}).items():
            waited = "healthcheck" in project["services"][other]
            if how["condition"] != ("service_healthy" if waited else "service_completed_successfully"):
                yield f"{name}: waits for {other} by {how['condition']}"
        for secret in service.get("secrets", []):
            used.add(secret["source"])
            if not Path(project["secrets"][secret["source"]]["file"]).is_file():
                yield f"{name}: secrets.sh does not make {secret['source']}"
        if is_ours(service):
            if not service.get("read_only") or service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
                yield f"{name}: its container is not bounded"
            if once and any(is_role(service, role) for role in ("control", "proxy", "billing")):
                yield f"{name}: no health check"
            if not (Path(container.ROOT) / service["build"]["dockerfile"]).is_file():
                yield f"{name}: there is no {service['build']['dockerfile']}"
        if is_role(service, "proxy") and not any(volume["target"] == "/var/lib/waybill" for volume in service.get("volumes", [])):
            yield f"{name}: its spool dies with it"
    for secret in set(project["secrets"]) - used:
        yield f"secret {secret}: nobody uses it"


class Live:
    """Its services as containers; ends all that it started."""

    def __init__(self, programs, folder):
        self.programs, self.folder = Path(programs).resolve(), Path(folder)
        self.children, self.containers, self.addresses = [], {}, {}
        self.traffic = None

    def __enter__(self):
        container.possible()
        self.folder.chmod(0o755)
        try:
            self.project = project(self.folder)
            self.services = self.project["services"]
            secret = Path(self.project["secrets"]["ledger-password"]["file"])
            servers = stand.Servers(self.programs, self.folder, "--plain", "--password-file", secret)
            self.children.append(servers)
            provider = stand.Provider(self.programs, self.folder)
            self.children.append(provider)
            given = container.Addresses()
            self.addresses = {name: given.take() for name in self.services}
            targets = {"etcd": servers.told["etcd"]["addresses"][0], "kafka": servers.told["kafka"]["brokers"], "postgres": servers.told["postgres"]["address"]}
            for name, port in SERVERS.items():
                host, _, number = targets[name].rpartition(":")
                self.children.append(Relay(self.addresses[name], port, (host, int(number))))
            image = container.image(self.programs / "waybill")
            for name, service in self.services.items():
                if is_ours(service):
                    self.containers[name] = self.container(name, service, image, "run")
            operator = stand.Operator(self.programs, self.folder, f"{self.addresses['control']}:7070", self.project["secrets"]["operator-token"]["file"])
            self.traffic = stand.Traffic(operator, provider)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for one in self.containers.values():
            one.kill()
        for child in reversed(self.children):
            child.end()

    def container(self, name, service, image, purpose, command=None):
        """A container of a service. It shares the machine's network, so where it listens on all addresses, or on loopback by default, it has its own."""
        own = self.addresses[name]
        files = [line.split("=", 1) for file in service.get("env_file", []) for line in Path(file["path"]).read_text().splitlines() if "=" in line]
        environment = {"WAYBILL_OPS_LISTEN": "127.0.0.1:7072", **dict(files), **{key: str(text) for key, text in service.get("environment", {}).items()}}
        environment = {key: re.sub(r"^(0\.0\.0\.0|127\.0\.0\.1):", f"{own}:", text) if key.endswith("_LISTEN") else text for key, text in environment.items()}
        mounts = [container.Mount(self.project["secrets"][secret["source"]]["file"], secret["target"], False) for secret in service.get("secrets", [])]
        for number, target in enumerate([*service.get("tmpfs", []), *(volume["target"] for volume in service.get("volumes", []))]):
            place = self.folder / "volumes" / name / str(number)
            place.mkdir(parents=True, exist_ok=True)
            # A named volume is made from the image's folder, which is the user's own.
            container.own(place, image.user, 0o750 if target == "/var/lib/waybill" else 0o1777)
            mounts.append(container.Mount(place, target, True))
        hosts = {host: [address] for host, address in self.addresses.items()}
        place = self.folder / "containers" / f"{name}-{purpose}"
        return container.Container(service.get("hostname", name), image, command or service["command"], environment, mounts, hosts, place)

    def start(self):
        """Each service once those are there that it waits for, and not before; healthy by its own health check."""
        started = set(SERVERS)
        while waiting := [name for name in self.containers if name not in started]:
            possible = [name for name in waiting if set(self.services[name].get("depends_on", {})) <= started]
            assert possible, f"{waiting} wait for one another"
            for name in possible:
                self.begin(name)
                started.add(name)

    def begin(self, name):
        service, one = self.services[name], self.containers[name]
        check = service.get("healthcheck")
        if check is None:
            one.complete(ONCE_S)
            # A second `up` does it again.
            one.complete(ONCE_S)
            return
        one.start()
        # A proxy is healthy once it has a configuration, and the first one is applied by hand: here, as soon as the control plane takes it.
        if is_role(service, "proxy") and self.traffic.key is None:
            self.traffic.begin()
        self.healthy(name, check)

    def healthy(self, name, check):
        kind, program, *words = check["test"]
        probe = self.container(name, self.services[name], self.containers[name].image, "probe", words)
        assert (kind, [program]) == ("CMD", probe.image.entrypoint), f"{name}: its health check is not the image's program"

        def passes():
            self.containers[name].still_runs()
            try:
                probe.complete(seconds(check["timeout"]))
            except AssertionError:
                return False
            return True

        stand.eventually(f"{name} to be healthy", passes, check["retries"] * seconds(check["interval"]))

    def serve(self):
        for name, service in self.services.items():
            if is_role(service, "proxy"):
                self.traffic.served(f"{self.addresses[name]}:8080", name)
        self.traffic.billed()

    def end(self):
        """In the order in which compose stops them: who needs others ends first."""
        for name in reversed(self.containers):
            if "healthcheck" in self.services[name]:
                self.containers[name].terminate(seconds(self.services[name].get("stop_grace_period", "10s")))


def seconds(text):
    """A length of time as compose writes it: 2m0s, 1.5s."""
    return sum(float(number) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for number, unit in re.findall(r"([\d.]+)(ms|h|m|s)", text))


def check(report, programs, folder):
    with Live(programs, folder) as live:
        def judged():
            found = list(faults(live.project))
            assert not found, "; ".join(found)

        report.check("compose: pinned, bounded, waits for what it needs", COLUMN, judged)
        steps = [("services start and are healthy", live.start), ("a request and its bill", live.serve), ("end", live.end)]
        all(report.check(f"compose: {name}", COLUMN, step) for name, step in steps)
