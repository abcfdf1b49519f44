"""The normal path: endpoint and certificate from `describe_cluster`, a token that the webhook checks; and kubectl gets
in with the file that `ekskit kubeconfig` wrote."""

import subprocess

from cases.prod import NODES, Prod
from harness.ekskit import PROJECT
from harness.place import program


def run(world) -> None:
    story = Prod(world, workers="self-managed", auth="aws-auth", addons="self")
    story.bring_up()
    story.assert_built()
    story.run_again()

    # The token is in no output but that of `ekskit token`.
    look = story.ekskit.eval(f'kube::cluster("{story.name}").list("nodes").len()', "--verbose").expect(0)
    for text in (look.stdout, look.stderr, *(log.read_text() for log in world.work.glob("ekskit-*.*"))):
        assert "k8s-aws-v1" not in text and "X-Amz-Signature" not in text
    token = story.ekskit.call("token", "--cluster", story.name).expect(0)
    assert token.document["status"]["token"].startswith("k8s-aws-v1.")

    file = world.work / "by-ekskit.kubeconfig"
    story.ekskit.environment["KUBECONFIG"] = str(file)
    story.ekskit.call("kubeconfig", story.name).expect(0)
    assert file.stat().st_mode & 0o777 == 0o600, oct(file.stat().st_mode)
    # kubectl runs the exec plugin with the environment of whoever calls it: the operator's, who has ekskit in PATH.
    mine = story.judge.environment
    story.judge.environment = {**story.ekskit.environment}
    story.judge.environment["PATH"] = f"{story.ekskit.binary().parent}:{mine['PATH']}"
    who = story.kubectl("auth", "whoami", "-o", "json", kubeconfig=file)["status"]["userInfo"]
    assert "system:masters" in who["groups"], who
    story.judge.environment = mine
    assert line_of_the_readme(story).count(" Ready ") == NODES
    story.tear_down()


def line_of_the_readme(story) -> str:
    """What `ekskit kubeconfig prod && kubectl get nodes` prints in a new home, as the README has it."""
    lines = (PROJECT / "README.md").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"ekskit kubeconfig {story.name} &&")]
    home = story.world.work / "home-of-the-readme"
    home.mkdir()
    path = f"{story.ekskit.binary().parent}:{program('kubectl').parent}:{story.ekskit.environment['PATH']}"
    kept = {name: value for name, value in story.ekskit.environment.items() if name != "KUBECONFIG"}
    done = subprocess.run(
        ["bash", "-c", line], env={**kept, "HOME": str(home), "PATH": path}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout
