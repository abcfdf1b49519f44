//! What a new API server holds from the start.

use serde_json::{Value, json};

use super::create;
use crate::twin::world::World;

/// Furnishes the server of a new cluster: namespaces, the roles and classes that every cluster has, its own service.
pub fn bootstrap(world: &mut World, cluster: &str) {
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        create(
            world,
            cluster,
            "namespaces",
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
        );
    }
    for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)] {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": name }, "value": value,
        });
        create(world, cluster, "priorityclasses.scheduling.k8s.io", class);
    }
    for (name, rules) in roles() {
        let labels = json!({ "kubernetes.io/bootstrapping": "rbac-defaults" });
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": name, "labels": labels }, "rules": rules,
        });
        create(world, cluster, "clusterroles.rbac.authorization.k8s.io", role);
    }
    for (name, groups) in [
        ("cluster-admin", &["system:masters"][..]),
        ("system:basic-user", &["system:authenticated"]),
        ("system:discovery", &["system:authenticated"]),
        ("system:public-info-viewer", &["system:authenticated", "system:unauthenticated"]),
    ] {
        let subject = |group: &&str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": name, "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" } },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": groups.iter().map(subject).collect::<Vec<_>>(),
        });
        create(world, cluster, "clusterrolebindings.rbac.authorization.k8s.io", binding);
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "kubernetes", "namespace": "default", "labels": { "component": "apiserver", "provider": "kubernetes" } },
        "spec": { "clusterIP": "172.20.0.1", "ports": [{ "name": "https", "port": 443, "protocol": "TCP" }] },
    });
    create(world, cluster, "services", service);
    announce(world, cluster);
    // EKS makes it, and not the default one since 1.30.
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": "gp2" },
        "provisioner": "kubernetes.io/aws-ebs", "parameters": { "type": "gp2", "fsType": "ext4" },
        "volumeBindingMode": "WaitForFirstConsumer",
    });
    create(world, cluster, "storageclasses.storage.k8s.io", class);
}

/// The API server says where it is: on EKS at the interfaces of its control plane, 443.
fn announce(world: &mut World, cluster: &str) {
    let made = world.find("eks/clusters", cluster).map(|cluster| &cluster["resources_vpc_config"]["_interfaces"]);
    let interfaces = made.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let found = interfaces.filter_map(|id| world.find("ec2/network_interfaces", id));
    let addresses: Vec<Value> = found.map(|interface| interface["private_ip_address"].clone()).collect();
    let port = json!({ "name": "https", "port": 443, "protocol": "TCP" });
    let metadata = |labels: Value| json!({ "name": "kubernetes", "namespace": "default", "labels": labels });
    let listed: Vec<Value> = addresses.iter().map(|address| json!({ "ip": address })).collect();
    let endpoints = json!({ "metadata": metadata(json!({ "endpointslice.kubernetes.io/skip-mirror": "true" })),
        "subsets": [{ "addresses": listed, "ports": [port] }] });
    let ready = |address: &Value| json!({ "addresses": [address], "conditions": { "ready": true } });
    let listed: Vec<Value> = addresses.iter().map(ready).collect();
    let slice = json!({ "metadata": metadata(json!({ "kubernetes.io/service-name": "kubernetes" })),
        "addressType": "IPv4", "endpoints": listed, "ports": [port] });
    if !addresses.is_empty() {
        create(world, cluster, "endpoints", endpoints);
        create(world, cluster, "endpointslices.discovery.k8s.io", slice);
    }
}

/// What every namespace gets when it is made.
pub fn furnish(world: &mut World, cluster: &str, namespace: &str) {
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": namespace } });
    create(world, cluster, "serviceaccounts", account);
    let about = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such \
                 as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
                 distributions of Kubernetes clusters.";
    let owned = json!({ "f:data": { ".": {}, "f:ca.crt": {} },
        "f:metadata": { "f:annotations": { ".": {}, "f:kubernetes.io/description": {} } } });
    let authority = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "kube-root-ca.crt", "namespace": namespace,
            "annotations": { "kubernetes.io/description": about },
            "managedFields": [{ "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                "time": world.now_text(), "fieldsType": "FieldsV1", "fieldsV1": owned }] },
        "data": { "ca.crt": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" },
    });
    create(world, cluster, "configmaps", authority);
}

fn roles() -> [(&'static str, Value); 7] {
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({ "apiGroups": groups, "resources": resources, "verbs": verbs });
    let core = [
        "configmaps",
        "events",
        "persistentvolumeclaims",
        "pods",
        "pods/log",
        "pods/status",
        "replicationcontrollers",
        "replicationcontrollers/scale",
        "serviceaccounts",
        "services",
        "services/status",
    ];
    let around = ["endpoints", "limitranges", "namespaces", "resourcequotas"];
    let workloads = ["apps", "autoscaling", "batch", "networking.k8s.io", "policy"];
    let read = ["get", "list", "watch"];
    let change = ["create", "delete", "deletecollection", "patch", "update"];
    let view = vec![rule(&[""], &core, &read), rule(&[""], &around, &read), rule(&workloads, &["*"], &read)];
    let mut edit = view.clone();
    edit.push(rule(&[""], &core, &change));
    edit.push(rule(&[""], &["secrets"], &[&read[..], &change[..]].concat()));
    edit.push(rule(
        &[""],
        &["pods/attach", "pods/eviction", "pods/exec", "pods/portforward", "serviceaccounts/token"],
        &["create", "get"],
    ));
    edit.push(rule(&workloads, &["*"], &change));
    let mut admin = edit.clone();
    admin.push(rule(&["rbac.authorization.k8s.io"], &["rolebindings", "roles"], &[&read[..], &change[..]].concat()));
    let all = json!([rule(&["*"], &["*"], &["*"]), { "nonResourceURLs": ["*"], "verbs": ["*"] }]);
    let own = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    let basic = json!([
        rule(&["authorization.k8s.io"], &own, &["create"]),
        rule(&["authentication.k8s.io"], &["selfsubjectreviews"], &["create"]),
    ]);
    let about = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let found = [&about[..], &["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"]].concat();
    [
        ("cluster-admin", all),
        ("admin", json!(admin)),
        ("edit", json!(edit)),
        ("view", json!(view)),
        ("system:basic-user", basic),
        ("system:discovery", json!([{ "nonResourceURLs": found, "verbs": ["get"] }])),
        ("system:public-info-viewer", json!([{ "nonResourceURLs": about, "verbs": ["get"] }])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_is_found_at_the_interfaces_of_its_control_plane() {
        let mut world = World::new(1).unwrap();
        for (id, address) in [("eni-1", "10.0.0.5"), ("eni-2", "10.0.16.9"), ("eni-3", "10.0.32.1")] {
            world.put("ec2/network_interfaces", id, json!({ "private_ip_address": address }));
        }
        let own = json!({ "resources_vpc_config": { "_interfaces": ["eni-1", "eni-2"] } });
        world.put("eks/clusters", "prod", own);
        world.start_server("prod");
        let behind = |kind: &str| world.store("prod").unwrap().get(kind, "default/kubernetes").cloned().unwrap();
        let wanted = json!([{ "ip": "10.0.0.5" }, { "ip": "10.0.16.9" }]);
        assert_eq!(behind("endpoints")["subsets"][0]["addresses"], wanted);
        let slice = behind("endpointslices.discovery.k8s.io");
        assert_eq!(slice["endpoints"][1]["addresses"], json!(["10.0.16.9"]));
        assert_eq!(slice["endpoints"].as_array().unwrap().len(), 2);
    }
}
