"""The harness itself: ordered answers look to the AWS CLI like those of AWS, a held request stays open, a dropped one
took effect, and both proxies pass on what they are asked to."""

import json
import ssl
import subprocess
import time
import urllib.request

from cases.by_hand import Hands
from harness.faults import Fault
from harness.place import program
from harness.world import wait_for


def run(world) -> None:
    hands = Hands(world)
    order = lambda *fault, **more: world.front.faults.add(Fault(*fault, **more))
    expected = {
        ("ec2", "describe-vpcs"): ("RequestLimitExceeded", "UnauthorizedOperation", "RequestExpired"),
        ("iam", "list-roles"): ("Throttling", "AccessDenied", "ExpiredToken"),
        ("eks", "list-clusters"): ("ThrottlingException", "AccessDeniedException", "ExpiredTokenException"),
        ("ssm", "describe-parameters"): ("ThrottlingException", "AccessDeniedException", "ExpiredTokenException"),
    }
    hands.judge.environment["AWS_MAX_ATTEMPTS"] = "1"
    for command, codes in expected.items():
        for kind, code in zip(("throttle", "deny", "expired"), codes, strict=True):
            order(kind, service=command[0], times=1)
            assert f"({code})" in failure(hands, *command), (command, kind)
    hands.judge.environment["AWS_MAX_ATTEMPTS"] = "3"
    order("throttle", action="DescribeVpcs", times=2)
    assert hands.aws("ec2", "describe-vpcs")["Vpcs"]

    order("drop", action="CreateVpc", times=1, applied=True)
    before = len(hands.aws("ec2", "describe-vpcs")["Vpcs"])
    hands.judge.environment["AWS_MAX_ATTEMPTS"] = "1"
    failure(hands, "ec2", "create-vpc", "--cidr-block", "10.9.0.0/16")
    assert len(hands.aws("ec2", "describe-vpcs")["Vpcs"]) == before + 1

    order("hold", action="CreateInternetGateway", times=1)
    held = subprocess.Popen(
        [program("aws"), "ec2", "create-internet-gateway"], env=hands.judge.environment, stderr=subprocess.DEVNULL
    )
    seen = wait_for("the held call", lambda: world.front.recorder.since(0, action="CreateInternetGateway"))
    time.sleep(1)
    assert held.poll() is None
    held.terminate()
    held.wait(10)
    assert [entry["status"] for entry in seen] == [None], seen

    # The controls for tests that are no Python.
    body = json.dumps({"kind": "deny", "action": "ListRoles", "times": 1}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{world.front.url}/_harness/faults", body, method="POST"))
    assert "(AccessDenied)" in failure(hands, "iam", "list-roles")
    with urllib.request.urlopen(f"{world.front.url}/_harness/requests?since=0") as answer:
        listed = json.load(answer)
    assert listed["position"] == len(listed["requests"]) and listed["requests"][-1]["code"] == "AccessDenied"

    through = urllib.request.ProxyHandler({"http": world.proxy.url, "https": world.proxy.url})
    trust = ssl.create_default_context(cafile=str(world.control_plane.authority.path))
    opener = urllib.request.build_opener(through, urllib.request.HTTPSHandler(context=trust))
    assert opener.open(f"{world.control_plane.url}/readyz").read() == b"ok"
    assert opener.open(f"{world.front.url}/_harness/requests?since=99999").status == 200
    assert world.proxy.tunnels == [world.control_plane.url.removeprefix("https://")]
    assert world.proxy.passed == [f"GET {world.front.url}/_harness/requests?since=99999"]


def failure(hands, *command) -> str:
    try:
        hands.aws(*command)
    except AssertionError as refusal:
        return str(refusal)
    raise AssertionError(f"aws {command} did not fail")
