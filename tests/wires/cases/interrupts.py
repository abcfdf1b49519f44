"""Ctrl-C: at once during a wait, after the grace during a change that never answers, at once when asked twice."""

import time

from harness.ekskit import Ekskit
from harness.faults import Fault
from harness.world import wait_for

VPC = 'ec2::create_vpc(#{ cidr_block: "10.9.0.0/16" })'
GRACE_SECONDS = 30


def run(world) -> None:
    ekskit = Ekskit(world)
    flags = ("--yes", "--output", "json")

    waiting = ekskit.start("eval", 'wait_until(#{ timeout: "5m", every: "1s" }, || ())', *flags)
    time.sleep(2)
    assert waiting.poll() is None
    stopped = ekskit.interrupted(waiting).expect(130)
    assert stopped.seconds < 3, stopped.seconds

    held = hold(world, ekskit, flags)
    stopped = ekskit.interrupted(held, timeout=GRACE_SECONDS + 20).expect(130)
    assert GRACE_SECONDS - 5 < stopped.seconds < GRACE_SECONDS + 10, stopped.seconds
    assert stopped.error["maybe_applied"] is True, stopped.error

    held = hold(world, ekskit, flags)
    stopped = ekskit.interrupted(held, times=2)
    assert stopped.exit == 130 and stopped.seconds < 5, (stopped.exit, stopped.seconds)


def hold(world, ekskit, flags):
    """A process whose CreateVpc arrived and is never answered."""
    position = world.front.recorder.position()
    world.front.faults.clear()
    world.front.faults.add(Fault("hold", action="CreateVpc", times=1))
    child = ekskit.start("eval", VPC, *flags)
    wait_for("the request arrived", lambda: world.front.recorder.since(position, action="CreateVpc"))
    return child
