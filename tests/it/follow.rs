//! kube-rs's own watcher and reflector on a twin, in process: what they hold is what is there, whatever happens between.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ekskit::cloud::{Endpoint, Kube};
use ekskit::twin::Twin;
use ekskit::twin::kube::store::Store;
use ekskit::twin::world::World;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::reflector::{self, reflector};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::json;

/// A cluster that the caller made.
fn twin() -> Twin {
    let mut world = World::new(7).unwrap();
    world.start_server("prod");
    let creator = world.iam_arn("role/platform");
    let cluster = json!({ "name": "prod", "status": "ACTIVE", "_creator": creator,
        "access_config": { "authentication_mode": "CONFIG_MAP" } });
    world.put("eks/clusters", "prod", cluster);
    Twin::new(world)
}

async fn client(twin: &Twin) -> Client {
    twin.connect(&Endpoint::Kubeconfig { path: None, context: Some("prod".to_owned()) }).await.unwrap()
}

/// What a watcher has told so far.
#[derive(Default)]
struct Told {
    changes: AtomicUsize,
    lists: AtomicUsize,
    errors: Mutex<Vec<String>>,
}

/// Writes the change of this number: creates, changes, and at times deletes one of a few objects.
fn change(store: &mut Store, number: usize) {
    let name = format!("map-{}", number % 40);
    let key = format!("default/{name}");
    if store.get("configmaps", &key).is_none() {
        let metadata = json!({ "name": name, "namespace": "default", "uid": format!("uid-{number}") });
        store.create("configmaps", json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata }));
    } else if number.is_multiple_of(7) {
        store.remove("configmaps", &key);
    } else {
        store.change("configmaps", &key, |map| map["data"] = json!({ "number": number.to_string() }));
    }
}

/// Names and revisions of all ConfigMaps.
fn there(twin: &Twin) -> BTreeMap<String, String> {
    let world = twin.world();
    let maps = world.store("prod").unwrap().list("configmaps").iter();
    maps.map(|(key, map)| (key.clone(), map["metadata"]["resourceVersion"].as_str().unwrap().to_owned())).collect()
}

fn held(reader: &reflector::Store<ConfigMap>) -> BTreeMap<String, String> {
    let state = reader.state();
    let of = |map: &ConfigMap| {
        let metadata = &map.metadata;
        let key = format!("{}/{}", metadata.namespace.as_ref().unwrap(), metadata.name.as_ref().unwrap());
        (key, metadata.resource_version.clone().unwrap())
    };
    state.iter().map(|map| of(map)).collect()
}

async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come true in 30 seconds");
}

#[test]
fn a_reflector_follows_ten_thousand_changes_and_a_forced_410_without_loss() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let twin = twin();
        let (reader, writer) = reflector::store::<ConfigMap>();
        let told = Arc::new(Told::default());
        let (seen, maps) = (told.clone(), Api::<ConfigMap>::all(client(&twin).await));
        tokio::spawn(async move {
            let mut events = pin!(reflector(writer, watcher(maps, watcher::Config::default())));
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Apply(_) | Event::Delete(_)) => drop(seen.changes.fetch_add(1, Ordering::SeqCst)),
                    Ok(Event::InitDone) => drop(seen.lists.fetch_add(1, Ordering::SeqCst)),
                    Ok(_) => {}
                    Err(error) => seen.errors.lock().unwrap().push(error.to_string()),
                }
            }
        });
        wait_until("the first list", || told.lists.load(Ordering::SeqCst) == 1).await;

        // Whoever keeps up is told of each single change.
        for batch in 0..100 {
            twin.change(|world| {
                let store = world.store_mut("prod").unwrap();
                (batch * 50..(batch + 1) * 50).for_each(|number| change(store, number));
            });
        }
        wait_until("every change is told", || told.changes.load(Ordering::SeqCst) == 5000).await;
        assert_eq!(held(&reader), there(&twin));
        assert_eq!(*told.errors.lock().unwrap(), Vec::<String>::new());

        // Changes that are forgotten before anybody could be told of them: the watch ends, and going on is refused.
        twin.change(|world| {
            let store = world.store_mut("prod").unwrap();
            (5000..6000).for_each(|number| change(store, number));
            store.compact();
        });
        wait_until("a second list", || told.lists.load(Ordering::SeqCst) == 2).await;
        let errors = told.errors.lock().unwrap().clone();
        assert!(errors.len() == 1 && errors[0].contains("too old resource version"), "{errors:?}");

        for number in 6000..10_000 {
            twin.change(|world| change(world.store_mut("prod").unwrap(), number));
        }
        wait_until("every later change is told", || told.changes.load(Ordering::SeqCst) == 9000).await;
        assert_eq!(held(&reader), there(&twin));
        assert_eq!(told.lists.load(Ordering::SeqCst), 2);
    });
}
