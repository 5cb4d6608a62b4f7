"""The chart on a real API server, by both helms: installed, upgraded, rolled back, taken away; a drain held back; every pod under the restricted level."""

import json
import os
import re
import subprocess

import chart
import tools
from cluster import READY_S, Cluster

WAIT = ["--wait", "--timeout", "180s"]
README = chart.CHART / "README.md"
# What the README's commands take as given: an operator's own files.
FILES = ["PASSWORD-FILE", "ca.crt", "control.crt", "control.key", "proxy.crt", "proxy.key"]
# Without containers nobody listens: these are tried on the containers of this machine.
ELSEWHERE = ("port-forward", "waybill apply")


def prepare(cluster, namespace):
    """A namespace that takes restricted pods only, and volumes for the StatefulSet's claims."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    for number in range(4):
        cluster.apply({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{namespace}-{number}"},
            "spec": {"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": namespace, "hostPath": {"path": "/nowhere"}, "persistentVolumeReclaimPolicy": "Retain"},
        })


def as_the_readme_says(cluster, version, namespace, programs):
    """Runs the README's commands for an installation, as they stand there but for the namespace."""
    folder = cluster.folder / namespace
    (folder / "bin").mkdir(parents=True)
    helm_program = next(tools.path_of(tool) for tool in tools.GO if tool.name == f"helm-{version}")
    for name, words in {"kubectl": f"{tools.kube()} kubectl", "helm": helm_program, "waybill": programs.resolve() / "waybill"}.items():
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    for name in FILES:
        (folder / name).write_text("x")
    (folder / "deploy").symlink_to(chart.ROOT / "deploy")
    given = chart.loads((chart.CHART / "ci" / "minimal.yaml").read_text())[0]
    (folder / "values.yaml").write_text(json.dumps({**given, "proxy": {"spool": {"storageClass": namespace}}}))
    environment = {"HOME": str(folder), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "KUBECONFIG": str(cluster.kubeconfig)}
    commands = [line for line in re.findall(r"^    ((?:kubectl|waybill|helm) .*)$", README.read_text(), flags=re.M) if not any(word in line for word in ELSEWHERE)]
    assert any(line.startswith("helm install") for line in commands), "the README does not say how to install"
    for line in commands:
        line = line.replace("-n waybill", f"-n {namespace}").replace("create namespace waybill", f"get namespace {namespace}")
        ended = subprocess.run(["sh", "-c", line], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=READY_S)
        assert ended.returncode == 0, f"`{line}` ended with {ended.returncode}: {ended.stdout[-600:]}"


def helm(version, cluster, *arguments, check=True):
    program = next(tools.path_of(tool) for tool in tools.GO if tool.name == f"helm-{version}")
    environment = {"HOME": str(cluster.folder), "PATH": os.environ["PATH"], "KUBECONFIG": str(cluster.kubeconfig)}
    ended = subprocess.run([program, *map(str, arguments)], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and ended.returncode != 0:
        raise AssertionError(f"helm {version} {arguments[0]}: {ended.stderr.strip()[-800:]}")
    return ended


def ready_pods(cluster, namespace, role):
    pods = cluster.get("pods", "-n", namespace, "-l", f"app.kubernetes.io/component={role}")["items"]
    is_ready = lambda pod: any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    return [pod["metadata"]["name"] for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]


def expect(found, wanted, what):
    assert found == wanted, f"{what}: {found}, not {wanted}"


def journey(report, cluster, version, programs):
    """All of a release's life, by one helm; each step needs the one before it."""
    namespace, column = f"{chart.NAMESPACE}-{version}", f"helm {version}"
    values = ["-n", namespace, "-f", chart.CHART / "ci" / "minimal.yaml", "--set", f"proxy.spool.storageClass={namespace}"]
    upgraded = [*values, "--set", "proxy.replicas=4,kafka.brokers={k-0:9092}"]

    def revision(number, state):
        history = json.loads(helm(version, cluster, "history", chart.RELEASE, "-n", namespace, "-o", "json").stdout)
        expect((history[-1]["revision"], history[-1]["status"]), (number, state), "the release")

    def install():
        prepare(cluster, namespace)
        as_the_readme_says(cluster, version, namespace, programs)
        revision(1, "deployed")
        expect(len(ready_pods(cluster, namespace, "control")), 3, "ready control pods")
        expect(ready_pods(cluster, namespace, "proxy"), [f"wb-waybill-proxy-{n}" for n in range(3)], "ready proxies")
        expect([job["metadata"]["name"] for job in cluster.get("jobs", "-n", namespace)["items"]], [], "jobs left behind")

    def upgrade():
        helm(version, cluster, "upgrade", chart.RELEASE, chart.CHART, *upgraded, *WAIT)
        revision(2, "deployed")
        expect(len(ready_pods(cluster, namespace, "proxy")), 4, "ready proxies")
        expect(len(ready_pods(cluster, namespace, "billing")), 2, "ready billing pods")

    def rollback():
        helm(version, cluster, "rollback", chart.RELEASE, "1", "-n", namespace, *WAIT)
        revision(3, "deployed")
        cluster.wait("going back to three proxies", lambda: len(ready_pods(cluster, namespace, "proxy")) == 3)
        expect(len(cluster.get("pvc", "-n", namespace)["items"]), 4, "volumes, of which one belongs to a proxy that is gone")

    def drain():
        """While no node takes a pod: the first eviction is granted, the second waits until the first pod is back."""
        nodes = [f"fake-{number}" for number in range(3)]
        cluster.kubectl("cordon", *nodes)
        pods = ready_pods(cluster, namespace, "control")
        answers = []
        for pod in pods[:2]:
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
            ended = cluster.kubectl("create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", "-f", "-", given=json.dumps(eviction), check=False)
            answers.append("granted" if ended.returncode == 0 else "held back" if "disruption budget" in ended.stderr else ended.stderr[-200:])
        expect(answers, ["granted", "held back"], "evictions")
        cluster.kubectl("uncordon", *nodes)
        cluster.wait("coming back of the pod", lambda: len(ready_pods(cluster, namespace, "control")) == 3)

    def uninstall():
        helm(version, cluster, "uninstall", chart.RELEASE, "-n", namespace, "--wait", "--timeout", "120s")
        left = [thing["kind"] for thing in cluster.get("deployments,statefulsets,services,networkpolicies,poddisruptionbudgets", "-n", namespace)["items"]]
        expect(left, [], "what is left")
        expect(len(cluster.get("pvc", "-n", namespace)["items"]), 4, "volumes with spools that outlive the release")

    def ephemeral():
        helm(version, cluster, "install", "ep", chart.CHART, *values, "--set", "proxy.spool.mode=ephemeral,proxy.autoscaling.enabled=true", *WAIT)
        notes = helm(version, cluster, "get", "notes", "ep", "-n", namespace).stdout
        assert "never billed" in notes, "the notes do not say what an ephemeral spool gives up"
        expect(len(cluster.get("horizontalpodautoscalers", "-n", namespace)["items"]), 1, "autoscalers")
        helm(version, cluster, "uninstall", "ep", "-n", namespace, "--wait", "--timeout", "120s")

    for name, step in [("install", install), ("upgrade", upgrade), ("rollback", rollback), ("a drain is held back", drain), ("uninstall", uninstall), ("install ephemeral", ephemeral)]:
        if not report.check(f"on Kubernetes {tools.KUBERNETES}: {name}", column, step):
            break


def run(report, programs, folder):
    with Cluster(folder) as cluster:
        for version in (3, 4):
            journey(report, cluster, version, programs)
