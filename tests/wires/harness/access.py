"""How an identity maps to a Kubernetes user: access entries, aws-auth as the authenticator parses it, the creator."""

import re

import yaml

from .eks_shapes import Cluster, canonical

NODE_USER, NODE_GROUPS = "system:node:{{EC2PrivateDNSName}}", {"system:bootstrappers", "system:nodes"}
# Access policies other than that of the admin are played by roles that Kubernetes itself has; see `bootstrap`.
POLICY_GROUPS = {
    "AmazonEKSClusterAdminPolicy": "system:masters",
    "AmazonEKSAdminPolicy": "eks:access-policy:admin",
    "AmazonEKSEditPolicy": "eks:access-policy:edit",
    "AmazonEKSViewPolicy": "eks:access-policy:view",
    "AmazonEKSAdminViewPolicy": "eks:access-policy:view",
}


def identify(cluster: Cluster, entries: list[dict], aws_auth: dict | None, arn: str) -> tuple[str, list[str]] | None:
    """The user and groups of a caller whose ARN STS gave; None: nobody. An access entry beats aws-auth."""
    principal, session = canonical(arn), arn.rsplit("/", 1)[-1]
    if cluster.mode != "CONFIG_MAP":
        for entry in entries:
            if _without_path(entry["principalArn"]).lower() == _without_path(principal).lower():
                policies = [p for p in entry["policies"] if p["accessScope"]["type"] == "cluster"]
                names = [policy["policyArn"].rsplit("/", 1)[-1] for policy in policies]
                granted = [POLICY_GROUPS[name] for name in names if name in POLICY_GROUPS]
                return _filled(entry["username"], session), [*entry["kubernetesGroups"], *granted]
    if cluster.mode != "API":
        for found in mapped(aws_auth):
            same = found["arn"].lower() == principal.lower() if found["kind"] == "role" else found["arn"] == principal
            if same:
                return _filled(found["username"], session), [_filled(group, session) for group in found["groups"]]
        if principal.split(":")[4] in accounts(aws_auth):
            return principal, []
    if cluster.mode == "CONFIG_MAP" and principal == canonical(cluster.creator):
        return "kubernetes-admin", ["system:masters"]
    return None


def node_may_join(cluster: Cluster, entries: list[dict], aws_auth: dict | None, role_arn: str) -> bool:
    """Does an instance with this role register as a node?"""
    if cluster.mode != "CONFIG_MAP":
        for entry in entries:
            if entry["principalArn"] == role_arn:
                return entry["type"] in ("EC2_LINUX", "EC2")
    if cluster.mode == "API":
        return False
    wanted = _without_path(role_arn).lower()  # STS gives no path, so a role mapped with one never matches
    last = [found for found in mapped(aws_auth) if found["kind"] == "role" and found["arn"].lower() == wanted]
    return bool(last) and last[0]["username"] == NODE_USER and NODE_GROUPS <= set(last[0]["groups"])


def mapped(aws_auth: dict | None) -> list[dict]:
    """The roles, then the users of aws-auth. A key whose YAML is broken maps nobody; of two items for a role the last
    wins; field names are read without regard to case; an item that names no ARN, or both an ARN and an SSO role, is
    dropped."""
    roles, users = {}, {}
    for item in _items(aws_auth, "mapRoles"):
        arn = item.get("rolearn")
        if isinstance(arn, str) and arn and not item.get("sso"):
            roles[arn.lower()] = {"kind": "role", "arn": arn, **_user(item)}
    for item in _items(aws_auth, "mapUsers"):
        arn = item.get("userarn")
        if isinstance(arn, str) and arn:
            users[arn] = {"kind": "user", "arn": arn, **_user(item)}
    return [*roles.values(), *users.values()]


def accounts(aws_auth: dict | None) -> list[str]:
    return [str(account) for account in _parsed(aws_auth, "mapAccounts") if isinstance(account, (str, int))]


def _user(item: dict) -> dict:
    groups = item.get("groups") or []
    return {"username": item.get("username") or "", "groups": [g for g in groups if isinstance(g, str)]}


def _items(aws_auth: dict | None, key: str) -> list[dict]:
    items = [item for item in _parsed(aws_auth, key) if isinstance(item, dict)]
    return [{str(name).lower(): value for name, value in item.items()} for item in items]


def _parsed(aws_auth: dict | None, key: str) -> list:
    text = ((aws_auth or {}).get("data") or {}).get(key, "")
    if text.strip() in ("", "``", '""', "''"):
        return []
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return []
    return value if isinstance(value, list) else []


def _without_path(arn: str) -> str:
    return re.sub(r":role/(?:.*/)?([^/]+)$", r":role/\1", arn)


def _filled(template: str, session: str) -> str:
    return template.replace("{{SessionName}}", session.replace("@", "-")).replace("{{SessionNameRaw}}", session)
