"""What EKS itself makes in the customer's account: the cluster's security group and network interfaces, and for a
managed node group its launch template, its Auto Scaling group, and the mapping of its node role."""

import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from . import bootstrap
from .eks_shapes import invalid, new_entry
from .moto import eks_ami
from .place import REGION

SERVICE_KEY = "AKIAEKSPLAYEDBYHARNS"  # under this access key the harness plays AWS; it is no user of the account


class Account:
    """Talks to moto behind the front's back, so that the recorder shows only what clients asked for."""

    def __init__(self, moto_url: str, winterbaume_url: str, control_plane, note):
        self._url, self.control_plane, self._note = moto_url, control_plane, note
        self.ec2, self.iam, self.autoscaling = (self.client(name) for name in ("ec2", "iam", "autoscaling"))
        self._winterbaume = self.client("eks", winterbaume_url)

    def client(self, service: str, url: str | None = None):
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=url or self._url,
            aws_access_key_id=SERVICE_KEY,
            aws_secret_access_key="unused",
            config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30),
        )

    # ---- clusters

    def check_cluster(self, role_arn: str, vpc_config: dict) -> dict:
        """Refuses what EKS would; returns the network facts that it adds."""
        self._check_role(role_arn)
        subnets = self.subnets(vpc_config["subnetIds"])
        if len({subnet["AvailabilityZone"] for subnet in subnets}) < 2:
            raise invalid("Subnets specified must be in at least two different AZs")
        if len({subnet["VpcId"] for subnet in subnets}) != 1:
            raise invalid("The subnets specified must all be in the same VPC")
        return {"vpcId": subnets[0]["VpcId"]}

    def make_cluster_network(self, cluster) -> dict:
        """The cluster security group, and one network interface in each of two subnets."""
        vpc_id, name = cluster.network["vpcId"], f"eks-cluster-sg-{cluster.name}-{uuid.uuid4().int % 10**9}"
        tags = [
            {"Key": "Name", "Value": name},
            {"Key": f"kubernetes.io/cluster/{cluster.name}", "Value": "owned"},
            {"Key": "aws:eks:cluster-name", "Value": cluster.name},
        ]
        group = self.ec2.create_security_group(
            GroupName=name,
            Description="EKS created security group applied to ENI that is attached to EKS Control Plane master nodes",
            VpcId=vpc_id,
        )["GroupId"]
        self._tag(group, tags)
        self.ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
        )
        cluster.interfaces = [
            self.ec2.create_network_interface(
                SubnetId=subnet, Groups=[group], Description=f"Amazon EKS {cluster.name}"
            )["NetworkInterface"]["NetworkInterfaceId"]
            for subnet in cluster.fields["resourcesVpcConfig"]["subnetIds"][:2]
        ]
        return {"clusterSecurityGroupId": group}

    def remove_cluster_network(self, cluster) -> None:
        for interface in cluster.interfaces:
            self._quietly(self.ec2.delete_network_interface, NetworkInterfaceId=interface)
        # On AWS the group stays while something still uses it, and so it does here.
        self._quietly(self.ec2.delete_security_group, GroupId=cluster.network["clusterSecurityGroupId"])

    # ---- managed node groups

    def check_nodegroup(self, fields: dict) -> None:
        self._check_role(fields["nodeRole"])
        self.subnets(fields["subnets"])

    def make_nodegroup(self, cluster, nodegroup) -> None:
        fields = nodegroup.fields
        nodegroup.group = f"eks-{nodegroup.name}-{uuid.uuid4()}"
        nodegroup.template = self._make_template(cluster, nodegroup)
        owned = {
            "eks:cluster-name": cluster.name,
            "eks:nodegroup-name": nodegroup.name,
            f"kubernetes.io/cluster/{cluster.name}": "owned",
        }
        # EKS maps the role before it launches the first instance.
        self.settle_access(cluster, extra_roles=[fields["nodeRole"]])
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=nodegroup.group,
            MinSize=fields["scalingConfig"]["minSize"],
            MaxSize=fields["scalingConfig"]["maxSize"],
            DesiredCapacity=fields["scalingConfig"]["desiredSize"],
            VPCZoneIdentifier=",".join(fields["subnets"]),
            LaunchTemplate=nodegroup.template,
            Tags=[{"Key": key, "Value": value, "PropagateAtLaunch": True} for key, value in owned.items()],
        )

    def scale_nodegroup(self, nodegroup) -> None:
        scaling = nodegroup.fields["scalingConfig"]
        self.autoscaling.update_auto_scaling_group(
            AutoScalingGroupName=nodegroup.group,
            MinSize=scaling["minSize"],
            MaxSize=scaling["maxSize"],
            DesiredCapacity=scaling["desiredSize"],
        )

    def remove_nodegroup(self, nodegroup) -> None:
        self.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=nodegroup.group, ForceDelete=True)
        self._quietly(self.ec2.delete_launch_template, LaunchTemplateId=nodegroup.template["LaunchTemplateId"])

    def settle_access(self, cluster, extra_roles=()) -> None:
        """Maps the node roles of managed groups as EKS does: in aws-auth, and as EC2_LINUX entries, by the mode."""
        roles = {group.fields["nodeRole"] for group in cluster.nodegroups.values()} | set(extra_roles)
        for role in sorted(roles):
            if cluster.mode != "API":
                bootstrap.map_node_role(self.control_plane.kube, role)
            if cluster.mode != "CONFIG_MAP":
                self._ensure_node_entry(cluster, role)

    def _make_template(self, cluster, nodegroup) -> dict:
        """The template that EKS launches from: the customer's with its own additions, or one of its own."""
        fields, data = nodegroup.fields, {}
        if asked := fields.get("launchTemplate"):
            wanted = {"LaunchTemplateId": asked["id"]} if "id" in asked else {"LaunchTemplateName": asked["name"]}
            try:
                found = self.ec2.describe_launch_template_versions(
                    **wanted, Versions=[asked.get("version") or "$Default"]
                )["LaunchTemplateVersions"][0]
            except (ClientError, IndexError):
                raise invalid(f"Launch template details can't be found: {asked}") from None
            asked |= {"id": found["LaunchTemplateId"], "name": found["LaunchTemplateName"]}
            asked["version"] = str(found["VersionNumber"])
            data = found["LaunchTemplateData"]
        architecture = "arm64" if "ARM" in fields["amiType"] else "x86_64"
        if data.get("ImageId"):
            fields["amiType"] = "CUSTOM"
        else:
            data["ImageId"] = eks_ami(fields["version"], architecture)["ami_id"]
        data.setdefault("InstanceType", (fields["instanceTypes"] or ["t3.medium"])[0])
        data.setdefault("SecurityGroupIds", [cluster.network["clusterSecurityGroupId"]])
        made = self.ec2.create_launch_template(LaunchTemplateName=nodegroup.group, LaunchTemplateData=data)
        return {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "1"}

    def _ensure_node_entry(self, cluster, role_arn: str) -> None:
        if cluster.way == "moto":
            cluster.entries.setdefault(role_arn, new_entry(cluster, role_arn, "EC2_LINUX", {}))
        elif role_arn not in self._winterbaume.list_access_entries(clusterName=cluster.name)["accessEntries"]:
            self._winterbaume.create_access_entry(clusterName=cluster.name, principalArn=role_arn, type="EC2_LINUX")

    # ---- reads

    def entries(self, cluster) -> list[dict]:
        """The access entries of a cluster, each with its `policies`, from whoever keeps them."""
        if cluster.way == "moto":
            return [{**entry, "policies": list(entry["policies"].values())} for entry in list(cluster.entries.values())]
        eks, found = self._winterbaume, []
        for principal in eks.list_access_entries(clusterName=cluster.name)["accessEntries"]:
            named = {"clusterName": cluster.name, "principalArn": principal}
            policies = eks.list_associated_access_policies(**named)["associatedAccessPolicies"]
            entry = eks.describe_access_entry(**named)["accessEntry"]
            # winterbaume leaves out what was not asked for; EKS would have chosen the user name.
            asked = {name: entry[name] for name in ("username", "kubernetesGroups") if entry.get(name)}
            kind = entry.get("type") or "STANDARD"
            completed = new_entry(cluster, principal, kind, asked if kind == "STANDARD" else {})
            found.append({**completed, "policies": policies})
        return found

    def subnets(self, ids: list[str]) -> list[dict]:
        try:
            return self.ec2.describe_subnets(SubnetIds=ids)["Subnets"] if ids else []
        except ClientError as failure:
            raise invalid(failure.response["Error"]["Message"]) from None

    def role_of_profile(self, profile: str) -> str | None:
        """The ARN of the role in an instance profile, given by ARN or name."""
        try:
            roles = self.iam.get_instance_profile(InstanceProfileName=profile.rsplit("/", 1)[-1])
        except ClientError:
            return None
        return next((role["Arn"] for role in roles["InstanceProfile"]["Roles"]), None)

    def _check_role(self, arn: str) -> None:
        try:
            self.iam.get_role(RoleName=(arn or "").rsplit("/", 1)[-1])
        except Exception:
            why = "because it does not exist or the trusted entity is not correct"
            raise invalid(f"Role with arn: {arn}, could not be assumed {why}") from None

    def _tag(self, resource: str, tags: list[dict]) -> None:
        # moto, as AWS, keeps tags that begin with `aws:` to itself.
        self.ec2.create_tags(Resources=[resource], Tags=[tag for tag in tags if not tag["Key"].startswith("aws:")])

    def _quietly(self, call, **arguments) -> None:
        try:
            call(**arguments)
        except ClientError as failure:
            self._note(f"played by EKS: {failure}")
