"""Alerts and dashboards against the real Prometheus: promtool on the rules, and a Prometheus that reads the metrics of the pods that run."""

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import alerts
import chart
import cluster
import stand
import tools

COLUMN = "Prometheus"
SCRAPE_S = 1
# A range with several scrapes in it, in place of the one that Grafana chooses.
RANGE = "10s"


def promtool(*arguments):
    try:
        tools.run([tools.server("prometheus")["control"], *map(str, arguments)])
    except tools.Missing as fault:
        raise AssertionError(str(fault)) from None


def dashboards():
    """(title, expression) of every panel of every dashboard."""
    for file in sorted((chart.CHART / "files" / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{file.name}: {panel['title']}", target["expr"].replace("$__rate_interval", RANGE)


def rules(report, folder):
    """What needs no process of ours."""
    report.check("alerts: promtool check rules", COLUMN, lambda: promtool("check", "rules", alerts.RULES))

    def test():
        file = folder / "alerts.json"
        file.write_text(alerts.tests())
        promtool("test", "rules", file)

    report.check(f"alerts: each fires, and stays silent ({len(alerts.ROWS)} rows)", COLUMN, test)


class Prometheus:
    """A server that reads these targets, (job, address) each."""

    def __init__(self, folder, targets):
        self.port, self.folder = cluster.free_ports(1)[0], folder / "prometheus"
        self.folder.mkdir()
        jobs = {job: [address for of, address in targets if of == job] for job, _ in targets}
        configuration = {
            "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
            "rule_files": [str(alerts.RULES)],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in jobs.items()],
        }
        (self.folder / "prometheus.json").write_text(json.dumps(configuration))
        command = [tools.server("prometheus")["server"], f"--config.file={self.folder / 'prometheus.json'}", f"--storage.tsdb.path={self.folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.log = self.folder / "log"
        self.process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, path, **query):
        """The data of an answer; an expression that does not parse is a failure."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            if refusal.code == 503:  # it starts
                return None
            raise AssertionError(f"{query or path}: {refusal.read().decode()[:300]}") from None
        except OSError:
            assert self.process.poll() is None, f"Prometheus ended: {self.log.read_text()[-600:]}"
            return None

    def has_read(self, scrapes):
        """Waits until every target was read so often."""
        stand.eventually("every target to be read", lambda: self.least(scrapes))

    def least(self, scrapes):
        targets = (self.ask("targets") or {}).get("activeTargets", [])
        faults = [target["lastError"] for target in targets if target["lastError"]]
        assert not faults, f"a target's metrics cannot be read: {faults}"
        counted = self.ask("query", query=f"min(count_over_time(up[{RANGE}]))") if targets else None
        return bool(counted and counted["result"] and float(counted["result"][0]["value"][1]) >= scrapes)


def live(report, cluster_of_pods, folder):
    """A Prometheus that reads every pod; then each expression is asked."""
    targets = [(pod.role, pod.at("ops")) for pod in cluster_of_pods.world.pods]
    with Prometheus(folder, targets) as prometheus:
        if not report.check("every pod's metrics are read", COLUMN, lambda: prometheus.has_read(5)):
            return
        names = set(prometheus.ask("label/__name__/values"))
        asked = [(f"alert {name}", rule["expr"]) for name, rule in alerts.rules().items()] + list(dashboards())

        def expressions():
            for what, expression in asked:
                prometheus.ask("query", query=expression)
                unknown = set(re.findall(r"\bwaybill_\w+", expression)) - names
                assert not unknown, f"{what}: nobody tells {sorted(unknown)}"

        def panels():
            for what, expression in dashboards():
                assert prometheus.ask("query", query=expression)["result"], f"{what}: `{expression}` shows nothing"

        def silent():
            firing = [alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"]]
            assert not firing, f"alerts of a cluster that is well: {firing}"
            known = {rule["name"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"] if rule["health"] == "ok"}
            assert known == set(alerts.rules()), f"rules that Prometheus cannot evaluate: {set(alerts.rules()) - known}"

        report.check(f"each expression names what is told ({len(asked)})", COLUMN, expressions)
        report.check("each panel shows something", COLUMN, panels)
        report.check("no alert on a cluster that is well", COLUMN, silent)
