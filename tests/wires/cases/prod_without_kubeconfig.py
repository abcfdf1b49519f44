"""The normal path: endpoint and certificate from `describe_cluster`, a token that the webhook checks; and kubectl gets
in with the file that `ekskit kubeconfig` wrote."""

from cases.prod import Prod


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
    story.tear_down()
