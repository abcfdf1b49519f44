"""What the front answers for EKS: completes clusters and node groups, and plays the operations that moto lacks.

moto and winterbaume keep that a cluster or node group exists; most of what it was created with they drop, or they
answer with values of their own. So the front remembers every create and update and lays it over their answers. What
moto lacks (access entries, updates, versions) is played here, with the errors that AWS documents; winterbaume has it.

The name of a method says when it answers: `play_X` always, `moto_X` and `winterbaume_X` where that one stands behind.
"""

import time
import uuid
from urllib.parse import quote

from . import aws_request
from .aws_request import Answer, Request, json_answer
from .eks_access import AccessEntries
from .eks_addons import Addons
from .eks_nodegroups import Nodegroups
from .eks_shapes import (
    ADMIN_POLICY,
    HIDDEN,
    VERSIONS,
    Cluster,
    Refusal,
    arn_of,
    canonical,
    capital,
    changed,
    cluster_fields,
    in_use,
    invalid,
    not_found,
    refused,
    text,
    version_facts,
    with_input,
)

FORWARDED = {
    "CreateFargateProfile",
    "DeleteFargateProfile",
    "DescribeFargateProfile",
    "ListClusters",
    "ListFargateProfiles",
    "ListNodegroups",
}
UPDATE_TYPES = {
    "resourcesVpcConfig": "EndpointAccessUpdate",
    "logging": "LoggingUpdate",
    "accessConfig": "AccessConfigUpdate",
    "upgradePolicy": "UpgradePolicyUpdate",
    "zonalShiftConfig": "ZonalShiftConfigUpdate",
    "deletionProtection": "DeletionProtectionUpdate",
}


class Eks:
    def __init__(self, front, endpoint: str, certificate: str, account):
        self.clusters: dict[str, Cluster] = {}
        self.tags: dict[str, dict] = {}  # by ARN
        self.lifecycle_seconds = 0.0  # how long clusters stay CREATING and updates InProgress
        self.created: list = []  # called with a new cluster
        self.deleted: list = []  # called with the cluster that was deleted
        self.front, self._endpoint, self._certificate = front, endpoint, certificate
        self.account = account  # what EKS makes in the customer's account
        self._players = [self, Nodegroups(self), AccessEntries(self), Addons(self)]
        front.answerers.append(self.answer)

    def answer(self, request: Request) -> Answer | None:
        """Plays or completes a request of EKS; None where it is none."""
        if request.service != "eks":
            return None
        try:
            for name in (f"play_{request.action}", f"{request.way}_{request.action}"):
                for player in self._players:
                    if play := getattr(player, name, None):
                        return play(request)
            if request.way == "moto" and request.action not in FORWARDED:
                raise refused(f"the harness does not play {request.action} before moto: use the winterbaume port")
            if "name" in request.input:
                self.cluster(request.input["name"])  # moto fails in its own way where there is no such cluster
            return self.front.forward(request)
        except Refusal as refusal:
            return refusal.answer

    def cluster(self, name: str) -> Cluster:
        try:
            return self.clusters[name]
        except KeyError:
            raise not_found(f"No cluster found for name: {name}.") from None

    # ---- clusters

    def play_CreateCluster(self, request):
        asked = request.input
        name = asked.get("name", "")
        if self.clusters and name not in self.clusters:
            raise Refusal(400, "ResourceLimitExceededException", "the harness has one control plane, in use already")
        if name in self.clusters:
            raise in_use(f"Cluster already exists with name: {name}")
        fields = cluster_fields(asked)
        vpc = fields["resourcesVpcConfig"]
        network = self.account.check_cluster(asked.get("roleArn", ""), vpc)
        answer = self.front.forward(with_input(request, version=fields["version"]))
        if answer.status >= 400:
            return answer
        cluster = Cluster(name, fields, request.way, self.front.caller(request), network=network)
        self.clusters[name] = cluster
        self.tags[arn_of(request, "cluster", name)] = dict(asked.get("tags") or {})
        cluster.network |= self.account.make_cluster_network(cluster)
        if cluster.mode != "CONFIG_MAP" and fields["bootstrap"]:
            self._admit_creator(cluster, request)
        for follow in self.created:
            follow(cluster)
        return self._completed(answer, cluster, request, status="CREATING")

    def play_DescribeCluster(self, request):
        answer = self.front.forward(request)
        if answer.status >= 400:
            return answer
        return self._completed(answer, self.cluster(request.input["name"]), request)

    def play_DeleteCluster(self, request):
        cluster = self.cluster(request.input["name"])
        if cluster.fields.get("deletionProtection"):
            raise refused(f"Cannot delete cluster {cluster.name} because deletion protection is enabled")
        if cluster.nodegroups:
            raise in_use("Cluster has nodegroups attached")
        answer = self.front.forward(request)
        if answer.status >= 400:
            return answer
        done = self._completed(answer, cluster, request, status="DELETING")
        del self.clusters[cluster.name]
        self.account.remove_cluster_network(cluster)
        for follow in self.deleted:
            follow(cluster)
        return done

    def _completed(self, answer: Answer, cluster: Cluster, request: Request, status: str | None = None) -> Answer:
        body = answer.json["cluster"]
        fields = cluster.fields
        if status is None:
            due = time.time() >= cluster.created + self.lifecycle_seconds and cluster.ready.is_set()
            status = "ACTIVE" if due else "CREATING"
            if status == "ACTIVE" and any(self._update(u)["status"] == "InProgress" for u in cluster.updates.values()):
                status = "UPDATING"
        body.update({name: value for name, value in fields.items() if name not in HIDDEN})
        body["resourcesVpcConfig"] = {**fields["resourcesVpcConfig"], **cluster.network}
        body["status"] = status
        body["createdAt"] = cluster.created
        body["platformVersion"] = "eks.9"
        body["health"] = {"issues": []}
        body["tags"] = self.tags.get(arn_of(request, "cluster", cluster.name), {})
        if status == "CREATING":
            for late in ("endpoint", "certificateAuthority"):
                body.pop(late, None)
        else:
            body["endpoint"], body["certificateAuthority"] = self._endpoint, {"data": self._certificate}
        return json_answer({"cluster": body})

    # ---- updates of clusters

    def play_UpdateClusterConfig(self, request):
        cluster = self.cluster(request.input["name"])
        self._only_when_active(cluster)
        asked = {k: v for k, v in request.input.items() if k not in ("name", "clientRequestToken")}
        if len(asked) != 1:
            raise invalid("Only one type of update can be allowed.")
        (kind, value), fields = next(iter(asked.items())), cluster.fields
        update_type = UPDATE_TYPES.get(kind)
        if update_type is None:
            raise refused(f"the harness does not play an update of {kind}")
        new = changed(fields, kind, value)
        if kind == "resourcesVpcConfig" and ("subnetIds" in value or "securityGroupIds" in value):
            update_type = "VpcConfigUpdate"
        fields[kind] = new
        if kind == "accessConfig" and new["authenticationMode"] != "CONFIG_MAP":
            self.account.settle_access(cluster)
        return json_answer({"update": self.new_update(cluster, update_type, asked)})

    def play_UpdateClusterVersion(self, request):
        cluster = self.cluster(request.input["name"])
        self._only_when_active(cluster)
        now, wanted = (int(v.split(".")[1]) for v in (cluster.fields["version"], request.input["version"]))
        if wanted == now:
            raise invalid(f"Cluster is already at version {request.input['version']}")
        if wanted != now + 1:
            raise invalid(f"Unsupported Kubernetes minor version update from 1.{now} to 1.{wanted}")
        cluster.fields["version"] = request.input["version"]
        return json_answer({"update": self.new_update(cluster, "VersionUpdate", {"Version": f"1.{wanted}"})})

    def play_AssociateEncryptionConfig(self, request):
        cluster = self.cluster(request.input["name"])
        self._only_when_active(cluster)
        if cluster.fields["encryptionConfig"]:
            raise invalid("Encryption is already enabled on this cluster")
        cluster.fields["encryptionConfig"] = request.input["encryptionConfig"]
        asked = {"encryptionConfig": request.input["encryptionConfig"]}
        return json_answer({"update": self.new_update(cluster, "AssociateEncryptionConfig", asked)})

    def play_DescribeUpdate(self, request):
        cluster = self.cluster(request.input["name"])
        if request.input["updateId"] in cluster.updates:
            return json_answer({"update": self._update(cluster.updates[request.input["updateId"]])})
        if request.way == "winterbaume":
            return self.front.forward(request)
        raise not_found(f"No update found for ID: {request.input['updateId']}")

    def moto_ListUpdates(self, request):
        return json_answer({"updateIds": list(self.cluster(request.input["name"]).updates)})

    def _only_when_active(self, cluster: Cluster) -> None:
        if any(self._update(update)["status"] == "InProgress" for update in cluster.updates.values()):
            raise in_use(f"Cannot update cluster {cluster.name} because it currently has an update in progress")

    def new_update(self, cluster: Cluster, kind: str, asked: dict) -> dict:
        params = [{"type": capital(name), "value": text(value)} for name, value in asked.items()]
        update = {"id": str(uuid.uuid4()), "type": kind, "params": params, "createdAt": time.time(), "errors": []}
        cluster.updates[update["id"]] = update
        return {**update, "status": "InProgress"}

    def _update(self, update: dict) -> dict:
        due = time.time() >= update["createdAt"] + self.lifecycle_seconds
        return {**update, "status": "InProgress" if not due else "Failed" if update["errors"] else "Successful"}

    def _admit_creator(self, cluster, request) -> None:
        path = f"/clusters/{quote(cluster.name)}/access-entries"
        principal = canonical(cluster.creator)
        self.call(request, "POST", path, {"principalArn": principal})
        policy = {"policyArn": ADMIN_POLICY, "accessScope": {"type": "cluster"}}
        self.call(request, "POST", f"{path}/{quote(principal, safe='')}/access-policies", policy)

    def call(self, like: Request, method: str, path: str, body: dict | None = None) -> dict:
        """A call that EKS makes itself, by the way and with the signature of a request that it saw."""
        headers = {name: value for name, value in like.headers.items() if name != "content-length"}
        made = aws_request.parse(method, path, headers, json_answer(body or {}).body if body else b"")
        made.way = like.way
        answer = self.answer(made)
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.body!r}")
        return answer.json

    # ---- tags, versions, and what a cluster before moto has none of

    def play_TagResource(self, request):
        self.tags.setdefault(self._known(request), {}).update(request.input["tags"])
        return json_answer({})

    def play_UntagResource(self, request):
        keys = request.input.get("tagKeys") or []
        for key in [keys] if isinstance(keys, str) else keys:
            self.tags.get(self._known(request), {}).pop(key, None)
        return json_answer({})

    def play_ListTagsForResource(self, request):
        return json_answer({"tags": self.tags.get(self._known(request), {})})

    def _known(self, request) -> str:
        arn = request.input["resourceArn"]
        if arn not in self.tags and not any(f"/{name}/" in arn for name in self.clusters):
            raise Refusal(404, "NotFoundException", "Resource was not found")
        return arn

    def play_DescribeClusterVersions(self, request):
        asked = request.input
        wanted = asked.get("clusterVersions") or list(VERSIONS)
        wanted = [wanted] if isinstance(wanted, str) else wanted
        status = asked.get("versionStatus")
        versions = [version_facts(version) for version in VERSIONS if version in wanted]
        if asked.get("defaultOnly") == "true":
            versions = [v for v in versions if v["defaultVersion"]]
        return json_answer({"clusterVersions": [v for v in versions if status in (None, v["versionStatus"])]})

    def _empty(name):
        def play(self, request):
            self.cluster(request.input["name"])
            return json_answer({name: []})

        return play

    moto_ListPodIdentityAssociations = _empty("associations")
    moto_ListIdentityProviderConfigs = _empty("identityProviderConfigs")
    moto_ListInsights = _empty("insights")
    moto_ListCapabilities = _empty("capabilities")
