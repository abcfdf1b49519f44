//! Kubernetes over real sockets on loopback: TLS with a private authority, tokens, and proxies.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ekskit::catalog::Answer;
use ekskit::cloud::kube::{Connection, Server};
use ekskit::cloud::live::kube::LiveKube;
use ekskit::cloud::live::proxy::Proxies;
use ekskit::cloud::{Endpoint, Kube, Target};
use ekskit::error::{Error, Kind, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{FakeAws, aws, call};

/// Authority and certificate of `api.cluster.test`, valid for a hundred years.
const CA: &[u8] = include_bytes!("tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");

/// What one request said of itself: request line and authorization.
type Heard = Arc<Mutex<Vec<(String, String)>>>;

/// An API server over TLS that answers with these statuses, then with 200.
fn serve(statuses: Vec<u16>) -> (SocketAddr, Heard) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<_, _>>().unwrap(),
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard: Heard = Arc::default();
    let (statuses, log) = (Arc::new(Mutex::new(VecDeque::from(statuses))), heard.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, statuses, log) = (config.clone(), statuses.clone(), log.clone());
            std::thread::spawn(move || {
                let connection = rustls::ServerConnection::new(config).unwrap();
                let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
                while answer(&mut stream, &statuses, &log).is_some() {}
            });
        }
    });
    (address, heard)
}

/// Answers one request; `None` when the client is gone.
fn answer<S: Read + Write>(stream: &mut BufReader<S>, statuses: &Mutex<VecDeque<u16>>, log: &Heard) -> Option<()> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        lines
            .iter()
            .find_map(|line| line.to_lowercase().starts_with(name).then(|| line[name.len()..].trim().to_owned()))
            .unwrap_or_default()
    };
    let mut body = vec![0; header("content-length:").parse().unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    log.lock().unwrap().push((lines[0].clone(), header("authorization:")));
    let status = statuses.lock().unwrap().pop_front().unwrap_or(200);
    let text = match status {
        200 => json!({ "metadata": { "name": "n" } }),
        _ => json!({ "kind": "Status", "status": "Failure", "reason": "Unauthorized", "message": "Unauthorized", "code": status }),
    }
    .to_string();
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
    stream.get_mut().write_all(format!("{head}{text}").as_bytes()).ok()?;
    stream.get_mut().flush().ok()
}

/// A proxy that knows CONNECT, leads every name to `target`, and writes down what it was asked for.
async fn proxy(target: SocketAddr, refuses: bool) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://ana:s%40me@{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let log = log.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                log.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
                if refuses {
                    return client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
                }
                let mut server = tokio::net::TcpStream::connect(target).await?;
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.map(|_| ())
            });
        }
    });
    (url, asked)
}

fn live(aws: Arc<FakeAws>, variables: &[(&str, &str)]) -> LiveKube {
    LiveKube::with_proxies(
        aws,
        Proxies::from_environment(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        }),
    )
}

fn no_aws() -> Arc<FakeAws> {
    aws(true, |operation| panic!("nobody expected {operation}"))
}

fn cluster(url: &str) -> Endpoint {
    Endpoint::Cluster { name: "prod".to_owned(), url: url.to_owned(), ca_pem: CA.to_vec(), target: Target::default() }
}

/// A get over this endpoint, as a script would do it.
async fn get(kube: &LiveKube, endpoint: &Endpoint) -> Result<Answer> {
    call(connection(kube, endpoint).await?, "kube::find", json!(["nodes", "n"]), true).await
}

async fn connection(kube: &LiveKube, endpoint: &Endpoint) -> Result<Arc<Connection>> {
    let client = kube.connect(endpoint).await?;
    Ok(Arc::new(match endpoint {
        Endpoint::Cluster { name, .. } => Connection::new(client, Server::Cluster(name.clone()), Target::default()),
        kubeconfig => Connection::from_kubeconfig(client, kubeconfig, Target::default()),
    }))
}

/// A kubeconfig whose cluster has these further lines.
fn kubeconfig(server: &str, lines: &str) -> (tempfile::TempDir, Endpoint) {
    use base64::Engine;
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("config");
    let ca = base64::engine::general_purpose::STANDARD.encode(CA);
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: dev\nclusters:\n- name: c\n  cluster:\n    server: {server}\n    \
         certificate-authority-data: {ca}\n{lines}contexts:\n- name: dev\n  context: {{cluster: c, user: u}}\n\
         users:\n- name: u\n  user: {{token: abc}}\n"
    );
    std::fs::write(&path, text).unwrap();
    (folder, Endpoint::Kubeconfig { path: Some(path), context: Some("dev".to_owned()) })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_of_the_environment_is_used_and_no_proxy_is_about_the_server() {
    let (server, heard) = serve(vec![]);
    let (url, asked) = proxy(server, false).await;
    get(&live(no_aws(), &[("HTTPS_PROXY", &url)]), &cluster("https://api.cluster.test:6443")).await.unwrap();
    let log = asked.lock().unwrap().clone();
    assert!(log[0].starts_with("CONNECT api.cluster.test:6443 HTTP/1.1\r\n"), "{log:?}");
    // `ana:s@me`: the password was decoded on its way.
    assert!(log[0].to_lowercase().contains("proxy-authorization: basic yw5honnabwu="), "{log:?}");
    assert_eq!(
        heard.lock().unwrap()[0],
        ("GET /api/v1/nodes/n HTTP/1.1".to_owned(), "Bearer k8s-aws-v1.prod-1".to_owned())
    );

    // Excluded, the name is looked up here, where nobody knows it.
    let excluded = live(no_aws(), &[("HTTPS_PROXY", &url), ("NO_PROXY", ".cluster.test")]);
    let error = get(&excluded, &cluster("https://api.cluster.test:6443")).await.unwrap_err();
    assert_eq!(error.to_string(), "can not reach cluster `prod`: its name is not known here");
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_names_its_own_proxy_and_server_name() {
    let (server, heard) = serve(vec![]);
    let (url, asked) = proxy(server, false).await;
    // Stronger than the environment, and used even for loopback.
    let (_folder, endpoint) = kubeconfig("https://api.cluster.test", &format!("    proxy-url: {url}\n"));
    get(&live(no_aws(), &[("NO_PROXY", "*")]), &endpoint).await.unwrap();
    assert!(asked.lock().unwrap()[0].starts_with("CONNECT api.cluster.test:443 "));
    assert_eq!(heard.lock().unwrap()[0].1, "Bearer abc");

    let (_folder, endpoint) = kubeconfig(&format!("https://{server}"), "    tls-server-name: api.cluster.test\n");
    get(&live(no_aws(), &[("HTTPS_PROXY", &url)]), &endpoint).await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 1, "loopback is not proxied by the environment");
    let (_folder, endpoint) = kubeconfig(&format!("https://{server}"), "");
    let error = get(&live(no_aws(), &[]), &endpoint).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "can not reach the cluster of context `dev`: the certificate or the handshake was refused"
    );
    assert!(!error.facts().retryable);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_named() {
    let (server, _) = serve(vec![]);
    let (url, _) = proxy(server, true).await;
    let error =
        get(&live(no_aws(), &[("HTTPS_PROXY", &url)]), &cluster("https://api.cluster.test:6443")).await.unwrap_err();
    assert_eq!(error.to_string(), "can not reach cluster `prod`: the proxy did not let it through");
    assert!(
        error.facts().notes[0]
            .starts_with("its endpoint is https://api.cluster.test:6443/, asked through the proxy http://127.0.0.1:")
    );
    assert!(!format!("{error:?}").contains("s%40me"));

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error: Error = call(
        connection(&live(no_aws(), &[]), &cluster(&format!("https://{closed}"))).await.unwrap(),
        "kube::delete",
        json!(["nodes", "n"]),
        true,
    )
    .await
    .unwrap_err();
    assert_eq!(error.to_string(), "can not reach cluster `prod`: the connection was refused");
    assert_eq!((error.kind(), error.facts().retryable, error.facts().maybe_applied), (Kind::Unavailable, true, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_connection_breaks_may_have_been_applied() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Takes the request and hangs up.
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let connection = connection(&live(no_aws(), &[]), &cluster(&url)).await.unwrap();
    let error = call(
        connection.clone(),
        "kube::create",
        json!([{ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "n" } }]),
        true,
    )
    .await
    .unwrap_err();
    assert_eq!(error.to_string(), "can not reach cluster `prod`: the connection broke");
    assert!(error.facts().maybe_applied && error.facts().retryable);
    let error = call(connection, "kube::get", json!(["nodes", "n"]), true).await.unwrap_err();
    assert!(!error.facts().maybe_applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_token_that_is_refused_is_minted_anew_once() {
    let (server, heard) = serve(vec![200, 401]);
    let (url, _) = proxy(server, false).await;
    let aws = no_aws();
    let kube = live(aws.clone(), &[("HTTPS_PROXY", &url)]);
    let connection = connection(&kube, &cluster("https://api.cluster.test")).await.unwrap();
    call(connection.clone(), "kube::find", json!(["nodes", "n"]), true).await.unwrap();
    assert_eq!(*aws.minted.lock().unwrap(), 1);
    // The second request is refused, minted for, and sent again: with its body.
    call(
        connection.clone(),
        "kube::create",
        json!([{ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n" } }]),
        true,
    )
    .await
    .unwrap();
    call(connection, "kube::find", json!(["nodes", "n"]), true).await.unwrap();
    let tokens: Vec<String> =
        heard.lock().unwrap().iter().map(|(_, token)| token.replace("Bearer k8s-aws-v1.", "")).collect();
    assert_eq!(tokens, ["prod-1", "prod-1", "prod-2", "prod-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_token_that_is_refused_is_the_answer() {
    let (server, heard) = serve(vec![401, 401, 401]);
    let (url, _) = proxy(server, false).await;
    let error = get(&live(no_aws(), &[("HTTPS_PROXY", &url)]), &cluster("https://api.cluster.test")).await.unwrap_err();
    assert_eq!(error.to_string(), "cluster `prod` does not know who is signed in");
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(heard.lock().unwrap().len(), 1);
    assert!(!format!("{error:?}").contains("k8s-aws-v1"));
}
