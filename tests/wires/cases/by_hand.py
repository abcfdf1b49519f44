"""The bring-up as a person does it with the AWS CLI: what the cases of the harness itself are made of."""

import base64
import json

from harness.judge import Judge
from harness.place import program
from harness.world import wait_for

CLUSTER = "hand"
NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly")
IMAGE = "/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/x86_64/standard/recommended/image_id"


class Hands:
    def __init__(self, world, winterbaume: bool = False):
        self.world, self.judge = world, Judge(world, winterbaume)
        self.aws, self.kubectl = self.judge.aws, self.judge.kubectl

    def network(self) -> None:
        """A VPC with a public and two private subnets, and one NAT gateway."""
        aws = self.aws
        self.vpc = aws("ec2", "create-vpc", "--cidr-block", "10.0.0.0/16")["Vpc"]["VpcId"]
        self.public = self._subnet("10.0.0.0/24", "us-west-2a")
        self.private = [self._subnet("10.0.64.0/18", "us-west-2a"), self._subnet("10.0.128.0/18", "us-west-2b")]
        self.gateway = aws("ec2", "create-internet-gateway")["InternetGateway"]["InternetGatewayId"]
        aws("ec2", "attach-internet-gateway", "--internet-gateway-id", self.gateway, "--vpc-id", self.vpc)
        self.address = aws("ec2", "allocate-address", "--domain", "vpc")["AllocationId"]
        nat = aws("ec2", "create-nat-gateway", "--subnet-id", self.public, "--allocation-id", self.address)
        self.nat = nat["NatGateway"]["NatGatewayId"]
        self.tables = [
            self._table([self.public], "--gateway-id", self.gateway),
            self._table(self.private, "--nat-gateway-id", self.nat),
        ]

    def roles(self) -> None:
        self.cluster_role = self._role("hand-cluster", "eks.amazonaws.com", ["AmazonEKSClusterPolicy"])
        self.node_role = self._role("hand-node", "ec2.amazonaws.com", NODE_POLICIES)

    def cluster(self, mode: str = "API_AND_CONFIG_MAP", bootstrap_addons: bool = True) -> dict:
        """Creates the cluster and waits until it is ACTIVE."""
        network = f"subnetIds={','.join(self.private)},endpointPublicAccess=true,endpointPrivateAccess=true"
        self.aws(
            *("eks", "create-cluster", "--name", CLUSTER, "--role-arn", self.cluster_role),
            *("--resources-vpc-config", network, "--kubernetes-version", "1.36"),
            *("--access-config", f"authenticationMode={mode}"),
            "--bootstrap-self-managed-addons" if bootstrap_addons else "--no-bootstrap-self-managed-addons",
        )
        return wait_for("the cluster is ACTIVE", lambda: self._active_cluster())

    def managed_group(self, size: int = 2) -> dict:
        return self.aws(
            *("eks", "create-nodegroup", "--cluster-name", CLUSTER, "--nodegroup-name", "workers"),
            *("--node-role", self.node_role, "--subnets", *self.private, "--instance-types", "m5.large"),
            *("--scaling-config", f"minSize=1,maxSize=4,desiredSize={size}"),
        )["nodegroup"]

    def self_managed_group(self, size: int = 2, image: str | None = None) -> None:
        aws = self.aws
        aws("iam", "create-instance-profile", "--instance-profile-name", "hand-node")
        aws("iam", "add-role-to-instance-profile", "--instance-profile-name", "hand-node", "--role-name", "hand-node")
        cluster = self._active_cluster()
        data = {
            "ImageId": image or aws("ssm", "get-parameter", "--name", IMAGE)["Parameter"]["Value"],
            "InstanceType": "m5.large",
            "IamInstanceProfile": {"Name": "hand-node"},
            "SecurityGroupIds": [cluster["resourcesVpcConfig"]["clusterSecurityGroupId"]],
            "UserData": base64.b64encode(_user_data(cluster).encode()).decode(),
        }
        aws(
            "ec2",
            "create-launch-template",
            "--launch-template-name",
            "hand",
            "--launch-template-data",
            json.dumps(data),
        )
        tag = f"Key=kubernetes.io/cluster/{CLUSTER},Value=owned,PropagateAtLaunch=true"
        aws(
            *("autoscaling", "create-auto-scaling-group", "--auto-scaling-group-name", "hand"),
            *("--launch-template", "LaunchTemplateName=hand,Version=$Latest", "--tags", tag),
            *("--min-size", "1", "--max-size", "4", "--desired-capacity", str(size)),
            *("--vpc-zone-identifier", ",".join(self.private)),
        )

    def map_node_role(self) -> None:
        """aws-auth, as the user guide writes it."""
        entry = f"- rolearn: {self.node_role}\n  username: system:node:{{{{EC2PrivateDNSName}}}}\n"
        roles = entry + "  groups:\n    - system:bootstrappers\n    - system:nodes\n"
        thing = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"mapRoles": roles}}
        thing["metadata"] = {"name": "aws-auth", "namespace": "kube-system"}
        self.apply(thing)

    def apply(self, thing: dict) -> None:
        kubectl = (program("kubectl"), "--kubeconfig", self.world.admin)
        self.judge.run(*kubectl, "apply", "-f", "-", stdin=json.dumps(thing))

    def nodes_ready(self) -> list[dict]:
        found = self.kubectl("get", "nodes", "-o", "json")["items"]
        ready = lambda node: any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
        return [node for node in found if ready(node)]

    def wait_for_nodes(self, size: int = 2) -> list[dict]:
        nodes = wait_for(f"{size} nodes are Ready", lambda: len(self.nodes_ready()) == size and self.nodes_ready())
        for node in nodes:
            zone, instance = node["spec"]["providerID"].removeprefix("aws:///").split("/")
            described = self.aws("ec2", "describe-instances", "--instance-ids", instance)["Reservations"][0]
            assert described["Instances"][0]["Placement"]["AvailabilityZone"] == zone
        return nodes

    def assert_pods_run(self) -> None:
        for thing in ("daemonset/aws-node", "daemonset/kube-proxy", "deployment/coredns"):
            self.kubectl("-n", "kube-system", "rollout", "status", thing, "--timeout=60s")

    def remove_network_and_roles(self) -> None:
        aws = self.aws
        aws("ec2", "delete-nat-gateway", "--nat-gateway-id", self.nat)
        aws("ec2", "release-address", "--allocation-id", self.address)
        for table, associations in self.tables:
            for association in associations:
                aws("ec2", "disassociate-route-table", "--association-id", association)
            aws("ec2", "delete-route-table", "--route-table-id", table)
        for subnet in [self.public, *self.private]:
            aws("ec2", "delete-subnet", "--subnet-id", subnet)
        aws("ec2", "detach-internet-gateway", "--internet-gateway-id", self.gateway, "--vpc-id", self.vpc)
        aws("ec2", "delete-internet-gateway", "--internet-gateway-id", self.gateway)
        aws("ec2", "delete-vpc", "--vpc-id", self.vpc)
        for role in ("hand-cluster", "hand-node"):
            for policy in aws("iam", "list-attached-role-policies", "--role-name", role)["AttachedPolicies"]:
                aws("iam", "detach-role-policy", "--role-name", role, "--policy-arn", policy["PolicyArn"])
            aws("iam", "delete-role", "--role-name", role)

    def _active_cluster(self) -> dict | None:
        cluster = self.aws("eks", "describe-cluster", "--name", CLUSTER)["cluster"]
        return cluster if cluster["status"] == "ACTIVE" else None

    def _subnet(self, cidr: str, zone: str) -> str:
        made = self.aws("ec2", "create-subnet", "--vpc-id", self.vpc, "--cidr-block", cidr, "--availability-zone", zone)
        return made["Subnet"]["SubnetId"]

    def _table(self, subnets: list[str], *way_out: str) -> tuple[str, list[str]]:
        table = self.aws("ec2", "create-route-table", "--vpc-id", self.vpc)["RouteTable"]["RouteTableId"]
        everywhere = ("--route-table-id", table, "--destination-cidr-block", "0.0.0.0/0")
        self.aws("ec2", "create-route", *everywhere, *way_out)
        associate = lambda subnet: self.aws(
            "ec2", "associate-route-table", "--route-table-id", table, "--subnet-id", subnet
        )
        return table, [associate(subnet)["AssociationId"] for subnet in subnets]

    def _role(self, name: str, service: str, policies) -> str:
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        made = self.aws("iam", "create-role", "--role-name", name, "--assume-role-policy-document", document)
        for policy in policies:
            arn = f"arn:aws:iam::aws:policy/{policy}"
            self.aws("iam", "attach-role-policy", "--role-name", name, "--policy-arn", arn)
        return made["Role"]["Arn"]


def _user_data(cluster: dict) -> str:
    return f"""MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="//"

--//
Content-Type: application/node.eks.aws

---
apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  cluster:
    name: {cluster["name"]}
    apiServerEndpoint: {cluster["endpoint"]}
    certificateAuthority: {cluster["certificateAuthority"]["data"]}
    cidr: {cluster["kubernetesNetworkConfig"]["serviceIpv4Cidr"]}
  kubelet:
    flags:
      - --node-labels=role=worker

--//--
"""
