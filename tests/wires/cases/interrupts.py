"""Ctrl-C: at once during a wait, after the grace during a change that never answers, at once when asked twice."""

import statistics
import time

from harness.ekskit import Ekskit
from harness.faults import Fault
from harness.world import wait_for

WAIT = 'eks::list_clusters(); wait_until(#{ timeout: "5m", every: "1s" }, || ())'
VPC = 'ec2::create_vpc(#{ cidr_block: "10.9.0.0/16" })'
GRACE_SECONDS = 30
AT_ONCE_SECONDS = 1


def run(world) -> None:
    ekskit = Ekskit(world)
    at_once("during a wait", lambda: ekskit.interrupted(waiting(world, ekskit)))

    stopped = ekskit.interrupted(hold(world, ekskit), timeout=GRACE_SECONDS + 20).expect(130)
    assert GRACE_SECONDS - 5 < stopped.seconds < GRACE_SECONDS + 10, stopped.seconds
    assert stopped.error["maybe_applied"] is True, stopped.error

    at_once("asked twice during a change", lambda: ekskit.interrupted(hold(world, ekskit), times=2))


def at_once(when: str, interrupt) -> None:
    """Five times, of which the one in the middle counts: a machine with other work to do spoils a single one."""
    seconds = [interrupt().expect(130).seconds for _ in range(5)]
    assert statistics.median(seconds) <= AT_ONCE_SECONDS, (when, seconds)


def waiting(world, ekskit):
    """A process that waits and asks nobody."""
    child = begun(world, ekskit, WAIT, "ListClusters")
    time.sleep(0.3)  # the answer to its one request is on its way
    return child


def hold(world, ekskit):
    """A process whose CreateVpc arrived and is never answered."""
    world.front.faults.clear()
    world.front.faults.add(Fault("hold", action="CreateVpc", times=1))
    return begun(world, ekskit, VPC, "CreateVpc")


def begun(world, ekskit, expression: str, action: str):
    """A process that has sent this request."""
    position = world.front.recorder.position()
    child = ekskit.start("eval", expression, "--yes", "--output", "json")
    wait_for("the request arrived", lambda: world.front.recorder.since(position, action=action), every=0.05)
    return child
