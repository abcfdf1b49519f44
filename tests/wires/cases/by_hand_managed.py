"""The harness itself: a managed node group becomes ACTIVE when its nodes are Ready, EKS having mapped its role in
aws-auth and as an access entry; tags, updates and the errors of the access modes are as AWS documents."""

from cases.by_hand import CLUSTER, Hands
from harness.judge import assert_same
from harness.world import wait_for


def run(world) -> None:
    hands = Hands(world)
    aws, named = hands.aws, ("--cluster-name", CLUSTER)
    before = hands.judge.inventory()
    hands.network()
    hands.roles()
    hands.cluster(mode="CONFIG_MAP")
    refused(hands, "must be set to one of [API, API_AND_CONFIG_MAP]", "eks", "list-access-entries", *named)

    group = hands.managed_group(size=2)
    assert group["status"] == "CREATING", group
    describe = ("eks", "describe-nodegroup", *named, "--nodegroup-name", "workers")
    status = lambda: aws(*describe)["nodegroup"]["status"]
    wait_for("the node group is ACTIVE", lambda: status() == "ACTIVE")
    nodes = hands.wait_for_nodes(2)
    assert all(node["metadata"]["labels"]["eks.amazonaws.com/nodegroup"] == "workers" for node in nodes)
    hands.assert_pods_run()
    roles = hands.kubectl("-n", "kube-system", "get", "configmap", "aws-auth", "-o", "json")["data"]["mapRoles"]
    assert hands.node_role in roles, roles

    mode = lambda wanted: (
        "eks",
        "update-cluster-config",
        "--name",
        CLUSTER,
        "--access-config",
        f"authenticationMode={wanted}",
    )
    refused(hands, "Unsupported authentication mode update from CONFIG_MAP to API", *mode("API"))
    update = aws(*mode("API_AND_CONFIG_MAP"))["update"]
    assert update["type"] == "AccessConfigUpdate" and update["status"] == "InProgress", update
    done = aws("eks", "describe-update", "--name", CLUSTER, "--update-id", update["id"])["update"]
    assert done["status"] == "Successful", done
    entries = aws("eks", "list-access-entries", *named)["accessEntries"]
    assert entries == [hands.node_role], entries
    entry = aws("eks", "describe-access-entry", *named, "--principal-arn", hands.node_role)["accessEntry"]
    assert entry["type"] == "EC2_LINUX", entry

    aws(
        *("eks", "update-nodegroup-config", *named, "--nodegroup-name", "workers"),
        *("--scaling-config", "desiredSize=3"),
    )
    hands.wait_for_nodes(3)
    refused(hands, "Cluster has nodegroups attached", "eks", "delete-cluster", "--name", CLUSTER)
    aws("eks", "delete-nodegroup", *named, "--nodegroup-name", "workers")
    wait_for("the nodes are gone", lambda: hands.nodes_ready() == [])
    refused(hands, "ResourceNotFoundException", *describe)
    aws("eks", "delete-cluster", "--name", CLUSTER)
    world.settle()
    hands.remove_network_and_roles()
    assert_same(before, hands.judge.inventory())


def refused(hands, text: str, *command) -> None:
    try:
        hands.aws(*command)
    except AssertionError as failure:
        assert text in str(failure), failure
    else:
        raise AssertionError(f"{command} was not refused")
