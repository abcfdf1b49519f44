"""What the front answers for EKS: completes clusters and node groups, and plays the operations that moto lacks.

moto and winterbaume keep that a cluster or node group exists; most of what it was created with they drop, or they
answer with values of their own. So the front remembers every create and update and lays it over their answers. What
moto lacks (access entries, updates, versions) is played here, with the errors that AWS documents; winterbaume has it.
"""

import dataclasses
import datetime as dt
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from urllib.parse import quote

from . import aws_request
from .aws_request import Answer, Request, json_answer
from .faults import error
from .moto import BUILD, PATCHES, VERSIONS
from .place import ACCOUNT

DEFAULT_VERSION = VERSIONS[0]
ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
POLICIES = (
    "AmazonEKSClusterAdminPolicy AmazonEKSAdminPolicy AmazonEKSAdminViewPolicy AmazonEKSEditPolicy "
    "AmazonEKSViewPolicy AmazonEKSSecretReaderPolicy AmazonEKSAutoNodePolicy"
).split()
LOG_TYPES = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
HIDDEN = ("bootstrap", "selfManagedAddons")  # asked for at creation, not shown later
MODES = ["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"]  # one step at a time, upwards
# version → release, end of standard support, end of extended support
CALENDAR = {
    "1.36": ("2026-06-02", "2027-08-02", "2028-08-02"),
    "1.35": ("2026-01-28", "2027-03-27", "2028-03-27"),
    "1.34": ("2025-10-02", "2026-12-02", "2027-12-02"),
    "1.33": ("2025-05-29", "2026-07-29", "2027-07-29"),
    "1.32": ("2025-01-23", "2026-03-23", "2027-03-23"),
    "1.31": ("2024-09-26", "2025-11-26", "2026-11-26"),
}
STANDARD = ("1.36", "1.35", "1.34")


class Refusal(Exception):
    """An error that AWS would answer."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.answer = error("eks", status, code, message, is_json=True)


def invalid(message: str) -> Refusal:
    return Refusal(400, "InvalidParameterException", message)


def refused(message: str) -> Refusal:
    return Refusal(400, "InvalidRequestException", message)


def not_found(message: str) -> Refusal:
    return Refusal(404, "ResourceNotFoundException", message)


def in_use(message: str) -> Refusal:
    return Refusal(409, "ResourceInUseException", message)


@dataclass
class Nodegroup:
    name: str
    fields: dict  # as created, brought up to date by updates
    created: float = field(default_factory=time.time)
    group: str = ""  # its Auto Scaling group
    joined: int = 0  # nodes that are Ready, as the player of the instances counts
    issues: list = field(default_factory=list)
    failed: bool = False


@dataclass
class Cluster:
    name: str
    fields: dict
    way: str  # moto or winterbaume
    creator: str  # ARN of the caller of CreateCluster
    created: float = field(default_factory=time.time)
    ready: threading.Event = field(default_factory=threading.Event)  # the control plane stands and is seeded
    network: dict = field(default_factory=dict)  # vpcId, clusterSecurityGroupId
    nodegroups: dict = field(default_factory=dict)
    entries: dict = field(default_factory=dict)  # access entries, where moto is the way
    updates: dict = field(default_factory=dict)

    @property
    def mode(self) -> str:
        return self.fields["accessConfig"]["authenticationMode"]


class Eks:
    def __init__(self, front, endpoint: str, certificate: str, account):
        self.clusters: dict[str, Cluster] = {}
        self.tags: dict[str, dict] = {}  # by ARN
        self.lifecycle_seconds = 0.0  # how long clusters stay CREATING and updates InProgress
        self.created: list = []  # called with a new cluster
        self.deleted: list = []  # called with the cluster that was deleted
        self._front, self._endpoint, self._certificate = front, endpoint, certificate
        self._account = account  # what EKS makes in the customer's account
        front.answerers.append(self.answer)

    def answer(self, request: Request) -> Answer | None:
        """Plays or completes a request of EKS; None where it is none."""
        if request.service != "eks":
            return None
        play = getattr(self, f"_{request.action}", None)
        if play is None and request.way == "moto":
            play = getattr(self, f"_moto_{request.action}", None)
        try:
            if play:
                return play(request)
            if request.way == "moto" and request.action not in FORWARDED:
                raise refused(f"the harness does not play {request.action} before moto: use the winterbaume port")
            return self._front.forward(request)
        except Refusal as refusal:
            return refusal.answer

    def cluster(self, name: str) -> Cluster:
        try:
            return self.clusters[name]
        except KeyError:
            raise not_found(f"No cluster found for name: {name}.") from None

    # ---- clusters

    def _CreateCluster(self, request):
        asked = request.input
        name = asked.get("name", "")
        if self.clusters and name not in self.clusters:
            raise Refusal(400, "ResourceLimitExceededException", "the harness has one control plane, in use already")
        if name in self.clusters:
            raise in_use(f"Cluster already exists with name: {name}")
        fields = _cluster_fields(asked)
        vpc = fields["resourcesVpcConfig"]
        network = self._account.check_cluster(asked.get("roleArn", ""), vpc)
        answer = self._front.forward(_with_input(request, version=fields["version"]))
        if answer.status >= 400:
            return answer
        cluster = Cluster(name, fields, request.way, self._front.caller(request), network=network)
        self.clusters[name] = cluster
        self.tags[_arn(request, "cluster", name)] = dict(asked.get("tags") or {})
        cluster.network |= self._account.make_cluster_network(cluster)
        if cluster.mode != "CONFIG_MAP" and fields["bootstrap"]:
            self._admit_creator(cluster, request)
        for follow in self.created:
            follow(cluster)
        return self._completed(answer, cluster, request, status="CREATING")

    def _DescribeCluster(self, request):
        answer = self._front.forward(request)
        if answer.status >= 400:
            return answer
        return self._completed(answer, self.cluster(request.input["name"]), request)

    def _DeleteCluster(self, request):
        cluster = self.cluster(request.input["name"])
        if cluster.fields.get("deletionProtection"):
            raise refused(f"Cannot delete cluster {cluster.name} because deletion protection is enabled")
        if cluster.nodegroups:
            raise in_use("Cluster has nodegroups attached")
        answer = self._front.forward(request)
        if answer.status >= 400:
            return answer
        done = self._completed(answer, cluster, request, status="DELETING")
        del self.clusters[cluster.name]
        self._account.remove_cluster_network(cluster)
        for follow in self.deleted:
            follow(cluster)
        return done

    def _completed(self, answer: Answer, cluster: Cluster, request: Request, status: str | None = None) -> Answer:
        body = answer.json["cluster"]
        fields = cluster.fields
        if status is None:
            due = time.time() >= cluster.created + self.lifecycle_seconds and cluster.ready.is_set()
            status = "ACTIVE" if due else "CREATING"
            if status == "ACTIVE" and any(self._update(u)["status"] == "InProgress" for u in cluster.updates.values()):
                status = "UPDATING"
        body.update({name: value for name, value in fields.items() if name not in HIDDEN})
        body["resourcesVpcConfig"] = {**fields["resourcesVpcConfig"], **cluster.network}
        body["status"] = status
        body["createdAt"] = cluster.created
        body["platformVersion"] = "eks.9"
        body["health"] = {"issues": []}
        body["tags"] = self.tags.get(_arn(request, "cluster", cluster.name), {})
        if status == "CREATING":
            for late in ("endpoint", "certificateAuthority"):
                body.pop(late, None)
        else:
            body["endpoint"], body["certificateAuthority"] = self._endpoint, {"data": self._certificate}
        return json_answer({"cluster": body})

    # ---- updates of clusters

    def _UpdateClusterConfig(self, request):
        cluster = self.cluster(request.input["name"])
        self._only_when_active(cluster)
        asked = {k: v for k, v in request.input.items() if k not in ("name", "clientRequestToken")}
        if len(asked) != 1:
            raise invalid("Only one type of update can be allowed.")
        (kind, value), fields = next(iter(asked.items())), cluster.fields
        update_type = UPDATE_TYPES.get(kind)
        if update_type is None:
            raise refused(f"the harness does not play an update of {kind}")
        changed = _changed(fields, kind, value)
        if kind == "resourcesVpcConfig" and ("subnetIds" in value or "securityGroupIds" in value):
            update_type = "VpcConfigUpdate"
        fields[kind] = changed
        if kind == "accessConfig" and changed["authenticationMode"] != "CONFIG_MAP":
            self._account.settle_access(cluster)
        return json_answer({"update": self._new_update(cluster, update_type, asked)})

    def _UpdateClusterVersion(self, request):
        cluster = self.cluster(request.input["name"])
        self._only_when_active(cluster)
        now, wanted = (int(v.split(".")[1]) for v in (cluster.fields["version"], request.input["version"]))
        if wanted == now:
            raise invalid(f"Cluster is already at version {request.input['version']}")
        if wanted != now + 1:
            raise invalid(f"Unsupported Kubernetes minor version update from 1.{now} to 1.{wanted}")
        cluster.fields["version"] = request.input["version"]
        return json_answer({"update": self._new_update(cluster, "VersionUpdate", {"Version": f"1.{wanted}"})})

    def _DescribeUpdate(self, request):
        cluster = self.cluster(request.input["name"])
        if request.input["updateId"] in cluster.updates:
            return json_answer({"update": self._update(cluster.updates[request.input["updateId"]])})
        if request.way == "winterbaume":
            return self._front.forward(request)
        raise not_found(f"No update found for ID: {request.input['updateId']}")

    def _moto_ListUpdates(self, request):
        return json_answer({"updateIds": list(self.cluster(request.input["name"]).updates)})

    def _only_when_active(self, cluster: Cluster) -> None:
        if any(self._update(update)["status"] == "InProgress" for update in cluster.updates.values()):
            raise in_use(f"Cannot update cluster {cluster.name} because it currently has an update in progress")

    def _new_update(self, cluster: Cluster, kind: str, asked: dict) -> dict:
        params = [{"type": _capital(name), "value": _text(value)} for name, value in asked.items()]
        update = {"id": str(uuid.uuid4()), "type": kind, "params": params, "createdAt": time.time(), "errors": []}
        cluster.updates[update["id"]] = update
        return {**update, "status": "InProgress"}

    def _update(self, update: dict) -> dict:
        done = time.time() >= update["createdAt"] + self.lifecycle_seconds
        return {**update, "status": "Successful" if done else "InProgress"}

    # ---- node groups

    def _CreateNodegroup(self, request):
        cluster = self.cluster(request.input["name"])
        asked = request.input
        if not cluster.ready.is_set():
            raise refused(f"Cluster '{cluster.name}' is not in ACTIVE status")
        if asked["nodegroupName"] in cluster.nodegroups:
            raise in_use(
                f"NodeGroup already exists with name {asked['nodegroupName']} and cluster name {cluster.name}"
            )
        fields = _nodegroup_fields(asked, cluster)
        self._account.check_nodegroup(fields)
        answer = self._front.forward(request)
        if answer.status >= 400:
            return answer
        nodegroup = Nodegroup(asked["nodegroupName"], fields)
        self._account.make_nodegroup(cluster, nodegroup)
        self.tags[answer.json["nodegroup"]["nodegroupArn"]] = dict(asked.get("tags") or {})
        cluster.nodegroups[nodegroup.name] = nodegroup
        return self._completed_nodegroup(answer, cluster, nodegroup)

    def _DescribeNodegroup(self, request):
        cluster = self.cluster(request.input["name"])
        answer = self._front.forward(request)
        if answer.status >= 400:
            return answer
        return self._completed_nodegroup(answer, cluster, cluster.nodegroups[request.input["nodegroupName"]])

    def _UpdateNodegroupConfig(self, request):
        cluster, nodegroup = self._nodegroup_of(request)
        answer = self._front.forward(request)
        if answer.status >= 400:
            return answer
        fields, asked = nodegroup.fields, request.input
        fields["scalingConfig"] |= asked.get("scalingConfig") or {}
        fields["updateConfig"] = asked.get("updateConfig") or fields["updateConfig"]
        fields["labels"] |= (asked.get("labels") or {}).get("addOrUpdateLabels") or {}
        for name in (asked.get("labels") or {}).get("removeLabels") or []:
            fields["labels"].pop(name, None)
        taints = asked.get("taints") or {}
        gone = [(t["key"], t["effect"]) for t in (taints.get("addOrUpdateTaints") or []) + (taints.get("removeTaints") or [])]
        fields["taints"] = [t for t in fields["taints"] if (t["key"], t["effect"]) not in gone]
        fields["taints"] += taints.get("addOrUpdateTaints") or []
        self._account.scale_nodegroup(nodegroup)
        changes = {k: v for k, v in asked.items() if k not in ("name", "nodegroupName", "clientRequestToken")}
        return json_answer({"update": self._new_update(cluster, "ConfigUpdate", changes)})

    def _UpdateNodegroupVersion(self, request):
        cluster, nodegroup = self._nodegroup_of(request)
        fields, asked = nodegroup.fields, request.input
        fields["version"] = asked.get("version") or cluster.fields["version"]
        fields["releaseVersion"] = asked.get("releaseVersion") or _release(fields["version"])
        if asked.get("launchTemplate"):
            fields["launchTemplate"] |= asked["launchTemplate"]
        changes = {k: v for k, v in asked.items() if k in ("version", "releaseVersion")}
        return json_answer({"update": self._new_update(cluster, "VersionUpdate", changes)})

    def _DeleteNodegroup(self, request):
        cluster, nodegroup = self._nodegroup_of(request)
        answer = self._front.forward(request)
        if answer.status >= 400:
            return answer
        done = self._completed_nodegroup(answer, cluster, nodegroup, status="DELETING")
        self._account.remove_nodegroup(nodegroup)
        del cluster.nodegroups[nodegroup.name]
        return done

    def _nodegroup_of(self, request) -> tuple[Cluster, Nodegroup]:
        cluster, name = self.cluster(request.input["name"]), request.input["nodegroupName"]
        if name not in cluster.nodegroups:
            raise not_found(f"No node group found for name: {name}.")
        return cluster, cluster.nodegroups[name]

    def _completed_nodegroup(self, answer, cluster, nodegroup, status: str | None = None) -> Answer:
        body, fields = answer.json["nodegroup"], nodegroup.fields
        for invented in ("remoteAccess", "diskSize", "launchTemplate"):
            body.pop(invented, None)
        if status is None:
            wanted = fields["scalingConfig"]["desiredSize"]
            status = "CREATE_FAILED" if nodegroup.failed else "ACTIVE" if nodegroup.joined >= wanted else "CREATING"
        body.update(fields)
        body["status"], body["createdAt"], body["modifiedAt"] = status, nodegroup.created, nodegroup.created
        body["health"] = {"issues": nodegroup.issues}
        body["resources"] = {"autoScalingGroups": [{"name": nodegroup.group}]}
        body["tags"] = self.tags.get(body["nodegroupArn"], {})
        return json_answer({"nodegroup": body})

    # ---- access entries, as moto's cluster has them

    def _admit_creator(self, cluster, request) -> None:
        path = f"/clusters/{quote(cluster.name)}/access-entries"
        principal = canonical(cluster.creator)
        self.call(request, "POST", path, {"principalArn": principal})
        policy = {"policyArn": ADMIN_POLICY, "accessScope": {"type": "cluster"}}
        self.call(request, "POST", f"{path}/{quote(principal, safe='')}/access-policies", policy)

    def call(self, like: Request, method: str, path: str, body: dict | None = None) -> dict:
        """A call that EKS makes itself, by the way and with the signature of a request that it saw."""
        headers = {name: value for name, value in like.headers.items() if name != "content-length"}
        made = aws_request.parse(method, path, headers, json_answer(body or {}).body if body else b"")
        made.way = like.way
        answer = self.answer(made)
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.body!r}")
        return answer.json

    def _with_entries(self, request) -> Cluster:
        cluster = self.cluster(request.input["name"])
        if cluster.mode == "CONFIG_MAP":
            modes = "[API, API_AND_CONFIG_MAP]"
            raise refused(
                f"The cluster's authentication mode must be set to one of {modes} to perform this operation."
            )
        return cluster

    def _entry_of(self, request) -> dict:
        principal = request.input["principalArn"]
        try:
            return self._with_entries(request).entries[principal]
        except KeyError:
            raise not_found(
                f"The specified principalArn could not be found. You can view your available access entries with "
                f"'list-access-entries': {principal}"
            ) from None

    def _moto_CreateAccessEntry(self, request):
        cluster, asked = self._with_entries(request), request.input
        principal, kind = asked["principalArn"], asked.get("type") or "STANDARD"
        if principal in cluster.entries:
            raise in_use("The specified access entry resource is already in use on this cluster.")
        entry = new_entry(cluster, principal, kind, asked)
        cluster.entries[principal] = entry
        return json_answer({"accessEntry": _shown(entry)})

    def _moto_DescribeAccessEntry(self, request):
        return json_answer({"accessEntry": _shown(self._entry_of(request))})

    def _moto_ListAccessEntries(self, request):
        cluster, policy = self._with_entries(request), request.input.get("associatedPolicyArn")
        found = [p for p, e in cluster.entries.items() if policy is None or policy in e["policies"]]
        return json_answer({"accessEntries": sorted(found)})

    def _moto_UpdateAccessEntry(self, request):
        entry = self._entry_of(request)
        if entry["type"] != "STANDARD":
            raise refused("The kubernetesGroups and username of this type of access entry can not be updated.")
        entry["kubernetesGroups"] = request.input.get("kubernetesGroups", entry["kubernetesGroups"])
        entry["username"] = request.input.get("username", entry["username"])
        entry["modifiedAt"] = time.time()
        return json_answer({"accessEntry": _shown(entry)})

    def _moto_DeleteAccessEntry(self, request):
        self._entry_of(request)
        del self.clusters[request.input["name"]].entries[request.input["principalArn"]]
        return json_answer({})

    def _moto_AssociateAccessPolicy(self, request):
        entry, asked = self._entry_of(request), request.input
        if asked["policyArn"].rsplit("/", 1)[-1] not in POLICIES:
            raise invalid(f"The policyArn parameter format is not valid: {asked['policyArn']}")
        if entry["type"] not in ("STANDARD", "EC2"):
            raise refused(f"Access policies cannot be associated with an access entry of type {entry['type']}.")
        association = {
            "policyArn": asked["policyArn"],
            "accessScope": {"namespaces": [], **(asked.get("accessScope") or {})},
            "associatedAt": time.time(),
            "modifiedAt": time.time(),
        }
        entry["policies"][asked["policyArn"]] = association
        names = {"clusterName": asked["name"], "principalArn": asked["principalArn"]}
        return json_answer({**names, "associatedAccessPolicy": association})

    def _moto_DisassociateAccessPolicy(self, request):
        if self._entry_of(request)["policies"].pop(request.input["policyArn"], None) is None:
            raise not_found("The specified policyArn is not associated with this access entry.")
        return json_answer({})

    def _moto_ListAssociatedAccessPolicies(self, request):
        names = {"clusterName": request.input["name"], "principalArn": request.input["principalArn"]}
        policies = list(self._entry_of(request)["policies"].values())
        return json_answer({**names, "associatedAccessPolicies": policies})

    def _moto_ListAccessPolicies(self, request):
        arns = [{"name": name, "arn": ADMIN_POLICY.rsplit("/", 1)[0] + f"/{name}"} for name in POLICIES]
        return json_answer({"accessPolicies": arns})

    # ---- tags, versions, and what a cluster before moto has none of

    def _TagResource(self, request):
        self.tags.setdefault(self._known(request), {}).update(request.input["tags"])
        return json_answer({})

    def _UntagResource(self, request):
        keys = request.input.get("tagKeys") or []
        for key in [keys] if isinstance(keys, str) else keys:
            self.tags.get(self._known(request), {}).pop(key, None)
        return json_answer({})

    def _ListTagsForResource(self, request):
        return json_answer({"tags": self.tags.get(self._known(request), {})})

    def _known(self, request) -> str:
        arn = request.input["resourceArn"]
        if arn not in self.tags and not any(f"/{name}/" in arn for name in self.clusters):
            raise Refusal(404, "NotFoundException", "Resource was not found")
        return arn

    def _DescribeClusterVersions(self, request):
        asked = request.input
        wanted = asked.get("clusterVersions") or list(VERSIONS)
        wanted = [wanted] if isinstance(wanted, str) else wanted
        status = asked.get("versionStatus")
        versions = [_version(version) for version in VERSIONS if version in wanted]
        if asked.get("defaultOnly") == "true":
            versions = [v for v in versions if v["defaultVersion"]]
        return json_answer(
            {"clusterVersions": [v for v in versions if status in (None, v["versionStatus"])]}
        )

    def _moto_ListAddons(self, request):
        self.cluster(request.input["name"])
        return json_answer({"addons": []})

    def _moto_DescribeAddon(self, request):
        self.cluster(request.input["name"])
        raise not_found(f"No addon: {request.input['addonName']} found in cluster: {request.input['name']}")

    def _moto_DescribeAddonVersions(self, request):
        name = request.input.get("addonName")
        version = request.input.get("kubernetesVersion") or DEFAULT_VERSION
        return json_answer({"addons": [_addon(a, version) for a in ADDONS if name in (None, a)]})

    def _empty(name):
        def play(self, request):
            self.cluster(request.input["name"])
            return json_answer({name: []})

        return play

    _moto_ListPodIdentityAssociations = _empty("associations")
    _moto_ListIdentityProviderConfigs = _empty("identityProviderConfigs")
    _moto_ListInsights = _empty("insights")
    _moto_ListCapabilities = _empty("capabilities")


FORWARDED = {
    "CreateFargateProfile",
    "DeleteFargateProfile",
    "DescribeFargateProfile",
    "ListClusters",
    "ListFargateProfiles",
    "ListNodegroups",
}
UPDATE_TYPES = {
    "resourcesVpcConfig": "EndpointAccessUpdate",
    "logging": "LoggingUpdate",
    "accessConfig": "AccessConfigUpdate",
    "upgradePolicy": "UpgradePolicyUpdate",
    "zonalShiftConfig": "ZonalShiftConfigUpdate",
    "deletionProtection": "DeletionProtectionUpdate",
}
ADDONS = {"vpc-cni": "v1.23.1-eksbuild.1", "coredns": "v1.13.2-eksbuild.4", "kube-proxy": "v{patch}-eksbuild.2"}
ADDONS |= {"eks-pod-identity-agent": "v1.3.10-eksbuild.2", "aws-ebs-csi-driver": "v1.64.0-eksbuild.1"}


def canonical(arn: str) -> str:
    """`arn:aws:sts::A:assumed-role/R/S` → `arn:aws:iam::A:role/R`, as the authenticator does; others as they are."""
    partition, service, region, account, resource = arn.split(":", 5)[1:]
    if service == "sts" and resource.startswith("assumed-role/"):
        return f"arn:{partition}:iam::{account}:role/{resource.split('/')[1]}"
    return arn


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def _text(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _arn(request: Request, kind: str, name: str) -> str:
    return f"arn:aws:eks:{request.region}:{ACCOUNT}:{kind}/{name}"


def _with_input(request: Request, **changes) -> Request:
    """The same request with other fields in its JSON body."""
    body = json.dumps({**json.loads(request.body or b"{}"), **changes}).encode()
    return dataclasses.replace(request, body=body)


def _cluster_fields(asked: dict) -> dict:
    """What DescribeCluster shows of what CreateCluster was asked for, with the defaults of the API."""
    access = asked.get("accessConfig") or {}
    mode = access.get("authenticationMode") or "CONFIG_MAP"
    bootstrap = access.get("bootstrapClusterCreatorAdminPermissions")
    if mode == "CONFIG_MAP" and bootstrap is False:
        raise invalid(
            "bootstrapClusterCreatorAdminPermissions must be true if cluster authentication mode is set to CONFIG_MAP"
        )
    version = asked.get("version") or DEFAULT_VERSION
    if version not in VERSIONS:
        raise invalid(f"unsupported Kubernetes version {version}")
    network = asked.get("kubernetesNetworkConfig") or {}
    fields = {
        "roleArn": asked.get("roleArn"),
        "version": version,
        "resourcesVpcConfig": _vpc_config({}, asked.get("resourcesVpcConfig") or {}),
        "kubernetesNetworkConfig": {
            "serviceIpv4Cidr": network.get("serviceIpv4Cidr") or "172.20.0.0/16",
            "ipFamily": network.get("ipFamily") or "ipv4",
            "elasticLoadBalancing": {"enabled": False},
        },
        "logging": _logging({}, asked.get("logging") or {}),
        "accessConfig": {"authenticationMode": mode},
        "upgradePolicy": {"supportType": "EXTENDED", **(asked.get("upgradePolicy") or {})},
        "deletionProtection": bool(asked.get("deletionProtection")),
        "encryptionConfig": asked.get("encryptionConfig") or [],
        "bootstrap": bootstrap is not False,
        "selfManagedAddons": asked.get("bootstrapSelfManagedAddons") is not False,
    }
    for optional in ("zonalShiftConfig", "computeConfig", "storageConfig", "remoteNetworkConfig"):
        if asked.get(optional):
            fields[optional] = asked[optional]
    return fields


def _vpc_config(now: dict, asked: dict) -> dict:
    defaults = {
        "subnetIds": [],
        "securityGroupIds": [],
        "endpointPublicAccess": True,
        "endpointPrivateAccess": False,
    }
    merged = {**defaults, **now, **{name: value for name, value in asked.items() if value is not None}}
    if not merged["endpointPublicAccess"] and not merged["endpointPrivateAccess"]:
        raise invalid("Private and public endpoint access cannot be false at the same time.")
    merged["publicAccessCidrs"] = (merged.get("publicAccessCidrs") or ["0.0.0.0/0"]) if merged["endpointPublicAccess"] else []
    return merged


def _logging(now: dict, asked: dict) -> dict:
    enabled = {t for setup in now.get("clusterLogging", []) if setup["enabled"] for t in setup["types"]}
    for setup in asked.get("clusterLogging") or []:
        for kind in setup.get("types") or []:
            (enabled.add if setup.get("enabled") else enabled.discard)(kind)
    on, off = ([t for t in LOG_TYPES if (t in enabled) == wanted] for wanted in (True, False))
    return {"clusterLogging": [{"types": t, "enabled": e} for t, e in ((on, True), (off, False)) if t]}


def _changed(fields: dict, kind: str, value) -> dict | bool:
    """The new value of one kind of setting; an update to what already holds is an error, as on AWS."""
    now = fields.get(kind)
    if kind == "accessConfig":
        old, new = now["authenticationMode"], value["authenticationMode"]
        if new not in MODES or MODES.index(new) != MODES.index(old) + 1:
            raise invalid(f"Unsupported authentication mode update from {old} to {new}")
        return {"authenticationMode": new}
    if kind == "resourcesVpcConfig":
        new = _vpc_config(now, value)
        if new == now:
            raise invalid(
                "Cluster is already at the desired configuration with endpointPrivateAccess: "
                f"{_lower(new['endpointPrivateAccess'])} , endpointPublicAccess: {_lower(new['endpointPublicAccess'])}, "
                f"and Public Endpoint Restrictions: [{', '.join(new['publicAccessCidrs'])}]"
            )
        return new
    new = _logging(now, value) if kind == "logging" else value
    if new == now:
        raise invalid(f"No changes needed for the {kind} config provided")
    return new


def _lower(value: bool) -> str:
    return str(value).lower()


def _nodegroup_fields(asked: dict, cluster: Cluster) -> dict:
    """What DescribeNodegroup shows of what CreateNodegroup was asked for, with the defaults of the API."""
    template = asked.get("launchTemplate")
    version = asked.get("version") or cluster.fields["version"]
    if version != cluster.fields["version"]:
        raise invalid(f"Nodegroup version {version} must match the cluster version {cluster.fields['version']}")
    if template and asked.get("diskSize"):
        raise invalid("Disk size must be specified within the launch template.")
    scaling = {"minSize": 1, "maxSize": 2, "desiredSize": 2, **(asked.get("scalingConfig") or {})}
    if not scaling["minSize"] <= scaling["desiredSize"] <= scaling["maxSize"]:
        raise invalid("desired capacity has to be between minimum and maximum capacity")
    fields = {
        "nodegroupName": asked["nodegroupName"],
        "clusterName": cluster.name,
        "nodeRole": asked.get("nodeRole"),
        "subnets": asked.get("subnets") or [],
        "version": version,
        "releaseVersion": asked.get("releaseVersion") or _release(version),
        "amiType": asked.get("amiType") or "AL2023_x86_64_STANDARD",
        "capacityType": asked.get("capacityType") or "ON_DEMAND",
        "scalingConfig": scaling,
        "instanceTypes": asked.get("instanceTypes") or ([] if template else ["t3.medium"]),
        "labels": asked.get("labels") or {},
        "taints": asked.get("taints") or [],
        "updateConfig": asked.get("updateConfig") or {"maxUnavailable": 1},
    }
    if template:
        fields["launchTemplate"] = dict(template)
    else:
        fields["diskSize"] = asked.get("diskSize") or 20
    for optional in ("remoteAccess", "nodeRepairConfig", "warmPoolConfig"):
        if asked.get(optional):
            fields[optional] = asked[optional]
    return fields


def _release(version: str) -> str:
    return f"{PATCHES[version]}-{BUILD}"


def new_entry(cluster: Cluster, principal: str, kind: str, asked: dict) -> dict:
    """A new access entry, with the user name that EKS gives where none is asked for."""
    if not principal.startswith("arn:") or ":iam::" not in principal:
        raise invalid(f"The principalArn parameter format is not valid: {principal}")
    groups, username = asked.get("kubernetesGroups") or [], asked.get("username")
    if kind != "STANDARD" and (groups or username):
        raise invalid(f"The kubernetesGroups and username parameters can not be set for type {kind}")
    if kind != "STANDARD" and ":role/" not in principal:
        raise invalid(f"An access entry of type {kind} needs an IAM role")
    if username and username.startswith(("system:", "eks:", "aws:", "amazon:", "iam:")):
        raise invalid(f"The username {username} has a reserved prefix")
    account, name = principal.split(":")[4], principal.rsplit("/", 1)[-1]
    if kind in ("EC2_LINUX", "EC2_WINDOWS"):
        username, groups = "system:node:{{EC2PrivateDNSName}}", ["system:nodes"]
    elif kind != "STANDARD":
        username, groups = "system:node:{{SessionName}}", ["system:nodes"]
    elif not username and ":role/" in principal:
        username = f"arn:aws:sts::{account}:assumed-role/{name}/{{{{SessionName}}}}"
    now = time.time()
    return {
        "clusterName": cluster.name,
        "principalArn": principal,
        "kubernetesGroups": groups,
        "accessEntryArn": f"arn:aws:eks:us-west-2:{account}:access-entry/{cluster.name}/{uuid.uuid4()}",
        "createdAt": now,
        "modifiedAt": now,
        "tags": asked.get("tags") or {},
        "username": username or principal,
        "type": kind,
        "policies": {},
    }


def _shown(entry: dict) -> dict:
    return {name: value for name, value in entry.items() if name != "policies"}


def _version(version: str) -> dict:
    released, standard, extended = (dt.datetime.fromisoformat(f"{day}+00:00").timestamp() for day in CALENDAR[version])
    state = "STANDARD_SUPPORT" if version in STANDARD else "EXTENDED_SUPPORT"
    return {
        "clusterVersion": version,
        "clusterType": "eks",
        "defaultPlatformVersion": "eks.9",
        "defaultVersion": version == DEFAULT_VERSION,
        "releaseDate": released,
        "endOfStandardSupportDate": standard,
        "endOfExtendedSupportDate": extended,
        "status": state.lower().replace("_", "-"),
        "versionStatus": state,
        "kubernetesPatchVersion": PATCHES[version],
    }


def _addon(name: str, version: str) -> dict:
    compatible = [{"clusterVersion": version, "platformVersions": ["*"], "defaultVersion": True}]
    release = {
        "addonVersion": ADDONS[name].format(patch=PATCHES[version]),
        "architecture": ["amd64", "arm64"],
        "compatibilities": compatible,
        "requiresConfiguration": False,
        "requiresIamPermissions": name in ("vpc-cni", "aws-ebs-csi-driver"),
    }
    return {
        "addonName": name,
        "type": "networking" if name != "aws-ebs-csi-driver" else "storage",
        "addonVersions": [release],
        "publisher": "eks",
        "owner": "aws",
        "defaultNamespace": "kube-system",
    }
