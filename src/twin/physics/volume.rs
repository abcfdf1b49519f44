//! Volumes: claims find one, or get one made; both keep while they are used.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::selection::{list, matches, text, thousandths};
use super::{Controller, event, pod};
use crate::twin::Arrival;
use crate::twin::kube;
use crate::twin::kube::store::{Store, key, key_of};
use crate::twin::world::World;

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[("kube/persistentvolumeclaims", provision)];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[
    Controller {
        name: "claims find volumes",
        watches: &[
            "kube/csidrivers.storage.k8s.io",
            "kube/persistentvolumeclaims",
            "kube/persistentvolumes",
            "kube/pods",
            "kube/storageclasses.storage.k8s.io",
        ],
        run: bind,
    },
    Controller {
        name: "volumes in use stay",
        watches: &["kube/persistentvolumeclaims", "kube/persistentvolumes", "kube/pods"],
        run: protect,
    },
];

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const CLASSES: &str = "storageclasses.storage.k8s.io";
const DRIVERS: &str = "csidrivers.storage.k8s.io";
const WHO: &str = "persistentvolume-controller";

/// The node for which the scheduler wants a volume.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const BOUND: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

/// The keys of the claims that a pod mounts.
pub fn claims_of(pod: &Value) -> Vec<String> {
    let namespace = pod["metadata"]["namespace"].as_str();
    let name = |volume: &Value| match volume["ephemeral"].is_object() {
        true => Some(format!("{}-{}", text(&pod["metadata"], "name"), text(volume, "name"))),
        false => volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned),
    };
    list(&pod["spec"]["volumes"]).iter().filter_map(name).map(|name| key(namespace, &name)).collect()
}

/// Whether a claim has its volume.
pub fn is_bound(claim: &Value) -> bool {
    text(&claim["status"], "phase") == "Bound"
}

fn class_of<'s>(store: &'s Store, claim: &Value) -> Option<&'s Value> {
    store.get(CLASSES, claim["spec"]["storageClassName"].as_str()?)
}

/// Whether the volume of a claim is made only when a pod needs it.
pub fn waits_for_consumer(store: &Store, claim: &Value) -> bool {
    class_of(store, claim).is_some_and(|class| class["volumeBindingMode"] == "WaitForFirstConsumer")
}

/// Whether the volumes of a pod can be reached from a node.
pub fn reaches(store: &Store, pod: &Value, node: &Value) -> bool {
    claims_of(pod).iter().all(|key| {
        let volume = store.get(CLAIMS, key).and_then(|claim| store.get(VOLUMES, text(&claim["spec"], "volumeName")));
        let Some(terms) =
            volume.and_then(|volume| volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].as_array())
        else {
            return true;
        };
        let labels = &node["metadata"]["labels"];
        terms.iter().any(|term| matches(&json!({ "matchExpressions": term["matchExpressions"] }), labels))
    })
}

/// Claims that changed, and all that wait where a class, a driver or a volume did.
fn looked_at(world: &World, cluster: &str, store: &Store) -> Vec<String> {
    let changes = world.changes();
    let changed = changes.of(cluster);
    let is_any = [CLASSES, DRIVERS, VOLUMES].iter().any(|kind| !changed.keys(kind).is_empty());
    if is_any {
        return store.list(CLAIMS).keys().cloned().collect();
    }
    changed.keys(CLAIMS).iter().cloned().collect()
}

fn bind(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let keys = looked_at(world, &cluster, store);
        for key in keys {
            let Some(claim) = world.store(&cluster).and_then(|store| store.get(CLAIMS, &key)).cloned() else {
                continue;
            };
            if !pod::is_ending(&claim) {
                bind_one(world, &cluster, &key, claim);
            }
        }
        release(world, &cluster);
    }
}

fn bind_one(world: &mut World, cluster: &str, key: &str, mut claim: Value) {
    if claim["spec"]["storageClassName"].is_null() && text(&claim["spec"], "volumeName").is_empty() {
        let Some(class) = default_class(world, cluster) else { return told_no_class(world, cluster, &claim) };
        claim["spec"]["storageClassName"] = json!(class);
        if let Some(store) = world.store_mut(cluster) {
            store.change(CLAIMS, key, |claim| claim["spec"]["storageClassName"] = json!(class));
        }
    }
    let Some(store) = world.store(cluster) else { return };
    let named = text(&claim["spec"], "volumeName");
    if is_bound(&claim) {
        // A volume that went away is lost to its claim.
        if store.get(VOLUMES, named).is_none()
            && let Some(store) = world.store_mut(cluster)
        {
            store.change(CLAIMS, key, |claim| claim["status"]["phase"] = json!("Lost"));
        }
        return;
    }
    let waits = waits_for_consumer(store, &claim) && text(&claim["metadata"]["annotations"], SELECTED_NODE).is_empty();
    let fitting = store.list(VOLUMES).values().filter(|volume| fits(volume, &claim));
    let least =
        fitting.min_by_key(|volume| (!is_for(volume, &claim), thousandths(&volume["spec"]["capacity"]["storage"])));
    if let Some(volume) = least.filter(|volume| !waits || is_for(volume, &claim) || !named.is_empty()) {
        let name = text(&volume["metadata"], "name").to_owned();
        return marry(world, cluster, key, &name);
    }
    let Some(class) = class_of(store, &claim).cloned() else {
        return told_no_class(world, cluster, &claim);
    };
    if !named.is_empty() {
        return;
    }
    if waits {
        let message = "waiting for first consumer to be created before binding";
        return event::normal(world, cluster, &claim, "WaitForFirstConsumer", message, WHO);
    }
    let Some(driver) = driver_of(store, &class) else {
        let by = text(&class, "provisioner");
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{by}' or manually by the system \
             administrator. If volume creation is delayed, please verify that the provisioner is running and correctly \
             registered."
        );
        return event::normal(world, cluster, &claim, "ExternalProvisioning", &message, WHO);
    };
    let id = format!("{cluster}/{key}");
    if !world.is_planned("kube/persistentvolumeclaims", &id, "Bound") {
        let message = format!("External provisioner is provisioning volume for claim \"{key}\"");
        event::normal(world, cluster, &claim, "Provisioning", &message, &driver);
        world.begin("kube/persistentvolumeclaims", &id, "Bound");
    }
}

fn told_no_class(world: &mut World, cluster: &str, claim: &Value) {
    let message = match claim["spec"]["storageClassName"].as_str().filter(|class| !class.is_empty()) {
        Some(class) => {
            let message = format!("storageclass.storage.k8s.io \"{class}\" not found");
            return event::warning(world, cluster, claim, "ProvisioningFailed", &message, WHO);
        }
        None => "no persistent volumes available for this claim and no storage class is set",
    };
    event::normal(world, cluster, claim, "FailedBinding", message, WHO);
}

/// The newest class that says that it is the default.
fn default_class(world: &World, cluster: &str) -> Option<String> {
    let classes = world.store(cluster)?.list(CLASSES).values();
    let marked = classes.filter(|class| class["metadata"]["annotations"][DEFAULT_CLASS] == "true");
    let newest = marked.max_by_key(|class| text(&class["metadata"], "creationTimestamp").to_owned())?;
    Some(text(&newest["metadata"], "name").to_owned())
}

/// The driver that makes volumes of a class, where it is installed.
fn driver_of(store: &Store, class: &Value) -> Option<String> {
    let driver = match text(class, "provisioner") {
        // What was built in once is done by a driver now.
        "kubernetes.io/aws-ebs" => "ebs.csi.aws.com",
        other => other,
    };
    store.get(DRIVERS, driver).map(|_| driver.to_owned())
}

/// Whether a volume is reserved for this very claim.
fn is_for(volume: &Value, claim: &Value) -> bool {
    let (reference, metadata) = (&volume["spec"]["claimRef"], &claim["metadata"]);
    reference["name"] == metadata["name"]
        && reference["namespace"] == metadata["namespace"]
        && (reference["uid"].is_null() || reference["uid"] == metadata["uid"])
}

fn fits(volume: &Value, claim: &Value) -> bool {
    let spec = &claim["spec"];
    let named = text(spec, "volumeName");
    let is_free = volume["spec"]["claimRef"].is_null() || is_for(volume, claim);
    if pod::is_ending(volume) || !is_free || (!named.is_empty() && volume["metadata"]["name"] != named) {
        return false;
    }
    let modes = list(&volume["spec"]["accessModes"]);
    let mode = |spec: &Value| spec["volumeMode"].as_str().unwrap_or("Filesystem").to_owned();
    let asked = thousandths(&spec["resources"]["requests"]["storage"]);
    let selector = &spec["selector"];
    text(&volume["spec"], "storageClassName") == text(spec, "storageClassName")
        && mode(&volume["spec"]) == mode(spec)
        && list(&spec["accessModes"]).iter().all(|one| modes.contains(one))
        && thousandths(&volume["spec"]["capacity"]["storage"]) >= asked
        && (selector.is_null() || matches(selector, &volume["metadata"]["labels"]))
}

/// Claim and volume belong to each other from now on.
fn marry(world: &mut World, cluster: &str, claim_key: &str, volume: &str) {
    let now = world.now_text();
    let Some(store) = world.store_mut(cluster) else { return };
    let Some(claim) = store.get(CLAIMS, claim_key).cloned() else { return };
    let was_reserved = store.get(VOLUMES, volume).is_some_and(|volume| is_for(volume, &claim));
    store.change(VOLUMES, volume, |volume| {
        volume["spec"]["claimRef"] = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "name": claim["metadata"]["name"], "namespace": claim["metadata"]["namespace"],
            "uid": claim["metadata"]["uid"], "resourceVersion": claim["metadata"]["resourceVersion"] });
        if !was_reserved {
            volume["metadata"]["annotations"][BOUND_BY_CONTROLLER] = json!("yes");
        }
        set_phase(volume, "Bound", &now);
    });
    let Some(found) = store.get(VOLUMES, volume).cloned() else { return };
    store.change(CLAIMS, claim_key, |claim| {
        if text(&claim["spec"], "volumeName").is_empty() {
            claim["metadata"]["annotations"][BOUND_BY_CONTROLLER] = json!("yes");
        }
        claim["spec"]["volumeName"] = json!(volume);
        claim["metadata"]["annotations"][BOUND] = json!("yes");
        claim["status"] = json!({ "phase": "Bound", "accessModes": found["spec"]["accessModes"],
            "capacity": found["spec"]["capacity"] });
    });
}

/// The driver has made the volume.
fn provision(world: &mut World, id: &str, _: &str) {
    let Some((cluster, claim_key)) = id.split_once('/') else { return };
    let Some(store) = world.store(cluster) else { return };
    let Some(claim) = store.get(CLAIMS, claim_key).filter(|claim| !is_bound(claim) && !pod::is_ending(claim)) else {
        return;
    };
    let Some(class) = class_of(store, claim) else { return };
    let Some(driver) = driver_of(store, class) else { return };
    let (claim, class) = (claim.clone(), class.clone());
    let node = text(&claim["metadata"]["annotations"], SELECTED_NODE);
    let zone =
        store.get("nodes", node).map_or("", |node| text(&node["metadata"]["labels"], "topology.kubernetes.io/zone"));
    let zone = zone.to_owned();
    let name = format!("pvc-{}", text(&claim["metadata"], "uid"));
    let handle = world.id("vol");
    let kind = class["parameters"]["csi.storage.k8s.io/fstype"].as_str().unwrap_or("ext4");
    let mut volume = json!({
        "metadata": { "name": name, "annotations": { PROVISIONED_BY: driver }, "finalizers": [VOLUME_PROTECTION] },
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": { "storage": claim["spec"]["resources"]["requests"]["storage"] },
            "claimRef": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim["metadata"]["name"],
                "namespace": claim["metadata"]["namespace"], "uid": claim["metadata"]["uid"] },
            "csi": { "driver": driver, "fsType": kind, "volumeHandle": handle },
            "persistentVolumeReclaimPolicy": class["reclaimPolicy"].as_str().unwrap_or("Delete"),
            "storageClassName": class["metadata"]["name"],
            "volumeMode": claim["spec"]["volumeMode"].as_str().unwrap_or("Filesystem"),
        },
    });
    if !zone.is_empty() {
        let here = json!({ "key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone] });
        volume["spec"]["nodeAffinity"] =
            json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [here] }] } });
    }
    kube::create(world, cluster, VOLUMES, volume);
    let message = format!("Successfully provisioned volume {name}");
    event::normal(world, cluster, &claim, "ProvisioningSucceeded", &message, &driver);
    marry(world, cluster, claim_key, &name);
}

/// Volumes say whether they are free; those of a claim that is gone go, or stay with what is on them.
fn release(world: &mut World, cluster: &str) {
    let Some(store) = world.store(cluster) else { return };
    let changes = world.changes();
    let changed = changes.of(cluster);
    let has_news = |key: &String, volume: &Value| {
        changed.keys(VOLUMES).contains(key)
            || volume["spec"]["claimRef"]["uid"].as_str().is_some_and(|uid| changed.gone().contains(uid))
    };
    let concerned = store.list(VOLUMES).iter().filter(|(key, volume)| has_news(key, volume));
    let concerned: Vec<(String, Value)> = concerned.map(|(key, volume)| (key.clone(), volume.clone())).collect();
    let now = world.now_text();
    for (name, volume) in concerned.into_iter().filter(|(_, volume)| !pod::is_ending(volume)) {
        let Some(store) = world.store_mut(cluster) else { return };
        let reference = &volume["spec"]["claimRef"];
        let is_claimed = reference["uid"].as_str().is_none_or(|uid| store.by_uid(uid).is_some());
        let phase = match (reference.is_null(), is_claimed) {
            (true, _) => "Available",
            (_, true) if reference["uid"].is_null() => "Available",
            (_, true) => "Bound",
            (_, false) => "Released",
        };
        let goes = phase == "Released" && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete";
        store.change(VOLUMES, &name, |volume| {
            set_phase(volume, phase, &now);
            protected(volume, VOLUME_PROTECTION, true);
        });
        if goes {
            kube::delete(world, cluster, VOLUMES, &name);
        }
    }
}

fn set_phase(volume: &mut Value, phase: &str, now: &str) {
    if volume["status"]["phase"] != phase {
        volume["status"]["phase"] = json!(phase);
        volume["status"]["lastPhaseTransitionTime"] = json!(now);
    }
}

fn protected(object: &mut Value, by: &str, is_protected: bool) {
    let mut finalizers = list(&object["metadata"]["finalizers"]).to_vec();
    let is_there = finalizers.iter().any(|one| one == by);
    if is_there == is_protected {
        return;
    }
    finalizers.retain(|one| one != by);
    if is_protected {
        finalizers.push(json!(by));
    }
    match object["metadata"].as_object_mut() {
        Some(metadata) if finalizers.is_empty() => drop(metadata.remove("finalizers")),
        _ => object["metadata"]["finalizers"] = json!(finalizers),
    }
}

/// Claims that a pod uses and volumes that a claim uses do not go, however they are deleted.
fn protect(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        if store.list(CLAIMS).is_empty() && store.list(VOLUMES).is_empty() {
            continue;
        }
        let changes = world.changes();
        let changed = changes.of(&cluster);
        // A pod that is gone does not say what it used: claims that end are looked at whenever one of their namespace is.
        let namespaces: BTreeSet<&str> =
            changed.keys("pods").iter().filter_map(|key| key.split_once('/')).map(|(namespace, _)| namespace).collect();
        let left = namespaces.iter().flat_map(|namespace| store.within(CLAIMS, namespace));
        let left = left.filter(|(_, claim)| pod::is_ending(claim)).map(|(key, _)| key);
        let keys: BTreeSet<String> = left.chain(changed.keys(CLAIMS)).cloned().collect();
        let volumes: Vec<String> =
            store.list(VOLUMES).iter().filter(|(_, one)| pod::is_ending(one)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            protect_claim(world, &cluster, &key);
        }
        for name in volumes {
            let Some(store) = world.store(&cluster) else { return };
            let Some(volume) = store.get(VOLUMES, &name) else { continue };
            let uid = volume["spec"]["claimRef"]["uid"].as_str();
            if uid.and_then(|uid| store.by_uid(uid)).is_none() {
                unprotect(world, &cluster, VOLUMES, &name, VOLUME_PROTECTION);
            }
        }
    }
}

fn protect_claim(world: &mut World, cluster: &str, claim_key: &str) {
    let Some(store) = world.store_mut(cluster) else { return };
    let Some(claim) = store.get(CLAIMS, claim_key).cloned() else { return };
    if !pod::is_ending(&claim) {
        store.change(CLAIMS, claim_key, |claim| protected(claim, CLAIM_PROTECTION, true));
        return;
    }
    let uses = |pod: &Value| !pod::is_over(pod) && claims_of(pod).contains(&key_of(&claim));
    let is_used = store.within("pods", text(&claim["metadata"], "namespace")).any(|(_, pod)| uses(pod));
    if !is_used {
        unprotect(world, cluster, CLAIMS, claim_key, CLAIM_PROTECTION);
    }
}

/// Nothing uses it any more: it goes, unless somebody else holds it.
fn unprotect(world: &mut World, cluster: &str, kind: &str, key: &str, by: &str) {
    let Some(store) = world.store_mut(cluster) else { return };
    store.change(kind, key, |object| protected(object, by, false));
    if store.get(kind, key).is_some_and(|object| list(&object["metadata"]["finalizers"]).is_empty()) {
        store.remove(kind, key);
        world.forget(&format!("kube/{kind}"), &format!("{cluster}/{key}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::physics::settle;
    use crate::twin::physics::stage::{self, pass};

    fn world(mode: &str, with_driver: bool) -> World {
        let mut world = stage::world(&[]);
        for (name, zone) in [("n1", "a"), ("n2", "b")] {
            let mut node = stage::node(name);
            node["metadata"]["labels"] = json!({ "topology.kubernetes.io/zone": zone });
            kube::create(&mut world, "prod", "nodes", node);
        }
        let class = json!({ "metadata": { "name": "gp3", "annotations": { DEFAULT_CLASS: "true" } },
            "provisioner": "ebs.csi.aws.com", "volumeBindingMode": mode, "reclaimPolicy": "Delete" });
        kube::create(&mut world, "prod", CLASSES, class);
        if with_driver {
            kube::create(&mut world, "prod", DRIVERS, json!({ "metadata": { "name": "ebs.csi.aws.com" }, "spec": {} }));
        }
        let claim = json!({ "metadata": { "name": "data", "namespace": "default" }, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "5Gi" } } } });
        kube::create(&mut world, "prod", CLAIMS, claim);
        settle(&mut world);
        world
    }

    fn add_pod(world: &mut World) {
        let pod = json!({ "metadata": { "name": "a", "namespace": "default" }, "spec": { "hostNetwork": true,
            "nodeSelector": { "topology.kubernetes.io/zone": "b" },
            "containers": [{ "name": "c", "image": "a:1" }],
            "volumes": [{ "name": "d", "persistentVolumeClaim": { "claimName": "data" } }] } });
        kube::create(world, "prod", "pods", pod);
        settle(world);
    }

    fn claim(world: &World) -> Value {
        world.store("prod").unwrap().get(CLAIMS, "default/data").cloned().unwrap_or_default()
    }

    fn pod_in(world: &World) -> Value {
        world.store("prod").unwrap().get("pods", "default/a").cloned().unwrap_or_default()
    }

    #[test]
    fn a_claim_gets_a_volume_at_once_or_when_a_pod_needs_it() {
        let mut world = world("Immediate", true);
        pass(&mut world, 30);
        assert_eq!(
            (&claim(&world)["status"]["phase"], &claim(&world)["spec"]["storageClassName"]),
            (&json!("Bound"), &json!("gp3"))
        );
        let mut world = self::world("WaitForFirstConsumer", true);
        pass(&mut world, 30);
        assert_eq!(claim(&world)["status"]["phase"], "Pending");
        add_pod(&mut world);
        assert_eq!(pod_in(&world)["spec"]["nodeName"], Value::Null, "the volume comes first");
        pass(&mut world, 30);
        assert_eq!(claim(&world)["metadata"]["annotations"][SELECTED_NODE], "n2");
        assert_eq!(claim(&world)["status"]["capacity"]["storage"], "5Gi");
        assert_eq!(
            (&pod_in(&world)["spec"]["nodeName"], &pod_in(&world)["status"]["phase"]),
            (&json!("n2"), &json!("Running"))
        );
    }

    #[test]
    fn without_its_driver_nothing_is_made_and_the_pod_waits() {
        let mut world = world("Immediate", false);
        add_pod(&mut world);
        pass(&mut world, 300);
        assert_eq!(claim(&world)["status"]["phase"], "Pending");
        let pod = pod_in(&world);
        let message = text(&pod["status"]["conditions"][0], "message");
        assert!(
            message.starts_with("0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
            "{message}"
        );
        let driver = json!({ "metadata": { "name": "ebs.csi.aws.com" }, "spec": {} });
        kube::create(&mut world, "prod", DRIVERS, driver);
        settle(&mut world);
        pass(&mut world, 60);
        assert_eq!(pod_in(&world)["status"]["phase"], "Running");
    }

    #[test]
    fn a_claim_in_use_stays_until_its_pod_is_gone_and_takes_its_volume_along() {
        let mut world = world("Immediate", true);
        pass(&mut world, 30);
        add_pod(&mut world);
        pass(&mut world, 30);
        kube::delete(&mut world, "prod", CLAIMS, "default/data");
        settle(&mut world);
        pass(&mut world, 60);
        assert!(pod::is_ending(&claim(&world)));
        kube::delete(&mut world, "prod", "pods", "default/a");
        settle(&mut world);
        pass(&mut world, 60);
        assert_eq!(claim(&world), Value::Null);
        assert!(world.store("prod").unwrap().list(VOLUMES).is_empty());
    }

    #[test]
    fn a_volume_that_fits_is_taken_and_kept_where_it_says_so() {
        let mut world = world("Immediate", false);
        for (name, size) in [("large", "100Gi"), ("small", "5Gi"), ("tiny", "1Gi")] {
            let volume = json!({ "metadata": { "name": name }, "spec": { "accessModes": ["ReadWriteOnce"],
                "capacity": { "storage": size }, "storageClassName": "gp3", "hostPath": { "path": "/d" },
                "persistentVolumeReclaimPolicy": "Retain" } });
            kube::create(&mut world, "prod", VOLUMES, volume);
        }
        settle(&mut world);
        assert_eq!(claim(&world)["spec"]["volumeName"], "small");
        kube::delete(&mut world, "prod", CLAIMS, "default/data");
        settle(&mut world);
        let phase = |name: &str| world.store("prod").unwrap().get(VOLUMES, name).unwrap()["status"]["phase"].clone();
        assert_eq!((phase("small"), phase("large")), (json!("Released"), json!("Available")));
    }
}
