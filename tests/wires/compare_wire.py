#!/usr/bin/env python3
"""Compares the requests of ekskit with those that botocore makes of the same inputs: every name and value on the wire.

    compare_wire.py FILE

FILE is what the sweep of the tests writes where `EKSKIT_SWEEP_OUT` names it: a line a call, with every field of the
operation filled. Compared are method, path, query, the headers that carry input, and the body by its meaning. Every
difference must be in the table below with its reason; exit 1 on one that is not, and on a row that no longer differs.
"""

import base64
import datetime
import json
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session
from botocore.serialize import create_serializer

from compare_botocore import FOLDERS, fold
from explained import exit_code

FALSE = "the Rust SDK leaves it out where it is false, for which AWS takes an absent one"
UNION = "a fault of the Rust SDK: the members of a union in a list of the query protocol lose their names"

# Difference -> reason: `service::Operation name`, the name being that of a field of the request without its numbers.
EXPLAINED = {
    FALSE: "\n".join(
        f"cloudwatchlogs::{operation} body.transformerConfig.{place}"
        for operation in ("PutTransformer", "TestTransformer")
        for place in (
            "addKeys.entries.overwriteIfExists",
            "copyValue.entries.overwriteIfExists",
            "listToMap.flatten",
            "moveKeys.entries.overwriteIfExists",
            "parseKeyValue.overwriteIfExists",
            "renameKeys.entries.overwriteIfExists",
        )
    ),
    UNION: """
        iam::SimulatePrincipalPolicy form PolicyExclusionList.member.InlinePolicyIdentifier.AttachmentName
        iam::SimulatePrincipalPolicy form PolicyExclusionList.member.InlinePolicyIdentifier.AttachmentType
        iam::SimulatePrincipalPolicy form PolicyExclusionList.member.InlinePolicyIdentifier.PolicyName
        iam::SimulatePrincipalPolicy form PolicyExclusionList.member.PolicyArn
        iam::SimulatePrincipalPolicy form PolicyExclusionList.member.PolicyType
        iam::SimulatePrincipalPolicy form PolicyExclusionList.member.member
        iam::SimulatePrincipalPolicy form PolicyExclusionList.member.member.AttachmentName
        iam::SimulatePrincipalPolicy form PolicyExclusionList.member.member.AttachmentType
        iam::SimulatePrincipalPolicy form PolicyExclusionList.member.member.PolicyName
    """,
}


class Odd(Exception):
    """An input that botocore's model has no place for."""


def theirs(shape, value):
    """The input as botocore takes it: its names for ours, times and bytes as Python's."""
    if shape.type_name == "structure":
        names = {fold(name): name for name in shape.members}
        if unknown := [name for name in value if fold(name) not in names]:
            raise Odd(f"{shape.name}.{unknown[0]}")
        return {names[fold(name)]: theirs(shape.members[names[fold(name)]], item) for name, item in value.items()}
    if shape.type_name == "list":
        return [theirs(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: theirs(shape.value, item) for key, item in value.items()}
    if shape.type_name == "timestamp":
        return datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    return base64.b64decode(value) if shape.type_name == "blob" else value


def flat(value, name="") -> dict[str, str]:
    """JSON as names of places, each with its value."""
    if isinstance(value, dict):
        return {place: text for key, item in value.items() for place, text in flat(item, f"{name}.{key}").items()}
    if isinstance(value, list):
        return {place: text for i, item in enumerate(value) for place, text in flat(item, f"{name}.{i}").items()}
    return {name: plain(value)}


def plain(value) -> str:
    """Numbers as numbers, times without their empty fraction: what each side may write in its own way."""
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        return repr(float(text))
    except ValueError:
        return text.removesuffix(".000Z") + "Z" if text.endswith(".000Z") else text


def request(method: str, path: str, query, headers: dict, body) -> dict[str, str]:
    """Everything that a request says of its operation and input, by name."""
    said = {"method": method, "path": unquote(path)}
    said |= {f"query {name}": plain(value) for name, value in query}
    said |= {f"header {name.lower()}": value for name, value in headers.items() if name.lower() in ("x-amz-target",)}
    if isinstance(body, dict):
        return said | {f"form {name}": plain(value) for name, value in body.items()}
    return said | {f"body{place}": text for place, text in flat(json.loads(body or "{}")).items()}


def ours(head: str, body: str, is_form: bool) -> dict[str, str]:
    lines = head.split("\r\n")
    method, target, _ = lines[0].split(" ")
    split = urlsplit(target)
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    fields = dict(parse_qsl(body, keep_blank_values=True)) if is_form else body
    return request(method, split.path, parse_qsl(split.query, keep_blank_values=True), headers, fields)


def botocores(model, operation, value) -> dict[str, str]:
    serializer = create_serializer(model.metadata["protocol"], include_validation=False)
    parameters = theirs(operation.input_shape, value) if operation.input_shape else {}
    made = serializer.serialize_to_request(parameters, operation)
    body = made["body"].decode() if isinstance(made["body"], bytes) else made["body"]
    path, _, fixed = made["url_path"].partition("?")
    query = made["query_string"]
    pairs = list(query.items()) if isinstance(query, dict) else list(query)
    spread = [(name, item) for name, value in pairs for item in (value if isinstance(value, list) else [value])]
    return request(made["method"], path, parse_qsl(fixed) + spread, made["headers"], body)


def without_numbers(name: str) -> str:
    return ".".join(part for part in name.split(".") if not part.isdigit())


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: compare_wire.py FILE")
    session, models, counts, found = botocore.session.get_session(), {}, Counter(), {}
    calls = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    for call in calls:
        service, name = call["service"], call["operation"]
        if service not in models:
            models[service] = session.get_service_model(FOLDERS.get(service, service))
        model = models[service]
        try:
            expected = botocores(model, model.operation_model(name), call["input"])
        except Odd as odd:
            found[f"{service}::{name} {odd}"] = "botocore has no such field"
            continue
        sent = ours(call["head"], call["body"], model.metadata["protocol"] in ("ec2", "query"))
        counts["same"] += len(expected.items() & sent.items())
        for place in sorted(name for name, _ in expected.items() ^ sent.items()):
            said = f"ekskit {sent.get(place)!r}, botocore {expected.get(place)!r}"
            found[f"{service}::{name} {without_numbers(place)}"] = said
    operations = {(call["service"], call["operation"]) for call in calls}
    print(f"botocore {botocore.__version__}, {len(models)} services, {len(operations)} operations, {len(calls)} calls:")
    print(f"  {counts['same']:6} names with their values are the same on the wire")
    sys.exit(exit_code(found, EXPLAINED) or int(not calls))


if __name__ == "__main__":
    main()
