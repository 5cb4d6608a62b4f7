"""What every rendered object must be, whatever the values: functions from all objects of a rendering to the faults they have."""

import chart

# What a role may mount: a proxy has no way to the databases, billing none to the configuration.
MOUNTS = {
    "control": {"tls", "pepper", "operator", "etcd", "etcd-password", "ledger", "ledger-ca"},
    "proxy": {"tls", "pepper", "kafka", "kafka-password"},
    "billing": {"ledger", "ledger-ca", "kafka", "kafka-password"},
    "migrate": {"etcd", "etcd-password", "ledger", "ledger-ca"},
    "kafka-init": {"kafka", "kafka-password"},
}
# The servers that a role may reach, by what its settings name.
STORE, LEDGER, KAFKA, CONTROL, PROVIDERS, NAMES = {2379}, {5432}, {9092, 9093}, {7071}, {443}, {53}
REACH = {"control": [CONTROL, STORE, LEDGER], "proxy": [CONTROL, PROVIDERS, KAFKA], "billing": [KAFKA, LEDGER], "migrate": [STORE, LEDGER], "kafka-init": [KAFKA]}


def name(thing):
    return f"{thing['kind']} {thing['metadata']['name']}"


def pods(objects):
    """(owner, pod template) of everything that makes pods."""
    for thing in objects:
        if thing["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield thing, thing["spec"]["template"]


def role_of(labels):
    return labels.get("app.kubernetes.io/component")


def settings_of(objects, pod):
    """The file of settings that a pod's process reads."""
    mounted = next(volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if volume["name"] == "settings")
    return chart.loads(next(thing for thing in objects if thing["kind"] == "ConfigMap" and thing["metadata"]["name"] == mounted)["data"]["settings.yaml"])[0]


def restricted(objects):
    """The restricted pod-security standard, container by container."""
    for owner, pod in pods(objects):
        spec = pod["spec"]
        security = spec.get("securityContext", {})
        if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
            yield f"{name(owner)}: may run as root"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name(owner)}: no seccomp profile"
        if any(spec.get(word) for word in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")):
            yield f"{name(owner)}: shares the host's namespaces"
        if any("hostPath" in volume for volume in spec.get("volumes", [])):
            yield f"{name(owner)}: mounts the host's disk"
        for container in spec["containers"] + spec.get("initContainers", []):
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{name(owner)}/{container['name']}: may gain privileges"
            if own.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{name(owner)}/{container['name']}: keeps capabilities"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{name(owner)}/{container['name']}: may write to its image"


def no_rights(objects):
    """Nobody talks to the Kubernetes API."""
    for thing in objects:
        if thing["kind"] in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"):
            yield f"{name(thing)}: a right that nobody needs"
        if thing["kind"] == "ServiceAccount" and thing.get("automountServiceAccountToken") is not False:
            yield f"{name(thing)}: its token is mounted"
    accounts = {thing["metadata"]["name"] for thing in objects if thing["kind"] == "ServiceAccount"}
    for owner, pod in pods(objects):
        if pod["spec"].get("automountServiceAccountToken") is not False:
            yield f"{name(owner)}: a token is mounted"
        if pod["spec"].get("serviceAccountName") not in accounts:
            yield f"{name(owner)}: uses the ServiceAccount {pod['spec'].get('serviceAccountName')}, which is not there"


def secrets(objects):
    """Secrets come by reference, and each role mounts only its own."""
    for thing in objects:
        if thing["kind"] == "Secret":
            yield f"{name(thing)}: the chart makes a Secret"
    for owner, pod in pods(objects):
        role = role_of(pod["metadata"]["labels"])
        mounted = {volume["name"] for volume in pod["spec"].get("volumes", []) if "secret" in volume}
        for other in sorted(mounted - MOUNTS[role]):
            yield f"{name(owner)}: {role} mounts {other}"
        for volume in pod["spec"].get("volumes", []):
            if "secret" in volume and not volume["secret"].get("secretName"):
                yield f"{name(owner)}: volume {volume['name']} names no Secret"
        names = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        names |= {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
        for container in pod["spec"]["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in names:
                    yield f"{name(owner)}: mounts {mount['name']}, which is no volume"


def probes(objects):
    """What serves is probed at its ops listener, and what is asked for has a bound."""
    for owner, pod in pods(objects):
        for container in pod["spec"]["containers"]:
            limits = container.get("resources", {})
            if not limits.get("requests") or "memory" not in limits.get("limits", {}):
                yield f"{name(owner)}/{container['name']}: no requests, or no bound of memory"
            if owner["kind"] == "Job":
                continue
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            for probe, path in (("livenessProbe", "/healthz"), ("startupProbe", "/healthz"), ("readinessProbe", "/readyz")):
                get = container.get(probe, {}).get("httpGet", {})
                if get.get("path") != path or get.get("port") not in ports:
                    yield f"{name(owner)}/{container['name']}: {probe} does not ask {path}"


def selectors(objects):
    """Services, budgets and policies select pods that there are; selectors say the release."""
    labels = [pod["metadata"]["labels"] for _, pod in pods(objects)]
    for thing in objects:
        if thing["kind"] == "Service":
            chosen = thing["spec"]["selector"]
        elif thing["kind"] == "PodDisruptionBudget":
            chosen = thing["spec"]["selector"]["matchLabels"]
        elif thing["kind"] == "NetworkPolicy":
            chosen = thing["spec"]["podSelector"]["matchLabels"]
        elif thing["kind"] in ("Deployment", "StatefulSet"):
            chosen = thing["spec"]["selector"]["matchLabels"]
        else:
            continue
        if "app.kubernetes.io/instance" not in chosen:
            yield f"{name(thing)}: selects pods of other releases"
        if not any(chosen.items() <= those.items() for those in labels):
            yield f"{name(thing)}: selects no pod"
        ports = {port["name"] for _, pod in pods(objects) for port in pod["spec"]["containers"][0].get("ports", []) if chosen.items() <= pod["metadata"]["labels"].items()}
        for port in thing["spec"].get("ports", []) if thing["kind"] == "Service" else []:
            if port["targetPort"] not in ports:
                yield f"{name(thing)}: port {port['targetPort']} is none of its pods'"


def network(objects):
    """Where there are policies, every role has one, for both directions; each server it needs is a rule of its own, so that who may be reached there can be
    bounded for it alone; and nothing else is open."""
    policies = [thing for thing in objects if thing["kind"] == "NetworkPolicy"]
    if not policies:
        return
    bounded = {role_of(policy["spec"]["podSelector"]["matchLabels"]) for policy in policies}
    for owner, pod in pods(objects):
        if role_of(pod["metadata"]["labels"]) not in bounded:
            yield f"{name(owner)}: no NetworkPolicy"
        if owner["kind"] == "Job" and pod["spec"].get("containers")[0].get("ports"):
            yield f"{name(owner)}: a job that serves"
    hooks = {role_of(pod["metadata"]["labels"]) for owner, pod in pods(objects) if owner["kind"] == "Job"}
    for policy in policies:
        if set(policy["spec"].get("policyTypes", [])) != {"Ingress", "Egress"}:
            yield f"{name(policy)}: leaves a direction open"
        role = role_of(policy["spec"]["podSelector"]["matchLabels"])
        opened = [{port["port"] for port in rule.get("ports", [])} for rule in policy["spec"].get("egress", [])]
        for ports in opened:
            if ports not in [NAMES, *REACH[role]]:
                yield f"{name(policy)}: {role} may reach {sorted(ports) or 'everything'}"
        for ports in (CONTROL if role == "proxy" else set(), STORE if role in ("control", "migrate") else set(), LEDGER if role in ("control", "billing", "migrate") else set()):
            if ports and ports not in opened:
                yield f"{name(policy)}: {role} does not reach {sorted(ports)}"
        if role in hooks:
            weight = int(policy["metadata"].get("annotations", {}).get("helm.sh/hook-weight", "0"))
            if weight >= 0:
                yield f"{name(policy)}: comes after the job that it bounds"
            if policy["spec"].get("ingress"):
                yield f"{name(policy)}: somebody may call a job"


def availability(objects):
    """Nothing is a single point of failure as it comes, and an eviction is held back."""
    budgets = [thing["spec"]["selector"]["matchLabels"] for thing in objects if thing["kind"] == "PodDisruptionBudget"]
    for owner, pod in pods(objects):
        if owner["kind"] == "Job":
            continue
        labels, spec = pod["metadata"]["labels"], pod["spec"]
        if owner["spec"].get("replicas", 2) > 1 and not any(budget.items() <= labels.items() for budget in budgets):
            yield f"{name(owner)}: no PodDisruptionBudget"
        if not spec.get("affinity"):
            yield f"{name(owner)}: its pods may all land on one node"
        if role_of(labels) == "proxy":
            settings = settings_of(objects, pod)
            waits = settings.get("drain", {}).get("delay", "0s")
            # The waiting, the requests under way (30 s), the spool (60 s).
            if int(waits.rstrip("s")) == 0 or int(waits.rstrip("s")) + 30 + 60 >= spec["terminationGracePeriodSeconds"]:
                yield f"{name(owner)}: load balancers do not notice its end, or it is killed before it has drained"


def money(objects):
    """A persistent spool has a volume that outlives its pod; an ephemeral one says that it has none."""
    for owner, pod in pods(objects):
        if role_of(pod["metadata"]["labels"]) != "proxy":
            continue
        claims = owner["spec"].get("volumeClaimTemplates", [])
        if owner["kind"] == "StatefulSet":
            if not claims or owner["spec"].get("persistentVolumeClaimRetentionPolicy", {}).get("whenDeleted") != "Retain":
                yield f"{name(owner)}: its spools die with it"
        elif claims:
            yield f"{name(owner)}: a Deployment with claims"


ALL = [restricted, no_rights, secrets, probes, selectors, network, availability, money]
