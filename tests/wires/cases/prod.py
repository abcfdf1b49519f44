"""The main job as the cases tell it: bring-up by `runbooks/prod.rhai`, a second run that changes nothing, teardown; the
AWS CLI and kubectl say whether it is so."""

import ipaddress

import yaml

from harness.bootstrap import NAMESPACE
from harness.ekskit import Ekskit
from harness.judge import Judge, assert_left_as_told, mutating_in_audit, mutating_in_recording

NODE_POLICIES = {"AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy"}
WARM_IP_TARGET = 3
NODES = 2


class Prod:
    """One cluster from nothing to nothing. `kubeconfig` is used with `--kubeconfig`; none: the normal path."""

    def __init__(self, world, *, workers: str, winterbaume: bool = False, kubeconfig=None, **inputs):
        self.world, self.workers = world, workers
        self.ekskit, self.judge = Ekskit(world, winterbaume), Judge(world, winterbaume)
        self.aws, self.kubectl = self.judge.aws, self.judge.kubectl
        self.flags = ("--kubeconfig", kubeconfig) if kubeconfig else ()
        self.inputs = {"workers": workers, "nodes": NODES, "warm_ip_target": WARM_IP_TARGET, **inputs}
        self.name = inputs.get("name", "prod")
        # Who the API server sees: the certificate of the kubeconfig, else the ARN that the token proves.
        self.user = "ekskit-operator" if kubeconfig else "arn:aws:iam::123456789012:user/ekskit-operator"

    def bring_up(self):
        """The cluster is made, and what is looked at afterwards to see that nothing changes sees how it is."""
        self.before = self.judge.inventory()
        run, sent, recorded, written = self._watched("runbooks/prod.rhai", self.inputs)
        assert run.document["changed"] > 0, run.document
        assert {"ec2:CreateVpc", "iam:CreateRole"} <= set(sent) & set(recorded), {"front": sent, "moto": recorded}
        assert "eks:CreateCluster" in sent, sent
        # With access entries and managed add-ons AWS does all that is to be done inside of the cluster.
        written = written or self._written_by_hand()
        assert written and all(line.startswith(f"{self.user} ") for line in written), (self.user, written)
        return run

    def run_again(self) -> None:
        """A second run changes nothing: it says so, and so do the front, moto's recorder and the audit log."""
        run, sent, recorded, written = self._watched("runbooks/prod.rhai", self.inputs)
        assert (sent, recorded, written) == ([], [], []), {"front": sent, "moto": recorded, "audit": written}
        assert run.document["changed"] == 0, run.document

    def tear_down(self) -> None:
        run = self.ekskit.run("runbooks/teardown.rhai", *self.flags, inputs={"name": self.name}).expect(0)
        self.world.settle()
        assert run.document["result"]["removed"], run.document
        assert_left_as_told(self.before, self.judge.inventory(), run.document["result"]["left"])

    def _written_by_hand(self) -> list[str]:
        """What the audit log has of a ConfigMap that ekskit creates and deletes."""
        audited = self.world.control_plane.audit_log.stat().st_size
        thing = '#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "seen", namespace: "default" } }'
        delete = 'k.delete("configmaps", "seen", #{ namespace: "default" })'
        self.ekskit.eval(f'let k = kube::cluster("{self.name}"); k.create({thing}); {delete};').expect(0)
        written = mutating_in_audit(self.world.control_plane.audit_log, {self.user}, audited)
        assert len(written) == 2, written
        return written

    def _watched(self, runbook: str, inputs: dict):
        """A run, and its mutating requests as the front, moto's recorder and the API server's audit log have them."""
        audit_log = self.world.control_plane.audit_log
        position, audited = self.world.front.recorder.position(), audit_log.stat().st_size
        self.world.moto.record()
        run = self.ekskit.run(runbook, *self.flags, inputs=inputs).expect(0)
        recorded = mutating_in_recording(self.world.moto.recorded(), self.ekskit.key)
        written = mutating_in_audit(audit_log, {self.user}, audited)
        return run, self.ekskit.mutations(position), recorded, written

    # ---- what AWS CLI and kubectl see

    def assert_built(self) -> None:
        self.assert_network()
        self.assert_roles()
        self.assert_cluster()
        self.assert_nodes()
        self.assert_pod_network()

    def assert_network(self) -> None:
        vpcs = self.aws("ec2", "describe-vpcs", *self._owned())["Vpcs"]
        assert len(vpcs) == 1 and vpcs[0]["CidrBlock"] == "10.0.0.0/16", vpcs
        of_vpc = ("--filters", f"Name=vpc-id,Values={vpcs[0]['VpcId']}")
        subnets = self.aws("ec2", "describe-subnets", *of_vpc)["Subnets"]
        tables = self.aws("ec2", "describe-route-tables", *of_vpc)["RouteTables"]
        blocks = [ipaddress.ip_network(subnet["CidrBlock"]) for subnet in subnets]
        assert not any(a.overlaps(b) for a in blocks for b in blocks if a != b), blocks
        sides = {"kubernetes.io/role/elb": "GatewayId", "kubernetes.io/role/internal-elb": "NatGatewayId"}
        for tag, way_out in sides.items():
            side = [subnet for subnet in subnets if _tags(subnet).get(tag) == "1"]
            assert len({subnet["AvailabilityZone"] for subnet in side}) == 3, (tag, side)
            for subnet in side:
                associated = [t for t in tables if subnet["SubnetId"] in _associated(t)]
                everywhere = [r for r in associated[0]["Routes"] if r.get("DestinationCidrBlock") == "0.0.0.0/0"]
                assert len(everywhere) == 1 and everywhere[0].get(way_out), (tag, associated)

    def assert_roles(self) -> None:
        cluster = self._cluster()
        assert "AmazonEKSClusterPolicy" in self._policies(cluster["roleArn"])
        self.node_role = self._node_role()
        assert NODE_POLICIES <= self._policies(self.node_role), self._policies(self.node_role)

    def assert_cluster(self) -> None:
        cluster = self._cluster()
        assert cluster["status"] == "ACTIVE" and cluster["endpoint"] == self.world.control_plane.url
        wanted_mode = "API_AND_CONFIG_MAP" if self.inputs.get("auth") == "aws-auth" else "API"
        assert cluster["accessConfig"]["authenticationMode"] == wanted_mode, cluster
        assert cluster["upgradePolicy"]["supportType"] == "STANDARD", cluster
        assert cluster["deletionProtection"] is True, cluster
        network = cluster["resourcesVpcConfig"]
        assert network["endpointPrivateAccess"] and "0.0.0.0/0" not in network["publicAccessCidrs"], network
        assert any(setup["enabled"] and "audit" in setup["types"] for setup in cluster["logging"]["clusterLogging"])
        assert cluster["encryptionConfig"], cluster
        entries = self.aws("eks", "list-access-entries", "--cluster-name", self.name)["accessEntries"]
        assert "arn:aws:iam::123456789012:user/ekskit-operator" in entries, entries

    def assert_nodes(self) -> None:
        if self.workers == "managed":
            group = self._nodegroup()
            assert group["status"] == "ACTIVE" and group["scalingConfig"]["desiredSize"] == NODES, group
        else:
            group = self._scaling_group()
            assert len(group["Instances"]) == NODES, group
            assert _tags(group)[f"kubernetes.io/cluster/{self.name}"] == "owned", group
        nodes = self.kubectl("get", "nodes", "-o", "json")["items"]
        ready = [n for n in nodes for c in n["status"]["conditions"] if c["type"] == "Ready" and c["status"] == "True"]
        assert len(ready) == NODES, nodes
        for thing in ("daemonset/aws-node", "daemonset/kube-proxy", "deployment/coredns"):
            self.kubectl("-n", NAMESPACE, "rollout", "status", thing, "--timeout=60s")
        if self.inputs.get("auth") == "aws-auth":
            data = self.kubectl("-n", NAMESPACE, "get", "configmap", "aws-auth", "-o", "json")["data"]
            roles = {item["rolearn"]: item for item in yaml.safe_load(data["mapRoles"])}
            short = self.node_role.split(":role/")[0] + ":role/" + self.node_role.rsplit("/", 1)[-1]
            assert roles[short]["username"] == "system:node:{{EC2PrivateDNSName}}", roles
            assert set(roles[short]["groups"]) == {"system:bootstrappers", "system:nodes"}, roles

    def assert_pod_network(self) -> None:
        daemon_set = self.kubectl("-n", NAMESPACE, "get", "daemonset", "aws-node", "-o", "json")
        containers = {c["name"]: c for c in daemon_set["spec"]["template"]["spec"]["containers"]}
        env = {item["name"]: item.get("value") for item in containers["aws-node"]["env"]}
        assert env["WARM_IP_TARGET"] == str(WARM_IP_TARGET), env
        assert env["AWS_VPC_K8S_CNI_EXTERNALSNAT"] == "false", "the manifest's own settings must survive"

    def _owned(self) -> tuple[str, str]:
        return "--filters", f"Name=tag:ekskit:cluster,Values={self.name}"

    def _cluster(self) -> dict:
        return self.aws("eks", "describe-cluster", "--name", self.name)["cluster"]

    def _nodegroup(self) -> dict:
        named = ("--cluster-name", self.name)
        names = self.aws("eks", "list-nodegroups", *named)["nodegroups"]
        assert len(names) == 1, names
        return self.aws("eks", "describe-nodegroup", *named, "--nodegroup-name", names[0])["nodegroup"]

    def _scaling_group(self) -> dict:
        groups = self.aws("autoscaling", "describe-auto-scaling-groups")["AutoScalingGroups"]
        assert len(groups) == 1, groups
        return groups[0]

    def _node_role(self) -> str:
        if self.workers == "managed":
            return self._nodegroup()["nodeRole"]
        template = self._scaling_group()["LaunchTemplate"]
        wanted = ("--launch-template-id", template["LaunchTemplateId"], "--versions", template["Version"])
        versions = self.aws("ec2", "describe-launch-template-versions", *wanted)["LaunchTemplateVersions"]
        profile = versions[0]["LaunchTemplateData"]["IamInstanceProfile"]
        name = (profile.get("Arn") or profile["Name"]).rsplit("/", 1)[-1]
        found = self.aws("iam", "get-instance-profile", "--instance-profile-name", name)["InstanceProfile"]
        return found["Roles"][0]["Arn"]

    def _policies(self, role_arn: str) -> set[str]:
        named = ("--role-name", role_arn.rsplit("/", 1)[-1])
        attached = self.aws("iam", "list-attached-role-policies", *named)["AttachedPolicies"]
        return {policy["PolicyName"] for policy in attached}


def _tags(thing: dict) -> dict:
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", [])}


def _associated(table: dict) -> list[str]:
    return [association.get("SubnetId") for association in table["Associations"]]
