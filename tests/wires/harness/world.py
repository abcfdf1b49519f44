"""All of it, up and down: `with World() as world:` for the cases, `tests/wires/up` for work by hand."""

import os
import queue
import shutil
import tempfile
import threading
import time
import traceback
from pathlib import Path

from . import bootstrap, ssm
from .account import Account
from .control_plane import ControlPlane
from .eks import Eks
from .front import Front
from .gaps import Gaps
from .housekeeping import Housekeeping
from .instances import Instances
from .moto import FOREIGN_AMI, Moto
from .place import REGION, free_port, program
from .process import Process
from .proxy import Proxy
from .trouble import Trouble
from .webhook import Webhook


class World:
    """AWS, one control plane, and the instances between them. Stops in reverse order, every program by its pid."""

    def __init__(self, work: Path | None = None):
        self.work = Path(work or tempfile.mkdtemp(prefix="ekskit-wires-"))
        self.work.mkdir(parents=True, exist_ok=True)
        self._stops: list = []
        self._tasks: queue.Queue = queue.Queue()

    def __enter__(self) -> "World":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        while self._stops:
            stop = self._stops.pop()
            try:
                stop()
            except Exception:
                traceback.print_exc()

    def _start(self) -> None:
        self.moto = self._up(Moto(self.work))
        winterbaume_port = free_port()
        winterbaume = Process("winterbaume", [program("winterbaume"), winterbaume_port], self.work / "winterbaume.log")
        self._stops.append(winterbaume.stop)
        self.front = self._up(Front(self.work, self.moto.port, winterbaume_port))
        # The webhook has to be listening before the API server asks it, and asks the API server itself.
        self.account = Account(self.moto.url, f"http://127.0.0.1:{winterbaume_port}", None, self.front.note)
        kube = lambda: self.control_plane.kube
        self.webhook = self._up(Webhook(self.work, self.front, kube, self.account, self.cluster))
        self.control_plane = ControlPlane(self.work, self.webhook.url)
        self.account.control_plane = self.control_plane
        self._stops.append(self.control_plane.stop)
        self.control_plane.start()
        self.eks = Eks(self.front, self.control_plane.url, self.control_plane.authority.data, self.account)
        self.eks.created.append(lambda cluster: self._tasks.put(lambda: self._seed(cluster)))
        self.eks.deleted.append(lambda _: self._tasks.put(self.control_plane.renew))
        self.front.answerers.append(ssm.answer)
        Gaps(self.front, self.account)
        self.housekeeping = Housekeeping(self.front, self.account)
        self.trouble = Trouble(self.front, self.account, self.control_plane)
        self.instances = self._up(Instances(self.work, self.account, kube, self.cluster, self.trouble, self.front.note))
        self.proxy = self._up(Proxy())
        threading.Thread(target=self._work_off, daemon=True).start()
        self._stops.append(lambda: self._tasks.put(None))
        self.operator = self._user("ekskit-operator")
        self.judge = self._user("judge")
        self.kubeconfig = self.control_plane.user("ekskit-operator", "system:masters")
        self.admin = self.control_plane.admin

    def _up(self, part):
        self._stops.append(part.stop)
        part.start()
        return part

    def cluster(self):
        """The cluster that the control plane serves; None: there is none."""
        return next(iter(self.eks.clusters.values()), None) if hasattr(self, "eks") else None

    def settle(self, timeout: float = 60) -> None:
        """Waits until the control plane has been seeded or renewed after the last change."""
        done = threading.Event()
        self._tasks.put(done.set)
        if not done.wait(timeout):
            raise TimeoutError("the control plane is still being seeded or renewed")

    def _work_off(self) -> None:
        """Seeds and renews the control plane, one after the other, apart from the requests that caused it."""
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:
                self.front.note(traceback.format_exc())

    def _seed(self, cluster) -> None:
        bootstrap.seed(self.control_plane.kube, cluster)
        cluster.ready.set()

    # ---- who calls

    def _user(self, name: str) -> dict:
        """A new IAM user with an access key that the front knows."""
        self.account.iam.create_user(UserName=name)
        key = self.account.iam.create_access_key(UserName=name)["AccessKey"]
        self.front.secrets[key["AccessKeyId"]] = key["SecretAccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def environment(self, user: dict | None = None, winterbaume: bool = False) -> dict[str, str]:
        """The environment of a client, without anything of the person who runs the tests."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM", "TMPDIR") if name in os.environ}
        home = self.work / "home"
        home.mkdir(exist_ok=True)
        chosen = {
            **kept,
            "HOME": str(home),
            "AWS_ENDPOINT_URL": self.front.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            **(user or self.operator),
        }
        if winterbaume:
            chosen["AWS_ENDPOINT_URL"] = self.front.url
            chosen["AWS_ENDPOINT_URL_EKS"] = self.front.eks_url
        return chosen

    def facts(self) -> dict:
        """Where everything is, for work by hand and for tests that are no Python."""
        return {
            "work": str(self.work),
            "environment": self.environment(),
            "moto": self.moto.url,
            "front": self.front.url,
            "front_winterbaume": self.front.eks_url,
            "requests": str(self.front.recorder.path),
            "kubernetes": self.control_plane.url,
            "certificate_authority": str(self.control_plane.authority.path),
            "kubeconfig_admin": str(self.admin),
            "kubeconfig_operator": str(self.kubeconfig),
            "audit_log": str(self.control_plane.audit_log),
            "token_reviews": str(self.webhook.log),
            "instances": str(self.instances._log),
            "proxy": self.proxy.url,
            "foreign_ami": FOREIGN_AMI,
            "judge": self.judge,
        }

    def forget(self) -> None:
        """Removes the work folder; its logs are of no use after a success."""
        shutil.rmtree(self.work, ignore_errors=True)


def wait_for(what: str, ready, timeout: float = 90, every: float = 0.5):
    """Calls `ready` until it answers something true, and returns that."""
    give_up = time.monotonic() + timeout
    last = None
    while time.monotonic() < give_up:
        try:
            if last := ready():
                return last
        except Exception as failure:
            last = failure
        time.sleep(every)
    raise AssertionError(f"not within {timeout:.0f} s: {what} (last: {last!r})")
