"""Access entries, played where moto stands behind."""

import time

from .aws_request import json_answer
from .eks_shapes import ADMIN_POLICY, POLICIES, Cluster, in_use, invalid, new_entry, not_found, refused, shown


class AccessEntries:
    def __init__(self, eks):
        self._eks = eks

    def _with_entries(self, request) -> Cluster:
        cluster = self._eks.cluster(request.input["name"])
        if cluster.mode == "CONFIG_MAP":
            modes = "[API, API_AND_CONFIG_MAP]"
            raise refused(f"The cluster's authentication mode must be set to one of {modes} to perform this operation.")
        return cluster

    def _entry_of(self, request) -> dict:
        principal = request.input["principalArn"]
        try:
            return self._with_entries(request).entries[principal]
        except KeyError:
            raise not_found(
                f"The specified principalArn could not be found. You can view your available access entries with "
                f"'list-access-entries': {principal}"
            ) from None

    def moto_CreateAccessEntry(self, request):
        cluster, asked = self._with_entries(request), request.input
        principal, kind = asked["principalArn"], asked.get("type") or "STANDARD"
        if principal in cluster.entries:
            raise in_use("The specified access entry resource is already in use on this cluster.")
        entry = new_entry(cluster, principal, kind, asked)
        cluster.entries[principal] = entry
        return json_answer({"accessEntry": shown(entry)})

    def moto_DescribeAccessEntry(self, request):
        return json_answer({"accessEntry": shown(self._entry_of(request))})

    def moto_ListAccessEntries(self, request):
        cluster, policy = self._with_entries(request), request.input.get("associatedPolicyArn")
        found = [p for p, e in cluster.entries.items() if policy is None or policy in e["policies"]]
        return json_answer({"accessEntries": sorted(found)})

    def moto_UpdateAccessEntry(self, request):
        entry = self._entry_of(request)
        if entry["type"] != "STANDARD":
            raise refused("The kubernetesGroups and username of this type of access entry can not be updated.")
        entry["kubernetesGroups"] = request.input.get("kubernetesGroups", entry["kubernetesGroups"])
        entry["username"] = request.input.get("username", entry["username"])
        entry["modifiedAt"] = time.time()
        return json_answer({"accessEntry": shown(entry)})

    def moto_DeleteAccessEntry(self, request):
        self._entry_of(request)
        del self._eks.clusters[request.input["name"]].entries[request.input["principalArn"]]
        return json_answer({})

    def moto_AssociateAccessPolicy(self, request):
        entry, asked = self._entry_of(request), request.input
        if asked["policyArn"].rsplit("/", 1)[-1] not in POLICIES:
            raise invalid(f"The policyArn parameter format is not valid: {asked['policyArn']}")
        if entry["type"] not in ("STANDARD", "EC2"):
            raise refused(f"Access policies cannot be associated with an access entry of type {entry['type']}.")
        association = {
            "policyArn": asked["policyArn"],
            "accessScope": {"namespaces": [], **(asked.get("accessScope") or {})},
            "associatedAt": time.time(),
            "modifiedAt": time.time(),
        }
        entry["policies"][asked["policyArn"]] = association
        names = {"clusterName": asked["name"], "principalArn": asked["principalArn"]}
        return json_answer({**names, "associatedAccessPolicy": association})

    def moto_DisassociateAccessPolicy(self, request):
        if self._entry_of(request)["policies"].pop(request.input["policyArn"], None) is None:
            raise not_found("The specified policyArn is not associated with this access entry.")
        return json_answer({})

    def moto_ListAssociatedAccessPolicies(self, request):
        names = {"clusterName": request.input["name"], "principalArn": request.input["principalArn"]}
        policies = list(self._entry_of(request)["policies"].values())
        return json_answer({**names, "associatedAccessPolicies": policies})

    def moto_ListAccessPolicies(self, request):
        arns = [{"name": name, "arn": ADMIN_POLICY.rsplit("/", 1)[0] + f"/{name}"} for name in POLICIES]
        return json_answer({"accessPolicies": arns})
