"""The rendered pods as containers on this machine, against real etcd, Kafka and PostgreSQL: they pass their probes, serve a request, bill it, and end."""

import json
import time
from pathlib import Path

import chart
import container
import policy
import stand
import tools
from pods import World

COLUMN = "as processes"
# No container has a network of its own, so each listens on its own address only; nothing else differs from what is installed.
OWN_ADDRESS = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
LISTENS = {
    "control": {"ADMIN_LISTEN": 7070, "SYNC_LISTEN": 7071, "OPS_LISTEN": 7072},
    "proxy": {"LISTEN": 8080, "OPS_LISTEN": 7072},
    "billing": {"OPS_LISTEN": 7072},
}
JOB_S = 60


def listens(role):
    own = [] if role == "control" else OWN_ADDRESS
    return own + [{"name": f"WAYBILL_{name}", "value": f"$(POD_IP):{port}"} for name, port in LISTENS[role].items()]


def values(servers):
    """Values of an operator whose servers are these."""
    host, port = servers["postgres"]["address"].split(":")
    return {
        "store": {
            "endpoints": servers["etcd"]["addresses"], "tls": {"enabled": True, "secret": "etcd-client", "clientCertificate": True},
            "username": servers["etcd"]["user"], "passwordSecret": {"name": "etcd-password"},
        },
        "ledger": {"host": host, "port": int(port), "database": servers["postgres"]["database"], "username": servers["postgres"]["user"], "passwordSecret": {"name": "ledger"}},
        "kafka": {"brokers": [servers["kafka"]["brokers"]], "partitions": 4, "replicationFactor": 1, "minInsync": 1},
        "tls": {"control": {"secret": "control-tls"}, "proxy": {"secret": "proxy-tls"}},
        "pepper": {"secret": "pepper"}, "operatorToken": {"secret": "operator"},
        "control": {"replicas": 2, "env": listens("control")},
        "proxy": {"replicas": 2, "env": listens("proxy"), "envFrom": [{"secretRef": {"name": "provider-keys"}}]},
        "billing": {"replicas": 2, "env": listens("billing")},
    }


def secrets(servers, operator):
    """The Secrets that those values name."""
    files = lambda of: {name: Path(path).read_text() for name, path in of.items()}
    return {
        "etcd-client": files(servers["etcd"]["tls"]), "etcd-password": {"password": servers["etcd"]["password"]}, "ledger": {"password": servers["postgres"]["password"]},
        "control-tls": files(servers["control"]), "proxy-tls": files(servers["proxy"]),
        "pepper": {"pepper": operator.secret("pepper", "pepper")}, "operator": {"token": operator.secret("operator-token", "operator-token")},
        "provider-keys": {"PROVIDER_KEY": stand.PROVIDER_KEY},
    }


class Live:
    """The cluster of containers: started by `with`, ends all that it started."""

    def __init__(self, programs, folder):
        self.programs, self.folder = Path(programs).resolve(), Path(folder)
        self.children, self.world = [], None

    def __enter__(self):
        container.possible()
        self.folder.chmod(0o755)
        try:
            self.servers = stand.Servers(self.programs, self.folder)
            self.children.append(self.servers)
            provider = stand.Provider(self.programs, self.folder)
            self.children.append(provider)
            self.operator = stand.Operator(self.programs, self.folder, "", self.folder / "operator-token")
            self.traffic = stand.Traffic(self.operator, provider)
            file = self.folder / "values.json"
            file.write_text(json.dumps(values(self.servers.told)))
            given = secrets(self.servers.told, self.operator)
            objects = chart.loads(chart.render(3, ["-f", file], self.folder).stdout)
            self.world = World(objects, given, container.image(self.programs / "waybill"), self.folder, chart.NAMESPACE)
            self.operator.admin = self.world.of("control")[0].at("admin")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for pod in self.world.jobs + self.world.pods if self.world else []:
            pod.container.kill()
        for child in reversed(self.children):
            child.end()

    def jobs(self):
        """Hooks, in their order; done twice, as by an upgrade."""
        for job in [*self.world.jobs, *self.world.jobs]:
            job.container.complete(JOB_S)

    def start(self):
        """All pods at once, as Kubernetes starts them. A proxy is not ready as long as nobody has applied anything, and says so."""
        for pod in self.world.pods:
            pod.container.start()
        for pod in self.world.pods:
            pod.passes("startupProbe")
            pod.passes("livenessProbe")
        for pod in self.world.pods:
            if pod.role == "proxy":
                passes, said = pod.probe("readinessProbe")
                assert not passes and "no configuration yet" in said, f"{pod.name} without a configuration: {said}"
            else:
                pod.passes_within("readinessProbe", stand.PATIENCE_S)

    def bounds(self):
        """Nobody is root, can become it, or writes to the image."""
        for pod in self.world.pods:
            user, can_gain, capabilities = pod.container.bounds()
            if container.is_root():
                assert (user, capabilities) == (pod.spec["securityContext"]["runAsUser"], 0), f"{pod.name} runs as {user} with capabilities {capabilities:x}"
            assert not can_gain, f"{pod.name} can gain privileges"
            for line in Path(f"/proc/{pod.container.process.pid}/mountinfo").read_text().splitlines():
                path, options = line.split()[4:6]
                writable = {mount.path for mount in pod.container.mounts if mount.is_writable}
                if "rw" in options.split(",") and not path.startswith(("/proc", "/dev")):
                    assert path in writable, f"{pod.name} can write to {path}"

    def serve(self):
        """A configuration is applied by the command line, and a request is answered by each proxy and billed once."""
        self.traffic.begin()
        for proxy in self.world.of("proxy"):
            proxy.passes_within("readinessProbe", stand.PATIENCE_S)
            self.traffic.served(proxy.at("http"), proxy.name)
        self.traffic.billed()

    def end(self):
        """Each pod ends by itself on SIGTERM. A proxy says first that it is not ready, and serves on until load balancers have noticed."""
        for pod in sorted(self.world.pods, key=lambda pod: ["proxy", "billing", "control"].index(pod.role)):
            if pod.role == "proxy":
                pod.container.process.terminate()
                stand.eventually(f"{pod.name} not to be ready", lambda: not pod.probe("readinessProbe")[0], 3)
                assert pod.probe("livenessProbe")[0], f"{pod.name} does not live while it drains"
                assert self.traffic.ask(pod.at("http")) == 200, f"{pod.name} refuses requests before load balancers can know"
            pod.container.terminate(pod.grace_s)


def journey(report, live):
    """Each step needs the one before it; true when all were well."""
    steps = [("jobs", live.jobs), ("probes", live.start), ("restricted", live.bounds), ("a request and its bill", live.serve)]
    return all(report.check(f"rendered pods: {name}", COLUMN, step) for name, step in steps)
