#!/usr/bin/env python3
"""Compares our operations, read from the Rust SDK's source, with botocore's models of the same services.

    compare_botocore.py DOCUMENT

DOCUMENT is what `ekskit doc --output json` prints. Compared are the sets of operations, input fields, required fields,
idempotency tokens, paginators (with token, items and limit) and waiters. Every difference must be in the table below
with its reason; exit 1 on one that is not, and on a row that no longer differs.
"""

import gzip
import json
import sys
from collections import Counter
from pathlib import Path

import botocore

from explained import exit_code

FOLDERS = {
    "cloudwatchlogs": "logs",
    "elasticloadbalancing": "elb",
    "elasticloadbalancingv2": "elbv2",
    "servicequotas": "service-quotas",
}

LABELS = {
    "operation": "operations",
    "field": "input fields",
    "required": "required fields",
    "token": "idempotency tokens",
    "paginator": "paginators",
    "waiter": "waiters",
}

NEWER = "AWS added it after the pinned SDK crate was published"
LOOSER = "AWS no longer requires it; the pinned SDK crate is older"
BOTO_ONLY = "botocore pages it by a rule of its own; AWS's model, from which the Rust SDK is made, has none"
RUST_ONLY = "AWS's model, from which the Rust SDK is made, has it; botocore has no rule"
NO_ITEMS = "AWS's model names no items; botocore adds them"
MANY_ITEMS = "more than one list: AWS's model can name only one, so it names none"
NO_LIMIT = "AWS's model names no page size; botocore adds it"

# Difference -> reason. Names are folded: no case, no underscores. Looked at by a person, row by row.
EXPLAINED = {
    NEWER: """
        operation ec2::associatekmskeyid
        operation ec2::associatenetworkingflexcostallocationpolicy
        operation ec2::createmetriccategory
        operation ec2::createnetworkingflexcostallocationpolicy
        operation ec2::createtransitgatewaynetworkfunctionattachment
        operation ec2::deletemetriccategory
        operation ec2::deletenetworkingflexcostallocationpolicies
        operation ec2::deletetransitgatewaynetworkfunctionattachment
        operation ec2::describemetriccategories
        operation ec2::describenetworkingflexcostallocationpolicies
        operation ec2::describenetworkingflexcostallocationpolicyassociations
        operation ec2::describetransitgatewaynetworkfunctionattachments
        operation ec2::disassociatekmskeyid
        operation ec2::disassociatenetworkingflexcostallocationpolicy
        operation ec2::getnetworkingflexcostallocationpolicyversions
        operation ec2::modifymetriccategory
        operation ec2::modifynetworkingflexcostallocationpolicy
        operation ec2::modifytransitgatewaynetworkfunctionattachment
        operation ec2::modifytransitgatewaypeeringattachment
        operation ssm::deregisterdefaulthostmanagementconfiguration
        operation ssm::registerdefaulthostmanagementconfiguration
        field ec2::acceptvpcendpointconnections.transitgatewayattachmentids
        field ec2::createvpcpeeringconnection.requesterpeeringconnectionoptions
        field ec2::describecapacityblockofferings.instancetypepreferences
        field ec2::modifyaccountvpcencryptioncontrol.apigatewayv2
        field ec2::modifyaccountvpcencryptioncontrol.globalaccelerator
        field ec2::modifyvpcencryptioncontrol.apigatewayv2exclusion
        field ec2::modifyvpcencryptioncontrol.globalacceleratorexclusion
        field ec2::modifyvpcendpointservicepermissions.permissiontype
        field ec2::monitorinstances.metriccategoryids
        field ec2::rejectvpcendpointconnections.transitgatewayattachmentids
        field ec2::unmonitorinstances.metriccategoryids
        field kms::listkeys.resourceowners
    """,
    LOOSER: """
        required ssm::createcloudconnector.configconnectorarn
    """,
    BOTO_ONLY: """
        paginator cloudwatchlogs::describeexporttasks
        paginator cloudwatchlogs::describequeries
        paginator cloudwatchlogs::describeresourcepolicies
        paginator ec2::describespotfleetinstances
        paginator ec2::describevpcendpointservices
        paginator elasticloadbalancing::describeaccountlimits
        paginator elasticloadbalancingv2::describesslpolicies
    """,
    RUST_ONLY: """
        paginator autoscaling::describeinstancerefreshes
        paginator autoscaling::describetrafficsources
        paginator cloudwatchlogs::getlogevents
        waiter autoscaling::groupexists
        waiter autoscaling::groupinservice
        waiter autoscaling::groupnotexists
    """,
    NO_ITEMS: """
        items autoscaling::describeloadbalancers
        items autoscaling::describeloadbalancertargetgroups
        items ssm::describeparameters
        items ssm::getparameterhistory
        items ssm::getparametersbypath
    """,
    MANY_ITEMS: """
        items cloudwatchlogs::filterlogevents
        items iam::getaccountauthorizationdetails
        items iam::listentitiesforpolicy
    """,
    NO_LIMIT: """
        limit elasticloadbalancing::describeloadbalancers
        limit elasticloadbalancingv2::describeaccountlimits
        limit elasticloadbalancingv2::describelistenercertificates
        limit elasticloadbalancingv2::describelisteners
        limit elasticloadbalancingv2::describeloadbalancers
        limit elasticloadbalancingv2::describerules
        limit elasticloadbalancingv2::describetargetgroups
    """,
}


def fold(name):
    return name.replace("_", "").replace("-", "").lower()


def load(service, kind):
    """One of botocore's files of the newest version of a service's model."""
    versions = Path(botocore.__file__).parent / "data" / FOLDERS.get(service, service)
    folder = max(path for path in versions.iterdir() if path.is_dir())
    for path in (folder / f"{kind}.json.gz", folder / f"{kind}.json"):
        if path.exists():
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rb") as file:
                return json.load(file)
    return {}


def listed(value):
    return value if isinstance(value, list) else [value]


def their_paginator(rule):
    return {
        "token": fold(",".join(listed(rule["input_token"]) + listed(rule["output_token"]))),
        "items": fold(",".join(listed(rule["result_key"]))),
        "limit": fold(rule.get("limit_key", "")),
    }


def our_paginator(rule):
    return {
        "token": fold(",".join([rule["input_token"], rule["output_token"]])),
        "items": fold(rule["items"] or ""),
        "limit": fold(rule["limit"] or ""),
    }


class Theirs:
    """A service as botocore sees it, with folded names."""

    def __init__(self, service):
        self.model = load(service, "service-2")
        self.operations = {fold(name): operation for name, operation in self.model["operations"].items()}
        rules = load(service, "paginators-1").get("pagination", {})
        self.paginators = {fold(name): their_paginator(rule) for name, rule in rules.items()}
        self.waiters = {fold(name) for name in load(service, "waiters-2").get("waiters", {})}

    def input(self, operation):
        reference = self.operations[operation].get("input")
        return self.model["shapes"][reference["shape"]] if reference else {"members": {}}

    def fields(self, operation):
        return {fold(name) for name in self.input(operation)["members"]}

    def required(self, operation):
        """A required token is none: the client fills it in."""
        return {fold(name) for name in self.input(operation).get("required", [])} - self.tokens(operation)

    def tokens(self, operation):
        members = self.input(operation)["members"].items()
        shapes = self.model["shapes"]
        return {fold(n) for n, m in members if m.get("idempotencyToken") or shapes[m["shape"]].get("idempotencyToken")}


class Ours:
    """The same from our document."""

    def __init__(self, entries):
        operations = [entry for entry in entries if entry["kind"] == "operation"]
        self.operations = {fold(bare(entry)): entry for entry in operations}
        names = [bare(entry) for entry in entries if entry["kind"] == "binding"]
        self.waiters = {fold(name.removeprefix("wait_until_")) for name in names if name.startswith("wait_until_")}
        paged = {name: entry["paginator"] for name, entry in self.operations.items() if entry["paginator"]}
        self.paginators = {name: our_paginator(rule) for name, rule in paged.items()}

    def fields(self, operation):
        return {fold(field["name"]) for field in self.operations[operation]["fields"]}

    def required(self, operation):
        fields = self.operations[operation]["fields"]
        return {fold(field["name"]) for field in fields if field["required"]} - self.tokens(operation)

    def tokens(self, operation):
        token = self.operations[operation]["token"]
        return {fold(token)} if token else set()


def bare(entry):
    return entry["name"].split("::")[1]


def differences(service, ours, theirs, counts):
    """Yields every difference as the table writes it, and counts what was compared."""
    for name in ours.operations.keys() ^ theirs.operations.keys():
        yield f"operation {service}::{name}"
    shared = ours.operations.keys() & theirs.operations.keys()
    counts["operation"] += len(shared)
    for name in sorted(shared):
        both = ours.fields(name) & theirs.fields(name)
        for kind, all_of in (
            ("field", type(ours).fields),
            ("required", type(ours).required),
            ("token", type(ours).tokens),
        ):
            mine, other = all_of(ours, name), getattr(theirs, all_of.__name__)(name)
            counts[kind] += len(mine & other)
            for field in mine ^ other:
                if kind == "field" or field in both:
                    yield f"{kind} {service}::{name}.{field}"
    for name in (ours.paginators.keys() ^ theirs.paginators.keys()) & shared:
        yield f"paginator {service}::{name}"
    for name in ours.paginators.keys() & theirs.paginators.keys():
        counts["paginator"] += 1
        for part, value in ours.paginators[name].items():
            if value != theirs.paginators[name][part]:
                yield f"{part} {service}::{name}"
    counts["waiter"] += len(ours.waiters & theirs.waiters)
    for name in ours.waiters ^ theirs.waiters:
        yield f"waiter {service}::{name}"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: compare_botocore.py DOCUMENT")
    document = json.loads(Path(sys.argv[1]).read_text())
    document = document.get("result", document) if isinstance(document, dict) else document
    services = sorted({entry["name"].split("::")[0] for entry in document if entry["kind"] == "operation"})
    counts, found = Counter(), {}
    for service in services:
        entries = [entry for entry in document if entry["name"].split("::")[0] == service]
        found |= dict.fromkeys(differences(service, Ours(entries), Theirs(service), counts), "")
    print(f"botocore {botocore.__version__}, {len(services)} services; the same in both:")
    for kind, count in counts.items():
        print(f"  {count:6} {LABELS[kind]}")
    sys.exit(exit_code(found, EXPLAINED))


if __name__ == "__main__":
    main()
