"""The public SSM parameters that name the AMIs of EKS: moto has none of them and refuses to be given them."""

import json

from .aws_request import Answer, Request
from .faults import error
from .moto import ARCHITECTURES, BUILD, PATCHES, VERSIONS, eks_ami

ROOT = "/aws/service/eks/optimized-ami"


def _parameters() -> dict[str, str]:
    found = {}
    for version in VERSIONS:
        for architecture in ARCHITECTURES:
            image, release = eks_ami(version, architecture), f"{PATCHES[version]}-{BUILD}"
            facts = {
                "schema_version": "2",
                "image_id": image["ami_id"],
                "image_name": image["name"],
                "release_version": release,
            }
            for build in ("recommended", image["name"]):
                name = f"{ROOT}/{version}/amazon-linux-2023/{architecture}/standard/{build}"
                found[name] = json.dumps(facts)
                found |= {f"{name}/{key}": facts[key] for key in ("image_id", "release_version")}
    return found


PARAMETERS = _parameters()


def answer(request: Request) -> Answer | None:
    """Plays the reads of these parameters; None for everything else of SSM."""
    if request.service != "ssm":
        return None
    asked = request.input
    if request.action == "GetParameter" and asked.get("Name", "").startswith(ROOT):
        if asked["Name"] not in PARAMETERS:
            return error("ssm", 400, "ParameterNotFound", "", is_json=True)
        return _json({"Parameter": _parameter(asked["Name"], request.region)})
    if request.action == "GetParameters" and all(name.startswith(ROOT) for name in asked.get("Names", [""])):
        known = [name for name in asked["Names"] if name in PARAMETERS]
        unknown = [name for name in asked["Names"] if name not in PARAMETERS]
        return _json({"Parameters": [_parameter(name, request.region) for name in known], "InvalidParameters": unknown})
    if request.action == "GetParametersByPath" and asked.get("Path", "").startswith(ROOT):
        below = asked["Path"].rstrip("/") + "/"
        names = [name for name in PARAMETERS if name.startswith(below)]
        if not asked.get("Recursive"):
            names = [name for name in names if "/" not in name[len(below) :]]
        return _json({"Parameters": [_parameter(name, request.region) for name in sorted(names)]})
    return None


def _parameter(name: str, region: str) -> dict:
    return {
        "Name": name,
        "Type": "String",
        "Value": PARAMETERS[name],
        "Version": 42,
        "ARN": f"arn:aws:ssm:{region}::parameter{name}",
        "DataType": "text",
    }


def _json(body: dict) -> Answer:
    return Answer(200, json.dumps(body).encode(), [("Content-Type", "application/x-amz-json-1.1")])
