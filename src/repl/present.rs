//! Names that exist just now: clusters, node groups, namespaces, pods. Read in the background when completion first
//! wants them, and kept for half a minute; whoever types never waits for them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bindings;
use crate::engine::call;
use crate::error::{Error, Result};
use crate::session::Session;

/// After this long names are read anew.
const FRESH: Duration = Duration::from_secs(30);

/// After a failure, for this long nobody tries again.
const PAUSE: Duration = Duration::from_secs(10);

/// Which names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Query {
    /// EKS clusters.
    Clusters,
    /// Regions that the account may use.
    Regions,
    /// Managed node groups of a cluster.
    Nodegroups(String),
    /// Add-ons of a cluster.
    Addons(String),
    /// ARNs with an access entry in a cluster.
    AccessEntries(String),
    /// Kubernetes objects.
    Objects {
        /// The EKS cluster; none: that of bare `kube::` calls.
        cluster: Option<String>,
        /// As a script writes it.
        kind: String,
        /// None: that of the context.
        namespace: Option<String>,
    },
}

struct Known {
    names: Vec<String>,
    read: Instant,
    loading: bool,
    failed: bool,
}

/// What is known of live names.
pub struct Live {
    session: Arc<Session>,
    known: Mutex<BTreeMap<(Option<String>, Query), Known>>,
    /// Something arrived that nobody has looked at.
    news: AtomicBool,
}

impl Live {
    /// Of this session.
    pub fn new(session: &Arc<Session>) -> Arc<Live> {
        Arc::new(Live { session: session.clone(), known: Mutex::default(), news: AtomicBool::new(false) })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(Option<String>, Query), Known>> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The names as far as they are known, and whether more may come.
    pub fn names(self: &Arc<Live>, query: Query) -> (Vec<String>, bool) {
        let key = (self.session.target().region, query);
        let mut all = self.known();
        if let Some(known) = all.get_mut(&key) {
            let fresh = if known.failed { PAUSE } else { FRESH };
            if known.loading || known.read.elapsed() < fresh {
                return (known.names.clone(), known.loading);
            }
        }
        let names = all.get(&key).map(|known| known.names.clone()).unwrap_or_default();
        let begun = Known { names: names.clone(), read: Instant::now(), loading: true, failed: false };
        all.insert(key.clone(), begun);
        drop(all);
        let live = self.clone();
        let started = std::thread::Builder::new().name("names".to_owned()).spawn(move || live.read(key));
        (names, started.is_ok())
    }

    fn read(&self, key: (Option<String>, Query)) {
        let answer = fetch(&self.session, &key.1);
        if let Some(known) = self.known().get_mut(&key) {
            known.failed = answer.is_err();
            // Old names are better than none.
            if let Ok(names) = answer {
                known.names = names;
            }
            known.loading = false;
            known.read = Instant::now();
        }
        self.news.store(true, Ordering::Relaxed);
    }

    /// Whether something is being read.
    pub fn is_reading(&self) -> bool {
        self.known().values().any(|known| known.loading)
    }

    /// Whether something arrived since the last time this was asked.
    pub fn has_news(&self) -> bool {
        self.news.swap(false, Ordering::Relaxed)
    }

    /// Everything is read anew: something may have been changed.
    pub fn forget(&self) {
        self.known().retain(|_, known| known.loading);
    }
}

fn fetch(session: &Arc<Session>, query: &Query) -> Result<Vec<String>> {
    let eks = |operation: &str, input: Value, list: &str| names_of(session, ("eks", operation), &input, list);
    match query {
        Query::Clusters => eks("list_clusters", json!({}), "clusters"),
        Query::Nodegroups(cluster) => eks("list_nodegroups", json!({ "cluster_name": cluster }), "nodegroups"),
        Query::Addons(cluster) => eks("list_addons", json!({ "cluster_name": cluster }), "addons"),
        Query::AccessEntries(cluster) => {
            eks("list_access_entries", json!({ "cluster_name": cluster }), "access_entries")
        }
        Query::Regions => names_of(session, ("ec2", "describe_regions"), &json!({}), "regions"),
        Query::Objects { cluster, kind, namespace } => objects(session, cluster.as_deref(), kind, namespace.as_deref()),
    }
}

fn names_of(session: &Arc<Session>, (service, name): (&str, &str), input: &Value, list: &str) -> Result<Vec<String>> {
    let operation = aws_dynamic::operation(service, name)
        .ok_or_else(|| Error::bug(format!("`{service}::{name}` is not compiled in")))?;
    let answer = call::read_in_background(session, operation, input)?;
    let items = answer[list].as_array().into_iter().flatten();
    Ok(items.filter_map(|item| item.as_str().or_else(|| item["region_name"].as_str())).map(str::to_owned).collect())
}

fn objects(session: &Arc<Session>, cluster: Option<&str>, kind: &str, namespace: Option<&str>) -> Result<Vec<String>> {
    let time = Duration::from_secs(10);
    let connection = match cluster {
        Some(name) => session.wait_in_background(time, session.cluster(&session.target(), name))?,
        None => session
            .wait_in_background(time, session.bare_cluster_quietly())?
            .ok_or_else(|| Error::invalid("no cluster was chosen"))?,
    };
    let list = bindings::find("kube::list").ok_or_else(|| Error::bug("`kube::list` is missing"))?;
    let mut args = vec![json!(kind)];
    args.extend(namespace.map(|namespace| json!({ "namespace": namespace })));
    let answer = call::look_in_background(session, list, connection, &args)?;
    let items = answer.as_array().into_iter().flatten();
    Ok(items.filter_map(|item| item["metadata"]["name"].as_str()).map(str::to_owned).collect())
}
