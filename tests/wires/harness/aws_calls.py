"""The same AWS calls on the twin and on other people's servers, by the same binary.

A sequence is a list of steps `{call: ec2::create_vpc, with: {…}, as: vpc}`; `$vpc.vpc.vpc_id` is what an earlier step
answered. All sequences of a run are one script: one process a side.
"""

import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import boto3
import yaml

from . import faults
from .ekskit import PROJECT, Ekskit
from .front import Front
from .likeness import Pairs, differences
from .moto import Moto
from .place import REGION, free_port, program
from .process import Process

REFERENCE = re.compile(r"\$([a-z_][\w]*)((?:\.\w+)*)")
# Services of which the twin's account may have any number of things.
ROOMY = ("vpc", "ec2", "eks", "autoscaling", "elasticloadbalancing", "iam")
# Who calls in a fresh world, and so on the servers.
CALLER = yaml.safe_load((PROJECT / "src/twin/worlds/default.yaml").read_text())["caller"]
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
)
# The zones of which moto's account has other names than a fresh world.
ZONE_IDS = {"us-west-2a": "usw2-az2", "us-west-2b": "usw2-az1"}
# What ekskit itself sends to find its own creates again: no part of an answer of AWS.
OWN_TAG = "ekskit:request"
# The code of an operation that the other server does not have, or over which it broke down.
BROKE_DOWN = "ServerBrokeDown"


@dataclass(frozen=True)
class Difference:
    """One place in which the two sides answered differently: `!code` is how the call ended."""

    sequence: str
    step: int
    call: str
    path: str
    twin: object
    other: object

    def __str__(self) -> str:
        one, other = (json.dumps(value)[:160] for value in (self.twin, self.other))
        return f"{self.sequence}.{self.step} {self.call} {self.path}: twin {one}, other {other}"


class Servers:
    """moto, and winterbaume for EKS, with the images and the caller that the twin has."""

    def __init__(self, work: Path):
        self.work = work
        self._moto = Moto(work, twin_images())
        self._moto.start()
        port = free_port()
        self._winterbaume = Process("winterbaume", [program("winterbaume"), port], work / "winterbaume.log")
        self._front = Front(work, self._moto.port, port)
        self._front.answerers.append(self._soon)
        self._front.start()
        self._caller = self._assume()

    def _assume(self) -> dict:
        """Credentials of the role session that calls on the twin, too."""
        _, _, role, session = re.split("[:/]+", CALLER.removeprefix("arn:aws:sts::"))
        made = {"region_name": REGION, "aws_access_key_id": "anybody", "aws_secret_access_key": "anybody"}
        iam, sts = (boto3.client(name, endpoint_url=self._moto.url, **made) for name in ("iam", "sts"))
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        given = sts.assume_role(RoleArn=arn, RoleSessionName=session)["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }

    def _soon(self, request):
        """A 5xx of these servers is an answer: sent on as it is, ekskit would ask again for three minutes."""
        answer = self._front.forward(request)
        if answer.status < 500:
            return answer
        is_json = request.service == "eks" or "x-amz-target" in request.headers
        return faults.error(request.service, 400, BROKE_DOWN, "the server broke down", is_json)

    def stop(self) -> None:
        self._front.stop()
        self._moto.stop()
        self._winterbaume.stop()

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def reset(self) -> None:
        self._moto.reset()
        self._caller = self._assume()

    def environment(self, eks: str) -> dict:
        chosen = {"AWS_ENDPOINT_URL": self._front.url, **self._caller}
        if eks == "winterbaume":
            chosen["AWS_ENDPOINT_URL_EKS"] = self._front.eks_url
        return chosen


def twin_images() -> list[dict]:
    """The twin's images as moto wants to be born with them."""
    outcome = perform_on("twin", [("images", [{"call": "ec2::describe_images", "with": {}}])])
    images = outcome["images"][0]["ok"]["images"]
    return [_as_moto_wants(image) for image in images]


def _as_moto_wants(image: dict) -> dict:
    same = ("name", "description", "owner_id", "architecture", "public", "image_location", "image_type")
    return {
        **{key: image[key] for key in (*same, "root_device_type", "root_device_name", "virtualization_type")},
        "ami_id": image["image_id"],
        "state": "available",
        "hypervisor": image["hypervisor"] or "xen",
        "platform": image["platform"],
        "sriov": image["sriov_net_support"] or "simple",
        "creation_date": image["creation_date"],
    }


def script(sequences: list[tuple[str, list[dict]]], patience: str = "1h") -> str:
    """The script that makes the calls of all sequences and answers `{name: [{ok} or {error} …]}`. Waiters give up
    after `patience`."""
    functions = [_function(number, steps, patience) for number, (_, steps) in enumerate(sequences)]
    calls = [f"    {json.dumps(name)}: sequence_{number}()," for number, (name, _) in enumerate(sequences)]
    # What the look over a script would refuse is to reach the servers.
    return "\n".join(["fn as_it_is(input) { input }", *functions, "#{", *calls, "}", ""])


def _function(number: int, steps: list[dict], patience: str) -> str:
    lines = [f"fn sequence_{number}() {{", "    let out = [];", "    let v = #{};"]
    for place, step in enumerate(steps):
        name = step.get("as", f"step_{place}")
        options = f', #{{ timeout: "{patience}" }}' if "::wait_until_" in step["call"] else ""
        call = f"{step['call']}(as_it_is({literal(step.get('with') or {})}){options})"
        lines.append(f"    try {{ v.{name} = {call}; out.push(#{{ ok: v.{name} }}); }}")
        lines.append("    catch (e) { out.push(#{ error: e }); }")
    return "\n".join([*lines, "    out", "}"])


def literal(value) -> str:
    """A value of the table as Rhai writes it."""
    match value:
        case dict():
            return "#{" + ", ".join(f"{json.dumps(str(key))}: {literal(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(literal(item) for item in value) + "]"
        case None:
            return "()"
        case str():
            return _text(value)
        case _:
            return json.dumps(value)


def _text(value: str) -> str:
    if found := REFERENCE.fullmatch(value):
        return _path(found)
    if REFERENCE.search(value):
        parts, end = [], 0
        for found in REFERENCE.finditer(value):
            parts += [json.dumps(value[end : found.start()]), _path(found)]
            end = found.end()
        return "(" + " + ".join([*parts, json.dumps(value[end:])]) + ")"
    return json.dumps(value)


def _path(found: re.Match) -> str:
    parts = [part for part in found[2].split(".") if part]
    return f"v.{found[1]}" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in parts)


def perform_on(side: str, sequences: list, environment: dict | None = None, timeout: float = 900) -> dict:
    """What the calls answered on the twin or, with the environment of a server, there."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="ekskit-compare-") as folder:
        path = Path(folder) / "calls.rhai"
        # What is still under way on a server without virtual time stays so.
        path.write_text(script(sequences, "1h" if side == "twin" else "10s"))
        flags = ["--world", str(_world(folder))] if side == "twin" else ["--yes"]
        ended = subprocess.run(
            [str(Ekskit.binary()), "run", str(path), *flags, "--output", "json", "--no-color"],
            cwd=folder,
            env={
                **kept,
                "HOME": folder,
                "AWS_REGION": REGION,
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_ACCESS_KEY_ID": "compared",
                "AWS_SECRET_ACCESS_KEY": "compared",
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    try:
        return json.loads(ended.stdout)["result"]
    except (ValueError, KeyError, TypeError):
        raise AssertionError(
            f"{side}: exit {ended.returncode}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        ) from None


def _is_of_account(quota: dict) -> bool:
    """Whether all sequences together use up a quota: one that counts within a VPC none does."""
    return quota["service_code"] in ROOMY and "per VPC" not in quota["quota_name"]


def _world(folder: str) -> Path:
    """A world for many sequences: nothing in it, the zones as moto names them, and quotas that one after the other does
    not use up."""
    path = Path(folder) / "world.yaml"
    content = yaml.safe_load((PROJECT / "src/twin/worlds/default.yaml").read_text())
    quotas = yaml.safe_load((PROJECT / "src/twin/worlds/account.yaml").read_text())["servicequotas/quotas"]
    content["aws"]["servicequotas/quotas"] = {
        name: {**quota, "value": 100_000.0 if _is_of_account(quota) else quota["value"]}
        for name, quota in quotas.items()
    }
    zones = yaml.safe_load((PROJECT / "src/twin/worlds/ec2.yaml").read_text())["ec2/availability_zones"]
    # Which zone bears which name is another matter in every account.
    content["aws"]["ec2/availability_zones"] = {
        name: {**zone, "zone_id": ZONE_IDS.get(name, zone["zone_id"])} for name, zone in zones.items()
    }
    path.write_text(yaml.safe_dump(content))
    return path


def compare(name: str, steps: list[dict], twin: list[dict], other: list[dict]) -> list[list[Difference]]:
    """The differences of each step."""
    pairs = Pairs()
    found = []
    for place, (step, mine, theirs) in enumerate(zip(steps, twin, other, strict=True)):
        seen = _outcomes(mine, theirs, pairs)
        found.append([Difference(name, place, step["call"], *difference) for difference in seen])
    return found


def _outcomes(mine: dict, theirs: dict, pairs: Pairs) -> list:
    codes = [_code(mine), _code(theirs)]
    if codes[0] != codes[1]:
        return [("!code", *(f"{code} {_said(one)}".strip() for code, one in zip(codes, (mine, theirs), strict=True)))]
    if codes[0] == "ok":
        return differences(_plain(mine["ok"]), _plain(theirs["ok"]), pairs)
    asked = {"!status": mine["error"]["status"], "!message": _said(mine)}
    answered = {"!status": theirs["error"]["status"], "!message": _said(theirs)}
    return differences(asked, answered, pairs)


def _code(outcome: dict) -> str:
    return "ok" if "ok" in outcome else outcome["error"]["code"] or f"({outcome['error']['kind']})"


def _said(outcome: dict) -> str:
    """The message without what ekskit puts before it, and what it moves into notes."""
    if "ok" in outcome:
        return ""
    error = outcome["error"]
    words = re.sub(
        r"^(`[\w:]+`|not allowed to call `[\w:]+`|the credentials for `[\w:]+`)( in [\w-]+)?:? ?", "", error["message"]
    )
    return " ".join([words, *error.get("notes", [])]).strip()


def _plain(value):
    """Without the tags that ekskit itself sets."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value if not (isinstance(item, dict) and item.get("key") == OWN_TAG)]
    return value
