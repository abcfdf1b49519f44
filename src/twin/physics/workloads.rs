//! Deployments, ReplicaSets and DaemonSets.

use super::{Controller, cron_job, daemon_set, deployment, job, replica_set, stateful_set};
use crate::twin::Arrival;

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[
    Controller {
        name: "deployments roll",
        watches: &["kube/deployments.apps", "kube/replicasets.apps"],
        run: deployment::roll,
    },
    Controller {
        name: "replica sets keep their count",
        watches: &["kube/replicasets.apps", "kube/pods"],
        run: replica_set::keep_count,
    },
    Controller {
        name: "stateful sets keep their pods",
        watches: &["kube/statefulsets.apps", "kube/pods"],
        run: stateful_set::run,
    },
    Controller {
        name: "cron jobs start jobs",
        watches: &["kube/cronjobs.batch", "kube/jobs.batch"],
        run: cron_job::run,
    },
    Controller { name: "jobs run", watches: &["kube/jobs.batch", "kube/pods"], run: job::run },
    Controller {
        name: "daemon sets run on every node",
        watches: &["kube/daemonsets.apps", "kube/pods", "kube/nodes"],
        run: daemon_set::run,
    },
];

#[cfg(test)]
mod tests {
    use super::super::pod;
    use super::super::selection::{list, text};
    use crate::twin::kube;
    use crate::twin::physics::settle;
    use crate::twin::physics::stage::{self, pass};
    use crate::twin::world::World;
    use serde_json::{Value, json};

    /// A cluster with ready nodes. Pods of these tests share the network of their nodes, so they need no aws-node.
    fn world(nodes: usize) -> World {
        let mut world = stage::world(&[]);
        // Nodes without instances would go.
        world.switch_off("nodes leave");
        for number in 0..nodes {
            add_node(&mut world, &format!("n{number}"), json!([]));
        }
        world
    }

    fn add_node(world: &mut World, name: &str, taints: Value) {
        let mut node = stage::node(name);
        node["spec"]["taints"] = taints;
        kube::create(world, "prod", "nodes", node);
        settle(world);
    }

    fn template(image: &str) -> Value {
        json!({ "metadata": { "labels": { "app": "web" } },
            "spec": { "hostNetwork": true, "containers": [{ "name": "c", "image": image }] } })
    }

    fn deploy(world: &mut World, replicas: usize) {
        let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "namespace": "x" },
            "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "web" } }, "template": template("web:1"),
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } } } });
        kube::create(world, "prod", "deployments.apps", deployment);
        settle(world);
    }

    fn change(world: &mut World, kind: &str, change: impl FnOnce(&mut Value)) {
        world.store_mut("prod").unwrap().change(kind, "x/web", change);
        settle(world);
    }

    fn get<'a>(world: &'a World, kind: &str) -> &'a Value {
        world.store("prod").unwrap().get(kind, "x/web").unwrap()
    }

    fn condition<'a>(object: &'a Value, name: &str) -> &'a str {
        let found = list(&object["status"]["conditions"]).iter().find(|one| one["type"] == name);
        found.map_or("", |one| text(one, "reason"))
    }

    fn ready(world: &World) -> usize {
        world.store("prod").unwrap().list("pods").values().filter(|pod| pod::is_ready(pod)).count()
    }

    #[test]
    fn a_deployment_rolls_out_and_says_so() {
        let mut world = world(2);
        deploy(&mut world, 3);
        let found = get(&world, "deployments.apps");
        assert_eq!(
            (condition(found, "Available"), condition(found, "Progressing")),
            ("MinimumReplicasUnavailable", "ReplicaSetUpdated")
        );
        pass(&mut world, 8);
        let found = get(&world, "deployments.apps");
        for name in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            assert_eq!(found["status"][name], 3, "{name}");
        }
        assert_eq!(
            (condition(found, "Available"), condition(found, "Progressing")),
            ("MinimumReplicasAvailable", "NewReplicaSetAvailable")
        );
        let order: Vec<&str> = list(&found["status"]["conditions"]).iter().map(|one| text(one, "type")).collect();
        assert_eq!(order, ["Available", "Progressing"], "as a real controller leaves them");
        assert_eq!(found["status"]["observedGeneration"], found["metadata"]["generation"]);
        let before = world.store("prod").unwrap().revision();
        world.touch("kube/deployments.apps");
        world.touch("kube/pods");
        settle(&mut world);
        assert_eq!(world.store("prod").unwrap().revision(), before, "at rest nothing is written");
    }

    #[test]
    fn a_new_template_replaces_pods_without_losing_any_and_a_rollback_finds_the_old_set() {
        let mut world = world(2);
        deploy(&mut world, 3);
        pass(&mut world, 8);
        for (image, revision) in [("web:2", "2"), ("web:1", "3")] {
            change(&mut world, "deployments.apps", |one| {
                one["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
            });
            for _ in 0..60 {
                pass(&mut world, 1);
                assert!(ready(&world) >= 3, "never fewer than wanted");
                let all = world.store("prod").unwrap().list("pods").values().filter(|pod| !pod::is_ending(pod)).count();
                assert!(all <= 4, "never more than one beyond");
            }
            let store = world.store("prod").unwrap();
            assert!(store.list("pods").values().all(|pod| pod["spec"]["containers"][0]["image"] == image));
            assert_eq!(store.list("pods").len(), 3);
            assert_eq!(store.list("replicasets.apps").len(), 2);
            let found = get(&world, "deployments.apps");
            assert_eq!(found["metadata"]["annotations"]["deployment.kubernetes.io/revision"], revision);
            assert_eq!(found["status"]["replicas"], 3);
        }
    }

    #[test]
    fn a_deployment_is_scaled_both_ways() {
        let mut world = world(1);
        deploy(&mut world, 1);
        pass(&mut world, 8);
        change(&mut world, "deployments.apps", |one| one["spec"]["replicas"] = json!(4));
        pass(&mut world, 8);
        assert_eq!(ready(&world), 4);
        change(&mut world, "deployments.apps", |one| one["spec"]["replicas"] = json!(0));
        pass(&mut world, 10);
        assert!(world.store("prod").unwrap().list("pods").is_empty());
        assert_eq!(world.store("prod").unwrap().list("replicasets.apps").len(), 1);
    }

    #[test]
    fn a_rollout_that_does_not_move_is_late_after_its_deadline() {
        let mut world = world(1);
        deploy(&mut world, 1);
        pass(&mut world, 8);
        change(&mut world, "deployments.apps", |one| one["spec"]["template"] = template("does-not-exist:1"));
        pass(&mut world, 599);
        assert_ne!(condition(get(&world, "deployments.apps"), "Progressing"), "ProgressDeadlineExceeded");
        pass(&mut world, 20);
        assert_eq!(condition(get(&world, "deployments.apps"), "Progressing"), "ProgressDeadlineExceeded");
        assert_eq!(ready(&world), 1, "the old pod still serves");
    }

    #[test]
    fn a_paused_deployment_waits_and_one_that_is_scaled_meanwhile_keeps_its_proportions() {
        let mut world = world(2);
        deploy(&mut world, 4);
        pass(&mut world, 8);
        change(&mut world, "deployments.apps", |one| {
            one["spec"]["paused"] = json!(true);
            one["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
        });
        pass(&mut world, 30);
        let found = get(&world, "deployments.apps");
        assert_eq!(
            (condition(found, "Progressing"), found["status"]["updatedReplicas"].as_i64()),
            ("DeploymentPaused", None)
        );
        assert_eq!(world.store("prod").unwrap().list("replicasets.apps").len(), 1);
        change(&mut world, "deployments.apps", |one| one["spec"]["paused"] = json!(false));
        let sizes = |world: &World| {
            let sets = world.store("prod").unwrap().list("replicasets.apps").values();
            let mut sizes: Vec<i64> = sets.filter_map(|set| set["spec"]["replicas"].as_i64()).collect();
            sizes.sort_unstable();
            sizes
        };
        assert_eq!(sizes(&world), [1, 4], "it goes on");
        change(&mut world, "deployments.apps", |one| one["spec"]["replicas"] = json!(8));
        assert_eq!(sizes(&world).iter().sum::<i64>(), 9, "one more than wanted, shared by both");
        assert!(sizes(&world)[0] > 1, "{:?}", sizes(&world));
        pass(&mut world, 120);
        assert_eq!(sizes(&world), [0, 8]);
        assert_eq!(condition(get(&world, "deployments.apps"), "Progressing"), "NewReplicaSetAvailable");
    }

    #[test]
    fn pods_count_as_available_only_after_a_while_where_they_should() {
        let mut world = world(1);
        deploy(&mut world, 1);
        change(&mut world, "deployments.apps", |one| one["spec"]["minReadySeconds"] = json!(30));
        pass(&mut world, 20);
        let counts = |world: &World| {
            let status = &get(world, "deployments.apps")["status"];
            (status["readyReplicas"].as_i64(), status["availableReplicas"].as_i64())
        };
        assert_eq!(counts(&world), (Some(1), None));
        pass(&mut world, 20);
        assert_eq!(counts(&world), (Some(1), Some(1)));
    }

    #[test]
    fn a_deployment_that_recreates_has_no_two_generations_at_once() {
        let mut world = world(1);
        deploy(&mut world, 2);
        pass(&mut world, 8);
        change(&mut world, "deployments.apps", |one| {
            one["spec"]["strategy"] = json!({ "type": "Recreate" });
            one["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
        });
        for _ in 0..30 {
            let images: std::collections::BTreeSet<String> = world
                .store("prod")
                .unwrap()
                .list("pods")
                .values()
                .map(|pod| text(&pod["spec"]["containers"][0], "image").to_owned())
                .collect();
            assert!(images.len() <= 1, "{images:?}");
            pass(&mut world, 1);
        }
        assert_eq!(ready(&world), 2);
    }

    #[test]
    fn pods_that_nobody_owned_are_taken_and_those_that_fit_no_more_are_let_go() {
        let mut world = world(1);
        deploy(&mut world, 2);
        pass(&mut world, 8);
        let key = world.store("prod").unwrap().list("pods").keys().next().unwrap().clone();
        let store = world.store_mut("prod").unwrap();
        store.change("pods", &key, |pod| pod["metadata"]["labels"]["app"] = json!("debug"));
        settle(&mut world);
        let store = world.store("prod").unwrap();
        assert_eq!(pod::controller_of(store.get("pods", &key).unwrap()), None);
        assert_eq!(store.list("pods").len(), 3);
        let store = world.store_mut("prod").unwrap();
        store.change("pods", &key, |pod| pod["metadata"]["labels"]["app"] = json!("web"));
        settle(&mut world);
        pass(&mut world, 10);
        assert_eq!(world.store("prod").unwrap().list("pods").len(), 2, "one is too many again");
    }

    #[test]
    fn a_played_node_is_ready_and_its_pods_have_addresses() {
        let mut world = world(0);
        let node = json!({ "metadata": { "name": "k1", "annotations": { "kwok.x-k8s.io/node": "fake" } }, "spec": {} });
        kube::create(&mut world, "prod", "nodes", node);
        let bare = json!({ "metadata": { "name": "a", "namespace": "x" },
            "spec": { "containers": [{ "name": "c", "image": "a:1" }] } });
        kube::create(&mut world, "prod", "pods", bare);
        settle(&mut world);
        pass(&mut world, 600);
        let pod = world.store("prod").unwrap().get("pods", "x/a").unwrap();
        assert!(pod::is_ready(pod) && pod["status"]["podIP"].is_string(), "{pod}");
    }

    fn daemons(world: &mut World, tolerations: Value) {
        let mut pod = template("agent:1");
        pod["spec"]["tolerations"] = tolerations;
        let set = json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "web", "namespace": "x" },
            "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": pod,
                "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } } } });
        kube::create(world, "prod", "daemonsets.apps", set);
        settle(world);
    }

    #[test]
    fn a_daemon_set_runs_on_every_node_that_it_tolerates() {
        let gpu = json!([{ "key": "gpu", "value": "", "effect": "NoSchedule" }]);
        for (tolerations, wanted) in [(json!([]), 3), (json!([{ "operator": "Exists" }]), 4)] {
            let mut world = world(2);
            add_node(&mut world, "gpu", gpu.clone());
            daemons(&mut world, tolerations);
            add_node(&mut world, "late", json!([]));
            pass(&mut world, 8);
            let status = &get(&world, "daemonsets.apps")["status"];
            for name in ["desiredNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"] {
                assert_eq!(status[name], wanted, "{name}");
            }
        }
    }

    #[test]
    fn a_daemon_set_that_surges_never_lacks_a_pod() {
        let mut world = world(3);
        daemons(&mut world, json!([]));
        pass(&mut world, 8);
        change(&mut world, "daemonsets.apps", |one| {
            one["spec"]["updateStrategy"]["rollingUpdate"] = json!({ "maxSurge": 1, "maxUnavailable": 0 });
            one["spec"]["template"] = template("agent:2");
        });
        let mut most = 0;
        for _ in 0..120 {
            pass(&mut world, 1);
            assert!(ready(&world) >= 3, "none goes before its successor serves");
            let living = world.store("prod").unwrap().list("pods").values().filter(|pod| !pod::is_ending(pod)).count();
            most = most.max(living);
        }
        assert_eq!(most, 4, "one beyond at a time");
        let store = world.store("prod").unwrap();
        assert!(store.list("pods").values().all(|pod| pod["spec"]["containers"][0]["image"] == "agent:2"));
        assert_eq!(store.list("pods").len(), 3);
    }

    #[test]
    fn a_daemon_stays_on_a_node_that_takes_no_new_ones() {
        let mut world = world(2);
        daemons(&mut world, json!([]));
        pass(&mut world, 8);
        let taint = |world: &mut World, effect: &str| {
            let taints = json!([{ "key": "gpu", "value": "", "effect": effect }]);
            world.store_mut("prod").unwrap().change("nodes", "n0", |node| node["spec"]["taints"] = taints);
            settle(world);
            pass(world, 20);
        };
        let counts = |world: &World| {
            let status = &get(world, "daemonsets.apps")["status"];
            (status["desiredNumberScheduled"].clone(), status["numberMisscheduled"].clone())
        };
        taint(&mut world, "NoSchedule");
        assert_eq!((counts(&world), ready(&world)), ((json!(1), json!(1)), 2));
        taint(&mut world, "NoExecute");
        assert_eq!((counts(&world), ready(&world)), ((json!(1), json!(0)), 1));
    }

    #[test]
    fn a_rollout_that_is_scaled_down_keeps_what_serves() {
        let mut world = world(4);
        deploy(&mut world, 10);
        pass(&mut world, 8);
        change(&mut world, "deployments.apps", |one| {
            one["spec"]["strategy"]["rollingUpdate"] = json!({ "maxSurge": 3, "maxUnavailable": 2 });
            one["spec"]["template"] = template("does-not-exist:1");
        });
        pass(&mut world, 20);
        change(&mut world, "deployments.apps", |one| one["spec"]["replicas"] = json!(15));
        pass(&mut world, 20);
        change(&mut world, "deployments.apps", |one| one["spec"]["replicas"] = json!(6));
        pass(&mut world, 20);
        assert_eq!(ready(&world), 4, "two of six may be missing");
    }

    #[test]
    fn what_is_deleted_in_the_foreground_waits_for_all_below_it() {
        let mut world = world(1);
        deploy(&mut world, 2);
        pass(&mut world, 8);
        let served = kube::kinds::of_table(world.store("prod").unwrap(), "deployments.apps").unwrap();
        let options = kube::remove::Options::default().with_params("", "Foreground", "").unwrap();
        kube::remove::delete(&mut world, "prod", &served, "x/web", &options).unwrap();
        settle(&mut world);
        let there = |world: &World| {
            let store = world.store("prod").unwrap();
            ["deployments.apps", "replicasets.apps", "pods"].map(|kind| store.list(kind).len())
        };
        assert_eq!(there(&world), [1, 1, 2]);
        assert_eq!(get(&world, "deployments.apps")["status"]["terminatingReplicas"], 2);
        pass(&mut world, 10);
        assert_eq!(there(&world), [0, 0, 0]);
    }

    #[test]
    fn a_daemon_set_updates_one_node_after_the_other() {
        let mut world = world(3);
        daemons(&mut world, json!([]));
        pass(&mut world, 8);
        change(&mut world, "daemonsets.apps", |one| one["spec"]["template"] = template("agent:2"));
        for _ in 0..120 {
            pass(&mut world, 1);
            assert!(ready(&world) >= 2, "no more than one at once");
        }
        let store = world.store("prod").unwrap();
        assert!(store.list("pods").values().all(|pod| pod["spec"]["containers"][0]["image"] == "agent:2"));
        assert_eq!(get(&world, "daemonsets.apps")["status"]["updatedNumberScheduled"], 3);
    }
}
