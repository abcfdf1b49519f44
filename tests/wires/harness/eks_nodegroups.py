"""Managed node groups, completed: what was asked for, what EKS makes for them, and whether their nodes joined."""

from .aws_request import Answer, json_answer
from .eks_shapes import Cluster, Nodegroup, in_use, nodegroup_fields, not_found, refused, release


class Nodegroups:
    def __init__(self, eks):
        self._eks = eks

    def play_CreateNodegroup(self, request):
        cluster = self._eks.cluster(request.input["name"])
        asked = request.input
        if not cluster.ready.is_set():
            raise refused(f"Cluster '{cluster.name}' is not in ACTIVE status")
        if asked["nodegroupName"] in cluster.nodegroups:
            raise in_use(f"NodeGroup already exists with name {asked['nodegroupName']} and cluster name {cluster.name}")
        fields = nodegroup_fields(asked, cluster)
        self._eks.account.check_nodegroup(fields)
        answer = self._eks.front.forward(request)
        if answer.status >= 400:
            return answer
        nodegroup = Nodegroup(asked["nodegroupName"], fields)
        self._eks.account.make_nodegroup(cluster, nodegroup)
        self._eks.tags[answer.json["nodegroup"]["nodegroupArn"]] = dict(asked.get("tags") or {})
        cluster.nodegroups[nodegroup.name] = nodegroup
        return self._completed_nodegroup(answer, cluster, nodegroup)

    def play_DescribeNodegroup(self, request):
        cluster = self._eks.cluster(request.input["name"])
        answer = self._eks.front.forward(request)
        if answer.status >= 400:
            return answer
        return self._completed_nodegroup(answer, cluster, cluster.nodegroups[request.input["nodegroupName"]])

    def play_UpdateNodegroupConfig(self, request):
        cluster, nodegroup = self._nodegroup_of(request)
        answer = self._eks.front.forward(request)
        if answer.status >= 400:
            return answer
        fields, asked = nodegroup.fields, request.input
        fields["scalingConfig"] |= asked.get("scalingConfig") or {}
        fields["updateConfig"] = asked.get("updateConfig") or fields["updateConfig"]
        fields["labels"] |= (asked.get("labels") or {}).get("addOrUpdateLabels") or {}
        for name in (asked.get("labels") or {}).get("removeLabels") or []:
            fields["labels"].pop(name, None)
        taints = asked.get("taints") or {}
        gone = [
            (t["key"], t["effect"])
            for t in (taints.get("addOrUpdateTaints") or []) + (taints.get("removeTaints") or [])
        ]
        fields["taints"] = [t for t in fields["taints"] if (t["key"], t["effect"]) not in gone]
        fields["taints"] += taints.get("addOrUpdateTaints") or []
        self._eks.account.scale_nodegroup(nodegroup)
        changes = {k: v for k, v in asked.items() if k not in ("name", "nodegroupName", "clientRequestToken")}
        return json_answer({"update": self._eks.new_update(cluster, "ConfigUpdate", changes)})

    def play_UpdateNodegroupVersion(self, request):
        cluster, nodegroup = self._nodegroup_of(request)
        fields, asked = nodegroup.fields, request.input
        fields["version"] = asked.get("version") or cluster.fields["version"]
        fields["releaseVersion"] = asked.get("releaseVersion") or release(fields["version"])
        if asked.get("launchTemplate"):
            fields["launchTemplate"] |= asked["launchTemplate"]
        changes = {k: v for k, v in asked.items() if k in ("version", "releaseVersion")}
        return json_answer({"update": self._eks.new_update(cluster, "VersionUpdate", changes)})

    def play_DeleteNodegroup(self, request):
        cluster, nodegroup = self._nodegroup_of(request)
        answer = self._eks.front.forward(request)
        if answer.status >= 400:
            return answer
        done = self._completed_nodegroup(answer, cluster, nodegroup, status="DELETING")
        self._eks.account.remove_nodegroup(nodegroup)
        del cluster.nodegroups[nodegroup.name]
        return done

    def _nodegroup_of(self, request) -> tuple[Cluster, Nodegroup]:
        cluster, name = self._eks.cluster(request.input["name"]), request.input["nodegroupName"]
        if name not in cluster.nodegroups:
            raise not_found(f"No node group found for name: {name}.")
        return cluster, cluster.nodegroups[name]

    def _completed_nodegroup(self, answer, cluster, nodegroup, status: str | None = None) -> Answer:
        body, fields = answer.json["nodegroup"], nodegroup.fields
        for invented in ("remoteAccess", "diskSize", "launchTemplate"):
            body.pop(invented, None)
        if status is None:
            wanted = fields["scalingConfig"]["desiredSize"]
            status = "CREATE_FAILED" if nodegroup.failed else "ACTIVE" if nodegroup.joined >= wanted else "CREATING"
        body.update(fields)
        body["status"], body["createdAt"], body["modifiedAt"] = status, nodegroup.created, nodegroup.created
        body["health"] = {"issues": nodegroup.issues}
        body["resources"] = {"autoScalingGroups": [{"name": nodegroup.group}]}
        body["tags"] = self._eks.tags.get(body["nodegroupArn"], {})
        return json_answer({"nodegroup": body})
