"""The harness itself: the webhook lets in the AWS CLI's token for this cluster, and none that the authenticator would
refuse; aws-auth is parsed as the authenticator does, access entries come first."""

import base64

import yaml

from cases.by_hand import CLUSTER, Hands
from harness.access import mapped
from harness.world import wait_for

VIEWER = "arn:aws:iam::123456789012:user/ekskit-operator"


def run(world) -> None:
    assert_parsed_like_the_authenticator()
    hands = Hands(world)
    hands.network()
    hands.roles()
    hands.cluster()
    token = hands.aws("eks", "get-token", "--cluster-name", CLUSTER)["status"]["token"]
    allowed = world.webhook.review(token)
    assert allowed["authenticated"] and allowed["user"]["groups"] == ["system:masters"], allowed

    other = hands.aws("eks", "get-token", "--cluster-name", "other")["status"]["token"]
    url = base64.urlsafe_b64decode(token.removeprefix("k8s-aws-v1.") + "==").decode()
    for altered, why in (
        (other, "signature does not match"),
        ("k8s-aws-v1." + "A" * 5000, "too large"),
        (token.removeprefix("k8s-aws-v1."), "prefix"),
        (encoded(url.replace("http://127.0.0.1", "https://sts.evil.example")), "hostname"),
        (encoded(url.replace("GetCallerIdentity", "GetSessionToken")), "action"),
        (encoded(url + "&Action=GetCallerIdentity"), "multiple values"),
        (encoded(url + "&Extra=1"), "non-whitelisted"),
        (encoded(url.replace("X-Amz-Expires=60", "X-Amz-Expires=901")), "X-Amz-Expires"),
        (encoded(url.replace("%3Bx-k8s-aws-id", "")), "did not sign"),
        (encoded(url.replace("/?", "/x?")), "path"),
    ):
        refusal = world.webhook.review(altered)
        assert not refusal["authenticated"] and why in refusal["error"], (why, refusal)

    # The same by kubectl with the file that the AWS CLI writes: the API server asks the webhook.
    config = world.work / "by-aws.kubeconfig"
    hands.aws("eks", "update-kubeconfig", "--name", CLUSTER, "--kubeconfig", str(config))
    content = yaml.safe_load(config.read_text())
    hands.judge.environment["PATH"] = f"{hands.judge.bin}:{hands.judge.environment['PATH']}"
    assert hands.kubectl("auth", "whoami", kubeconfig=config), content

    # Another user is nobody until an access entry says who.
    hands.judge.environment |= world.operator
    denied = ("get", "pods", "--all-namespaces")
    assert "provide credentials" in failure(hands, *denied, kubeconfig=config)
    hands.judge.environment |= world.judge
    named = ("--cluster-name", CLUSTER, "--principal-arn", VIEWER)
    hands.aws("eks", "create-access-entry", *named, "--kubernetes-groups", "viewers")
    policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
    hands.aws("eks", "associate-access-policy", *named, "--policy-arn", policy, "--access-scope", "type=cluster")
    hands.judge.environment |= world.operator
    wait_for("the viewer is let in", lambda: hands.kubectl(*denied, kubeconfig=config))
    assert "forbidden" in failure(hands, "create", "namespace", "mine", kubeconfig=config)


def assert_parsed_like_the_authenticator() -> None:
    role = "arn:aws:iam::1:role/"
    roles = f"""
- RoleARN: {role}a
  Username: first
- rolearn: {role}A
  username: second
  groups: [g]
- rolearn: {role}b
  sso: {{permissionSetName: x, accountID: "1"}}
- username: nobody
"""
    both = {"data": {"mapRoles": roles, "mapUsers": "- userarn: arn:aws:iam::1:user/u\n"}}
    found = [(item["arn"], item["username"], item["groups"]) for item in mapped(both)]
    assert found == [(f"{role}A", "second", ["g"]), ("arn:aws:iam::1:user/u", "", [])], found
    broken = {"data": {"mapRoles": "- rolearn: [", "mapUsers": both["data"]["mapUsers"]}}
    assert [item["kind"] for item in mapped(broken)] == ["user"]


def encoded(url: str) -> str:
    return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def failure(hands, *command, **more) -> str:
    try:
        hands.kubectl(*command, **more)
    except AssertionError as refusal:
        return str(refusal)
    raise AssertionError(f"kubectl {command} was not refused")
