"""The moto server, and what it is born with: the AMIs of EKS, and one that is no EKS AMI."""

import json
import urllib.request
from pathlib import Path

from .place import free_port, program
from .process import Process

VERSIONS = ("1.36", "1.35", "1.34", "1.33", "1.32", "1.31")
PATCHES = {
    "1.36": "1.36.3",
    "1.35": "1.35.6",
    "1.34": "1.34.9",
    "1.33": "1.33.12",
    "1.32": "1.32.13",
    "1.31": "1.31.14",
}
BUILD = "20261107"
ARCHITECTURES = ("x86_64", "arm64")
EKS_OWNER = "602401143452"  # the account that publishes them in us-west-2
FOREIGN_AMI = "ami-0ec0c0ec0c0ec0c00"  # Amazon Linux 2023 as it is: its instances never join


def eks_ami(version: str, architecture: str = "x86_64") -> dict:
    minor = int(version.split(".")[1])
    return {
        "ami_id": f"ami-0{ARCHITECTURES.index(architecture) + 1}ec5{minor:03d}a2023c0de",
        "name": f"amazon-eks-node-al2023-{architecture}-standard-{version}-v{BUILD}",
        "description": f"EKS-optimized Kubernetes node based on Amazon Linux 2023, (k8s: {PATCHES[version]})",
        "owner_id": EKS_OWNER,
        "architecture": architecture,
        **_COMMON,
    }


_COMMON = {
    "state": "available",
    "public": True,
    "image_location": "amazon/node",
    "image_type": "machine",
    "root_device_type": "ebs",
    "root_device_name": "/dev/xvda",
    "virtualization_type": "hvm",
    "hypervisor": "xen",
    "platform": None,
    "sriov": "simple",
    "creation_date": "2026-11-07T00:00:00.000Z",
}
EKS_AMIS = {image["ami_id"]: image for version in VERSIONS for image in (eks_ami(version, a) for a in ARCHITECTURES)}
FOREIGN = {
    "ami_id": FOREIGN_AMI,
    "name": "al2023-ami-2023.9.20261105.0-kernel-6.12-x86_64",
    "description": "Amazon Linux 2023 AMI",
    "owner_id": "137112412989",
    "architecture": "x86_64",
    **_COMMON,
}


class Moto:
    def __init__(self, work: Path, images: list[dict] | None = None):
        self.port, self._work = free_port(), work
        self._images = images if images is not None else [*EKS_AMIS.values(), FOREIGN]
        self.recording = work / "moto-recording.jsonl"
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        images = self._work / "amis.json"
        images.write_text(json.dumps(self._images))
        self._process = Process(
            "moto",
            [program("moto_server"), "-H", "127.0.0.1", "-p", self.port],
            self._work / "moto.log",
            {
                "MOTO_AMIS_PATH": str(images),
                "MOTO_RECORDER_FILEPATH": str(self.recording),
                "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",  # so that AmazonEKSClusterPolicy and friends exist
                "PYTHONUNBUFFERED": "1",
            },
        )
        self._process.wait_until(lambda: self._api("GET", "data.json") is not None, "answering")

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def reset(self) -> None:
        """Takes everything away that was made."""
        self._api("POST", "reset")

    def record(self) -> None:
        """Starts moto's own recorder afresh."""
        self.recording.write_text("")
        self._api("POST", "recorder/start-recording")

    def recorded(self) -> list[dict]:
        """Stops it and returns what it recorded: method, url, headers and body of each request."""
        self._api("POST", "recorder/stop-recording")
        return [json.loads(line) for line in self.recording.read_text().splitlines()]

    def _api(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(f"{self.url}/moto-api/{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()
