"""The chart as it is rendered: over a matrix of values, by both helms, for several Kubernetes versions."""

import subprocess
import sys
from pathlib import Path

import tools

ROOT = tools.HERE.parent.parent
CHART = ROOT / "deploy" / "helm" / "waybill"
NAMESPACE = "waybill"
RELEASE = "wb"

# Name → arguments over `ci/minimal.yaml`. What differs in shape is a row; colours of one shape are not.
MATRIX = {
    "minimal": [],
    "full": ["-f", CHART / "ci" / "full.yaml"],
    "ephemeral": ["--set", "proxy.spool.mode=ephemeral"],
    "autoscaled": ["--set", "proxy.spool.mode=ephemeral,proxy.autoscaling.enabled=true"],
    "kafka": ["--set", "kafka.brokers={k-0:9092,k-1:9092}"],
    "kafka-own-topic": ["--set", "kafka.brokers={k-0:9092},kafka.init=false"],
    "monitored": ["--set", "monitoring.serviceMonitor.enabled=true,monitoring.rules.enabled=true,monitoring.dashboards.enabled=true"],
    "open-network": ["--set", "networkPolicy.enabled=false"],
    "bounded-network": ["--set", "kafka.brokers={k-0:9092}", "--set-json", 'networkPolicy.databases=[{"podSelector":{"matchLabels":{"app":"databases"}}}]'],
    "renamed": ["--set", "fullnameOverride=gateway,image.digest=sha256:" + "0" * 64],
    "one-of-each": ["--set", "control.replicas=1,proxy.replicas=1,control.disruptionBudget.enabled=false,proxy.disruptionBudget.enabled=false"],
}

# What must be refused, and the words that say why.
REFUSED = {
    "autoscaled-persistent": (["--set", "proxy.autoscaling.enabled=true"], "proxy.spool.mode"),
    "no-store": (["--set", "store.endpoints=null"], "store.endpoints"),
    "no-ledger": (["--set", "ledger.host="], "ledger.host"),
    "no-pepper": (["--set", "pepper.secret="], "pepper.secret"),
    "misspelt": (["--set", "proxy.replica=3"], "replica"),
    "wrong-type": (["--set", "proxy.replicas=three"], "replicas"),
    "wrong-mode": (["--set", "proxy.spool.mode=memory"], "mode"),
    "misspelt-setting": (["--set", "proxy.settings.lissten=0.0.0.0:80"], "lissten"),
}


def loads(text):
    """Objects of a YAML text."""
    try:
        import yaml
    except ImportError:
        folder = tools.TOOLS / "python"
        tools.run([sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), "PyYAML"])
        sys.path.insert(0, str(folder))
        import yaml
    return [document for document in yaml.safe_load_all(text) if document]


def helm(version, *arguments, home, check=True):
    program = next(tools.path_of(tool) for tool in tools.GO if tool.name == f"helm-{version}")
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "HELM_NO_PLUGINS": "1"}
    ended = subprocess.run([program, *map(str, arguments)], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and ended.returncode != 0:
        raise AssertionError(f"helm {version} {arguments[0]}: {ended.stderr.strip()[-800:]}")
    return ended


def render(version, arguments, home, kubernetes=tools.KUBERNETES, check=True):
    return helm(version, "template", RELEASE, CHART, "-n", NAMESPACE, "--kube-version", kubernetes, "-f", CHART / "ci" / "minimal.yaml", *arguments, home=home, check=check)


def lint(version, home):
    helm(version, "lint", "--strict", CHART, "-f", CHART / "ci" / "minimal.yaml", home=home)


def conform(text, kubernetes):
    """Held against the schemas of a Kubernetes version, strictly; kinds that are not Kubernetes' own (monitoring) are told apart by name."""
    location = str(tools.TOOLS / "schemas") + "/{{.NormalizedKubernetesVersion}}{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json"
    program = next(tools.path_of(tool) for tool in tools.GO if tool.name == "kubeconform")
    command = [program, "-strict", "-summary", "-kubernetes-version", kubernetes, "-schema-location", location, "-skip", "ServiceMonitor,PrometheusRule", "-"]
    ended = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise AssertionError(ended.stdout.strip()[-800:])
