"""What EC2 does about things that depend on one another, and moto does not.

Interfaces go with their instance or NAT gateway. A subnet, security group, gateway
or VPC that something still uses is not deleted: the order of a teardown is put to the test by these refusals.
"""

import threading

from botocore.exceptions import ClientError

from .aws_request import Answer, Request
from .faults import error
from .judge import GONE

# After these, something may be left of what they removed.
LEAVE_REMAINS = {
    "CreateAutoScalingGroup",
    "DeleteAutoScalingGroup",
    "DeleteNatGateway",
    "DeleteNodegroup",
    "SetDesiredCapacity",
    "TerminateInstanceInAutoScalingGroup",
    "TerminateInstances",
    "UpdateAutoScalingGroup",
    "UpdateNodegroupConfig",
}


class Housekeeping:
    def __init__(self, front, account):
        self._ec2, self._front = account.ec2, front
        self._turn = threading.Lock()
        front.answerers.append(self._answer)
        front.after.append(lambda request, _: request.action in LEAVE_REMAINS and self.sweep())

    def sweep(self) -> None:
        """Removes what AWS would have removed by itself."""
        with self._turn:
            for interface in self._orphans():
                named = {"NetworkInterfaceId": interface["NetworkInterfaceId"]}
                self._quietly(self._ec2.delete_network_interface, **named)

    def _orphans(self) -> list[dict]:
        reservations = self._ec2.describe_instances()["Reservations"]
        instances = {i["InstanceId"] for r in reservations for i in r["Instances"] if i["State"]["Name"] not in GONE}
        gateways = self._ec2.describe_nat_gateways()["NatGateways"]
        of_gateways = {
            address.get("NetworkInterfaceId")
            for gateway in gateways
            if gateway["State"] in GONE
            for address in gateway["NatGatewayAddresses"]
        }
        orphan = lambda i: (
            i["NetworkInterfaceId"] in of_gateways
            or ("InstanceId" in i.get("Attachment", {}) and i["Attachment"]["InstanceId"] not in instances)
        )
        return [i for i in self._ec2.describe_network_interfaces()["NetworkInterfaces"] if orphan(i)]

    def _answer(self, request: Request) -> Answer | None:
        """Refuses what something depends on; None for everything else."""
        check = CHECKS.get(request.action) if request.service == "ec2" else None
        message = check(self._ec2, request.input) if check else None
        return error("ec2", 400, "DependencyViolation", message, is_json=False) if message else None

    def _quietly(self, call, **arguments) -> None:
        try:
            call(**arguments)
        except ClientError as failure:
            self._front.note(f"housekeeping: {failure}")


def _subnet_in_use(ec2, asked: dict) -> str | None:
    subnet = asked.get("SubnetId", "")
    if _interfaces(ec2, "subnet-id", subnet):
        return f"The subnet '{subnet}' has dependencies and cannot be deleted."
    return None


def _group_in_use(ec2, asked: dict) -> str | None:
    group = asked.get("GroupId", "")
    others = ec2.describe_security_groups(Filters=[{"Name": "ip-permission.group-id", "Values": [group]}])
    referring = [other for other in others["SecurityGroups"] if other["GroupId"] != group]
    if referring or _interfaces(ec2, "group-id", group):
        return f"resource {group} has a dependent object"
    return None


def _gateway_in_use(ec2, asked: dict) -> str | None:
    vpc = asked.get("VpcId", "")
    gateways = ec2.describe_nat_gateways(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NatGateways"]
    public = [i for i in _interfaces(ec2, "vpc-id", vpc) if i.get("Association", {}).get("PublicIp")]
    if public or any(gateway["State"] not in GONE for gateway in gateways):
        mapped = f"Network {vpc} has some mapped public address(es)."
        return f"{mapped} Please unmap those public address(es) before detaching the gateway."
    return None


def _vpc_in_use(ec2, asked: dict) -> str | None:
    vpc = asked.get("VpcId", "")
    of_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
    attached = [{"Name": "attachment.vpc-id", "Values": [vpc]}]
    groups = ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"]
    endpoints = ec2.describe_vpc_endpoints(Filters=of_vpc)["VpcEndpoints"]
    if (
        any(group["GroupName"] != "default" for group in groups)
        or any(endpoint["State"].lower() not in GONE for endpoint in endpoints)
        or _interfaces(ec2, "vpc-id", vpc)
        or ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]
    ):
        return f"The vpc '{vpc}' has dependencies and cannot be deleted."
    return None


def _interfaces(ec2, name: str, value: str) -> list[dict]:
    return ec2.describe_network_interfaces(Filters=[{"Name": name, "Values": [value]}])["NetworkInterfaces"]


CHECKS = {
    "DeleteSubnet": _subnet_in_use,
    "DeleteSecurityGroup": _group_in_use,
    "DetachInternetGateway": _gateway_in_use,
    "DeleteVpc": _vpc_in_use,
}
