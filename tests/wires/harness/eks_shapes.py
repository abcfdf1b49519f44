"""What EKS shows of what it was asked for, with the defaults of its API, and the errors that AWS documents."""

import dataclasses
import datetime as dt
import json
import threading
import time
import uuid
from dataclasses import dataclass, field

from .aws_request import Request
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


ADDONS = {"vpc-cni": "v1.23.1-eksbuild.1", "coredns": "v1.13.2-eksbuild.4", "kube-proxy": "v{patch}-eksbuild.2"}
ADDONS |= {"eks-pod-identity-agent": "v1.3.10-eksbuild.2", "aws-ebs-csi-driver": "v1.64.0-eksbuild.1"}
ADDONS |= {"metrics-server": "v0.8.1-eksbuild.1"}


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
    template: dict = field(default_factory=dict)  # that EKS launches it from
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
    addons: dict = field(default_factory=dict)  # managed add-ons, where winterbaume is the way
    interfaces: list = field(default_factory=list)  # of the control plane, in the customer's subnets
    updates: dict = field(default_factory=dict)

    @property
    def mode(self) -> str:
        return self.fields["accessConfig"]["authenticationMode"]


def canonical(arn: str) -> str:
    """`arn:aws:sts::A:assumed-role/R/S` → `arn:aws:iam::A:role/R`, as the authenticator does; others as they are."""
    partition, service, region, account, resource = arn.split(":", 5)[1:]
    if service == "sts" and resource.startswith("assumed-role/"):
        return f"arn:{partition}:iam::{account}:role/{resource.split('/')[1]}"
    return arn


def capital(name: str) -> str:
    return name[0].upper() + name[1:]


def text(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def arn_of(request: Request, kind: str, name: str) -> str:
    return f"arn:aws:eks:{request.region}:{ACCOUNT}:{kind}/{name}"


def with_input(request: Request, **changes) -> Request:
    """The same request with other fields in its JSON body."""
    body = json.dumps({**json.loads(request.body or b"{}"), **changes}).encode()
    return dataclasses.replace(request, body=body)


def cluster_fields(asked: dict) -> dict:
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
        "resourcesVpcConfig": vpc_config({}, asked.get("resourcesVpcConfig") or {}),
        "kubernetesNetworkConfig": {
            "serviceIpv4Cidr": network.get("serviceIpv4Cidr") or "172.20.0.0/16",
            "ipFamily": network.get("ipFamily") or "ipv4",
            "elasticLoadBalancing": {"enabled": False},
        },
        "logging": log_setup({}, asked.get("logging") or {}),
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


def vpc_config(now: dict, asked: dict) -> dict:
    defaults = {
        "subnetIds": [],
        "securityGroupIds": [],
        "endpointPublicAccess": True,
        "endpointPrivateAccess": False,
    }
    merged = {**defaults, **now, **{name: value for name, value in asked.items() if value is not None}}
    if not merged["endpointPublicAccess"] and not merged["endpointPrivateAccess"]:
        raise invalid("Private and public endpoint access cannot be false at the same time.")
    merged["publicAccessCidrs"] = (
        (merged.get("publicAccessCidrs") or ["0.0.0.0/0"]) if merged["endpointPublicAccess"] else []
    )
    return merged


def log_setup(now: dict, asked: dict) -> dict:
    enabled = {t for setup in now.get("clusterLogging", []) if setup["enabled"] for t in setup["types"]}
    for setup in asked.get("clusterLogging") or []:
        for kind in setup.get("types") or []:
            (enabled.add if setup.get("enabled") else enabled.discard)(kind)
    on, off = ([t for t in LOG_TYPES if (t in enabled) == wanted] for wanted in (True, False))
    return {"clusterLogging": [{"types": t, "enabled": e} for t, e in ((on, True), (off, False)) if t]}


def changed(fields: dict, kind: str, value) -> dict | bool:
    """The new value of one kind of setting; an update to what already holds is an error, as on AWS."""
    now = fields.get(kind)
    if kind == "accessConfig":
        old, new = now["authenticationMode"], value["authenticationMode"]
        if new not in MODES or MODES.index(new) != MODES.index(old) + 1:
            raise invalid(f"Unsupported authentication mode update from {old} to {new}")
        return {"authenticationMode": new}
    if kind == "resourcesVpcConfig":
        new = vpc_config(now, value)
        if new == now:
            private, public = (_lower(new[name]) for name in ("endpointPrivateAccess", "endpointPublicAccess"))
            raise invalid(
                f"Cluster is already at the desired configuration with endpointPrivateAccess: {private} , "
                f"endpointPublicAccess: {public}, and Public Endpoint Restrictions: "
                f"[{', '.join(new['publicAccessCidrs'])}]"
            )
        return new
    new = log_setup(now, value) if kind == "logging" else value
    if new == now:
        raise invalid(f"No changes needed for the {kind} config provided")
    return new


def _lower(value: bool) -> str:
    return str(value).lower()


def nodegroup_fields(asked: dict, cluster: Cluster) -> dict:
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
        "releaseVersion": asked.get("releaseVersion") or release(version),
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


def release(version: str) -> str:
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


def shown(entry: dict) -> dict:
    return {name: value for name, value in entry.items() if name != "policies"}


def version_facts(version: str) -> dict:
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


def addon_facts(name: str, version: str) -> dict:
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
