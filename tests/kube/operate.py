"""The commands of `deploy/docs/operate.md`, each run on the cluster of containers: a command that stands there and is not tried here fails the suite."""

import http.client
import json
import re
import shlex
import shutil
import threading
from pathlib import Path

import container
import stand

COLUMN = "operate.md"
PAGE = container.ROOT / "deploy" / "docs" / "operate.md"
# A request that takes ten seconds, so that its proxy can die in the middle of it.
SLOW, SLOW_AT_PROVIDER = "sandbox/slow", "sandbox/stream-200x50ms"


def commands():
    """Every command of the page, in lines of their own and within sentences."""
    text = PAGE.read_text()
    lines = [line.split("  #")[0].strip() for line in re.findall(r"^    (waybill .*)$", text, flags=re.M)]
    return list(dict.fromkeys(lines + re.findall(r"`(waybill \S[^`]*)`", text.replace("\n", " "))))


class Tried:
    """What the page's names stand for on this cluster, and in which order its commands make sense."""

    def __init__(self, live):
        self.live, self.operator, self.folder = live, live.operator, live.folder
        self.mortal = live.world.of("proxy")[1]
        told = live.servers.told
        for name, path in told["etcd"]["tls"].items():
            shutil.copy(path, self.folder / name)
        (self.folder / "password").write_text(told["postgres"]["password"])
        (self.folder / "etcd-password").write_text(told["etcd"]["password"])
        # An operator's own way of knowing these: variables.
        self.variables = {
            "WAYBILL_ETCD_CERT_FILE": "tls.crt", "WAYBILL_ETCD_KEY_FILE": "tls.key", "WAYBILL_ETCD_USERNAME": told["etcd"]["user"], "WAYBILL_ETCD_PASSWORD_FILE": "etcd-password",
            "WAYBILL_POSTGRES_PASSWORD_FILE": "password", "WAYBILL_KAFKA_BROKERS": told["kafka"]["brokers"],
        }
        postgres = told["postgres"]
        ledger = f"postgres://{postgres['user']}@{postgres['address']}/{postgres['database']}"
        self.names = {
            "etcds://etcd-0:2379,etcd-1:2379": "etcds://" + ",".join(told["etcd"]["addresses"]),
            "postgres://waybill@db:5432/waybill": ledger, "URL": ledger, "NAME": "somebody", "TEXT": "a test of the page", "USD": "0.25",
        }
        self.tried = {}

    def run(self, command, code=0, **names):
        """Runs a command of the page as it stands there, but for names; remembers that it was tried."""
        known = {**self.names, **names}
        words = [known.get(word, word) for word in shlex.split(command)[1:]]
        ended = self.operator.run(*words, check=False, more=self.variables)
        assert ended.returncode == code, f"`{command}` ended with {ended.returncode}: {ended.stdout[-300:]}{ended.stderr[-500:]}"
        self.tried[command] = True
        return ended.stdout

    def everyday(self):
        self.run("waybill migrate --store etcds://etcd-0:2379,etcd-1:2379 --etcd-ca-file ca.crt --ledger postgres://waybill@db:5432/waybill --postgres-password-file password")
        assert "applied by 2 of 2 proxies" in self.run("waybill status")
        self.run("waybill health")
        generation, _ = self.live.traffic.answered[0]
        assert "chat@sandbox" in self.run("waybill explain ID", ID=generation)
        assert self.run("waybill probe HOST:PORT", **{"HOST:PORT": self.live.world.of("proxy")[0].at("ops")}).strip() == "ready"
        assert self.run("waybill ledger verify").strip().endswith("everything agrees")
        self.run("waybill ledger quarantine")
        assert re.fullmatch("[0-9a-f]{16,}", self.run("waybill secrets fingerprint pepper").strip())

    def backups(self):
        made = self.run("waybill backup --store etcds://etcd-0:2379,etcd-1:2379 --etcd-ca-file ca.crt -o waybill.backup")
        digest = lambda said: re.search(r"[0-9a-f]{64}", said)[0]
        assert digest(self.run("waybill restore waybill.backup --store sqlite:new.db")) == digest(made), "what was brought back is not what was backed up"
        assert digest(self.run("waybill store copy --from sqlite:STATE/waybill.db --to etcds://…", **{"sqlite:STATE/waybill.db": "sqlite:new.db", "etcds://…": "sqlite:copy.db"})) == digest(made)

    def changes(self):
        change = lambda name: (self.folder / "change.yaml").write_text(json.dumps({"apiVersion": "waybill/v1", "kind": "Model", "metadata": {"name": "sandbox/chat"}, "spec": {
            "displayName": name, "contextWindow": 131072, "maxOutput": 8192, "inputModalities": ["text"], "outputModalities": ["text"]}}))
        change("First")
        assert "displayName" in self.run("waybill apply -f change.yaml --dry-run")
        self.run("waybill apply -f change.yaml --wait")
        change("Second")
        # The time of the page is for people: a shorter one leads through the same steps.
        self.run("waybill apply -f change.yaml --rollout --bake 30s --wait", **{"30s": "200ms"})
        change("Third")
        self.operator.run("apply", "-f", "change.yaml", "--rollout", "--bake", "1h")
        self.run("waybill rollout list")
        rollouts = json.loads(self.operator.run("rollout", "list", "-o", "json").stdout)
        identity = next(value for value in re.findall(r'"(?:id|rolloutId)": "([^"]+)"', json.dumps(rollouts)))
        self.run("waybill rollout halt ID --reason TEXT", ID=identity)
        stand.eventually("the change to be taken back", lambda: "Second" in self.operator.run("get", "model", "sandbox/chat").stdout)

    def orphan(self):
        """A proxy dies in the middle of a request and comes back: nobody saw the end of an attempt."""
        proxy = self.mortal
        asked = threading.Thread(target=self.lost, args=(proxy,), daemon=True)
        asked.start()
        stand.eventually("the request at its provider", lambda: self.live.traffic.provider.was_asked(SLOW_AT_PROVIDER))
        proxy.container.kill()
        asked.join()
        self.again(proxy)
        rows = stand.eventually("an orphan", lambda: json.loads(self.operator.run("ledger", "show", "--kind", "orphaned", "-o", "json").stdout))
        attempt = stand.attempt_id(rows[0]["event"]["attempt"]["attemptId"])
        self.run("waybill ledger adjust ATTEMPT --amount USD --operator NAME --reason TEXT", ATTEMPT=attempt)

    def loss(self):
        """It dies again, after it has told of its logs, and its spool is lost: a log has no end."""
        self.mortal.container.kill()
        shutil.rmtree(self.mortal.volume_folder("state") / "spool")
        self.again(self.mortal)

    def again(self, proxy):
        proxy.container.start()
        proxy.passes_within("readinessProbe", stand.PATIENCE_S)

    def gap(self):
        log = stand.eventually("a log without an end", lambda: re.search(r"^([0-9a-f]{16}) ", self.run("waybill ledger gaps"), flags=re.M))[1]
        self.run("waybill ledger write-off LOG --operator NAME --reason TEXT", LOG=log)
        assert log not in self.run("waybill ledger gaps"), "what was written off is still missing"

    def partitions(self):
        assert "READ TO" in self.run("waybill kafka offsets --ledger URL")
        # No partition waits for a decision here, and then there is none to take.
        self.run("waybill kafka reset --partition N --to earliest --operator NAME --reason TEXT --ledger URL", code=1, N="0")
        assert "a test of the page" not in self.run("waybill kafka offsets --ledger URL")

    def lost(self, proxy):
        try:
            stand.chat(proxy.at("http"), self.live.traffic.key, SLOW, stream=True)
        except (OSError, http.client.HTTPException, ValueError):
            pass  # its proxy was killed

    def all(self):
        # A sentence may name a command without its arguments.
        missing = [command for command in commands() if command not in self.tried and not any(tried.startswith(f"{command} ") for tried in self.tried)]
        assert not missing, f"stand on the page and were not tried: {missing}"
        unknown = set(self.tried) - set(commands())
        assert not unknown, f"were tried and do not stand on the page: {sorted(unknown)}"


def check(report, live, meanwhile):
    """`meanwhile` is done while a proxy has the time to tell of its logs: ten seconds. What is missing is a gap after half a minute."""
    tried = Tried(live)
    if report.check("operate.md: every day", COLUMN, tried.everyday) and report.check("operate.md: an orphan", COLUMN, tried.orphan):
        meanwhile()
        steps = [("a loss", tried.loss), ("backups", tried.backups), ("changes", tried.changes), ("a gap", tried.gap), ("partitions", tried.partitions), ("nothing else stands there", tried.all)]
        all(report.check(f"operate.md: {name}", COLUMN, step) for name, step in steps)
