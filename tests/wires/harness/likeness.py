"""Whether two answers are alike: all fields, but for names that each side makes up itself.

Ids, addresses, times and hashes differ between two clouds even where both are right. They are alike when the same id of
the one side always stands for the same id of the other: an answer that names another subnet than it should is seen.
"""

import copy
import json
import re

# The whole of what is not compared. Everything else is.
IGNORED = {
    "ids, MAC addresses, hashes, addresses": "each side makes them up; the same one must stand for the same one",
    "times": "each side has its clock",
    "request ids": "each side makes them up",
    "the order of lists": "AWS promises none",
    "empty against absent": "XML has no difference between these",
    "the tag `ekskit:request`": "ekskit's own",
    "the first letter's case and the last period of a message": "ekskit changes them",
}
# Kind and form of what a cloud makes up. Whatever else stands around it must be equal.
MADE_UP = [
    ("time", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00| GMT| UTC)"),
    ("uuid", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    ("principal", r"A(?:ROA|NPA|IPA|IDA|SIA)[A-Z0-9]{12,}"),
    ("mac", r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"),
    ("hash", r"\b[0-9a-fA-F]{32,64}\b"),
    ("id", r"\b(?P<prefix>[a-z]+(?:-[a-z]+)*)-(?:[0-9a-f]{17}|[0-9a-f]{8})\b"),
    ("short", r"\b(?=[0-9a-f]*\d)[0-9a-f]{16}\b"),
    ("address", r"(?<![\d.])\d{1,3}(?:[.-]\d{1,3}){3}(?![\d./])"),
    ("random", r"(?<=a-)\w{5,20}(?=$|/)|(?<=-)\d{9,10}(?=\.)"),
]
FORMS = re.compile("|".join(f"(?P<{kind}>{form})" for kind, form in MADE_UP))


class Pairs:
    """Which made-up name of the one side stands for which of the other."""

    def __init__(self):
        self.there: dict = {}
        self.back: dict = {}

    def fit(self, left: str, right: str) -> bool:
        """Whether two texts are equal up to made-up names; remembers the names when they are."""
        mine, others = _parts(left), _parts(right)
        if [kind for kind, _ in mine] != [kind for kind, _ in others]:
            return False
        new = []
        for (kind, one), (_, other) in zip(mine, others, strict=True):
            if kind == "" and one != other:
                return False
            if kind in ("", "time"):
                continue
            if self.there.get((kind, one), other) != other or self.back.get((kind, other), one) != one:
                return False
            new.append((kind, one, other))
        for kind, one, other in new:
            self.there[kind, one], self.back[kind, other] = other, one
        return True


def _parts(text: str) -> list[tuple[str, str]]:
    parts, end = [], 0
    for found in FORMS.finditer(text):
        kind = found.lastgroup if found.lastgroup != "prefix" else "id"
        if kind == "id":
            kind = f"id {found['prefix']}"
        parts += [
            ("", text[end : found.start()]),
            (kind, found[0].replace("-", ".") if kind == "address" else found[0]),
        ]
        end = found.end()
    return [*parts, ("", text[end:])]


def differences(left, right, pairs: Pairs, path: str = "") -> list[tuple[str, object, object]]:
    """`(path, left, right)` of all that is not alike. Lists are compared without their order."""
    if _is_empty(left) and _is_empty(right):
        return []
    if isinstance(left, dict) and isinstance(right, dict):
        found = []
        for key in sorted({*left, *right}):
            found += differences(left.get(key), right.get(key), pairs, f"{path}.{key}" if path else key)
        return found
    if isinstance(left, list) and isinstance(right, list):
        return _lists(left, right, pairs, f"{path}.*" if path else "*")
    documents = _document(left), _document(right)
    if all(documents):
        return differences(*documents, pairs, path)
    if _is_moment(left) and _is_moment(right):
        return []
    if isinstance(left, str) and isinstance(right, str):
        return [] if pairs.fit(left, right) else [(path, left, right)]
    return [] if left == right and type(left) is type(right) else [(path, left, right)]


def _is_empty(value) -> bool:
    """Nothing, or a structure with nothing in it: XML makes no difference between these."""
    if isinstance(value, dict):
        return all(_is_empty(item) for item in value.values())
    return value is None or (isinstance(value, list | str) and not value)


def _is_moment(value) -> bool:
    """A time as CloudWatch Logs writes it: milliseconds since 1970, of this half of the century."""
    return type(value) is int and 1_500_000_000_000 < value < 2_500_000_000_000


def _document(value) -> dict | None:
    """What a text says that is JSON, as policies are."""
    if not isinstance(value, str) or not value.startswith("{"):
        return None
    try:
        return json.loads(value)
    except ValueError:
        return None


def _lists(left: list, right: list, pairs: Pairs, path: str) -> list:
    """Each item with the one of the other side that is most like it."""
    found, rest = [], list(right)
    scored = []
    for item in left:
        best = None
        for place, other in enumerate(rest):
            tried = copy.deepcopy(pairs)
            seen = differences(item, other, tried, path)
            if best is None or len(seen) < len(best[1]):
                best = (place, seen, tried)
            if not seen:
                break
        if best is None:
            scored.append((path, item, None))
            continue
        place, seen, tried = best
        rest.pop(place)
        pairs.there, pairs.back = tried.there, tried.back
        found += seen
    return found + scored + [(path, None, item) for item in rest]
