"""What EKS puts into a new cluster: aws-node, kube-proxy, coredns and what they need, as it bootstraps them."""

import yaml

from .kube import Kube, KubeError

MANAGER = "eks"  # the field manager that EKS applies with
NAMESPACE = "kube-system"
AWS_AUTH = f"/api/v1/namespaces/{NAMESPACE}/configmaps/aws-auth"
REGISTRY = "602401143452.dkr.ecr.us-west-2.amazonaws.com"
CNI = "v1.23.1-eksbuild.1"
NODE_USER = "system:node:{{EC2PrivateDNSName}}"
NODE_GROUPS = ["system:bootstrappers", "system:nodes"]
AWS_NODE_ENV = {
    "ADDITIONAL_ENI_TAGS": "{}",
    "AWS_VPC_CNI_NODE_PORT_SUPPORT": "true",
    "AWS_VPC_ENI_MTU": "9001",
    "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "false",
    "AWS_VPC_K8S_CNI_EXTERNALSNAT": "false",
    "AWS_VPC_K8S_CNI_LOGLEVEL": "DEBUG",
    "AWS_VPC_K8S_CNI_LOG_FILE": "/host/var/log/aws-routed-eni/ipamd.log",
    "AWS_VPC_K8S_CNI_RANDOMIZESNAT": "prng",
    "AWS_VPC_K8S_CNI_VETHPREFIX": "eni",
    "AWS_VPC_K8S_PLUGIN_LOG_FILE": "/var/log/aws-routed-eni/plugin.log",
    "AWS_VPC_K8S_PLUGIN_LOG_LEVEL": "DEBUG",
    "DISABLE_INTROSPECTION": "false",
    "DISABLE_METRICS": "false",
    "DISABLE_NETWORK_RESOURCE_PROVISIONING": "false",
    "ENABLE_IMDS_ONLY_MODE": "false",
    "ENABLE_IPv4": "true",
    "ENABLE_IPv6": "false",
    "ENABLE_MULTI_NIC": "false",
    "ENABLE_POD_ENI": "false",
    "ENABLE_PREFIX_DELEGATION": "false",
    "ENABLE_SUBNET_DISCOVERY": "true",
    "NETWORK_POLICY_ENFORCING_MODE": "standard",
    "WARM_ENI_TARGET": "1",
    "WARM_PREFIX_TARGET": "1",
}


def seed(kube: Kube, cluster) -> None:
    """Everything that is there when CreateCluster's cluster becomes ACTIVE."""
    things = [_storage_class(), *_access_policy_bindings()]
    if cluster.fields["selfManagedAddons"]:
        for name in ("vpc-cni", "kube-proxy", "coredns"):
            things += addon(name, cluster, {})
    for thing in things:
        kube.apply(thing, MANAGER)


def addon(name: str, cluster, settings: dict) -> list[dict]:
    """What an add-on installs, with its configuration values."""
    if name == "vpc-cni":
        return _aws_node(cluster, settings)
    if name == "kube-proxy":
        return _kube_proxy(cluster)
    if name == "coredns":
        return _coredns(settings)
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "EKS"}
    if name == "eks-pod-identity-agent":
        return [_daemon_set(name, labels, labels, _plain_pod(name, host=True))]
    if name == "metrics-server":
        return [_deployment(name, labels, labels, _plain_pod(name), 2)]
    if name == "aws-ebs-csi-driver":
        controller, node = ({**labels, "app": app} for app in ("ebs-csi-controller", "ebs-csi-node"))
        return [
            _deployment("ebs-csi-controller", controller, controller, _plain_pod("ebs-plugin"), 2),
            _daemon_set("ebs-csi-node", node, node, _plain_pod("ebs-plugin", host=True)),
        ]
    return []


def map_node_role(kube: Kube, role_arn: str) -> None:
    """Adds a node role to aws-auth, creating it where there is none, as EKS does for a managed node group."""
    arn = _without_path(role_arn)
    for _ in range(5):  # someone else may write it at the same time
        now = kube.find(AWS_AUTH) or {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "aws-auth", "namespace": NAMESPACE},
        }
        roles = yaml.safe_load((now.get("data") or {}).get("mapRoles") or "[]") or []
        if any(str(role.get("rolearn")).lower() == arn.lower() for role in roles):
            return
        roles.append({"groups": NODE_GROUPS, "rolearn": arn, "username": NODE_USER})
        now["data"] = {**(now.get("data") or {}), "mapRoles": yaml.safe_dump(roles)}
        exists = "resourceVersion" in now["metadata"]
        try:
            if exists:
                kube.call("PUT", AWS_AUTH, now, fieldManager="vpcLambda")
            else:
                kube.call("POST", AWS_AUTH.rsplit("/", 1)[0], now, fieldManager="vpcLambda")
            return
        except KubeError as error:
            if error.status != 409:
                raise
    raise RuntimeError("aws-auth changes faster than EKS can write it")


def _without_path(arn: str) -> str:
    head, _, name = arn.partition(":role/")
    return f"{head}:role/{name.rsplit('/', 1)[-1]}"


def _aws_node(cluster, settings: dict) -> list[dict]:
    labels = {
        "app.kubernetes.io/name": "aws-node",
        "app.kubernetes.io/instance": "aws-vpc-cni",
        "app.kubernetes.io/version": CNI.split("-")[0],
        "k8s-app": "aws-node",
    }
    asked = {name: str(value) for name, value in (settings.get("env") or {}).items()}
    policies = str(settings.get("enableNetworkPolicy", "false")).lower()
    env = _plain({**AWS_NODE_ENV, **asked})
    env += [{"name": "CLUSTER_NAME", "value": cluster.name}, {"name": "VPC_ID", "value": cluster.network["vpcId"]}]
    env += [_from_field("MY_NODE_NAME", "spec.nodeName"), _from_field("MY_POD_NAME", "metadata.name")]
    probe = {"exec": {"command": ["/app/grpc-health-probe", "-addr=:50051", "-connect-timeout=5s", "-rpc-timeout=5s"]}}
    folders = {
        "cni-bin-dir": ("/opt/cni/bin", "/host/opt/cni/bin"),
        "cni-net-dir": ("/etc/cni/net.d", "/host/etc/cni/net.d"),
        "log-dir": ("/var/log/aws-routed-eni", "/host/var/log/aws-routed-eni"),
        "run-dir": ("/var/run/aws-node", "/var/run/aws-node"),
        "xtables-lock": ("/run/xtables.lock", "/run/xtables.lock"),
    }
    mounts = [{"name": name, "mountPath": inside} for name, (_, inside) in folders.items()]
    pod = {
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "aws-node",
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 10,
        "tolerations": [{"operator": "Exists"}],
        "affinity": _on_ec2_linux(),
        "initContainers": [
            {
                "name": "aws-vpc-cni-init",
                "image": f"{REGISTRY}/amazon-k8s-cni-init:{CNI}",
                "env": _plain({"DISABLE_TCP_EARLY_DEMUX": "false", "ENABLE_IPv6": "false"}),
                "securityContext": {"privileged": True},
                "volumeMounts": mounts[:1],
            }
        ],
        "containers": [
            {
                "name": "aws-node",
                "image": f"{REGISTRY}/amazon-k8s-cni:{CNI}",
                "env": env,
                "ports": [{"name": "metrics", "containerPort": 61678}],
                "livenessProbe": {**probe, "initialDelaySeconds": 60, "timeoutSeconds": 10},
                "readinessProbe": {**probe, "initialDelaySeconds": 1, "timeoutSeconds": 10},
                "resources": {"requests": {"cpu": "25m"}},
                "securityContext": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
                "volumeMounts": mounts,
            },
            {
                "name": "aws-eks-nodeagent",
                "image": f"{REGISTRY}/amazon/aws-network-policy-agent:v1.3.2-eksbuild.1",
                "args": ["--enable-ipv6=false", f"--enable-network-policy={policies}", "--metrics-bind-addr=:8162"],
                "env": [_from_field("MY_NODE_NAME", "spec.nodeName")],
                "ports": [{"name": "agentmetrics", "containerPort": 8162}],
                "resources": {"requests": {"cpu": "25m"}},
                "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}, "privileged": True},
                "volumeMounts": [mounts[0], mounts[3]],
            },
        ],
        "volumes": [{"name": name, "hostPath": {"path": outside}} for name, (outside, _) in folders.items()],
    }
    rules = [
        _rule(["crd.k8s.amazonaws.com"], ["eniconfigs"], ["list", "watch", "get"]),
        _rule([""], ["namespaces", "pods"], ["list", "watch", "get"]),
        _rule([""], ["nodes"], ["list", "watch", "get"]),
        _rule(["", "events.k8s.io"], ["events"], ["create", "patch", "list"]),
    ]
    return [
        _eni_config_definition(),
        *_account("aws-node", labels, rules),
        _daemon_set("aws-node", labels, {"k8s-app": "aws-node"}, pod),
    ]


def _kube_proxy(cluster) -> list[dict]:
    labels = {"k8s-app": "kube-proxy", "eks.amazonaws.com/component": "kube-proxy"}
    pod = {
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "kube-proxy",
        "hostNetwork": True,
        "tolerations": [{"operator": "Exists"}],
        "affinity": _on_ec2_linux(),
        "containers": [
            {
                "name": "kube-proxy",
                "image": f"{REGISTRY}/eks/kube-proxy:v{cluster.fields['version']}.3-minimal-eksbuild.2",
                "command": ["kube-proxy", "--v=2", "--config=/var/lib/kube-proxy-config/config"],
                "resources": {"requests": {"cpu": "100m"}},
                "securityContext": {"privileged": True},
            }
        ],
    }
    return [
        *_account("kube-proxy", labels, None),
        _daemon_set("kube-proxy", labels, {"k8s-app": "kube-proxy"}, pod, "10%"),
    ]


def _coredns(settings: dict) -> list[dict]:
    labels = {"k8s-app": "kube-dns", "eks.amazonaws.com/component": "coredns", "kubernetes.io/name": "CoreDNS"}
    corefile = (
        ".:53 {\n    errors\n    health\n    kubernetes cluster.local in-addr.arpa ip6.arpa\n"
        "    forward . /etc/resolv.conf\n    cache 30\n}\n"
    )
    container = {
        "name": "coredns",
        "image": f"{REGISTRY}/eks/coredns:v1.13.2-eksbuild.4",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": {"limits": {"memory": "170Mi"}, "requests": {"cpu": "100m", "memory": "70Mi"}},
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "volumeMounts": [{"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    pod = {
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "tolerations": [
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
        ],
        "containers": [container],
        "volumes": [
            {
                "name": "config-volume",
                "configMap": {"name": "coredns", "items": [{"key": "Corefile", "path": "Corefile"}]},
            }
        ],
    }
    selector = {"k8s-app": "kube-dns"}
    deployment = _deployment("coredns", labels, selector, pod, int(settings.get("replicaCount", 2)))
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": NAMESPACE, "labels": {**labels, "k8s-app": "kube-dns"}},
        "spec": {
            "clusterIP": "172.20.0.10",
            "selector": {"k8s-app": "kube-dns"},
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "coredns", "namespace": NAMESPACE, "labels": labels},
        "data": {"Corefile": corefile},
    }
    rules = [
        _rule([""], ["endpoints", "services", "pods", "namespaces"], ["list", "watch"]),
        _rule(["discovery.k8s.io"], ["endpointslices"], ["list", "watch"]),
    ]
    return [*_account("coredns", labels, rules), config, service, deployment]


def _storage_class() -> dict:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "gp2"},
        "provisioner": "kubernetes.io/aws-ebs",
        "parameters": {"type": "gp2", "fsType": "ext4"},
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _access_policy_bindings() -> list[dict]:
    """EKS judges access policies outside of RBAC; here the three common ones are bound to Kubernetes' own roles."""
    return [
        _binding(f"eks:access-policy:{role}", role, "Group", f"eks:access-policy:{role}")
        for role in ("admin", "edit", "view")
    ]


def _eni_config_definition() -> dict:
    names = {"plural": "eniconfigs", "singular": "eniconfig", "kind": "ENIConfig"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "eniconfigs.crd.k8s.amazonaws.com"},
        "spec": {
            "group": "crd.k8s.amazonaws.com",
            "scope": "Cluster",
            "names": names,
            "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": schema}],
        },
    }


def _daemon_set(name: str, labels: dict, selector: dict, pod: dict, at_once: str = "10%") -> dict:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": at_once}},
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _deployment(name: str, labels: dict, selector: dict, pod: dict, replicas: int) -> dict:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": "25%"}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _plain_pod(name: str, host: bool = False) -> dict:
    container = {"name": name, "image": f"{REGISTRY}/eks/{name}:v1"}
    tolerations = [{"operator": "Exists"}]
    return {"hostNetwork": host, "tolerations": tolerations, "containers": [container]}


def _account(name: str, labels: dict, rules: list[dict] | None) -> list[dict]:
    """A service account with a role of its own, or with the one that Kubernetes has for it."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
    }
    if rules is None:
        return [account, _binding(f"eks:{name}", "system:node-proxier", "ServiceAccount", name)]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": rules,
    }
    return [account, role, _binding(name, name, "ServiceAccount", name)]


def _binding(name: str, role: str, kind: str, subject: str) -> dict:
    who = {"kind": kind, "name": subject}
    who |= {"namespace": NAMESPACE} if kind == "ServiceAccount" else {"apiGroup": "rbac.authorization.k8s.io"}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [who],
    }


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> dict:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


def _plain(values: dict) -> list[dict]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _from_field(name: str, path: str) -> dict:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _on_ec2_linux() -> dict:
    terms = [
        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]},
        {"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate", "hybrid", "auto"]},
    ]
    required = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
