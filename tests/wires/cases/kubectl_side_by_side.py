"""kubectl tells one story twice at once, on the real control plane and on `ekskit twin serve`: every command has to end
the same way, with the same words."""

import difflib
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import dropwhile, takewhile

import yaml

from harness.ekskit import Ekskit
from harness.place import program
from harness.process import Process

# What is not compared: that which differs between any two clusters, one line each.
HASH = "[bcdfghjklmnpqrstvwxz2456789]"
IGNORED = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| [+-]\d{4})", "TIME"),  # of the API, and of `diff`
    (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),  # of `describe`
    (r"\b\d+[smhd](\d+[smh])?\b", "AGE"),
    (r"\b\d{1,3}(\.\d{1,3}){3}\b", "IP"),
    (r'(resourceVersion: )"\d+"', r"\1RV"),
    (rf"\b([a-z]+)-{HASH}{{6,10}}(-{HASH}{{5}})?\b", r"\1-HASH"),  # replica sets and their pods
    (rf"(pod-template-hash[:=]\s*)\"?{HASH}{{6,10}}\"?", r"\1HASH"),
    (r"/tmp/\S*(LIVE|MERGED)-\d+", r"\1"),  # folders of `diff`
    (r"X509SHA256=\w+", "SHA256"),
    (r"(Successfully assigned \S+ to) \S+", r"\1 NODE"),  # of two that are alike
]
# And by kind of command:
# - of `describe`, the order of events and how often: by time to the second; of a node all but its conditions, of a
#   pod all but its events: kwok plays another kubelet
# - of `explain`, texts and values: only fields and types are compared
# - of `rollout status`, `drain` and `scale`, how often they say that they still wait
# - of `api-resources`, kinds that came with Kubernetes 1.36; the twin answers as 1.35
NEWER_KINDS = {"mutatingadmissionpolicies", "mutatingadmissionpolicybindings"}

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: story, labels: {app: api}}
spec:
  replicas: %(replicas)s
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
      - name: api
        image: registry.example/api:%(tag)s
        ports: [{containerPort: 8080}]
"""
MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: story}
data: {color: %s}
"""
BUDGET = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: story}
spec: {minAvailable: 3, selector: {matchLabels: {app: web}}}
"""
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bt]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns:
    - {name: Length, type: integer, jsonPath: .spec.length}
    - {name: Port, type: string, jsonPath: ".spec.ports[0].name", priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [length]
            properties:
              length: {type: integer, minimum: 1}
              ports: {type: array, items: {type: object, properties: {name: {type: string}}}}
"""
BOAT = """
apiVersion: example.com/v1
kind: Boat
metadata: {name: %s, namespace: story}
spec: {length: %s, ports: [{name: left}]}
"""


class Side:
    """One of the two clusters."""

    def __init__(self, name, kubeconfig, work):
        self.name, self.kubeconfig = name, kubeconfig
        home = work / f"kubectl-{name}"
        home.mkdir()
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(kubeconfig)}
        self.nodes = []

    def start(self, *words, **environment):
        return subprocess.Popen(
            [str(program("kubectl")), *words],
            env={**self.environment, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words, stdin=None, timeout=90, **environment):
        child = self.start(*words, **environment)
        try:
            text, _ = child.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            text = child.communicate()[0] + "\n(kubectl did not end)"
        return child.returncode, text

    def ok(self, *words, **more):
        code, text = self.run(*words, **more)
        assert code == 0, f"{self.name}: kubectl {' '.join(words)}: {text}"
        return text

    def normal(self, text):
        """The text without what is not compared."""
        for number, node in enumerate(self.nodes):
            text = text.replace(node, f"node{number}")
        for pattern, instead in IGNORED:
            text = re.sub(pattern, instead, text)
        return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


class Story:
    def __init__(self, real, twin):
        self.sides = [real, twin]
        self.pool = ThreadPoolExecutor(2)
        self.told = 0
        self.differences = []

    def each(self, deed):
        return list(self.pool.map(deed, self.sides))

    def same(self, *words, stdin=None, keep=None, code=None, until=None, **environment):
        """Runs a command on both sides and compares. `keep` picks the lines to compare; `code` is the exit code that
        both must end with. With `until` seconds, a command that only reads is told again until both agree."""
        self.told += 1
        give_up = time.monotonic() + (until or 0)
        while True:
            ends = self.each(lambda side: side.run(*words, stdin=stdin, **environment))
            shown = [side.normal(text) for side, (_, text) in zip(self.sides, ends, strict=True)]
            picked = [keep(lines) if keep else lines for lines in shown]
            codes = [code for code, _ in ends]
            if picked[0] == picked[1] and codes[0] == codes[1] and code in (None, codes[0]):
                return ends
            if time.monotonic() >= give_up:
                break
            time.sleep(0.5)
        wanted = f" (wanted {code})" if code is not None else ""
        lines = difflib.unified_diff(*picked, "real", "twin", lineterm="", n=1)
        self.differences.append(f"$ kubectl {' '.join(words)}\nends with {codes}{wanted}\n" + "\n".join(lines))
        return ends

    def finish(self):
        assert not self.differences, f"{len(self.differences)} of {self.told} commands:\n\n" + "\n\n".join(
            self.differences
        )


def run(world):
    kubeconfig = world.work / "twin.kubeconfig"
    command = [Ekskit.binary(), "twin", "serve", "--nodes", "2", "--speed", "4", "--kubeconfig", kubeconfig]
    twin = Process("twin", command, world.work / "twin.log", {"HOME": str(world.work)})
    try:
        sides = Side("real", world.admin, world.work), Side("twin", kubeconfig, world.work)
        twin.wait_until(lambda: sides[1].run("get", "--raw", "/readyz")[1] == "ok", "ready")
        same_nodes(*sides)
        story = Story(*sides)
        for part in PARTS:
            part(story)
        story.finish()
        print(f"kubectl: {story.told} commands end alike")
    finally:
        twin.stop()


def same_nodes(real, twin):
    """Gives the real cluster nodes of the same names as those of the twin."""
    listed = yaml.safe_load(twin.ok("get", "nodes", "-o", "yaml"))["items"]
    twin.nodes = real.nodes = sorted(node["metadata"]["name"] for node in listed)
    size = {"cpu": "2", "memory": "8Gi", "pods": "29"}
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
            },
            "status": {"capacity": size, "allocatable": size},
        }
        for name in real.nodes
    ]
    real.ok("apply", "-f", "-", stdin=yaml.safe_dump_all(nodes))
    real.ok("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
    twin.ok("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")


# ---- what is kept of an output


def last(lines):
    """Of a command that says again and again that it waits: what it says in the end."""
    return lines[-1:]


def told_once(lines):
    """What `describe` says, the events sorted and each once."""
    begin = next((at for at, line in enumerate(lines) if line.startswith("Events:")), len(lines))
    return lines[:begin] + events(lines)


def events(lines):
    """`Normal Scheduled AGE (x2 over AGE) from …`."""
    begin = next((at for at, line in enumerate(lines) if line.startswith("Events:")), len(lines))
    return sorted({re.sub(r"AGE \(x\d+ over AGE\)", "AGE", line) for line in lines[begin:]})


def conditions(lines):
    """The conditions of a node."""
    return list(takewhile(lambda line: line != "Addresses:", dropwhile(lambda line: line != "Conditions:", lines)))


def fields(lines):
    """The names and types that `explain` lists, and what is explained."""
    row = re.compile(r"^(\S+) (<\S+>)( -required-)?$")
    head = [line for line in lines if re.match(r"^(GROUP|KIND|VERSION|FIELD):", line)]
    return head + [line for line in lines if row.match(line)]


def known_kinds(lines):
    return [line for line in lines if line.split(" ")[0] not in NEWER_KINDS]


def once(lines):
    """Each line once, without those about pods of the system, which only one side has."""
    ours = (line for line in lines if "kube-system" not in line and "DaemonSet-managed" not in line)
    return sorted(set(ours))


# ---- the story


def looking_around(story):
    story.same("api-resources", "--sort-by=name", keep=known_kinds, code=0)
    story.same("api-resources", "--namespaced", "-o", "name", "--api-group=apps", code=0)
    story.same("api-versions", code=0)
    story.same("auth", "can-i", "create", "deployments", code=0)
    story.same("auth", "can-i", "delete", "nodes", "--as=nobody", code=1)
    story.same("auth", "can-i", "--list", keep=sorted, code=0)
    story.same("auth", "whoami", keep=lambda lines: [line for line in lines if line.startswith("Groups")], code=0)
    story.same("get", "nodes", "-o", "name", code=0)
    story.same("get", "pods", "-n", "nowhere", code=0)
    story.same("get", "boats", code=1)
    story.same("get", "pod", "absent", code=1)


def explaining(story):
    paths = ["pods", "deployment.spec", "deployment.spec.template.spec.containers.ports", "cronjob.spec.jobTemplate"]
    for path in [*paths, "node.spec.taints", "pdb.spec", "pv.spec.claimRef", "clusterrole.rules"]:
        story.same("explain", path, keep=fields, code=0)
    story.same("explain", "ingress.spec", "--recursive", keep=fields, code=0)
    story.same("explain", "deployment.spec.absent", code=1)


def creating(story):
    story.same("create", "namespace", "story", code=0)
    story.same("create", "namespace", "story", code=1)
    settings = ["create", "configmap", "literal", "-n", "story", "--from-literal=a=1", "--from-literal=b=2"]
    story.same(*settings, "--dry-run=server", "-o", "yaml", code=0)
    story.same(*settings, code=0)
    story.same("create", "secret", "generic", "password", "-n", "story", "--from-literal=word=open", code=0)
    story.same("get", "cm,secret", "-n", "story", "literal", "password", code=1)
    story.same("get", "cm/literal", "secret/password", "-n", "story", code=0)
    story.same("get", "cm", "literal", "-n", "story", "-o", "yaml", code=0)
    story.same("create", "service", "clusterip", "web", "-n", "story", "--tcp=80:8080", code=0)
    story.same("get", "svc", "-n", "story", "-o", "wide", code=0)
    story.same("create", "-f", "-", stdin=MAP % "{", code=1)
    story.same("create", "-f", "-", stdin=DEPLOYMENT.replace("image:", "imagee:") % {"replicas": 1, "tag": "1"}, code=1)


def rolling(story):
    web = ["deployment/web", "-n", "story"]
    story.same("create", "deployment", "web", "-n", "story", "--image=registry.example/web:1", "--replicas=3", code=0)
    story.same("rollout", "status", *web, "--timeout=80s", keep=last, code=0)
    story.same("wait", "--for=condition=Available", *web, "--timeout=60s", code=0)
    story.same("get", "deploy,rs", "-n", "story", "-o", "wide", until=20, code=0)
    story.same("get", "pods", "-n", "story", keep=sorted, until=20, code=0)
    story.same(
        "get", "pods", "-n", "story", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name", code=0
    )
    story.same("get", "deployment", "web", "-n", "story", "-o", "yaml", until=20, code=0)
    story.same("describe", *web, keep=told_once, until=20, code=0)
    story.same("describe", "service", "web", "-n", "story", keep=told_once, until=20, code=0)
    story.same("describe", "cm", "literal", "-n", "story", keep=told_once, code=0)
    story.same("describe", "secret", "password", "-n", "story", code=0)
    story.same("describe", "namespace", "story", code=0)
    story.same("describe", "node", story.sides[0].nodes[0], keep=conditions, until=20, code=0)
    story.same("set", "env", *web, "MODE=fast", code=0)
    story.same("rollout", "status", *web, "--timeout=80s", keep=last, code=0)
    story.same("set", "image", *web, "web=registry.example/web:2", code=0)
    story.same("rollout", "status", *web, "--timeout=80s", keep=last, code=0)
    story.same("rollout", "history", *web, code=0)
    story.same("rollout", "history", *web, "--revision=2", code=0)
    story.same("rollout", "undo", *web, "--to-revision=1", code=0)
    story.same("rollout", "status", *web, "--timeout=80s", keep=last, code=0)
    story.same("rollout", "history", *web, code=0)
    story.same("rollout", "undo", *web, "--to-revision=9", code=1)
    story.same("rollout", "restart", *web, code=0)
    story.same("rollout", "status", *web, "--timeout=80s", keep=last, code=0)
    story.same("scale", *web, "--replicas=4", code=0)
    story.same("scale", *web, "--replicas=5", "--current-replicas=1", code=1)
    story.same("wait", *web, "--for=jsonpath={.status.readyReplicas}=4", "--timeout=60s", code=0)
    story.same("wait", *web, "--for=jsonpath={.status.readyReplicas}=9", "--timeout=1s", code=1)
    story.same("scale", *web, "--replicas=3", code=0)
    story.same("wait", *web, "--for=jsonpath={.status.replicas}=3", "--timeout=60s", code=0)


def changing(story):
    story.same("apply", "-f", "-", stdin=MAP % "red", code=0)
    story.same("apply", "-f", "-", stdin=MAP % "red", code=0)
    story.same("diff", "-f", "-", stdin=MAP % "red", code=0)
    story.same("diff", "-f", "-", stdin=MAP % "blue", code=1)
    story.same("apply", "-f", "-", stdin=MAP % "blue", code=0)
    story.same("label", "cm", "settings", "-n", "story", "team=core", code=0)
    story.same("label", "cm", "settings", "-n", "story", "team=edge", code=1)
    story.same("label", "cm", "settings", "-n", "story", "team=edge", "--overwrite", code=0)
    story.same("annotate", "cm", "settings", "-n", "story", "note=a b", code=0)
    story.same("get", "cm", "-n", "story", "-l", "team in (edge),!absent", "--show-labels", code=0)
    editor = "sed -i s/blue/green/"
    story.same("edit", "cm", "settings", "-n", "story", KUBE_EDITOR=editor, code=0)
    story.same("edit", "cm", "settings", "-n", "story", KUBE_EDITOR="true", code=0)
    story.same(
        "patch",
        "cm",
        "settings",
        "-n",
        "story",
        "--type=json",
        "-p",
        '[{"op":"test","path":"/data/color","value":"x"}]',
        code=1,
    )
    story.same("patch", "cm", "settings", "-n", "story", "--type=merge", "-p", '{"data":{"size":"1"}}', code=0)
    story.same("get", "cm", "settings", "-n", "story", "-o", "yaml", code=0)
    # An apply takes away what it no longer says, and leaves what others said.
    story.same("apply", "-f", "-", stdin=(MAP % "red").replace("color", "colour"), code=0)
    story.same("get", "cm", "settings", "-n", "story", "-o", "jsonpath={.data}", code=0)
    api = {"replicas": 1, "tag": 1}
    story.same("apply", "-f", "-", stdin=DEPLOYMENT % api, code=0)
    story.same("apply", "-f", "-", stdin=DEPLOYMENT % {**api, "tag": 2}, code=0)
    story.same("diff", "-f", "-", stdin=DEPLOYMENT % {**api, "replicas": 2}, code=1)
    story.same("get", "deployment", "api", "-n", "story", "-o", "jsonpath={.spec}", code=0)
    story.same(
        "replace",
        "-f",
        "-",
        stdin=(DEPLOYMENT % api).replace("matchLabels: {app: api}", "matchLabels: {app: x}"),
        code=1,
    )
    story.same("delete", "deployment", "api", "-n", "story", code=0)


def sharing(story):
    apply = ["apply", "--server-side", "-f", "-"]
    shared, other = ((MAP % color).replace("settings", "shared") for color in ("pink", "blue"))
    story.same(*apply, "--field-manager=one", stdin=shared, code=0)
    story.same(*apply, "--field-manager=two", stdin=other, code=1)
    story.same("diff", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-", stdin=other, code=1)
    story.same(*apply, "--field-manager=two", "--force-conflicts", stdin=other, code=0)
    managed = ["get", "cm", "shared", "-n", "story", "-o", "yaml", "--show-managed-fields"]
    story.same(*managed, code=0)
    # What nobody applies any more is gone.
    story.same(*apply, "--field-manager=two", stdin=re.sub("(?m)^data:.*", "immutable: false", other), code=0)
    story.same(*managed, code=0)


def defining(story):
    story.same("apply", "-f", "-", stdin=DEFINITION, code=0)
    story.same("wait", "--for=condition=Established", "crd/boats.example.com", "--timeout=30s", code=0)
    story.same("get", "crd", "-o", "name", code=0)
    story.same("apply", "-f", "-", stdin=BOAT % ("one", 3), until=30, code=0)
    story.same("apply", "-f", "-", stdin=BOAT % ("two", '"long"'), code=1)
    story.same("apply", "-f", "-", stdin=BOAT % ("two", 0), code=1)
    story.same("get", "bt", "-n", "story", code=0)
    story.same("get", "boats", "-n", "story", "-o", "wide", code=0)
    story.same("explain", "boat.spec", keep=fields, until=30, code=0)
    story.same("patch", "boat", "one", "-n", "story", "-p", '{"spec":{"length":4}}', code=1)
    story.same("patch", "boat", "one", "-n", "story", "--type=merge", "-p", '{"spec":{"length":4}}', code=0)
    story.same("delete", "boat", "--all", "-n", "story", code=0)
    story.same("delete", "crd", "boats.example.com", code=0)


def watching(story):
    """`get -w` shows what is there, then follows what happens to it: a head, and a line for each of three events."""
    one = ["-n", "story", "watched"]
    story.same("create", "cm", *one, "--from-literal=a=1", code=0)
    watch = ["get", "cm", "-n", "story", "-w", "--field-selector=metadata.name=watched", "--output-watch-events"]
    children = story.each(lambda side: side.start(*watch))
    lines = [[] for _ in children]
    readers = ThreadPoolExecutor(len(children))
    for child, into in zip(children, lines, strict=True):
        readers.submit(lambda child=child, into=into: [into.append(line) for line in child.stdout])
    until(lambda: min(map(len, lines)) >= 2)
    story.same("patch", "cm", *one, "-p", '{"data":{"b":"2"}}', code=0)
    story.same("delete", "cm", *one, code=0)
    until(lambda: min(map(len, lines)) >= 4)
    for child in children:
        child.terminate()
        child.wait()
    readers.shutdown()
    shown = [side.normal("".join(text)) for side, text in zip(story.sides, lines, strict=True)]
    story.told += 1
    if shown[0] != shown[1] or len(shown[0]) != 4:
        lines = difflib.unified_diff(*shown, "real", "twin", lineterm="")
        story.differences.append("$ kubectl get -w\n" + "\n".join(lines))


def until(ready, timeout=30):
    """Waits until it is so, or gives up: what is not there is a difference then."""
    give_up = time.monotonic() + timeout
    while not ready() and time.monotonic() < give_up:
        time.sleep(0.2)


def draining(story):
    node, other = story.sides[0].nodes[:2]
    story.same("taint", "node", node, "dedicated=story:NoSchedule", code=0)
    story.same("taint", "node", node, "dedicated=story:NoSchedule", code=1)
    story.same("taint", "node", node, "dedicated-", code=0)
    story.same("taint", "node", node, "dedicated-", code=1)
    # All pods go to one node, so that it is the same on both sides.
    story.same("cordon", other, code=0)
    story.same("cordon", other, code=0)
    story.same("get", "node", other, "-o", "jsonpath={.spec.taints}", until=20, code=0)
    story.same("delete", "pods", "--all", "-n", "story", "--wait=false", keep=sorted, code=0)
    story.same("rollout", "status", "deployment/web", "-n", "story", "--timeout=80s", keep=last, code=0)
    story.same("apply", "-f", "-", stdin=BUDGET, code=0)
    allowed = "--for=jsonpath={.status.currentHealthy}=3"
    story.same("wait", allowed, "pdb/web", "-n", "story", "--timeout=60s", code=0)
    story.same("get", "pdb", "-n", "story", code=0)
    story.same("describe", "pdb", "web", "-n", "story", keep=told_once, until=20, code=0)
    drain = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force"]
    story.same(*drain, "--pod-selector=app=web", "--timeout=4s", keep=once, code=1)
    story.same("get", "node", node, "-o", "jsonpath={.spec.unschedulable}", code=0)
    story.same("uncordon", other, code=0)
    story.same("delete", "pdb", "web", "-n", "story", code=0)
    story.same(*drain, "--pod-selector=app=web", "--timeout=80s", keep=once, code=0)
    story.same("rollout", "status", "deployment/web", "-n", "story", "--timeout=80s", keep=last, code=0)
    story.same("uncordon", node, code=0)


def deleting(story):
    story.same("delete", "deployment", "web", "-n", "story", "--cascade=orphan", code=0)
    story.same("get", "rs", "-n", "story", "-o", "name", "--sort-by=.metadata.creationTimestamp", code=0)
    replica_sets = ["rs", "-n", "story", "--all"]
    story.same("delete", *replica_sets, "--cascade=foreground", "--timeout=60s", keep=sorted, code=0)
    story.same("get", "rs,pods", "-n", "story", until=30, code=0)
    story.same("create", "deployment", "last", "-n", "story", "--image=registry.example/last:1", code=0)
    story.same("rollout", "status", "deployment/last", "-n", "story", "--timeout=80s", keep=last, code=0)
    story.same("describe", "pods", "-l", "app=last", "-n", "story", keep=events, until=20, code=0)
    story.same("describe", "rs", "-l", "app=last", "-n", "story", keep=told_once, until=20, code=0)
    story.same("get", "all", "-n", "story", "-l", "app=last", until=20, code=0)
    story.same("delete", "deployment", "last", "-n", "story", "--cascade=background", code=0)
    story.same("get", "rs,pods", "-n", "story", until=60, code=0)
    story.same("delete", "deployment", "last", "-n", "story", code=1)
    story.same("delete", "deployment", "last", "-n", "story", "--ignore-not-found", code=0)
    story.same("delete", "namespace", "story", "--timeout=80s", code=0)
    story.same("get", "namespace", "story", code=1)


PARTS = [
    looking_around,
    explaining,
    creating,
    rolling,
    changing,
    sharing,
    defining,
    watching,
    draining,
    deleting,
]
