"""The harness itself, with EKS by winterbaume: access entries only, a managed node group, managed add-ons whose
configuration reaches aws-node."""

from cases.by_hand import CLUSTER, Hands
from harness.bootstrap import NAMESPACE
from harness.judge import assert_same
from harness.world import wait_for


def run(world) -> None:
    hands = Hands(world, winterbaume=True)
    aws, named = hands.aws, ("--cluster-name", CLUSTER)
    before = hands.judge.inventory()
    hands.network()
    hands.roles()
    hands.cluster(mode="API", bootstrap_addons=False)
    entries = aws("eks", "list-access-entries", *named)["accessEntries"]
    assert entries == ["arn:aws:iam::123456789012:user/judge"], entries
    assert hands.kubectl("-n", NAMESPACE, "get", "daemonsets", "-o", "json")["items"] == []

    addon = lambda name, *more: aws("eks", "create-addon", *named, "--addon-name", name, *more)["addon"]
    assert addon("vpc-cni", "--configuration-values", '{"env":{"WARM_IP_TARGET":"5"}}')["status"] == "CREATING"
    assert env_of_aws_node(hands)["WARM_IP_TARGET"] == "5"
    addon("kube-proxy")
    addon("coredns")
    hands.managed_group(size=2)
    hands.wait_for_nodes(2)
    hands.assert_pods_run()
    entry = aws("eks", "describe-access-entry", *named, "--principal-arn", hands.node_role)["accessEntry"]
    assert entry["type"] == "EC2_LINUX", entry
    describe = lambda name: aws("eks", "describe-addon", *named, "--addon-name", name)["addon"]
    wait_for("coredns is ACTIVE", lambda: describe("coredns")["status"] == "ACTIVE")

    values = ("--configuration-values", '{"env":{"WARM_IP_TARGET":"7"}}')
    update = aws("eks", "update-addon", *named, "--addon-name", "vpc-cni", *values)["update"]
    asked = ("--name", CLUSTER, "--addon-name", "vpc-cni", "--update-id", update["id"])
    assert aws("eks", "describe-update", *asked)["update"]["status"] == "Successful"
    assert env_of_aws_node(hands)["WARM_IP_TARGET"] == "7"
    assert describe("vpc-cni")["configurationValues"] == values[1]

    for name in ("coredns", "kube-proxy", "vpc-cni"):
        aws("eks", "delete-addon", *named, "--addon-name", name)
    aws("eks", "delete-nodegroup", *named, "--nodegroup-name", "workers")
    wait_for("the nodes are gone", lambda: hands.nodes_ready() == [])
    aws("eks", "delete-cluster", "--name", CLUSTER)
    world.settle()
    hands.remove_network_and_roles()
    assert_same(before, hands.judge.inventory())


def env_of_aws_node(hands) -> dict:
    daemon_set = hands.kubectl("-n", NAMESPACE, "get", "daemonset", "aws-node", "-o", "json")
    container = next(c for c in daemon_set["spec"]["template"]["spec"]["containers"] if c["name"] == "aws-node")
    return {item["name"]: item.get("value") for item in container["env"]}
