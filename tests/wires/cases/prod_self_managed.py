"""`prod.rhai` with self-managed workers through `--kubeconfig`: built, unchanged by a second run, torn down to
nothing."""

from cases.prod import Prod


def run(world) -> None:
    story = Prod(world, workers="self-managed", kubeconfig=world.kubeconfig, auth="aws-auth", addons="self")
    story.bring_up()
    story.assert_built()
    story.run_again()
    story.tear_down()
