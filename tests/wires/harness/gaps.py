"""Small things that moto does not do as AWS does, put right on the way through.

Found by calling: a dry run is carried out, some filters are not looked at or end in an error of moto's own, the
current quotas are not implemented.
"""

import dataclasses
import re
from urllib.parse import urlencode

from .aws_request import Answer, Request, json_answer
from .faults import error

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
QUOTAS = {  # service, code → name, value
    ("eks", "L-1194D53C"): ("Clusters", 100.0),
    ("eks", "L-6D54EA21"): ("Managed node groups per cluster", 30.0),
    ("ec2", "L-1216C47A"): ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 256.0),
    ("ec2", "L-34B43A08"): ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 256.0),
    ("ec2", "L-0263D0A3"): ("EC2-VPC Elastic IPs", 5.0),
}


class Gaps:
    def __init__(self, front, account):
        self._front, self._ec2 = front, account.ec2
        front.answerers.append(self._answer)

    def _answer(self, request: Request) -> Answer | None:
        if request.service == "ec2":
            if request.input.get("DryRun") == "true":
                message = "Request would have succeeded, but DryRun flag is set."
                return error("ec2", 412, "DryRunOperation", message, is_json=False)
            play = getattr(self, f"_{request.action}", None)
            return play(request) if play else None
        if request.service == "servicequotas":
            return self._quotas(request)
        return None

    def _CreateVpcEndpoint(self, request: Request) -> Answer:
        """Without a type it is a gateway; moto forgets to write that down."""
        return self._forward(request, {"VpcEndpointType": "Gateway", **request.input})

    def _DescribeVpcEndpointServices(self, request: Request) -> Answer:
        """moto fails over a filter by service name, but takes the names by themselves."""
        by, rest = filters(request.input)
        names = by.pop("service-name", [])
        return self._forward(request, {**rest, **filtered(by), **numbered("ServiceName", names)})

    def _DescribeNatGateways(self, request: Request) -> Answer | None:
        """moto does not look at filters by tag."""
        by, rest = filters(request.input)
        tags = {name: by.pop(name) for name in list(by) if name.startswith("tag")}
        if not tags:
            return None
        all_of_them = self._ec2.describe_nat_gateways()["NatGateways"]
        ids = [gateway["NatGatewayId"] for gateway in all_of_them if _has_tags(gateway, tags)]
        if not ids:
            return empty("DescribeNatGateways", "natGatewaySet")
        return self._forward(request, {**rest, **filtered(by), **numbered("NatGatewayId", ids)})

    def _forward(self, request: Request, fields: dict) -> Answer:
        return self._front.forward(dataclasses.replace(request, body=urlencode(fields).encode()))

    def _quotas(self, request: Request) -> Answer | None:
        asked = request.input
        service = asked.get("ServiceCode")
        if request.action == "GetServiceQuota" and (service, asked.get("QuotaCode")) in QUOTAS:
            return json_answer({"Quota": _quota(service, asked["QuotaCode"], request.region)})
        if request.action in ("ListServiceQuotas", "ListAWSDefaultServiceQuotas") and service != "vpc":
            return json_answer({"Quotas": [_quota(*key, request.region) for key in QUOTAS if key[0] == service]})
        if request.action == "ListServiceQuotas":
            headers = {**request.headers, "x-amz-target": "ServiceQuotasV20190624.ListAWSDefaultServiceQuotas"}
            return self._front.forward(dataclasses.replace(request, headers=headers))
        return None


def empty(action: str, items: str) -> Answer:
    text = f'<{action}Response xmlns="{NAMESPACE}"><requestId>0</requestId><{items}/></{action}Response>'
    return Answer(200, text.encode(), [("Content-Type", "text/xml")])


def filters(fields: dict) -> tuple[dict[str, list[str]], dict]:
    """The filters of an EC2 request by name, and its other fields."""
    found: dict[str, dict] = {}
    rest = {}
    for name, value in fields.items():
        if part := re.match(r"Filter\.(\d+)\.(Name|Value)", name):
            group = found.setdefault(part[1], {"Name": "", "Value": []})
            if part[2] == "Name":
                group["Name"] = value
            else:
                group["Value"].append(value)
        else:
            rest[name] = value
    return {group["Name"]: group["Value"] for group in found.values()}, rest


def filtered(filters: dict[str, list[str]]) -> dict:
    fields = {}
    for number, (name, values) in enumerate(filters.items(), 1):
        fields[f"Filter.{number}.Name"] = name
        fields |= numbered(f"Filter.{number}.Value", values)
    return fields


def numbered(name: str, values: list[str]) -> dict:
    return {f"{name}.{number}": value for number, value in enumerate(values, 1)}


def _has_tags(thing: dict, wanted: dict[str, list[str]]) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in thing.get("Tags", [])}
    for name, values in wanted.items():
        if name == "tag-key" and not any(value in tags for value in values):
            return False
        if name.startswith("tag:") and tags.get(name.removeprefix("tag:")) not in values:
            return False
    return True


def _quota(service: str, code: str, region: str) -> dict:
    name, value = QUOTAS[service, code]
    return {
        "ServiceCode": service,
        "QuotaArn": f"arn:aws:servicequotas:{region}:123456789012:{service}/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }
