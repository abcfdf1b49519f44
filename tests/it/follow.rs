//! kube-rs's own watcher and reflector on a twin, in process and over the wire: what they hold is what is there,
//! whatever happens between.

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
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::reflector::{self, reflector};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::served::Served;

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
    reader.state().iter().map(|map| place(map)).collect()
}

/// The key of an object, and its revision.
fn place(map: &ConfigMap) -> (String, String) {
    let metadata = &map.metadata;
    let key = format!("{}/{}", metadata.namespace.as_ref().unwrap(), metadata.name.as_ref().unwrap());
    (key, metadata.resource_version.clone().unwrap())
}

fn runtime() -> tokio::runtime::Runtime {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
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

/// A reflector that follows all ConfigMaps, and what its watcher tells; the first list is there.
async fn follow(maps: Api<ConfigMap>) -> (reflector::Store<ConfigMap>, Arc<Told>) {
    let (reader, writer) = reflector::store::<ConfigMap>();
    let told = Arc::new(Told::default());
    let seen = told.clone();
    tokio::spawn(async move {
        let mut events = pin!(reflector(writer, watcher(maps, watcher::Config::default())));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(_) | Event::Delete(_)) => drop(seen.changes.fetch_add(1, Ordering::SeqCst)),
                Ok(Event::InitDone) => drop(seen.lists.fetch_add(1, Ordering::SeqCst)),
                Ok(_) => {}
                Err(error) => {
                    seen.errors.lock().unwrap().push(error.to_string());
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    wait_until("the first list", || told.lists.load(Ordering::SeqCst) == 1).await;
    (reader, told)
}

#[test]
fn a_reflector_follows_ten_thousand_changes_and_a_forced_410_without_loss() {
    runtime().block_on(async {
        let twin = twin();
        let (reader, told) = follow(Api::all(client(&twin).await)).await;

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

/// A link to a server on loopback that can be cut, and put together again. Answers its port and the knife.
async fn link(to: u16) -> (u16, watch::Sender<bool>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (knife, whole) = watch::channel(true);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut whole = whole.clone();
            tokio::spawn(async move {
                if *whole.borrow() {
                    let mut far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = whole.wait_for(|whole| !whole) => {}
                    }
                }
            });
        }
    });
    (port, knife)
}

/// Changes ConfigMaps by requests, several at a time: each number is one change.
async fn change_by_requests(client: &Client, numbers: std::ops::Range<usize>) {
    const WRITERS: usize = 8;
    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    let writers = (0..WRITERS).map(|writer| {
        let (maps, numbers) = (maps.clone(), numbers.clone());
        async move {
            for number in numbers.skip(writer).step_by(WRITERS) {
                let name = format!("map-{}", number % 40);
                let patch = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name },
                    "data": { "number": number.to_string() } });
                maps.patch(&name, &PatchParams::apply("test"), &Patch::Apply(patch)).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
}

#[test]
fn a_reflector_that_was_cut_off_over_the_wire_for_ten_thousand_changes_is_refused_and_loses_nothing() {
    const CUT: usize = 10_500;
    let served = Served::with(&["--nodes", "0", "--speed", "0"]);
    runtime().block_on(async {
        let direct = served.client("twin").await;
        let server = served.told["server"].as_str().unwrap();
        let (port, knife) = link(server.rsplit(':').next().unwrap().parse().unwrap()).await;
        let through = served.client_at("twin", &format!("https://127.0.0.1:{port}")).await;
        let (reader, told) = follow(Api::all(through)).await;

        change_by_requests(&direct, 0..500).await;
        wait_until("every change is told", || told.changes.load(Ordering::SeqCst) == 500).await;

        knife.send_replace(false);
        change_by_requests(&direct, 500..500 + CUT).await;
        assert_eq!(told.changes.load(Ordering::SeqCst), 500);
        knife.send_replace(true);
        wait_until("a second list", || told.lists.load(Ordering::SeqCst) == 2).await;
        let errors = told.errors.lock().unwrap().clone();
        assert!(errors.iter().any(|error| error.contains("too old resource version")), "{errors:?}");

        let changes = 500 + CUT..1000 + CUT;
        let before = told.changes.load(Ordering::SeqCst);
        change_by_requests(&direct, changes.clone()).await;
        let all = before + changes.len();
        wait_until("every later change is told", || told.changes.load(Ordering::SeqCst) == all).await;
        let there = Api::<ConfigMap>::all(direct).list(&ListParams::default()).await.unwrap();
        let there: BTreeMap<String, String> = there.iter().map(place).collect();
        assert_eq!(held(&reader), there);
        assert_eq!(told.lists.load(Ordering::SeqCst), 2);
    });
}
