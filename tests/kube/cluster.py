"""A real Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler, and one node that kwok plays. No container runs."""

import contextlib
import json
import os
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import tools

READY_S = 120


def free_ports(count):
    """Ports that were free a moment ago, each once."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """Started by `with`; ends all that it started."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.children = []
        self.token = secrets.token_hex(16)
        self.client, self.peer, self.api, self.manager, self.scheduler, self.kwok = free_ports(6)
        self.kubeconfig = self.folder / "kubeconfig"

    def __enter__(self):
        try:
            self.certificates()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.terminate()
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
                continue
            child.kill()
            child.wait()

    def openssl(self, *arguments):
        tools.run(["openssl", *arguments], cwd=self.folder)

    def certificates(self):
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self.openssl("req", "-x509", *curve, "-days", "30", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=kube-ca", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=kube-apiserver")
        (self.folder / "server.ext").write_text("basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self.openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "server.ext", "-out", "server.crt")
        self.openssl("genrsa", "-out", "accounts.key", "2048")
        (self.folder / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")
        server = f"https://127.0.0.1:{self.api}"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": str(self.folder / "ca.crt")}}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        }))

    def run(self, name, *command):
        log = open(self.folder / f"{name}.log", "wb")
        self.children.append(subprocess.Popen([str(word) for word in command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def ready(self, name, url):
        context = ssl._create_unverified_context()
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token}"})
        for _ in range(READY_S * 10):
            if self.children[-1].poll() is not None:
                break
            with contextlib.suppress(urllib.error.URLError, OSError):
                if urllib.request.urlopen(request, timeout=2, context=context).status == 200:
                    return
            time.sleep(0.1)
        tail = (self.folder / f"{name}.log").read_text(errors="replace")[-600:]
        raise AssertionError(f"{name} is not ready: {tail}")

    def start(self):
        here, kube = "127.0.0.1", tools.kube()
        client, peer = f"http://{here}:{self.client}", f"http://{here}:{self.peer}"
        self.run("etcd", tools.server("etcd")["server"], "--name", "n0", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync", "--log-level", "warn", "--listen-client-urls", client, "--advertise-client-urls", client,
                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"n0={peer}")
        self.ready("etcd", f"{client}/readyz")
        self.run("apiserver", kube, "apiserver", "--etcd-servers", client, "--bind-address", here, "--secure-port", self.api, "--tls-cert-file", "server.crt", "--tls-private-key-file", "server.key",
                 "--client-ca-file", "ca.crt", "--token-auth-file", "tokens.csv", "--anonymous-auth=false", "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.96.0.0/16",
                 "--endpoint-reconciler-type", "none", "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", "accounts.key", "--service-account-signing-key-file", "accounts.key")
        self.ready("apiserver", f"https://{here}:{self.api}/readyz")
        self.run("manager", kube, "controller-manager", "--kubeconfig", self.kubeconfig, "--leader-elect=false", "--bind-address", here, "--secure-port", self.manager,
                 "--cert-dir", self.folder / "manager", "--service-account-private-key-file", "accounts.key", "--root-ca-file", "ca.crt")
        self.ready("manager", f"https://{here}:{self.manager}/healthz")
        self.run("scheduler", kube, "scheduler", "--kubeconfig", self.kubeconfig, "--leader-elect=false", "--bind-address", here, "--secure-port", self.scheduler, "--cert-dir", self.folder / "scheduler")
        self.ready("scheduler", f"https://{here}:{self.scheduler}/readyz")
        self.ready("apiserver", f"https://{here}:{self.api}/api/v1/namespaces/default/serviceaccounts/default")
        stages = self.folder / "stages.yaml"
        stages.write_text(tools.stages())
        program = next(tools.path_of(tool) for tool in tools.GO if tool.name == "kwok")
        self.run("kwok", program, "--config", stages, "--kubeconfig", self.kubeconfig, "--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
                 "--node-lease-duration-seconds", "40", "--server-address", f"{here}:{self.kwok}", "--node-ip", here, "--cidr", "10.244.0.1/16")
        self.ready("kwok", f"http://{here}:{self.kwok}/readyz")
        for number in range(3):
            self.apply({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": f"fake-{number}", "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"kubernetes.io/hostname": f"fake-{number}", "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": f"z{number}"}},
                "status": {"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"}, "capacity": {"cpu": "32", "memory": "256Gi", "pods": "110"}},
            })

    def kubectl(self, *arguments, given=None, check=True):
        environment = {"HOME": str(self.folder), "PATH": os.environ["PATH"], "KUBECONFIG": str(self.kubeconfig)}
        ended = subprocess.run([tools.kube(), "kubectl", *arguments], input=given, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check and ended.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments[:3])}: {ended.stderr.strip()[-600:]}")
        return ended

    def apply(self, thing):
        self.kubectl("apply", "-f", "-", given=json.dumps(thing))

    def get(self, *arguments):
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def wait(self, what, happened):
        for _ in range(READY_S * 5):
            if happened():
                return
            time.sleep(0.2)
        raise AssertionError(f"{what} did not happen within {READY_S} s")
