"""What a kubelet makes of rendered objects: each pod's command, environment, files and probes, as containers on this machine."""

import re
import time
import urllib.error
import urllib.request

import container
import policy

# Where nothing is written down: the defaults of Kubernetes.
PERIOD_S, TIMEOUT_S, FAILURES = 10, 1, 3


class Pod:
    """One pod of a rendered object, as a container that can be started and probed."""

    def __init__(self, world, owner, template, name):
        self.name, self.owner, self.address = name, owner, world.addresses.take()
        self.labels, self.spec = template["metadata"]["labels"], template["spec"]
        self.role, self.grace_s = policy.role_of(self.labels), self.spec.get("terminationGracePeriodSeconds", 30)
        (self.described,) = self.spec["containers"]
        self.world, self.container = world, None

    def make(self):
        """Its container. The addresses of all pods must be known: they are what names lead to."""
        world, described = self.world, self.described
        folder = world.folder / self.name
        security = self.spec["securityContext"]
        # What is put into its files is in place before it starts.
        volumes = {volume["name"]: self.volume(volume) for volume in self.volumes()}
        mounts = [container.Mount(*volumes[mount["name"]][:1], mount["mountPath"], volumes[mount["name"]][1] and not mount.get("readOnly")) for mount in described.get("volumeMounts", [])]
        environment = self.environment()
        image = world.image._replace(entrypoint=described.get("command", world.image.entrypoint))
        command = [expanded(word, environment) for word in described.get("args", world.image.command)]
        self.container = container.Container(self.name, image, command, environment, mounts, world.hosts(), folder / "container", (security["runAsUser"], security["runAsGroup"]))
        return self.container

    def volumes(self):
        claims = [{"name": claim["metadata"]["name"], "persistentVolumeClaim": {}} for claim in self.owner["spec"].get("volumeClaimTemplates", [])]
        return self.spec.get("volumes", []) + claims

    def volume_folder(self, name):
        return self.world.folder / self.name / "volumes" / name

    def volume(self, volume):
        """(folder with its files, whether they can be written). Secrets and ConfigMaps are links into a folder that is replaced whole, as a kubelet's are."""
        user, place = (0, self.spec["securityContext"]["fsGroup"]), self.volume_folder(volume["name"])
        place.mkdir(parents=True)
        if "emptyDir" in volume or "persistentVolumeClaim" in volume:
            container.own(place, user, 0o2775)
            return place, True
        if "configMap" in volume:
            files, mode = self.world.config_map(volume["configMap"]["name"]), volume["configMap"].get("defaultMode", 0o644)
        else:
            files, mode = self.world.secret(volume["secret"]["secretName"]), volume["secret"].get("defaultMode", 0o644)
        data = place / "..2026_01_01"
        data.mkdir()
        for name, text in files.items():
            (data / name).write_text(text)
            container.own(data / name, user, mode)
            (place / name).symlink_to(f"..data/{name}")
        (place / "..data").symlink_to(data.name)
        return place, False

    def environment(self):
        """Variables in their order: each may name those before it."""
        known = {}
        for source in self.described.get("envFrom", []):
            (kind, reference), = ((kind, source[kind]) for kind in ("secretRef", "configMapRef") if kind in source)
            given = self.world.secret(reference["name"]) if kind == "secretRef" else self.world.config_map(reference["name"])
            known.update({source.get("prefix", "") + name: text for name, text in given.items()})
        for entry in self.described.get("env", []):
            known[entry["name"]] = self.value_from(entry["valueFrom"]) if "valueFrom" in entry else expanded(entry.get("value", ""), known)
        return known

    def value_from(self, source):
        if "fieldRef" in source:
            return {"metadata.name": self.name, "metadata.namespace": self.world.namespace, "status.podIP": self.address}[source["fieldRef"]["fieldPath"]]
        if "secretKeyRef" in source:
            return self.world.secret(source["secretKeyRef"]["name"])[source["secretKeyRef"]["key"]]
        return self.world.config_map(source["configMapKeyRef"]["name"])[source["configMapKeyRef"]["key"]]

    def port(self, name):
        return next(port["containerPort"] for port in self.described["ports"] if port["name"] == name)

    def at(self, port):
        return f"{self.address}:{self.port(port)}"

    def probe(self, kind):
        """(whether it passes, what it says), asked once as the probe is written."""
        probe = self.described[kind]
        return asked(f"http://{self.at(probe['httpGet']['port'])}{probe['httpGet']['path']}", probe.get("timeoutSeconds", TIMEOUT_S))

    def passes(self, kind):
        """Waits until a probe passes, no longer than a kubelet would."""
        probe = self.described[kind]
        limit = probe.get("periodSeconds", PERIOD_S) * probe.get("failureThreshold", FAILURES)
        self.passes_within(kind, limit)

    def passes_within(self, kind, limit_s):
        end, said = time.monotonic() + limit_s, ""
        while time.monotonic() < end:
            self.container.still_runs()
            passed, said = self.probe(kind)
            if passed:
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.name}: its {kind} does not pass within {limit_s} s: {said}; it printed {self.container.printed()[-800:]}")


def asked(url, timeout_s):
    try:
        answer = urllib.request.urlopen(url, timeout=timeout_s)
        return 200 <= answer.status < 400, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return False, refusal.read().decode()
    except OSError as fault:
        return False, str(fault)


def expanded(text, known):
    """`$(NAME)` of a name that is known; `$$` is one `$`."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda found: "$" if found[0] == "$$" else known.get(found[1], found[0]), text)


class World:
    """What pods see of a cluster: ConfigMaps, Secrets, and names that lead to pods."""

    def __init__(self, objects, secrets, image, folder, namespace):
        self.objects, self.secrets, self.image = objects, secrets, image
        self.folder, self.namespace, self.addresses = folder, namespace, container.Addresses()
        self.pods = []
        self.jobs = []
        for owner, template in policy.pods(objects):
            name = owner["metadata"]["name"]
            if owner["kind"] == "Job":
                self.jobs.append(Pod(self, owner, template, f"{name}-x7k2p"))
                continue
            for number in range(owner["spec"]["replicas"]):
                self.pods.append(Pod(self, owner, template, f"{name}-{number}" if owner["kind"] == "StatefulSet" else f"{name}-6c9d8f7b5-{number:05}"))
        # Hooks run by their weight, then by their name.
        self.jobs.sort(key=lambda job: (int(job.owner["metadata"]["annotations"].get("helm.sh/hook-weight", "0")), job.name))
        for pod in self.jobs + self.pods:
            pod.make()

    def of(self, role):
        return [pod for pod in self.pods if pod.role == role]

    def object(self, kind, name):
        return next(thing for thing in self.objects if thing["kind"] == kind and thing["metadata"]["name"] == name)

    def config_map(self, name):
        return self.object("ConfigMap", name)["data"]

    def secret(self, name):
        return self.secrets[name]

    def hosts(self):
        """Names of Services without an address of their own: all pods that they select."""
        headless = [thing for thing in self.objects if thing["kind"] == "Service" and thing["spec"].get("clusterIP") == "None"]
        return {service["metadata"]["name"]: [pod.address for pod in self.pods if service["spec"]["selector"].items() <= pod.labels.items()] for service in headless}
