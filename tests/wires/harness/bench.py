"""Whole processes side by side: wall time and peak memory, medians and ratios, contents compared."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import boto3

from .place import REGION, program
from .world import World

CONFIG_MAPS = "/api/v1/namespaces/bench/configmaps"
CLUSTERS = 20
OBJECTS = 10_000
APPLIED = 300

BOTO3 = """
import json, sys, boto3
eks = boto3.client("eks")
pages = eks.get_paginator("list_clusters").paginate()
json.dump({"clusters": [name for page in pages for name in page["clusters"]]}, sys.stdout)
"""


# A child counts the memory of whoever forked it until it becomes the program, so a small process does the forking.
LAUNCHER = """
import os, sys, time
start = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
figures = open(sys.argv[1], "w")
print(time.perf_counter() - start, usage.ru_maxrss, os.waitstatus_to_exitcode(status), file=figures)
"""


@dataclass
class Side:
    """One program doing the job."""

    name: str
    command: list
    before: object = None  # called before each run, not timed


def measure(side: Side, environment: dict, folder: Path) -> tuple[float, float, bytes]:
    """Seconds, MiB at the peak, and what it printed."""
    if side.before:
        side.before()
    figures = folder / "figures"
    launcher = [sys.executable, "-S", "-E", "-c", LAUNCHER, figures]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        command = [str(part) for part in [*launcher, *side.command]]
        subprocess.run(command, env=environment, cwd=folder, stdout=out, stderr=err, check=True)
        seconds, kibibytes, code = figures.read_text().split()
        out.seek(0)
        err.seek(0)
        if code != "0":
            raise AssertionError(f"{side.name} failed: {err.read().decode()[-2000:]}")
        return float(seconds), float(kibibytes) / 1024, out.read()


def compare(job: str, runs: int, sides: list[Side], environment: dict, folder: Path, same, number: int) -> None:
    """Runs the sides in turn and prints a row each; `same` reads a side's output into the list of that many things that
    must be equal."""
    figures = {side.name: [] for side in sides}
    contents = {}
    for turn in range(runs + 1):
        for side in sides:
            seconds, memory, printed = measure(side, environment, folder)
            if turn:  # the first round warms the page cache
                figures[side.name].append((seconds, memory))
            else:
                contents[side.name] = same(json.loads(printed))
    first = sides[0].name
    for name, content in contents.items():
        assert len(content) == number, f"{job}: {name} answers {len(content)} things where {number} were made"
        pairs = zip(content, contents[first], strict=True)
        differ = [pair for pair in pairs if pair[0] != pair[1]]
        assert not differ, f"{job}: {name} and {first} answer {len(differ)} things differently, as {differ[0]}"
    print(f"\n{job} (median of {runs})")
    wall, peak = (statistics.median(column) for column in zip(*figures[first], strict=True))
    print(f"  {first:8} {wall * 1000:8.0f} ms {peak:7.0f} MiB")
    for side in sides[1:]:
        other_wall, other_peak = (statistics.median(column) for column in zip(*figures[side.name], strict=True))
        ratios = f"ekskit takes {wall / other_wall:.3f} of the time, {peak / other_peak:.2f} of the memory"
        print(f"  {side.name:8} {other_wall * 1000:8.0f} ms {other_peak:7.0f} MiB   {ratios}")


def config_map(name: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "bench", "labels": {"job": name.split("-")[0]}},
        "data": {"key": "value " * 20, "other": name},
    }


def fill(kube, number: int) -> None:
    kube.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}})
    for index in range(number):
        kube.call("POST", CONFIG_MAPS, config_map(f"listed-{index:05}"))


def objects(document, made=()) -> list[dict]:
    """Whole objects by name, but for who manages which field, which neither side prints unasked, and what is `made`
    anew each time."""
    items = document if isinstance(document, list) else document.get("items", [document])
    for item in items:
        for field in ("managedFields", *made):
            item["metadata"].pop(field, None)
    return sorted(items, key=lambda item: item["metadata"]["name"])


def applied_objects(document) -> list[dict]:
    return objects(document, ("uid", "resourceVersion", "creationTimestamp"))


def make_clusters(environment: dict) -> None:
    keys = {"aws_access_key_id": environment["AWS_ACCESS_KEY_ID"]}
    keys["aws_secret_access_key"] = environment["AWS_SECRET_ACCESS_KEY"]
    eks = boto3.client("eks", region_name=REGION, endpoint_url=environment["AWS_ENDPOINT_URL"], **keys)
    role = "arn:aws:iam::123456789012:role/bench"
    for number in range(CLUSTERS):
        eks.create_cluster(name=f"bench-{number:02}", roleArn=role, resourcesVpcConfig={"subnetIds": []})


def main(runs: int) -> None:
    ekskit = os.environ["EKSKIT_BIN"]
    with World() as world:
        folder = world.work / "bench"
        folder.mkdir()
        cache = folder / "kubectl-cache"
        cold = lambda: shutil.rmtree(cache, ignore_errors=True)
        kubeconfig = world.kubeconfig
        kubectl = [program("kubectl"), "--kubeconfig", kubeconfig, "--cache-dir", cache]
        ours = [ekskit, "eval", "--yes", "--kubeconfig", kubeconfig]
        environment = {**world.environment(), "AWS_ENDPOINT_URL": world.moto.url, "AWS_DEFAULT_REGION": REGION}
        (folder / "boto.py").write_text(BOTO3)
        make_clusters(environment)
        compare(
            "list clusters on moto, cold",
            runs,
            [
                Side("ekskit", [ekskit, "eval", "eks::list_clusters()"]),
                Side("aws", [program("aws"), "eks", "list-clusters", "--output", "json"]),
                Side("boto3", [program("python"), folder / "boto.py"]),
            ],
            environment,
            folder,
            lambda document: document["clusters"],
            CLUSTERS,
        )
        fill(world.control_plane.kube, OBJECTS)
        compare(
            "get one ConfigMap, discovery cold",
            runs,
            [
                Side("ekskit", [*ours, 'kube::get("configmaps", "listed-00007", #{ namespace: "bench" })']),
                Side("kubectl", [*kubectl, "-n", "bench", "get", "configmaps", "listed-00007", "-o", "json"], cold),
            ],
            environment,
            folder,
            objects,
            1,
        )
        compare(
            f"list {OBJECTS} ConfigMaps, discovery cold",
            runs,
            [
                Side("ekskit", [*ours, 'kube::list("configmaps", #{ namespace: "bench" })']),
                Side("kubectl", [*kubectl, "-n", "bench", "get", "configmaps", "-o", "json"], cold),
            ],
            environment,
            folder,
            objects,
            OBJECTS + 1,  # and the authority's, which every namespace has
        )
        applied = [config_map(f"applied-{index:03}") for index in range(APPLIED)]
        manifest = folder / "applied.yaml"
        manifest.write_text("---\n".join(json.dumps(one) + "\n" for one in applied))
        wipe = lambda: world.control_plane.kube.call("DELETE", CONFIG_MAPS, labelSelector="job=applied")

        def cold_and_wiped():
            wipe()
            cold()

        apply = ["apply", "--server-side", "--field-manager", "bench", "-f", manifest, "-o", "json"]
        compare(
            f"apply {APPLIED} ConfigMaps, discovery cold",
            runs,
            [
                Side("ekskit", [*ours, 'kube::apply(yaml::parse_all(text::load("applied.yaml")))'], wipe),
                Side("kubectl", [*kubectl, *apply], cold_and_wiped),
            ],
            environment,
            folder,
            applied_objects,
            APPLIED,
        )
        world.forget()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
