"""What AWS, Kubernetes and the operator refuse: one error with its kind and what to do, and nothing half-written."""

from harness.ekskit import Ekskit
from harness.faults import Fault


def run(world) -> None:
    ekskit, faults = Ekskit(world), world.front.faults
    read = "ec2::describe_vpcs().vpcs.len()"

    faults.add(Fault("expired", times=1))
    error = failed(ekskit.eval(read), "expired")
    assert "log" in str(error.get("hint")).lower(), error

    faults.add(Fault("deny", action="DescribeVpcs", times=1))
    error = failed(ekskit.eval(read), "denied")
    assert error["code"] == "UnauthorizedOperation" and "ec2:DescribeVpcs" in str(error), error

    faults.add(Fault("throttle", action="DescribeVpcs", times=2))
    assert ekskit.eval(read).expect(0).document["result"] == 1

    # A dropped create that took effect is looked up, not sent again.
    faults.add(Fault("drop", action="CreateVpc", times=1, applied=True))
    before = ekskit.eval(read).document["result"]
    ekskit.eval('ec2::create_vpc(#{ cidr_block: "10.9.0.0/16" }).vpc.vpc_id').expect(0)
    assert ekskit.eval(read).document["result"] == before + 1

    position = world.front.recorder.position()
    wrong = ekskit.run("runbooks/prod.rhai", inputs={"account": "999999999999"})
    assert wrong.exit in (1, 3) and "123456789012" in wrong.stderr, wrong.stderr
    assert ekskit.mutations(position) == []

    error = failed(ekskit.eval('eks::create_cluster(#{ nam: "x" })'), "invalid")
    assert "did you mean `name`" in str(error) and ekskit.mutations(position) == [], error

    ekskit.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    unreachable = ekskit.eval(read, "--timeout", "5s").expect(1)
    assert unreachable.error["kind"] in ("unavailable", "timeout"), unreachable.error
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del ekskit.environment[name]
    failed(ekskit.eval(read), "expired")


def failed(run, kind: str) -> dict:
    error = run.expect(1).error
    assert error["kind"] == kind, error
    return error
