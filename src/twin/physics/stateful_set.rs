//! StatefulSets: pods with a name and volumes of their own, one after the other.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod;
use super::revision::{self, HASH, Revision};
use super::selection::{list, text};
use super::{event, timer};
use crate::twin::kube;
use crate::twin::kube::store::{key, key_of};
use crate::twin::world::World;

const SETS: &str = "statefulsets.apps";
const CLAIMS: &str = "persistentvolumeclaims";
/// Where a revision of a StatefulSet has its hash.
const HASH_OF_REVISION: &str = "controller.kubernetes.io/hash";
const WHO: &str = "statefulset-controller";

/// Lets every StatefulSet that something concerns come one step nearer to what it says.
pub fn run(world: &mut World) {
    for cluster in world.clusters() {
        let Some(store) = world.store(&cluster) else { continue };
        let concerned = world.changes().of(&cluster).concerned(store.index(), SETS);
        for key in concerned {
            let Some(set) = world.store(&cluster).and_then(|store| store.get(SETS, &key)).cloned() else { continue };
            let Some(update) = revision::ensure(world, &cluster, &set, HASH_OF_REVISION) else { continue };
            Members::of(world, &cluster, set, update).step(world);
        }
    }
}

/// A StatefulSet with its pods.
struct Members {
    cluster: String,
    set: Value,
    update: Revision,
    /// The name of the revision that pods below the partition have.
    current: String,
    /// One place for every pod that there should be, by its number.
    places: Vec<(i64, Option<Value>)>,
    /// Pods beyond, the highest number first.
    condemned: Vec<Value>,
    now: Timestamp,
}

fn ordinal(pod: &Value) -> Option<i64> {
    text(&pod["metadata"], "name").rsplit_once('-')?.1.parse().ok()
}

fn is_running(pod: &Value) -> bool {
    text(&pod["status"], "phase") == "Running" && pod::has_condition(pod, "Ready")
}

impl Members {
    fn of(world: &World, cluster: &str, set: Value, update: Revision) -> Members {
        let wanted = set["spec"]["replicas"].as_i64().unwrap_or(1).min(pod::OWNED_MAX);
        let start = set["spec"]["ordinals"]["start"].as_i64().unwrap_or(0);
        let own = world.store(cluster).map(|store| {
            let pods = store.owned(text(&set["metadata"], "uid"), "pods");
            pods.map(|(_, pod)| pod.clone()).collect::<Vec<_>>()
        });
        let mut places: Vec<(i64, Option<Value>)> = (start..start + wanted).map(|number| (number, None)).collect();
        let mut condemned = Vec::new();
        for found in own.unwrap_or_default() {
            let Some(number) = ordinal(&found) else { continue };
            match usize::try_from(number - start).ok().and_then(|at| places.get_mut(at)) {
                Some(place) => place.1 = Some(found),
                None => condemned.push(found),
            }
        }
        condemned.sort_by_key(|pod| std::cmp::Reverse(ordinal(pod)));
        let current = match text(&set["status"], "currentRevision") {
            "" => update.name.clone(),
            known => known.to_owned(),
        };
        Members { cluster: cluster.to_owned(), set, update, current, places, condemned, now: world.now }
    }

    fn pods(&self) -> impl Iterator<Item = &Value> {
        self.places.iter().filter_map(|(_, pod)| pod.as_ref()).chain(&self.condemned)
    }

    fn name(&self) -> &str {
        text(&self.set["metadata"], "name")
    }

    fn seconds(&self) -> i64 {
        self.set["spec"]["minReadySeconds"].as_i64().unwrap_or(0)
    }

    fn available_at(&self, pod: &Value) -> Option<Timestamp> {
        pod::available_at(pod, self.seconds()).filter(|_| is_running(pod))
    }

    fn is_available(&self, pod: &Value) -> bool {
        is_running(pod) && (self.seconds() == 0 || self.available_at(pod).is_some_and(|since| since <= self.now))
    }

    fn step(mut self, world: &mut World) {
        if !pod::is_ending(&self.set) {
            self.act(world);
        }
        self.write_status(world);
        let used: Vec<String> = self.pods().map(|pod| text(&pod["metadata"]["labels"], HASH).to_owned()).collect();
        let mut used: Vec<&str> = used.iter().map(String::as_str).collect();
        used.extend([self.current.as_str(), self.update.name.as_str()]);
        revision::forget(world, &self.cluster, &self.set, &used);
        let next = self.pods().filter_map(|pod| self.available_at(pod)).filter(|since| *since > self.now).min();
        if let Some(next) = next {
            timer::look_at(world, &self.cluster, SETS, &key_of(&self.set), next);
        }
    }

    fn act(&mut self, world: &mut World) {
        let in_order = self.set["spec"]["podManagementPolicy"] != "Parallel";
        for at in 0..self.places.len() {
            let must_wait = self.tend(world, at);
            if must_wait && in_order {
                return;
            }
        }
        if self.condemn(world, in_order) {
            return;
        }
        if text(&self.set["spec"]["updateStrategy"], "type") != "OnDelete" {
            self.replace_one(world);
        }
    }

    /// Makes or replaces one pod; whether those after it wait for it.
    fn tend(&mut self, world: &mut World, at: usize) -> bool {
        let Some((number, place)) = self.places.get(at).cloned() else { return false };
        let Some(pod) = place else {
            self.make(world, number);
            return true;
        };
        if pod::is_over(&pod) {
            if !pod::is_ending(&pod) {
                self.delete(world, &pod);
            }
            return true;
        }
        if text(&pod["status"], "phase") == "Pending" {
            self.claim(world, number);
        }
        pod::is_ending(&pod) || !self.is_available(&pod)
    }

    /// Pods beyond the wanted number go from the highest on, in order one at a time; whether there are some.
    fn condemn(&mut self, world: &mut World, in_order: bool) -> bool {
        let first_unavailable = self
            .places
            .iter()
            .filter_map(|(_, pod)| pod.as_ref())
            .chain(self.condemned.iter().rev())
            .find(|pod| !self.is_available(pod))
            .map(key_of);
        for pod in self.condemned.clone() {
            if pod::is_ending(&pod) {
                if in_order {
                    return true;
                }
                continue;
            }
            let is_blocked = !self.is_available(&pod) && first_unavailable.as_ref() != Some(&key_of(&pod));
            if is_blocked && in_order {
                return true;
            }
            self.delete(world, &pod);
            if in_order {
                return true;
            }
        }
        !self.condemned.is_empty()
    }

    /// The highest pod of an older template goes, once all above it are available.
    fn replace_one(&mut self, world: &mut World) {
        let least = usize::try_from(self.partition()).unwrap_or(0);
        for at in (least..self.places.len()).rev() {
            let Some((_, Some(pod))) = self.places.get(at).cloned() else { return };
            if text(&pod["metadata"]["labels"], HASH) != self.update.name && !pod::is_ending(&pod) {
                return self.delete(world, &pod);
            }
            if pod::is_ending(&pod) || !self.is_available(&pod) {
                return;
            }
        }
    }

    fn partition(&self) -> i64 {
        self.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0)
    }

    fn make(&mut self, world: &mut World, number: i64) {
        let start = self.set["spec"]["ordinals"]["start"].as_i64().unwrap_or(0);
        let is_rolling = text(&self.set["spec"]["updateStrategy"], "type") != "OnDelete";
        let namespace = text(&self.set["metadata"], "namespace").to_owned();
        let keeps_old = is_rolling && number < start + self.partition() && self.current != self.update.name;
        let old = keeps_old.then(|| revision::template(world, &self.cluster, &namespace, &self.current)).flatten();
        let revision = if old.is_some() { self.current.clone() } else { self.update.name.clone() };
        self.claim(world, number);
        let name = format!("{}-{number}", self.name());
        let mut owner = self.set.clone();
        if let Some(template) = old {
            owner["spec"]["template"] = template;
        }
        let spec = &mut owner["spec"]["template"]["spec"];
        spec["hostname"] = json!(name);
        if let Some(service) = self.set["spec"]["serviceName"].as_str().filter(|service| !service.is_empty()) {
            spec["subdomain"] = json!(service);
        }
        let templates = list(&self.set["spec"]["volumeClaimTemplates"]);
        let named = |volume: &Value| templates.iter().any(|claim| claim["metadata"]["name"] == volume["name"]);
        let mut volumes: Vec<Value> = list(&spec["volumes"]).iter().filter(|volume| !named(volume)).cloned().collect();
        volumes.extend(templates.iter().map(|claim| {
            let volume = text(&claim["metadata"], "name");
            json!({ "name": volume, "persistentVolumeClaim": { "claimName": format!("{volume}-{name}") } })
        }));
        if !volumes.is_empty() {
            spec["volumes"] = json!(volumes);
        }
        let labels = [
            ("statefulset.kubernetes.io/pod-name", name.clone()),
            ("apps.kubernetes.io/pod-index", number.to_string()),
            (HASH, revision),
        ];
        let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (*key, value.as_str())).collect();
        pod::make(world, &self.cluster, &owner, &labels, Some(name.clone()));
        let message = format!("Create Pod {name} in StatefulSet {} successful", self.name());
        event::normal(world, &self.cluster, &self.set, "SuccessfulCreate", &message, WHO);
        let made = world.store(&self.cluster).and_then(|store| store.get("pods", &key(Some(&namespace), &name)));
        let made = made.cloned();
        if let Some(place) = self.places.iter_mut().find(|(other, _)| *other == number) {
            place.1 = made;
        }
    }

    /// Lets the claims of one pod be there.
    fn claim(&self, world: &mut World, number: i64) {
        let namespace = text(&self.set["metadata"], "namespace");
        for template in list(&self.set["spec"]["volumeClaimTemplates"]) {
            let pod = format!("{}-{number}", self.name());
            let name = format!("{}-{pod}", text(&template["metadata"], "name"));
            let is_there = world
                .store(&self.cluster)
                .is_some_and(|store| store.get(CLAIMS, &key(Some(namespace), &name)).is_some());
            if is_there {
                continue;
            }
            let mut claim = json!({ "metadata": template["metadata"], "spec": template["spec"] });
            claim["metadata"]["name"] = json!(name);
            claim["metadata"]["namespace"] = json!(namespace);
            for (key, value) in self.set["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten() {
                claim["metadata"]["labels"][key] = value.clone();
            }
            if self.set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete" {
                claim["metadata"]["ownerReferences"] = pod::owned_by(&self.set);
            }
            kube::create(world, &self.cluster, CLAIMS, claim);
            let message = format!("Create Claim {name} Pod {pod} in StatefulSet {} success", self.name());
            event::normal(world, &self.cluster, &self.set, "SuccessfulCreate", &message, WHO);
        }
    }

    fn delete(&mut self, world: &mut World, pod: &Value) {
        let goes_for_good = self.condemned.iter().any(|other| key_of(other) == key_of(pod));
        if goes_for_good && self.set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Delete" {
            self.hand_claims_to(world, pod);
        }
        kube::delete(world, &self.cluster, "pods", &key_of(pod));
        let name = text(&pod["metadata"], "name");
        let message = format!("Delete Pod {name} in StatefulSet {} successful", self.name());
        event::normal(world, &self.cluster, &self.set, "SuccessfulDelete", &message, WHO);
        let now = world.store(&self.cluster).and_then(|store| store.get("pods", &key_of(pod))).cloned();
        let places = self.places.iter_mut().map(|(_, place)| place);
        for place in places.filter(|place| place.as_ref().is_some_and(|other| key_of(other) == key_of(pod))) {
            *place = now.clone();
        }
    }

    /// Claims of a pod that goes for good go with it.
    fn hand_claims_to(&self, world: &mut World, pod: &Value) {
        let mut owner = pod::owned_by(pod);
        owner[0]["controller"] = json!(true);
        let namespace = text(&self.set["metadata"], "namespace").to_owned();
        let name = text(&pod["metadata"], "name");
        for template in list(&self.set["spec"]["volumeClaimTemplates"]) {
            let claim = format!("{}-{name}", text(&template["metadata"], "name"));
            if let Some(store) = world.store_mut(&self.cluster) {
                store.change(CLAIMS, &key(Some(&namespace), &claim), |claim| {
                    claim["metadata"]["ownerReferences"] = owner.clone();
                });
            }
        }
    }

    fn write_status(&mut self, world: &mut World) {
        let with = |revision: &str| {
            let living = self.pods().filter(|pod| !pod::is_ending(pod));
            living.filter(|pod| text(&pod["metadata"]["labels"], HASH) == revision).count()
        };
        let (there, ready) = (self.pods().count(), self.pods().filter(|pod| is_running(pod)).count());
        let available = self.pods().filter(|pod| self.is_available(pod)).count();
        let (mut current, updated) = (with(&self.current), with(&self.update.name));
        let wanted = self.places.len();
        let is_rolling = text(&self.set["spec"]["updateStrategy"], "type") != "OnDelete";
        if is_rolling && updated == wanted && ready == wanted && there == wanted {
            current = updated;
            self.current = self.update.name.clone();
        }
        let mut status = json!({
            "observedGeneration": self.set["metadata"]["generation"],
            "replicas": there,
            "availableReplicas": available,
            "currentRevision": self.current,
            "updateRevision": self.update.name,
            "collisionCount": 0,
        });
        let counts = [("readyReplicas", ready), ("currentReplicas", current), ("updatedReplicas", updated)];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            status[name] = json!(count);
        }
        if let Some(store) = world.store_mut(&self.cluster) {
            store.change(SETS, &key_of(&self.set), |set| set["status"] = status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::physics::settle;
    use crate::twin::physics::stage::{self, pass};

    fn world(spec: Value) -> World {
        let mut world = stage::world(&["n0", "n1"]);
        let mut set = json!({ "metadata": { "name": "db", "namespace": "default" }, "spec": { "replicas": 3,
            "serviceName": "db", "selector": { "matchLabels": { "app": "db" } },
            "template": { "metadata": { "labels": { "app": "db" } }, "spec": { "hostNetwork": true,
                "containers": [{ "name": "c", "image": "db:1" }] } } } });
        for (key, value) in spec.as_object().unwrap() {
            set["spec"][key] = value.clone();
        }
        kube::create(&mut world, "prod", SETS, set);
        settle(&mut world);
        world
    }

    /// Names of the pods, and whether each runs.
    fn pods(world: &World) -> Vec<(String, bool)> {
        let pods = world.store("prod").unwrap().within("pods", "default");
        pods.map(|(key, pod)| (key.split_once('/').unwrap().1.to_owned(), is_running(pod))).collect()
    }

    fn images(world: &World) -> Vec<String> {
        let pods = world.store("prod").unwrap().within("pods", "default");
        pods.map(|(_, pod)| text(&pod["spec"]["containers"][0], "image").to_owned()).collect()
    }

    fn change(world: &mut World, change: impl FnOnce(&mut Value)) {
        world.store_mut("prod").unwrap().change(SETS, "default/db", change);
        settle(world);
    }

    fn status(world: &World) -> Value {
        world.store("prod").unwrap().get(SETS, "default/db").unwrap()["status"].clone()
    }

    #[test]
    fn pods_come_one_after_the_other_and_go_from_the_last() {
        let mut world = world(json!({}));
        for there in 1..=3 {
            assert_eq!(pods(&world).len(), there);
            pass(&mut world, 9);
        }
        assert_eq!((&status(&world)["readyReplicas"], &status(&world)["currentReplicas"]), (&json!(3), &json!(3)));
        change(&mut world, |set| set["spec"]["replicas"] = json!(1));
        let ending = |world: &World| {
            let pods = world.store("prod").unwrap().list("pods").values();
            pods.filter(|pod| pod::is_ending(pod))
                .map(|pod| text(&pod["metadata"], "name").to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(ending(&world), ["db-2"]);
        pass(&mut world, 5);
        assert_eq!(ending(&world), ["db-1"]);
        pass(&mut world, 5);
        assert_eq!(pods(&world), [("db-0".to_owned(), true)]);
    }

    #[test]
    fn parallel_pods_come_at_once() {
        let world = world(json!({ "podManagementPolicy": "Parallel" }));
        assert_eq!(pods(&world).len(), 3);
    }

    #[test]
    fn a_set_that_asks_for_more_than_a_cluster_holds_still_comes_pod_by_pod() {
        let mut world = world(json!({ "replicas": 2_000_000_000 }));
        assert_eq!(pods(&world).len(), 1);
        pass(&mut world, 30);
        assert!(pods(&world).len() > 1);
    }

    #[test]
    fn an_update_goes_down_to_its_partition_and_only_where_it_is_told_to() {
        let mut parted = world(json!({ "podManagementPolicy": "Parallel",
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } } }));
        pass(&mut parted, 9);
        let first = status(&parted)["currentRevision"].clone();
        change(&mut parted, |set| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2"));
        pass(&mut parted, 60);
        assert_eq!(images(&parted), ["db:1", "db:2", "db:2"]);
        let now = status(&parted);
        assert_eq!((&now["currentRevision"], &now["updatedReplicas"]), (&first, &json!(2)));
        // A pod below the partition comes back as it was.
        kube::delete(&mut parted, "prod", "pods", "default/db-0");
        settle(&mut parted);
        pass(&mut parted, 30);
        assert_eq!(images(&parted), ["db:1", "db:2", "db:2"]);
        change(&mut parted, |set| set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(0));
        pass(&mut parted, 60);
        assert_eq!(images(&parted), ["db:2", "db:2", "db:2"]);
        assert_ne!(status(&parted)["currentRevision"], first);
        assert_eq!(parted.store("prod").unwrap().list("controllerrevisions.apps").len(), 2);

        let mut by_hand = world(json!({ "updateStrategy": { "type": "OnDelete" }, "podManagementPolicy": "Parallel" }));
        pass(&mut by_hand, 9);
        change(&mut by_hand, |set| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2"));
        pass(&mut by_hand, 60);
        assert_eq!(images(&by_hand), ["db:1", "db:1", "db:1"]);
        kube::delete(&mut by_hand, "prod", "pods", "default/db-1");
        settle(&mut by_hand);
        pass(&mut by_hand, 30);
        assert_eq!(images(&by_hand), ["db:1", "db:2", "db:1"]);
    }

    #[test]
    fn every_pod_has_a_claim_that_outlives_it() {
        let claims = json!([{ "metadata": { "name": "data" }, "spec": { "accessModes": ["ReadWriteOnce"],
            "storageClassName": "gp2", "resources": { "requests": { "storage": "1Gi" } } } }]);
        let mut world = world(json!({ "volumeClaimTemplates": claims, "podManagementPolicy": "Parallel" }));
        pass(&mut world, 60);
        let names = |world: &World| world.store("prod").unwrap().list(CLAIMS).keys().cloned().collect::<Vec<_>>();
        let all = ["default/data-db-0", "default/data-db-1", "default/data-db-2"];
        assert_eq!(names(&world), all);
        let pod = world.store("prod").unwrap().get("pods", "default/db-1").unwrap();
        assert_eq!(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-db-1");
        change(&mut world, |set| set["spec"]["replicas"] = json!(0));
        pass(&mut world, 60);
        assert_eq!(names(&world), all);
    }
}
