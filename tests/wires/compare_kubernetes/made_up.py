"""What every cluster makes up for itself, in the texts of its answers."""

import re

UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# None of these is compared anywhere; a comparison that leaves out more says so beside them.
IGNORED = {
    "uids": "each server makes them up",
    "times": "each server has its clock",
    "five letters after generateName, and of the volume of a pod's token": "random",
    "PEM and certificates": "each cluster has its own authority",
}
_MASKS = [
    (re.compile(r"kube-api-access-[a-z0-9]{5}\b"), "kube-api-access-<random>"),
    (UID, "<uid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"-----BEGIN.*", re.S), "<pem>"),
]


def masked(text: str) -> str:
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text
