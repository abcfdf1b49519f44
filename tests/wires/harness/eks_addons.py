"""Managed add-ons, completed where winterbaume stands behind: what an add-on installs is applied to the control plane.

Before moto there are none, and only the reads answer.
"""

import json
import time

import yaml

from . import bootstrap
from .aws_request import Answer, json_answer
from .eks_shapes import ADDONS, DEFAULT_VERSION, Cluster, addon_facts, in_use, invalid, not_found
from .kube import KubeError, object_path

PATIENCE_SECONDS = 15  # how long an add-on without its replicas is CREATING before it is DEGRADED
DEPLOYMENTS = {"coredns": "coredns", "metrics-server": "metrics-server", "aws-ebs-csi-driver": "ebs-csi-controller"}


class Addons:
    def __init__(self, eks):
        self._eks = eks

    @property
    def _kube(self):
        return self._eks.account.control_plane.kube

    def play_DescribeAddonVersions(self, request):
        name = request.input.get("addonName")
        version = request.input.get("kubernetesVersion") or DEFAULT_VERSION
        return json_answer({"addons": [addon_facts(a, version) for a in ADDONS if name in (None, a)]})

    def play_DescribeAddonConfiguration(self, request):
        name, version = request.input["addonName"], request.input["addonVersion"]
        properties = {"env": {"type": "object"}, "enableNetworkPolicy": {"type": "string"}} if name == "vpc-cni" else {}
        properties |= {"resources": {"type": "object"}, "tolerations": {"type": "array"}}
        schema = {"$schema": "http://json-schema.org/draft-06/schema#", "type": "object", "properties": properties}
        text = json.dumps({**schema, "additionalProperties": False})
        return json_answer({"addonName": name, "addonVersion": version, "configurationSchema": text})

    def moto_ListAddons(self, request):
        self._eks.cluster(request.input["name"])
        return json_answer({"addons": []})

    def moto_DescribeAddon(self, request):
        self._eks.cluster(request.input["name"])
        raise _no_addon(request)

    def winterbaume_CreateAddon(self, request):
        cluster, asked = self._eks.cluster(request.input["name"]), request.input
        name = asked["addonName"]
        if name in cluster.addons:
            raise in_use("Addon already exists.")
        fields = {"addonVersion": _offered(name, asked.get("addonVersion"), cluster), "created": time.time()}
        fields |= {k: asked[k] for k in ("serviceAccountRoleArn", "configurationValues") if asked.get(k)}
        settings = _settings(asked.get("configurationValues"))
        answer = self._eks.front.forward(request)
        if answer.status >= 400:
            return answer
        things = bootstrap.addon(name, cluster, settings)
        stranger = next((t for t in things if t["kind"] in WORKLOADS and self._kube.find(object_path(t))), None)
        if stranger and asked.get("resolveConflicts", "NONE") == "NONE":
            fields["issues"] = [_conflict(f"{stranger['kind']}.apps {stranger['metadata']['name']}")]
        else:
            self._apply(things, force=True)
        cluster.addons[name] = fields
        self._eks.tags[answer.json["addon"]["addonArn"]] = dict(asked.get("tags") or {})
        return self._completed(answer, cluster, name, status="CREATING")

    def winterbaume_DescribeAddon(self, request):
        cluster = self._eks.cluster(request.input["name"])
        if request.input["addonName"] not in cluster.addons:
            raise _no_addon(request)
        return self._completed(self._eks.front.forward(request), cluster, request.input["addonName"])

    def winterbaume_UpdateAddon(self, request):
        cluster, asked = self._eks.cluster(request.input["name"]), request.input
        name = asked["addonName"]
        if name not in cluster.addons:
            raise _no_addon(request)
        fields = cluster.addons[name]
        if asked.get("addonVersion"):
            fields["addonVersion"] = _offered(name, asked["addonVersion"], cluster)
        for key in ("serviceAccountRoleArn", "configurationValues"):
            if asked.get(key) is not None:
                fields[key] = asked[key]
        answer = self._eks.front.forward(request)
        if answer.status >= 400:
            return answer
        mode = asked.get("resolveConflicts", "NONE")
        things = bootstrap.addon(name, cluster, _settings(fields.get("configurationValues")))
        conflict = self._apply(things, force=mode == "OVERWRITE")
        changes = {k: v for k, v in asked.items() if k not in ("name", "addonName", "clientRequestToken")}
        update = self._eks.new_update(cluster, "AddonUpdate", changes)
        if conflict and mode == "NONE":
            issue = _conflict(conflict)
            cluster.updates[update["id"]]["errors"] = [{"errorCode": issue["code"], "errorMessage": issue["message"]}]
        return json_answer({"update": update})

    def winterbaume_DeleteAddon(self, request):
        cluster, name = self._eks.cluster(request.input["name"]), request.input["addonName"]
        if name not in cluster.addons:
            raise _no_addon(request)
        answer = self._eks.front.forward(request)
        if answer.status >= 400:
            return answer
        done = self._completed(answer, cluster, name, status="DELETING")
        if request.input.get("preserve") != "true":
            for thing in bootstrap.addon(name, cluster, {}):
                self._kube.delete(object_path(thing))
        del cluster.addons[name]
        return done

    def _apply(self, things: list[dict], force: bool) -> str | None:
        """Applies as EKS does; what conflicted, where it was not forced."""
        for thing in things:
            try:
                self._kube.apply(thing, bootstrap.MANAGER, force=force)
            except KubeError as error:
                if error.status != 409:
                    raise
                return str(error)
        return None

    def _completed(self, answer: Answer, cluster: Cluster, name: str, status: str | None = None) -> Answer:
        body, fields = answer.json["addon"], cluster.addons.get(name, {})
        issues = fields.get("issues", [])
        if status is None and not issues:
            late = time.time() > fields["created"] + PATIENCE_SECONDS
            status = "ACTIVE" if self._available(name) else "DEGRADED" if late else "CREATING"
            if status == "DEGRADED":
                message = "The add-on is unhealthy because it doesn't have the desired number of replicas."
                issues = [{"code": "InsufficientNumberOfReplicas", "message": message, "resourceIds": []}]
        body.update({key: value for key, value in fields.items() if key not in ("created", "issues")})
        body |= {"status": status or "CREATE_FAILED", "health": {"issues": issues}, "publisher": "eks", "owner": "aws"}
        body["tags"] = self._eks.tags.get(body["addonArn"], {})
        return json_answer({"addon": body})

    def _available(self, name: str) -> bool:
        if name not in DEPLOYMENTS:
            return True
        path = f"/apis/apps/v1/namespaces/{bootstrap.NAMESPACE}/deployments/{DEPLOYMENTS[name]}"
        deployment = self._kube.find(path)
        return bool(deployment) and deployment["status"].get("availableReplicas", 0) >= deployment["spec"]["replicas"]


WORKLOADS = ("DaemonSet", "Deployment")


def _no_addon(request):
    return not_found(f"No addon: {request.input['addonName']} found in cluster: {request.input['name']}")


def _offered(name: str, version: str | None, cluster: Cluster) -> str:
    if name not in ADDONS:
        raise invalid(f"Addon {name} specified is not supported in {cluster.fields['version']} kubernetes version")
    offered = addon_facts(name, cluster.fields["version"])["addonVersions"][0]["addonVersion"]
    if version not in (None, offered):
        raise invalid("Addon version specified is not supported")
    return offered


def _settings(text: str | None) -> dict:
    try:
        settings = yaml.safe_load(text or "{}") or {}
    except yaml.YAMLError as failure:
        raise invalid(f"ConfigurationValue provided in request is not supported: {failure}") from None
    if not isinstance(settings, dict):
        raise invalid("ConfigurationValue provided in request is not supported: it is no map")
    return settings


def _conflict(what: str) -> dict:
    head = "Conflicts found when trying to apply. Will not continue due to resolve conflicts mode. Conflicts: "
    return {"code": "ConfigurationConflict", "message": head + what, "resourceIds": []}
