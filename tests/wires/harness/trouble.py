"""Set-ups that a test breaks: what is wrong shows in the answers of AWS, and the instances do not join.

Each can wait for an action: `when("CreateAutoScalingGroup", trouble.fill_subnets)` lets the network be built first.
"""

import dataclasses
import re
from urllib.parse import urlencode

from . import gaps
from .aws_request import Answer, Request
from .bootstrap import AWS_AUTH

STATUS = re.compile(rb"(<(instanceStatus|systemStatus)>.*?<status>)ok(</status>.*?<status>)passed(</status>)", re.S)


class Trouble:
    def __init__(self, front, account, control_plane):
        self.subnets_full = False
        self.instances_fail = False
        self._failed: set[str] = set()
        self._awaited: list[tuple[str, object]] = []
        self._account, self._control_plane = account, control_plane
        front.answerers.insert(0, lambda request: self._answer(front, request))
        front.controls["trouble"] = self._control

    # ---- what can be broken

    def fill_subnets(self) -> None:
        """Every subnet is out of addresses."""
        self.subnets_full = True

    def fail_instances(self) -> None:
        """Every instance fails its status checks and is unhealthy in its Auto Scaling group."""
        self.instances_fail = True

    def cut_routes(self) -> None:
        """Every default route to a NAT or internet gateway is gone, and so are the VPC endpoints."""
        ec2 = self._account.ec2
        for table in ec2.describe_route_tables()["RouteTables"]:
            if any(route.get("DestinationCidrBlock") == "0.0.0.0/0" for route in table["Routes"]):
                ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")
        ids = [endpoint["VpcEndpointId"] for endpoint in ec2.describe_vpc_endpoints()["VpcEndpoints"]]
        if ids:
            ec2.delete_vpc_endpoints(VpcEndpointIds=ids)

    def unmap_roles(self) -> None:
        """Someone empties `mapRoles` of aws-auth."""
        kube = self._control_plane.kube
        if kube.find(AWS_AUTH):
            kube.patch(AWS_AUTH, {"data": {"mapRoles": "[]\n"}}, manager="somebody-else")

    def when(self, action: str, break_it) -> None:
        """Breaks it when the first request for this action arrives."""
        self._awaited.append((action, break_it))

    def clear(self) -> None:
        self.subnets_full = self.instances_fail = False
        self._failed.clear()
        self._awaited.clear()

    # ---- how it shows

    def fails(self, instance_id: str) -> bool:
        if self.instances_fail and instance_id not in self._failed:
            self._failed.add(instance_id)
            try:
                self._account.autoscaling.set_instance_health(InstanceId=instance_id, HealthStatus="Unhealthy")
            except Exception:
                # moto breaks down over an instance that has left its group between our look and now.
                found = self._account.autoscaling.describe_auto_scaling_instances(InstanceIds=[instance_id])
                if found["AutoScalingInstances"]:
                    raise
        return instance_id in self._failed

    def endpoint_of(self, cluster) -> dict:
        """What a node must have been told of the cluster."""
        plane = self._control_plane
        return {"apiServerEndpoint": plane.url, "certificateAuthority": plane.authority.data}

    def _answer(self, front, request: Request) -> Answer | None:
        for awaited in [a for a in self._awaited if a[0] == request.action]:
            self._awaited.remove(awaited)
            awaited[1]()
        if request.service != "ec2":
            return None
        if request.action == "DescribeSubnets" and self.subnets_full:
            answer = front.forward(request)
            full = b"<availableIpAddressCount>0</availableIpAddressCount>"
            body = re.sub(rb"<availableIpAddressCount>\d+</availableIpAddressCount>", full, answer.body)
            return Answer(answer.status, body, answer.headers)
        if request.action == "DescribeInstanceStatus":
            return self._statuses(front, request)
        return None

    def _statuses(self, front, request: Request) -> Answer:
        """moto calls every instance healthy, and does not look at filters by status."""
        filters, rest = gaps.filters(request.input)
        wanted = filters.pop("instance-status.status", None) or filters.pop("system-status.status", None)
        fields = {**rest, **gaps.filtered(filters)}
        if wanted is not None and "ok" not in wanted:
            failed = sorted(self._failed) if "impaired" in wanted else []
            if not failed:
                return gaps.empty("DescribeInstanceStatus", "instanceStatusSet")
            fields |= gaps.numbered("InstanceId", failed)
        answer = front.forward(dataclasses.replace(request, body=urlencode(fields).encode()))
        if not self._failed:
            return answer
        items = re.split(rb"(?=<item>\s*<instanceId>)", answer.body)
        return Answer(answer.status, b"".join(self._impaired(item) for item in items), answer.headers)

    def _impaired(self, item: bytes) -> bytes:
        if not any(instance.encode() in item for instance in self._failed):
            return item
        return STATUS.sub(rb"\1impaired\3failed\4", item)

    def _control(self, method: str, query: dict, body: dict) -> dict:
        """`{"break": "fill_subnets", "when": "CreateAutoScalingGroup"}`; DELETE repairs what can be repaired."""
        if method == "DELETE":
            self.clear()
        elif name := body.get("break"):
            if name not in ("fill_subnets", "fail_instances", "cut_routes", "unmap_roles"):
                return {"message": f"no trouble `{name}`"}
            break_it = getattr(self, name)
            self.when(body["when"], break_it) if body.get("when") else break_it()
        return {"subnets_full": self.subnets_full, "instances_fail": self.instances_fail}
