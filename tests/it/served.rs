//! `ekskit twin serve` from outside: clients on loopback, over TLS, with a kubeconfig.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

/// A served world.
pub struct Served {
    child: Child,
    /// What it said where it listens.
    pub told: Value,
    folder: tempfile::TempDir,
}

impl Served {
    /// Begins to serve with these arguments.
    pub fn with(arguments: &[&str]) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ekskit"))
            .args(["twin", "serve", "--output", "json", "--kubeconfig", "config"])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{arguments:?} said {line:?}"));
        Served { child, told, folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client of a context.
    pub async fn client(&self, context: &str) -> Client {
        self.client_at(context, self.told["server"].as_str().unwrap()).await
    }

    /// A client of a context that finds the server at another place.
    pub async fn client_at(&self, context: &str, server: &str) -> Client {
        let file = Kubeconfig::read_from(self.folder().join("config")).unwrap();
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
        let mut config = Config::from_custom_kubeconfig(file, &options).await.unwrap();
        config.cluster_url = server.parse().unwrap();
        Client::try_from(config).unwrap()
    }

    /// Ends it as a service manager does; its exit code.
    pub fn end(mut self) -> (i32, tempfile::TempDir) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        let code = self.child.wait().unwrap().code().unwrap();
        (code, std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_new_cluster_runs_pods_and_is_written_at_the_end() {
    use std::os::unix::fs::PermissionsExt;
    let served = Served::with(&["--nodes", "2", "--speed", "1000", "--user", "dev=team,ops", "--world-out", "w.yaml"]);
    assert_eq!((&served.told["cluster"], &served.told["users"][1]["name"]), (&json!("twin"), &json!("dev")));
    runtime().block_on(async {
        let admin = served.client("twin").await;
        let nodes = Api::<Node>::all(admin.clone()).list(&Default::default()).await.unwrap();
        assert_eq!(nodes.items.len(), 2);
        let pods = Api::<Pod>::default_namespaced(admin);
        let pod = json!({ "metadata": { "name": "a" }, "spec": { "containers": [{ "name": "a", "image": "a:1" }] } });
        pods.create(&Default::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        let mut phase = None;
        for _ in 0..200 {
            phase = pods.get("a").await.unwrap().status.unwrap().phase;
            if phase.as_deref() == Some("Running") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(phase.as_deref(), Some("Running"));
        let dev = served.client("dev@twin").await;
        let refused = Api::<Node>::all(dev).list(&Default::default()).await.unwrap_err();
        let kube::Error::Api(status) = refused else { panic!("{refused}") };
        assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
        assert!(status.message.starts_with("nodes is forbidden: User \"dev\" cannot list"), "{}", status.message);
    });
    let (code, folder) = served.end();
    assert_eq!(code, 0);
    let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("w.yaml"), mode("config")), (0o600, 0o600));
    let world = std::fs::read_to_string(folder.path().join("w.yaml")).unwrap();
    let world = ekskit::twin::world::World::parse(&world).unwrap();
    assert!(world.store("twin").unwrap().get("pods", "default/a").is_some());
}
