"""Other people's clients, which say whether ekskit did its work: AWS CLI, kubectl, boto3."""

import base64
import json
import re
import subprocess

import boto3

from .aws_request import parse
from .place import REGION, program

# Per service: what a teardown must leave as it was. (operation, path to the items, the field that names one)
INVENTORY = {
    "ec2": [
        ("describe_vpcs", "Vpcs", "VpcId"),
        ("describe_subnets", "Subnets", "SubnetId"),
        ("describe_route_tables", "RouteTables", "RouteTableId"),
        ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
        ("describe_nat_gateways", "NatGateways", "NatGatewayId"),
        ("describe_addresses", "Addresses", "AllocationId"),
        ("describe_security_groups", "SecurityGroups", "GroupId"),
        ("describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId"),
        ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
        ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
        ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
        ("describe_volumes", "Volumes", "VolumeId"),
        ("describe_key_pairs", "KeyPairs", "KeyPairId"),
    ],
    "iam": [
        ("list_roles", "Roles", "Arn"),
        ("list_instance_profiles", "InstanceProfiles", "Arn"),
        ("list_open_id_connect_providers", "OpenIDConnectProviderList", "Arn"),
        ("list_users", "Users", "Arn"),
    ],
    "autoscaling": [
        ("describe_auto_scaling_groups", "AutoScalingGroups", "AutoScalingGroupName"),
        ("describe_launch_configurations", "LaunchConfigurations", "LaunchConfigurationName"),
    ],
    "logs": [("describe_log_groups", "logGroups", "logGroupName")],
    "kms": [("list_aliases", "Aliases", "AliasName")],
    "elb": [("describe_load_balancers", "LoadBalancerDescriptions", "LoadBalancerName")],
    "elbv2": [
        ("describe_load_balancers", "LoadBalancers", "LoadBalancerArn"),
        ("describe_target_groups", "TargetGroups", "TargetGroupArn"),
    ],
}
GONE = {"deleted", "deleting", "terminated", "shutting-down", "pendingdeletion"}


class Judge:
    def __init__(self, world, winterbaume: bool = False):
        self.world = world
        self.environment = world.environment(world.judge, winterbaume)
        self.bin = program("aws").parent

    def aws(self, *arguments):
        """The AWS CLI's answer, as JSON. Raises with its standard error when it fails."""
        return _json(self.run(program("aws"), *arguments, "--output", "json"))

    def kubectl(self, *arguments, kubeconfig=None):
        """kubectl's answer, as JSON where it is some, else as text; as admin where no other kubeconfig is given."""
        return _json(self.run(program("kubectl"), "--kubeconfig", kubeconfig or self.world.admin, *arguments))

    def run(self, *command, stdin: str | None = None, timeout: float = 120) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode != 0:
            shown = " ".join(str(part) for part in command)
            raise AssertionError(f"{shown}\nended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def inventory(self) -> dict[str, dict[str, bool]]:
        """What the account shows: for each kind the names of all resources, and whether each still lives."""
        shown = {}
        for service, reads in INVENTORY.items():
            client = self._client(service)
            for operation, items, name in reads:
                found = _all(client, operation, items)
                shown[f"{service} {items}"] = {item[name]: _lives(item.get("State")) for item in found}
        kms, ec2 = self._client("kms"), self._client("ec2")
        keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in _all(kms, "list_keys", "Keys")]
        shown["kms Keys"] = {key["KeyId"]: _lives(key["KeyState"]) for key in keys}
        # moto keeps the default ACL of a deleted VPC, and refuses to delete it because of subnets that are gone.
        acls = [acl for acl in _all(ec2, "describe_network_acls", "NetworkAcls") if acl["VpcId"] in shown["ec2 Vpcs"]]
        shown["ec2 NetworkAcls"] = {acl["NetworkAclId"]: True for acl in acls}
        policies = _all(self._client("iam"), "list_policies", "Policies", Scope="Local")
        shown["iam Policies"] = {policy["Arn"]: True for policy in policies}
        reservations = _all(ec2, "describe_instances", "Reservations")
        instances = [instance for reservation in reservations for instance in reservation["Instances"]]
        shown["ec2 Instances"] = {i["InstanceId"]: _lives(i["State"]["Name"]) for i in instances}
        shown["eks clusters"] = dict.fromkeys(self._client("eks").list_clusters()["clusters"], True)
        return shown

    def _client(self, service: str):
        endpoint = self.environment["AWS_ENDPOINT_URL"]
        if service == "eks":
            endpoint = self.environment.get("AWS_ENDPOINT_URL_EKS", endpoint)
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )


def difference(before: dict, after: dict) -> dict[str, dict]:
    """What came and what went between two inventories; empty: nothing."""
    changes = {}
    for kind in before:
        came, went = sorted(after[kind].keys() - before[kind].keys()), sorted(before[kind].keys() - after[kind].keys())
        if came or went:
            changes[kind] = {"came": came, "went": went}
    return changes


def living(inventory: dict) -> dict:
    """An inventory without what has ended, which AWS shows a while longer."""
    return {kind: {name: True for name, lives in things.items() if lives} for kind, things in inventory.items()}


def assert_same(before: dict, after: dict) -> None:
    """Nothing lives that did not, and nothing is missing."""
    changes = difference(living(before), living(after))
    assert not changes, "the account does not hold what it held before:\n" + json.dumps(changes, indent=2)


def assert_left_as_told(before: dict, after: dict, left: list[str]) -> None:
    """The account shows what it showed before, but for what the lines of `left` name, each of which is there."""
    named = {name for line in left for name in NAMED.findall(line)}
    changes = difference(before, after)
    came = [(kind, name) for kind, change in changes.items() for name in change["came"]]
    untold = [thing for thing in came if not _spellings(thing[1]) & named]
    went = {kind: change["went"] for kind, change in changes.items() if change["went"]}
    shown = {spelling for things in after.values() for name in things for spelling in _spellings(name)}
    absent = [line for line in left if not line.startswith(UNSEEN) and not shown & set(NAMED.findall(line))]
    wrong = {"came, and is not in `left`": untold, "went": went, "in `left`, and is not there": absent}
    assert not any(wrong.values()), json.dumps({**wrong, "left": left}, indent=2)


NAMED = re.compile(r"`([^`]+)`")
UNSEEN = "activities of Auto Scaling group"  # moto has none


def _spellings(name: str) -> set[str]:
    """A name, and the part of an ARN or path that people call it by."""
    return {name, name.rsplit("/", 1)[-1]}


def mutating_in_recording(recorded: list[dict], access_key: str) -> list[str]:
    """The mutating requests that moto itself recorded of one caller."""
    found = []
    for entry in recorded:
        headers = {name.lower(): value for name, value in entry["headers"].items()}
        body = base64.b64decode(entry["body"] or "") if entry.get("body_encoded") else (entry["body"] or "").encode()
        target = "/" + entry["url"].split("//", 1)[-1].split("/", 1)[-1]
        request = parse(entry["method"], target, headers, body)
        if request.access_key == access_key and request.mutating:
            found.append(f"{request.service}:{request.action}")
    return found


def mutating_in_audit(audit_log, users: set[str], since: int = 0) -> list[str]:
    """The mutating requests of some users, and of ekskit as whichever user, in the API server's audit log after its
    first `since` bytes."""
    found = []
    with open(audit_log, "rb") as log:
        log.seek(since)
        for line in log:
            event = json.loads(line)
            is_theirs = event["user"]["username"] in users or event.get("userAgent", "").startswith("ekskit/")
            if is_theirs and event["verb"] in AUDIT_MUTATIONS:
                if not event["requestURI"].startswith(REVIEWS) and "dryRun=" not in event["requestURI"]:
                    found.append(f"{event['user']['username']} {event['verb']} {event['requestURI']}")
    return found


AUDIT_MUTATIONS = {"create", "update", "patch", "delete", "deletecollection"}
REVIEWS = ("/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/")  # created, yet nothing is kept of them


def _all(client, operation: str, items: str, **arguments) -> list[dict]:
    if client.can_paginate(operation):
        return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page.get(items, [])]
    return getattr(client, operation)(**arguments).get(items, [])


def _lives(state) -> bool:
    return state.lower() not in GONE if isinstance(state, str) else True


def _json(text: str):
    try:
        return json.loads(text)
    except ValueError:
        return text
