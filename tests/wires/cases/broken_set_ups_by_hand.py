"""The harness itself: an instance joins none of the broken set-ups, and what is wrong shows in the answers of AWS."""

from cases.by_hand import CLUSTER, Hands
from harness.moto import FOREIGN_AMI
from harness.world import wait_for


def run(world) -> None:
    hands = Hands(world)
    hands.network()
    hands.roles()
    hands.cluster()
    hands.map_node_role()
    hands.self_managed_group(size=1, image=FOREIGN_AMI)
    verdict_becomes(world, "wrong AMI")
    image = hands.aws("ec2", "describe-images", "--image-ids", FOREIGN_AMI)["Images"][0]
    assert image["OwnerId"] == "137112412989" and "eks" not in image["Name"], image

    replace_with_eks_ami(hands)
    hands.wait_for_nodes(1)
    again(hands)
    world.trouble.fill_subnets()
    restart(hands, world)
    verdict_becomes(world, "no free IPs")
    subnets = hands.aws("ec2", "describe-subnets", "--subnet-ids", *hands.private)["Subnets"]
    assert [subnet["AvailableIpAddressCount"] for subnet in subnets] == [0, 0]

    world.trouble.clear()
    world.trouble.fail_instances()
    restart(hands, world)
    verdict_becomes(world, "instance failed")
    # The verdict may still be about the instance that is being replaced: its successor fails in a moment.
    wait_for("the failed instance shows in its group and its status checks", lambda: shows_failure(hands))

    world.trouble.clear()
    world.trouble.cut_routes()
    restart(hands, world)
    verdict_becomes(world, "no route or endpoints")

    # With the endpoints that nodes need, no route is needed.
    for service in ("ec2", "ecr.api", "ecr.dkr", "s3", "sts"):
        name = f"com.amazonaws.us-west-2.{service}"
        kind = "Gateway" if service == "s3" else "Interface"
        hands.aws(
            *("ec2", "create-vpc-endpoint", "--vpc-id", hands.vpc),
            *("--service-name", name, "--vpc-endpoint-type", kind),
        )
    hands.wait_for_nodes(1)

    # A managed node group whose instances do not join is given up by EKS, with the reason in its health.
    world.instances.gives_up_seconds = 5
    world.trouble.fill_subnets()
    hands.managed_group(size=1)
    named = ("--cluster-name", CLUSTER, "--nodegroup-name", "workers")
    group = lambda: hands.aws("eks", "describe-nodegroup", *named)["nodegroup"]
    wait_for("the node group failed", lambda: group()["status"] == "CREATE_FAILED")
    assert [issue["code"] for issue in group()["health"]["issues"]] == ["InsufficientFreeAddresses"]


def shows_failure(hands) -> bool:
    """Whether the one instance of the group is unhealthy there, and the one that fails its status checks."""
    group = hands.aws("autoscaling", "describe-auto-scaling-groups")["AutoScalingGroups"][0]
    unhealthy = [member["InstanceId"] for member in group["Instances"] if member["HealthStatus"] == "Unhealthy"]
    statuses = hands.aws("ec2", "describe-instance-status")["InstanceStatuses"]
    failed = [s["InstanceId"] for s in statuses if s["InstanceStatus"]["Status"] == "impaired"]
    return len(unhealthy) == 1 and failed == unhealthy


def verdict_becomes(world, wanted: str) -> None:
    wait_for(f"an instance does not join: {wanted}", lambda: wanted in world.instances.verdicts.values())


def replace_with_eks_ami(hands) -> None:
    hands.aws("autoscaling", "delete-auto-scaling-group", "--auto-scaling-group-name", "hand", "--force-delete")
    hands.aws("ec2", "delete-launch-template", "--launch-template-name", "hand")
    for command in ("remove-role-from-instance-profile", "delete-instance-profile"):
        more = ("--role-name", "hand-node") if command.startswith("remove") else ()
        hands.aws("iam", command, "--instance-profile-name", "hand-node", *more)
    hands.self_managed_group(size=1)


def again(hands) -> None:
    """Scales to none."""
    sizes = ("--min-size", "0", "--desired-capacity", "0")
    hands.aws("autoscaling", "update-auto-scaling-group", "--auto-scaling-group-name", "hand", *sizes)
    wait_for("the node is gone", lambda: hands.nodes_ready() == [])


def restart(hands, world) -> None:
    """A new instance, of which nothing is known yet."""
    again(hands)
    sizes = ("--desired-capacity", "1")
    hands.aws("autoscaling", "update-auto-scaling-group", "--auto-scaling-group-name", "hand", *sizes)
