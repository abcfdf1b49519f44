"""A set-up in which no node can join: the run fails in time, names the cause, and none of the others."""

import re
import shutil

from cases.prod import Prod
from harness.ekskit import PROJECT
from harness.moto import FOREIGN_AMI

# What an error says of each cause. Its hint is left out: it may speak of what to do instead.
CAUSES = {
    "role": r"prod[\w-]*node[\w-]*\W.*not mapped|not mapped.*prod[\w-]*node",
    "route": r"\bno route\b",
    "addresses": r"free (addresses|IPs)|without room",
    "instance": r"impaired|unhealthy|status checks?",
    "image": r"\bAMI\b",
}


def run(world, cause: str) -> None:
    story = Prod(
        world, workers="self-managed", kubeconfig=world.kubeconfig, auth="aws-auth", addons="self", timeout="45s"
    )
    if cause == "role":
        story.ekskit.project = project_that_maps_no_role(world)
    elif cause == "image":
        story.inputs["ami_id"] = FOREIGN_AMI
    else:
        troubles = {
            "route": world.trouble.cut_routes,
            "addresses": world.trouble.fill_subnets,
            "instance": world.trouble.fail_instances,
        }
        world.trouble.when("CreateAutoScalingGroup", troubles[cause])
    failed = story.ekskit.run("runbooks/prod.rhai", *story.flags, inputs=story.inputs).expect(1)
    error = failed.error
    said = "\n".join([error["message"], *(error.get("notes") or [])])
    named = {name for name, pattern in CAUSES.items() if re.search(pattern, said)}
    assert named == {cause}, f"names {sorted(named)}: {said}"
    if cause == "role":
        assert "prod-node" in said, said


def project_that_maps_no_role(world):
    """A team's own `stdlib/auth.rhai`, in which somebody has broken `ensure_node_role`."""
    project = world.work / "project"
    shutil.copytree(PROJECT / "runbooks", project / "runbooks")
    shutil.copytree(PROJECT / "stdlib", project / "stdlib")
    auth = project / "stdlib" / "auth.rhai"
    text, count = re.subn(
        r"^fn ensure_node_role\(([^)]*)\) \{",
        r"fn ensure_node_role(\1) { return #{ changed: false };",
        auth.read_text(),
        flags=re.M,
    )
    assert count >= 1, "stdlib/auth.rhai has no `ensure_node_role` to break"
    auth.write_text(text)
    return project
