"""Plays the instances: each one that runs in an Auto Scaling group of the cluster tries to join it as a node would.

A Node appears only for an instance whose role is mapped, whose subnet leads to AWS and to the cluster, had a free
address, and whose AMI is one of EKS with user data that fits. kwok then makes the Node Ready and runs its pods. Why
an instance did not join is in `instances.jsonl`; no client is told, it has to find out from AWS and Kubernetes.
"""

import base64
import email
import json
import threading
import time
import traceback
from pathlib import Path

import yaml

from . import access
from .bootstrap import AWS_AUTH
from .eks_shapes import Cluster, Nodegroup
from .moto import EKS_AMIS
from .place import REGION

EVERY_SECONDS = 1.0
NEEDED_ENDPOINTS = {"ec2", "ecr.api", "ecr.dkr", "s3", "sts"}  # without NAT; more are advised
EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
JOIN_FAILURES = {  # reason → what EKS writes into the health of a managed node group
    "no free IPs": (
        "InsufficientFreeAddresses",
        "One or more of the subnets associated with your managed node group does not have enough available IP "
        "addresses for new nodes.",
    ),
}
NOT_JOINED = ("NodeCreationFailure", "Instances failed to join the kubernetes cluster")


class Instances:
    """`cluster()` gives the cluster that exists, or None."""

    def __init__(self, work: Path, account, kube, cluster, trouble, note):
        self._log = work / "instances.jsonl"
        self._account, self._kube, self._cluster = account, kube, cluster
        self._trouble, self._note = trouble, note
        self.gives_up_seconds = 45.0  # EKS waits for about 25 minutes before it calls a node group failed
        self._verdicts: dict[str, str] = {}
        self._templates: dict[tuple, dict] = {}
        self._types: dict[str, dict] = {}
        self._zone_ids: dict[str, str] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(10)

    @property
    def verdicts(self) -> dict[str, str]:
        """Instance id → `joined`, or why it did not."""
        return dict(self._verdicts)

    def _play(self) -> None:
        while not self._stopped.wait(EVERY_SECONDS):
            cluster = self._cluster()
            try:
                if cluster and cluster.ready.is_set():
                    self._turn(cluster)
                else:
                    self._verdicts.clear()
            except Exception:
                if self._cluster() is cluster:  # else it was deleted meanwhile, and its API server with it
                    self._note(traceback.format_exc())

    def _turn(self, cluster: Cluster) -> None:
        running = self._running()
        nodes = {node["spec"].get("providerID"): node for node in self._kube().get("/api/v1/nodes")["items"]}
        for provider_id, node in nodes.items():
            if provider_id and provider_id.rsplit("/", 1)[-1] not in running:
                self._kube().delete(f"/api/v1/nodes/{node['metadata']['name']}")
        aws_auth, entries = self._kube().find(AWS_AUTH), self._account.entries(cluster)
        for group in self._account.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]:
            tags = {tag["Key"]: tag["Value"] for tag in group["Tags"]}
            managed = cluster.nodegroups.get(tags.get("eks:nodegroup-name"))
            if tags.get(f"kubernetes.io/cluster/{cluster.name}") != "owned":
                continue
            ready, reasons = 0, []
            for member in group["Instances"]:
                instance = running.get(member["InstanceId"])
                if instance is None or member["LifecycleState"] != "InService":
                    continue
                node = nodes.get(_provider_id(instance))
                if node is not None:
                    ready += _is_ready(node)
                    continue
                candidate = Candidate(self, cluster, group, managed, instance)
                reason = candidate.why_not(aws_auth, entries)
                self._judge(instance["InstanceId"], reason)
                if reason is None:
                    self._kube().call("POST", "/api/v1/nodes", candidate.node(), fieldManager="kubelet")
                else:
                    reasons.append(reason)
            if managed:
                self._report(managed, ready, reasons, [m["InstanceId"] for m in group["Instances"]])

    def _report(self, nodegroup: Nodegroup, ready: int, reasons: list[str], ids: list[str]) -> None:
        nodegroup.joined = ready
        wanted = nodegroup.fields["scalingConfig"]["desiredSize"]
        if ready >= wanted:
            nodegroup.failed, nodegroup.issues = False, []
        elif time.time() > nodegroup.created + self.gives_up_seconds:
            nodegroup.failed = True
            code, message = JOIN_FAILURES.get(reasons[0] if reasons else "", NOT_JOINED)
            nodegroup.issues = [{"code": code, "message": message, "resourceIds": ids}]

    def _judge(self, instance_id: str, reason: str | None) -> None:
        verdict = reason or "joined"
        if self._verdicts.get(instance_id) != verdict:
            self._verdicts[instance_id] = verdict
            with open(self._log, "a") as log:
                log.write(json.dumps({"time": time.time(), "instance": instance_id, "verdict": verdict}) + "\n")

    def _running(self) -> dict[str, dict]:
        wanted = [{"Name": "instance-state-name", "Values": ["running"]}]
        pages = self._account.ec2.get_paginator("describe_instances").paginate(Filters=wanted)
        reservations = [reservation for page in pages for reservation in page["Reservations"]]
        return {i["InstanceId"]: i for reservation in reservations for i in reservation["Instances"]}

    def template(self, group: dict) -> dict:
        """The data of the launch template of an Auto Scaling group."""
        policy = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification", {})
        asked = group.get("LaunchTemplate") or policy
        if not asked:
            return {}
        key = (asked.get("LaunchTemplateId") or asked.get("LaunchTemplateName"), asked.get("Version") or "$Default")
        named = {"LaunchTemplateId": key[0]} if key[0].startswith("lt-") else {"LaunchTemplateName": key[0]}
        if key not in self._templates or key[1].startswith("$"):
            found = self._account.ec2.describe_launch_template_versions(**named, Versions=[key[1]])
            self._templates[key] = found["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        return self._templates[key]

    def zone_id(self, zone: str) -> str:
        if zone not in self._zone_ids:
            zones = self._account.ec2.describe_availability_zones()["AvailabilityZones"]
            self._zone_ids = {found["ZoneName"]: found["ZoneId"] for found in zones}
        return self._zone_ids[zone]

    def type(self, name: str) -> dict:
        if name not in self._types:
            self._types[name] = self._account.ec2.describe_instance_types(InstanceTypes=[name])["InstanceTypes"][0]
        return self._types[name]


class Candidate:
    """One running instance, and whether it could join."""

    def __init__(self, player: Instances, cluster: Cluster, group: dict, managed: Nodegroup | None, instance: dict):
        self._player, self._cluster, self._managed, self._instance = player, cluster, managed, instance
        self._account, self._trouble = player._account, player._trouble
        self._template = player.template(group)
        self._config = _node_config(self._template.get("UserData"))

    def why_not(self, aws_auth: dict | None, entries: list[dict]) -> str | None:
        """The reason why it does not join; None: it does."""
        if self._trouble.fails(self._instance["InstanceId"]):
            return "instance failed"
        if self._instance["ImageId"] not in EKS_AMIS:
            return "wrong AMI"
        if problem := self._user_data_problem():
            return problem
        subnet = self._account.subnets([self._instance["SubnetId"]])[0]
        if self._trouble.subnets_full or subnet["AvailableIpAddressCount"] < 1:
            return "no free IPs"
        if not self._has_way_out(subnet):
            return "no route or endpoints"
        role = self._role()
        if role is None:
            return "no instance profile"
        if not access.node_may_join(self._cluster, entries, aws_auth, role):
            return f"role not mapped: {role}"
        return None

    def node(self) -> dict:
        """As the kubelet of such an instance registers it."""
        instance, image = self._instance, EKS_AMIS[self._instance["ImageId"]]
        kind = self._player.type(instance["InstanceType"])
        zone, name = instance["Placement"]["AvailabilityZone"], instance["PrivateDnsName"]
        architecture = "arm64" if image["architecture"] == "arm64" else "amd64"
        labels = {
            "kubernetes.io/arch": architecture,
            "kubernetes.io/os": "linux",
            "kubernetes.io/hostname": name,
            "node.kubernetes.io/instance-type": instance["InstanceType"],
            "topology.kubernetes.io/region": REGION,
            "topology.kubernetes.io/zone": zone,
            "topology.k8s.aws/zone-id": self._player.zone_id(zone),
            **_kubelet_labels(self._config),
        }
        taints = _kubelet_taints(self._config)
        if self._managed:
            fields = self._managed.fields
            labels |= {
                "eks.amazonaws.com/nodegroup": self._managed.name,
                "eks.amazonaws.com/nodegroup-image": instance["ImageId"],
                "eks.amazonaws.com/capacityType": fields["capacityType"],
                **fields["labels"],
            }
            taints += [
                {"key": t["key"], "value": t.get("value", ""), "effect": EFFECTS[t["effect"]]} for t in fields["taints"]
            ]
        cores = kind["VCpuInfo"]["DefaultVCpus"]
        capacity = {
            "cpu": str(cores),
            "memory": f"{kind['MemoryInfo']['SizeInMiB']}Mi",
            "ephemeral-storage": "20Gi",
            "pods": str(self._pods_max(kind, cores)),
        }
        version = image["description"].rsplit(" ", 1)[-1].rstrip(")")
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
            "spec": {"providerID": _provider_id(instance), "taints": taints},
            "status": {
                "capacity": capacity,
                "allocatable": {**capacity, "cpu": f"{cores * 1000 - 70}m"},
                "addresses": [
                    {"type": "InternalIP", "address": instance["PrivateIpAddress"]},
                    {"type": "InternalDNS", "address": name},
                    {"type": "Hostname", "address": name},
                ],
                "nodeInfo": {
                    "architecture": architecture,
                    "operatingSystem": "linux",
                    "kubeletVersion": f"v{version}-eks-wires",
                    "kubeProxyVersion": f"v{version}-eks-wires",
                    "containerRuntimeVersion": "containerd://2.1.4",
                    "kernelVersion": "6.12.46-66.121.amzn2023.x86_64",
                    "osImage": "Amazon Linux 2023",
                    "bootID": "",
                    "machineID": instance["InstanceId"],
                    "systemUUID": "",
                },
            },
        }

    def _pods_max(self, kind: dict, cores: int) -> int:
        asked = ((self._config or {}).get("kubelet") or {}).get("config", {}).get("maxPods")
        if asked:
            return int(asked)
        network = kind["NetworkInfo"]
        by_addresses = network["MaximumNetworkInterfaces"] * (network["Ipv4AddressesPerInterface"] - 1) + 2
        return min(by_addresses, 110 if cores < 30 else 250) if self._managed else by_addresses

    def _role(self) -> str | None:
        if self._managed:
            return self._managed.fields["nodeRole"]
        profile = self._template.get("IamInstanceProfile") or self._instance.get("IamInstanceProfile") or {}
        name = profile.get("Arn") or profile.get("Name")
        return self._account.role_of_profile(name) if name else None

    def _user_data_problem(self) -> str | None:
        """AL2023 needs a NodeConfig that names the cluster; for a managed group without an AMI EKS writes it."""
        if self._managed and self._managed.fields["amiType"] != "CUSTOM":
            return None
        if self._config is None:
            return "user data without a NodeConfig"
        told, cluster = self._config.get("cluster") or {}, self._cluster
        wanted = {"name": cluster.name, **self._trouble.endpoint_of(cluster)}
        for key, value in wanted.items():
            if told.get(key) != value:
                return f"user data names another {key}"
        return None if told.get("cidr") else "user data without the service CIDR"

    def _has_way_out(self, subnet: dict) -> bool:
        ec2, subnet_id, vpc_id = self._account.ec2, subnet["SubnetId"], subnet["VpcId"]
        tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"]
        own = [t for t in tables if any(a.get("SubnetId") == subnet_id for a in t["Associations"])]
        main = [t for t in tables if any(a.get("Main") for a in t["Associations"])]
        table = (own or main)[0]
        for route in table["Routes"]:
            if route.get("DestinationCidrBlock") != "0.0.0.0/0" or route.get("State") == "blackhole":
                continue
            if route.get("GatewayId", "").startswith("igw-"):
                return bool(self._instance.get("PublicIpAddress"))
            if gateway := route.get("NatGatewayId"):
                found = ec2.describe_nat_gateways(NatGatewayIds=[gateway])["NatGateways"]
                return bool(found) and found[0]["State"] == "available"
            return True  # a transit gateway or a firewall appliance: someone else's network
        if not self._cluster.fields["resourcesVpcConfig"]["endpointPrivateAccess"]:
            return False
        endpoints = ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["VpcEndpoints"]
        there = {e["ServiceName"].removeprefix(f"com.amazonaws.{REGION}.") for e in endpoints}
        return NEEDED_ENDPOINTS <= there


def _provider_id(instance: dict) -> str:
    return f"aws:///{instance['Placement']['AvailabilityZone']}/{instance['InstanceId']}"


def _is_ready(node: dict) -> bool:
    conditions = node["status"].get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _node_config(user_data: str | None) -> dict | None:
    """The merged `spec` of the NodeConfig parts of a launch template's user data; None: there is none."""
    if not user_data:
        return None
    text = base64.b64decode(user_data).decode(errors="replace")
    if text.lstrip().startswith("apiVersion: node.eks.aws/"):
        parts = [text]
    else:
        message = email.message_from_string(text)
        parts = [
            part.get_payload(decode=True).decode()
            for part in message.walk()
            if part.get_content_type() == "application/node.eks.aws"
        ]
    merged: dict | None = None
    for part in parts:
        spec = (yaml.safe_load(part) or {}).get("spec") or {}
        merged = _merge(merged or {}, spec)
    return merged


def _merge(below: dict, above: dict) -> dict:
    both = {
        k: _merge(below[k], v) if isinstance(v, dict) and isinstance(below.get(k), dict) else v
        for k, v in above.items()
    }
    return {**below, **both}


def _kubelet_flag(config: dict | None, name: str) -> list[str]:
    flags = ((config or {}).get("kubelet") or {}).get("flags") or []
    values = [flag.split("=", 1)[1] for flag in flags if flag.startswith(f"--{name}=")]
    return [part for value in values for part in value.split(",") if part]


def _kubelet_labels(config: dict | None) -> dict:
    return dict(part.partition("=")[::2] for part in _kubelet_flag(config, "node-labels"))


def _kubelet_taints(config: dict | None) -> list[dict]:
    taints = []
    for text in _kubelet_flag(config, "register-with-taints"):
        pair, _, effect = text.rpartition(":")
        key, _, value = pair.partition("=")
        taints.append({"key": key, "value": value, "effect": effect})
    return taints
