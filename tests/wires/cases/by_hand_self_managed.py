"""The harness itself: with AWS CLI and kubectl alone, self-managed workers join once their role is in aws-auth, run the
pods that EKS bootstraps, and leave nothing behind when everything is deleted."""

from cases.by_hand import CLUSTER, Hands
from harness.judge import assert_same, mutating_in_recording
from harness.world import wait_for


def run(world) -> None:
    hands = Hands(world)
    before = hands.judge.inventory()
    world.moto.record()
    hands.network()
    hands.roles()
    cluster = hands.cluster()
    assert cluster["endpoint"] == world.control_plane.url
    assert cluster["accessConfig"] == {"authenticationMode": "API_AND_CONFIG_MAP"}
    assert cluster["resourcesVpcConfig"]["vpcId"] == hands.vpc
    entries = hands.aws("eks", "list-access-entries", "--cluster-name", CLUSTER)["accessEntries"]
    assert entries == ["arn:aws:iam::123456789012:user/judge"], entries

    hands.self_managed_group(size=2)
    unmapped = lambda: [v for v in world.instances.verdicts.values() if v.startswith("role not mapped")]
    wait_for("both instances are turned away", lambda: len(unmapped()) == 2)
    assert hands.nodes_ready() == []
    hands.map_node_role()
    nodes = hands.wait_for_nodes(2)
    assert all(node["metadata"]["labels"]["role"] == "worker" for node in nodes)
    hands.assert_pods_run()

    scaled = ("autoscaling", "set-desired-capacity", "--auto-scaling-group-name", "hand", "--desired-capacity", "1")
    hands.aws(*scaled)
    hands.wait_for_nodes(1)

    hands.aws("autoscaling", "delete-auto-scaling-group", "--auto-scaling-group-name", "hand", "--force-delete")
    wait_for("the nodes are gone", lambda: hands.nodes_ready() == [])
    hands.aws("eks", "delete-cluster", "--name", CLUSTER)
    world.settle()
    assert hands.kubectl("-n", "kube-system", "get", "daemonsets", "-o", "json")["items"] == []
    hands.aws("ec2", "delete-launch-template", "--launch-template-name", "hand")
    named = ("--instance-profile-name", "hand-node")
    hands.aws("iam", "remove-role-from-instance-profile", *named, "--role-name", "hand-node")
    hands.aws("iam", "delete-instance-profile", *named)
    hands.remove_network_and_roles()
    assert_same(before, hands.judge.inventory())

    key = world.judge["AWS_ACCESS_KEY_ID"]
    seen = [f"{r['service']}:{r['action']}" for r in world.front.recorder.since(0, access_key=key, mutating=True)]
    recorded = mutating_in_recording(world.moto.recorded(), key)
    assert "ec2:CreateVpc" in recorded and set(recorded) <= set(seen), set(recorded) - set(seen)
