"""`prod.rhai` as it is, all inputs at their defaults, with EKS by winterbaume: access entries, managed workers, managed
add-ons."""

from cases import prod
from cases.prod import Prod


def run(world) -> None:
    story = Prod(world, workers="managed", winterbaume=True)
    story.inputs = {}
    story.bring_up()
    prod.WARM_IP_TARGET, prod.NODES, before = 2, 3, (prod.WARM_IP_TARGET, prod.NODES)
    try:
        story.assert_built()
    finally:
        prod.WARM_IP_TARGET, prod.NODES = before
    addons = story.aws("eks", "list-addons", "--cluster-name", story.name)["addons"]
    assert {"vpc-cni", "kube-proxy", "coredns"} <= set(addons), addons
    story.run_again()
    story.tear_down()
