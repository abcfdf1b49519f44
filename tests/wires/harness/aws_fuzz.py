"""Sequences of AWS calls made up from a seed, answered by the twin and by moto, and compared as the table is.

    python -m harness.aws_fuzz [--seed N] [--minutes M] [--batch B]

A sequence whose answers differ in a way that the list of known differences has not is shrunk to the fewest calls that
still do, and printed as the table would have it. What it found stands in `compare_aws/found.yaml`.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .aws_calls import REFERENCE, Difference, Servers, compare, perform_on
from .aws_comparison import Known

CIDRS = ["10.0.0.0/16", "10.0.0.0/24", "10.0.1.0/24", "10.0.0.0/25", "10.0.128.0/17", "192.168.0.0/16"]
WRONG_CIDRS = ["10.0.0.0/8", "10.0.0.0/29", "10.0.0.0/33", "ten", "300.0.0.0/16"]
ZONES = ["us-west-2a", "us-west-2b", "us-west-2c"]
NAMES = ["a", "b", "c-1", "Name_2"]
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
)
MANAGED = [
    "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
    "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
    "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy",
]
# The end of ids of things that nobody made, and what they look like.
NOBODYS = "0123456789abcdef0"
GHOSTS = {
    "vpc": "vpc-0123456789abcdef0",
    "subnet": "subnet-0123456789abcdef0",
    "igw": "igw-0123456789abcdef0",
    "table": "rtb-0123456789abcdef0",
    "association": "rtbassoc-0123456789abcdef0",
    "address": "eipalloc-0123456789abcdef0",
    "nat": "nat-0123456789abcdef0",
    "group": "sg-0123456789abcdef0",
    "eni": "eni-0123456789abcdef0",
    "template": "lt-0123456789abcdef0",
    "volume": "vol-0123456789abcdef0",
    "instance": "i-0123456789abcdef0",
    "key": "01234567-89ab-cdef-0123-456789abcdef",
}
# Where the id of a new thing stands in the answer of its create.
MADE = {
    "vpc": "vpc.vpc_id",
    "subnet": "subnet.subnet_id",
    "igw": "internet_gateway.internet_gateway_id",
    "table": "route_table.route_table_id",
    "association": "association_id",
    "address": "allocation_id",
    "nat": "nat_gateway.nat_gateway_id",
    "group": "group_id",
    "eni": "network_interface.network_interface_id",
    "template": "launch_template.launch_template_id",
    "volume": "volume_id",
    "key": "key_metadata.key_id",
}


@dataclass
class Writer:
    """Writes one sequence; remembers under which names which kinds of things were asked for."""

    dice: random.Random
    steps: list[dict] = field(default_factory=list)
    made: dict[str, list[str]] = field(default_factory=dict)

    def a(self, kind: str) -> str:
        """The id of something made before, or of nothing."""
        known = self.made.get(kind, [])
        if known and self.dice.random() < 0.9:
            return f"${self.dice.choice(known)}.{MADE[kind]}"
        return GHOSTS[kind]

    def cidr(self) -> str:
        return self.dice.choice(WRONG_CIDRS if self.dice.random() < 0.1 else CIDRS)

    def tags(self) -> dict:
        return {self.dice.choice(["a", "b", "Name"]): self.dice.choice(["1", "2", ""])}

    def some(self, *values):
        return self.dice.choice(values)

    def specification(self, kind: str) -> dict:
        return (
            {} if self.dice.random() < 0.6 else {"tag_specifications": [{"resource_type": kind, "tags": self.tags()}]}
        )

    def add(self, call: str, given: dict, makes: str | None = None) -> None:
        step = {"call": call, "with": given}
        if makes:
            step["as"] = f"{makes}_{len(self.steps)}"
            self.made.setdefault(makes, []).append(step["as"])
        self.steps.append(step)


def rule(writer: Writer) -> dict:
    peer = writer.some("cidr", "cidr", "group")
    port = writer.some(22, 53, 443)
    told = {"ip_protocol": writer.some("tcp", "udp"), "from_port": port, "to_port": port}
    if peer == "cidr":
        told["ip_ranges"] = [{"cidr_ip": writer.some("10.0.0.0/8", "0.0.0.0/0", "10.0.0.0/33")}]
    else:
        told["user_id_group_pairs"] = [{"group_id": writer.a("group")}]
    return {"group_id": writer.a("group"), "ip_permissions": [told]}


def route(writer: Writer) -> dict:
    target = writer.some("igw", "igw", "nat")
    return {
        "route_table_id": writer.a("table"),
        "destination_cidr_block": writer.some("0.0.0.0/0", "172.16.0.0/12", "10.9.0.0/33"),
        "gateway_id" if target == "igw" else "nat_gateway_id": writer.a(target),
    }


# Each writes one call. They stand more than once where they should come more often.
NETWORK = [
    lambda w: w.add("ec2::create_vpc", {"cidr_block": w.cidr(), **w.specification("vpc")}, "vpc"),
    lambda w: w.add("ec2::describe_vpcs", {"vpc_ids": [w.a("vpc")]}),
    lambda w: w.add("ec2::delete_vpc", {"vpc_id": w.a("vpc")}),
    lambda w: w.add(
        "ec2::modify_vpc_attribute",
        {"vpc_id": w.a("vpc"), w.some("enable_dns_support", "enable_dns_hostnames"): {"value": w.some(True, False)}},
    ),
    lambda w: w.add(
        "ec2::describe_vpc_attribute",
        {"vpc_id": w.a("vpc"), "attribute": w.some("enableDnsSupport", "enableDnsHostnames")},
    ),
    *[
        lambda w: w.add(
            "ec2::create_subnet",
            {
                "vpc_id": w.a("vpc"),
                "cidr_block": w.cidr(),
                "availability_zone": w.some(*ZONES, *ZONES, "us-west-2x"),
                **w.specification("subnet"),
            },
            "subnet",
        )
    ]
    * 2,
    lambda w: w.add("ec2::describe_subnets", {"subnet_ids": [w.a("subnet")]}),
    lambda w: w.add("ec2::describe_subnets", {"filters": {"vpc-id": w.a("vpc"), "availability-zone": w.some(*ZONES)}}),
    lambda w: w.add("ec2::delete_subnet", {"subnet_id": w.a("subnet")}),
    lambda w: w.add(
        "ec2::modify_subnet_attribute",
        {"subnet_id": w.a("subnet"), "map_public_ip_on_launch": {"value": w.some(True, False)}},
    ),
    lambda w: w.add("ec2::create_internet_gateway", w.specification("internet-gateway"), "igw"),
    *[lambda w: w.add("ec2::attach_internet_gateway", {"vpc_id": w.a("vpc"), "internet_gateway_id": w.a("igw")})] * 2,
    lambda w: w.add("ec2::detach_internet_gateway", {"vpc_id": w.a("vpc"), "internet_gateway_id": w.a("igw")}),
    lambda w: w.add("ec2::delete_internet_gateway", {"internet_gateway_id": w.a("igw")}),
    lambda w: w.add("ec2::describe_internet_gateways", {"internet_gateway_ids": [w.a("igw")]}),
    lambda w: w.add("ec2::create_route_table", {"vpc_id": w.a("vpc"), **w.specification("route-table")}, "table"),
    *[lambda w: w.add("ec2::create_route", route(w))] * 2,
    lambda w: w.add("ec2::replace_route", route(w)),
    lambda w: w.add(
        "ec2::delete_route",
        {"route_table_id": w.a("table"), "destination_cidr_block": w.some("0.0.0.0/0", "172.16.0.0/12")},
    ),
    lambda w: w.add(
        "ec2::associate_route_table", {"route_table_id": w.a("table"), "subnet_id": w.a("subnet")}, "association"
    ),
    lambda w: w.add("ec2::disassociate_route_table", {"association_id": w.a("association")}),
    lambda w: w.add("ec2::describe_route_tables", {"route_table_ids": [w.a("table")]}),
    lambda w: w.add("ec2::describe_route_tables", {"filters": {"vpc-id": w.a("vpc")}}),
    lambda w: w.add("ec2::delete_route_table", {"route_table_id": w.a("table")}),
    lambda w: w.add("ec2::allocate_address", {"domain": "vpc", **w.specification("elastic-ip")}, "address"),
    lambda w: w.add("ec2::describe_addresses", {"allocation_ids": [w.a("address")]}),
    lambda w: w.add("ec2::release_address", {"allocation_id": w.a("address")}),
    lambda w: w.add("ec2::create_nat_gateway", {"subnet_id": w.a("subnet"), "connectivity_type": "private"}, "nat"),
    lambda w: w.add(
        "ec2::create_tags", {"resources": [w.a(w.some("vpc", "subnet", "igw", "table"))], "tags": w.tags()}
    ),
    lambda w: w.add("ec2::describe_tags", {"filters": {"resource-id": w.a(w.some("vpc", "subnet", "igw"))}}),
]
GROUPS = [
    lambda w: w.add("ec2::create_vpc", {"cidr_block": "10.0.0.0/16"}, "vpc"),
    lambda w: w.add(
        "ec2::create_subnet",
        {"vpc_id": w.a("vpc"), "cidr_block": w.some("10.0.0.0/24", "10.0.1.0/24"), "availability_zone": "us-west-2a"},
        "subnet",
    ),
    *[
        lambda w: w.add(
            "ec2::create_security_group",
            {
                "vpc_id": w.a("vpc"),
                "group_name": w.some(*NAMES),
                "description": "d",
                **w.specification("security-group"),
            },
            "group",
        )
    ]
    * 2,
    *[lambda w: w.add("ec2::authorize_security_group_ingress", rule(w))] * 2,
    lambda w: w.add("ec2::authorize_security_group_egress", rule(w)),
    lambda w: w.add("ec2::revoke_security_group_ingress", rule(w)),
    lambda w: w.add("ec2::describe_security_groups", {"group_ids": [w.a("group")]}),
    lambda w: w.add("ec2::describe_security_group_rules", {"filters": {"group-id": w.a("group")}}),
    lambda w: w.add("ec2::delete_security_group", {"group_id": w.a("group")}),
    lambda w: w.add("ec2::create_network_interface", {"subnet_id": w.a("subnet"), "groups": [w.a("group")]}, "eni"),
    lambda w: w.add("ec2::describe_network_interfaces", {"network_interface_ids": [w.a("eni")]}),
    lambda w: w.add("ec2::delete_network_interface", {"network_interface_id": w.a("eni")}),
    lambda w: w.add(
        "ec2::create_volume",
        {"availability_zone": w.some(*ZONES), "size": w.some(8, 100), "volume_type": w.some("gp2", "gp3")},
        "volume",
    ),
    lambda w: w.add("ec2::delete_volume", {"volume_id": w.a("volume")}),
    lambda w: w.add("ec2::describe_volumes", {"volume_ids": [w.a("volume")]}),
]
TEMPLATES = [
    *[
        lambda w: w.add(
            "ec2::create_launch_template",
            {"launch_template_name": w.some(*NAMES), "launch_template_data": {"instance_type": "t3.medium"}},
            "template",
        )
    ]
    * 2,
    *[
        lambda w: w.add(
            "ec2::create_launch_template_version",
            {"launch_template_id": w.a("template"), "launch_template_data": {"instance_type": "m5.large"}},
        )
    ]
    * 2,
    lambda w: w.add("ec2::describe_launch_templates", {"launch_template_names": [w.some(*NAMES)]}),
    lambda w: w.add(
        "ec2::describe_launch_template_versions",
        {"launch_template_id": w.a("template"), "versions": [w.some("1", "2", "$Latest", "$Default")]},
    ),
    lambda w: w.add(
        "ec2::modify_launch_template", {"launch_template_id": w.a("template"), "default_version": w.some("1", "2")}
    ),
    lambda w: w.add("ec2::delete_launch_template", {"launch_template_id": w.a("template")}),
]
IDENTITY = [
    *[
        lambda w: w.add(
            "iam::create_role", {"role_name": w.some(*NAMES), "assume_role_policy_document": TRUST, "tags": w.tags()}
        )
    ]
    * 3,
    lambda w: w.add("iam::get_role", {"role_name": w.some(*NAMES)}),
    lambda w: w.add("iam::delete_role", {"role_name": w.some(*NAMES)}),
    *[
        lambda w: w.add(
            "iam::attach_role_policy",
            {"role_name": w.some(*NAMES), "policy_arn": w.some(*MANAGED, "arn:aws:iam::aws:policy/Nothing")},
        )
    ]
    * 2,
    lambda w: w.add("iam::detach_role_policy", {"role_name": w.some(*NAMES), "policy_arn": w.some(*MANAGED)}),
    lambda w: w.add("iam::list_attached_role_policies", {"role_name": w.some(*NAMES)}),
    lambda w: w.add(
        "iam::put_role_policy",
        {"role_name": w.some(*NAMES), "policy_name": w.some("p", "q"), "policy_document": POLICY},
    ),
    lambda w: w.add("iam::get_role_policy", {"role_name": w.some(*NAMES), "policy_name": w.some("p", "q")}),
    lambda w: w.add("iam::delete_role_policy", {"role_name": w.some(*NAMES), "policy_name": w.some("p", "q")}),
    lambda w: w.add("iam::list_role_policies", {"role_name": w.some(*NAMES)}),
    lambda w: w.add("iam::tag_role", {"role_name": w.some(*NAMES), "tags": w.tags()}),
    lambda w: w.add("iam::untag_role", {"role_name": w.some(*NAMES), "tag_keys": [w.some("a", "b")]}),
    lambda w: w.add("iam::list_role_tags", {"role_name": w.some(*NAMES)}),
    lambda w: w.add("iam::create_instance_profile", {"instance_profile_name": w.some(*NAMES)}),
    lambda w: w.add(
        "iam::add_role_to_instance_profile",
        {"instance_profile_name": w.some(*NAMES), "role_name": w.some(*NAMES)},
    ),
    lambda w: w.add("iam::get_instance_profile", {"instance_profile_name": w.some(*NAMES)}),
    lambda w: w.add("iam::delete_instance_profile", {"instance_profile_name": w.some(*NAMES)}),
    lambda w: w.add("iam::list_instance_profiles_for_role", {"role_name": w.some(*NAMES)}),
]
SERVICES = [
    lambda w: w.add("kms::create_key", {"description": w.some("x", "y"), "tags": w.tags()}, "key"),
    lambda w: w.add("kms::describe_key", {"key_id": w.a("key")}),
    lambda w: w.add("kms::create_alias", {"alias_name": f"alias/{w.some(*NAMES)}", "target_key_id": w.a("key")}),
    lambda w: w.add("kms::delete_alias", {"alias_name": f"alias/{w.some(*NAMES)}"}),
    lambda w: w.add(w.some("kms::enable_key_rotation", "kms::disable_key_rotation"), {"key_id": w.a("key")}),
    lambda w: w.add("kms::get_key_rotation_status", {"key_id": w.a("key")}),
    lambda w: w.add(w.some("kms::enable_key", "kms::disable_key"), {"key_id": w.a("key")}),
    lambda w: w.add("kms::list_resource_tags", {"key_id": w.a("key")}),
    lambda w: w.add("kms::schedule_key_deletion", {"key_id": w.a("key"), "pending_window_in_days": w.some(7, 30)}),
    lambda w: w.add("cloudwatchlogs::create_log_group", {"log_group_name": w.some(*NAMES), "tags": w.tags()}),
    lambda w: w.add("cloudwatchlogs::delete_log_group", {"log_group_name": w.some(*NAMES)}),
    lambda w: w.add(
        "cloudwatchlogs::put_retention_policy",
        {"log_group_name": w.some(*NAMES), "retention_in_days": w.some(1, 30, 365)},
    ),
    lambda w: w.add("cloudwatchlogs::delete_retention_policy", {"log_group_name": w.some(*NAMES)}),
    lambda w: w.add("cloudwatchlogs::describe_log_groups", {"log_group_name_prefix": w.some("a", "b", "N")}),
    lambda w: w.add("cloudwatchlogs::list_tags_log_group", {"log_group_name": w.some(*NAMES)}),
    lambda w: w.add("cloudwatchlogs::tag_log_group", {"log_group_name": w.some(*NAMES), "tags": w.tags()}),
]
FAMILIES = [NETWORK, NETWORK, GROUPS, TEMPLATES, IDENTITY, SERVICES]


def write(seed: int) -> list[dict]:
    """The sequence of a seed. Names of IAM and others are the account's, so each sequence has its own; and own ids of
    things that nobody made, for moto makes some of them up."""
    dice = random.Random(seed)
    writer = Writer(dice)
    family = dice.choice(FAMILIES)
    for _ in range(dice.randint(4, 14)):
        dice.choice(family)(writer)
    return [_own_names(step, seed) for step in writer.steps]


def _own_names(step: dict, seed: int) -> dict:
    """The same step with names that no other sequence has."""
    keys = ("role_name", "instance_profile_name", "launch_template_name", "log_group_name", "log_group_name_prefix")

    def own(key, value):
        if key == "launch_template_names":
            return [own("launch_template_name", item) for item in value]
        if key == "log_group_name_prefix":
            return f"s{seed}-{value}"
        if key == "alias_name":
            return value.replace("alias/", f"alias/s{seed}-")
        return f"s{seed}-{value}" if key in keys else value

    given = {key: own(key, value) for key, value in step["with"].items()}
    return {**step, "with": json.loads(json.dumps(given).replace(NOBODYS, f"{seed:017x}"))}


def differing(name: str, steps: list[dict], twin: list, other: list, known: Known) -> tuple[list[Difference], int]:
    """New differences, up to where the two sides went different ways, and how many calls were compared."""
    for place, found in enumerate(compare(name, steps, twin, other)):
        new = [difference for difference in found if known.cause(difference) is None]
        if new:
            return new, place + 1
        if any(difference.path == "!code" for difference in found):
            return [], place + 1
    return [], len(steps)


def ask(servers: Servers, sequences: list[tuple[str, list[dict]]]) -> dict:
    servers.reset()
    twin = perform_on("twin", sequences)
    other = perform_on("moto", sequences, servers.environment("moto"))
    return {name: (twin[name], other[name]) for name, _ in sequences}


def shrink(servers: Servers, steps: list[dict], known: Known, wanted: Difference, tries: int = 40) -> list[dict]:
    """The fewest steps that still differ in the same call and place."""

    def still(candidate: list[dict]) -> bool:
        both = ask(servers, [("shrunk", candidate)])["shrunk"]
        found, _ = differing("shrunk", candidate, *both, known)
        return any((one.call, one.path) == (wanted.call, wanted.path) for one in found)

    steps = steps[: wanted.step + 1]
    place = len(steps) - 2
    while place >= 0 and tries > 0:
        tries -= 1
        candidate = _without(steps, place)
        if len(candidate) < len(steps) and candidate and candidate[-1] == steps[-1] and still(candidate):
            steps = candidate
        place = min(place, len(steps) - 1) - 1
    return steps


def _without(steps: list[dict], place: int) -> list[dict]:
    """Without a step and all that need what it made."""
    gone, kept = {steps[place].get("as")}, steps[:place]
    for step in steps[place + 1 :]:
        names = {found[1] for found in REFERENCE.finditer(json.dumps(step["with"]))}
        if names & gone - {None}:
            gone.add(step.get("as"))
        else:
            kept = [*kept, step]
    return kept


def fuzz(servers: Servers, seed: int, seconds: float, batch: int = 30, most: int | None = None, tell=None) -> dict:
    """Totals and what was found, which `tell` hears at once. Ends after the time, or after `most` sequences."""
    known = Known()
    until = time.monotonic() + seconds
    totals = {"seed": seed, "sequences": 0, "calls": 0, "found": []}
    seen: set = set()
    while time.monotonic() < until and (most is None or totals["sequences"] < most):
        sequences = [(f"seed_{seed + number}", write(seed + number)) for number in range(batch)]
        seed += batch
        both = ask(servers, sequences)
        for name, steps in sequences:
            new, compared = differing(name, steps, *both[name], known)
            totals["sequences"] += 1
            totals["calls"] += compared
            for difference in new:
                if (difference.call, difference.path) in seen:
                    continue
                seen.add((difference.call, difference.path))
                least = shrink(servers, steps, known, difference)
                totals["found"].append((difference, least))
                if tell:
                    tell(f"{difference}\n{shown(least)}")
    return totals


def shown(steps: list[dict]) -> str:
    """Steps as the table writes them."""
    rows = [{step["call"]: step["with"], **({"as": step["as"]} if "as" in step else {})} for step in steps]
    return "\n".join(f"  - {json.dumps(row)}" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--batch", type=int, default=30)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ekskit-fuzz-") as folder, Servers(Path(folder)) as servers:
        totals = fuzz(servers, asked.seed, asked.minutes * 60, asked.batch, tell=lambda found: print(found, flush=True))
    print(f"{totals['sequences']} sequences, {totals['calls']} calls compared, {len(totals['found'])} found")
    return 1 if totals["found"] else 0


if __name__ == "__main__":
    sys.exit(main())
