"""A process that dies between the backup of aws-auth and its write leaves a map that works; the next completes it."""

import shutil

import yaml

from harness.ekskit import PROJECT, Ekskit
from harness.judge import Judge
from harness.world import wait_for

ROLE = "arn:aws:iam::123456789012:role/"
KEPT = {
    "rolearn": f"{ROLE}kept",
    "username": "system:node:{{EC2PrivateDNSName}}",
    "groups": ["system:bootstrappers", "system:nodes"],
}
CHANGE = f"""
import "auth" as auth;
auth::ensure_mapped("prod", #{{
    roles: [#{{ rolearn: "{ROLE}added", username: "added", groups: ["viewers"] }}],
}}).changed
"""


def run(world) -> None:
    judge = Judge(world)
    kube = world.control_plane.kube
    data = {"mapRoles": yaml.safe_dump([KEPT])}
    metadata = {"name": "aws-auth", "namespace": "kube-system"}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, "somebody")

    slow = Ekskit(world, project=project_that_pauses_before_the_write(world))
    flags = ("--kubeconfig", world.kubeconfig)
    child = slow.start("eval", CHANGE, "--yes", *flags)
    wait_for("the backup", lambda: backups(judge))
    child.kill()
    child.wait()
    assert roles(judge) == {KEPT["rolearn"]: KEPT}, roles(judge)
    assert [yaml.safe_load(backup["data"]["mapRoles"]) for backup in backups(judge)] == [[KEPT]]

    run = Ekskit(world).eval(CHANGE, *flags).expect(0)
    assert run.document["result"] is True, run.document
    now = roles(judge)
    assert now[KEPT["rolearn"]] == KEPT and now[f"{ROLE}added"]["groups"] == ["viewers"], now
    assert len(backups(judge)) == 1, "the same map was kept twice"


def config_maps(judge) -> list[dict]:
    return judge.kubectl("-n", "kube-system", "get", "configmaps", "-o", "json")["items"]


def backups(judge) -> list[dict]:
    return [one for one in config_maps(judge) if one["metadata"]["name"].startswith("aws-auth-backup-")]


def roles(judge) -> dict:
    found = [one for one in config_maps(judge) if one["metadata"]["name"] == "aws-auth"]
    return {item["rolearn"]: item for item in yaml.safe_load(found[0]["data"]["mapRoles"])}


def project_that_pauses_before_the_write(world):
    project = world.work / "slow-project"
    shutil.copytree(PROJECT / "stdlib", project / "stdlib")
    auth = project / "stdlib" / "auth.rhai"
    write = "    k.update(changed);\n"
    text = auth.read_text()
    assert text.count(write) == 1, "stdlib/auth.rhai writes the map elsewhere now"
    auth.write_text(text.replace(write, '    clock::sleep("2m");\n' + write))
    return project
