//! `ekskit twin serve`.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::credentials::Credentials;
use crate::cli::{kubeconfig, rehearsal, start};
use crate::error::{Error, Result, list_or};
use crate::twin::kube::identify::anonymous;
use crate::twin::kube::{self, BODY_MAX, Caller};
use crate::twin::physics::access::Identity;
use crate::twin::physics::settle;
use crate::twin::stream::{Tick, Ticks};
use crate::twin::world::World;
use crate::twin::{Body, Twin};
use crate::ui::{self, Format};

/// Flags of `twin serve`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Serves a cluster of the world of this file; default: a new cluster
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Writes the world to this file at the end
    #[arg(long, value_name = "FILE")]
    world_out: Option<PathBuf>,
    /// Name of the cluster; default: the only one of the world, `twin` for a new one
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Ready nodes of a new cluster
    #[arg(long, value_name = "NUMBER", default_value_t = 3, conflicts_with = "world")]
    nodes: u32,
    /// Virtual seconds that pass in a second; 0: time stands still
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0, value_parser = parse_speed)]
    speed: f64,
    /// Port on loopback; 0: one that is free
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    port: u16,
    /// Writes the cluster into this kubeconfig file, and makes it the current context; default: prints a kubeconfig
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Somebody else who may log in, beside the admin; the context is NAME@CLUSTER
    #[arg(long = "user", value_name = "NAME[=GROUP,…]", value_parser = parse_user)]
    users: Vec<Named>,
    /// Where all that looks random comes from
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// What goes wrong
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
}

/// A user of the command line.
#[derive(Clone, Debug)]
struct Named(Identity);

fn parse_user(text: &str) -> Result<Named, String> {
    let (name, groups) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err("a user needs a name".to_owned());
    }
    let mut groups: Vec<String> = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
    groups.push("system:authenticated".to_owned());
    Ok(Named(Identity { username: name.to_owned(), groups, policies: Vec::new() }))
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.0..=1e9).contains(&speed) => Ok(speed),
        _ => Err("a number from 0 to 1000000000 is needed".to_owned()),
    }
}

/// Runs the command.
pub fn main(flags: &Flags, format: Format) -> Result<()> {
    rehearsal::can_write(flags.world_out.as_deref())?;
    let mut world = rehearsal::world(flags.world.as_deref(), flags.seed, flags.faults.as_deref())?;
    let cluster = cluster_of(&mut world, flags)?;
    let mut identities = vec![admin()];
    for Named(identity) in &flags.users {
        if identities.iter().any(|known| known.username == identity.username) {
            return Err(Error::usage(format!("user `{}` is there twice", identity.username))
                .hint("give all groups of a user in one `--user`; `admin` is there by itself"));
        }
        identities.push(identity.clone());
    }
    let credentials = Credentials::new(identities)?;
    let from = world.now;
    let twin = Twin::new(world);
    let runtime = start::runtime()?;
    let served = runtime.block_on(async {
        let address = (Ipv4Addr::LOCALHOST, flags.port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::failed(format!("port {} of 127.0.0.1 can not be listened on: {error}", flags.port))
                .hint("choose another with `--port`, or leave it out")
        })?;
        let port = listener.local_addr().map_err(|error| Error::failed(format!("no port: {error}")))?.port();
        tell(flags, format, &credentials, &cluster, port)?;
        let server = Arc::new(Server {
            twin: twin.clone(),
            cluster,
            pace: Pace { begun: Instant::now(), from, speed: flags.speed },
            credentials,
        });
        tokio::spawn(server.clone().let_time_pass());
        tokio::select! {
            biased;
            _ = start::interrupted() => {}
            () = server.clone().accept(listener) => {}
        }
        server.catch_up();
        Ok(())
    });
    // Whoever still reads is left alone.
    runtime.shutdown_background();
    let written = flags.world_out.as_deref().map_or(Ok(()), |path| rehearsal::write(&twin.world(), path));
    rehearsal::ended(served, written)
}

fn admin() -> Identity {
    let groups = vec!["system:masters".to_owned(), "system:authenticated".to_owned()];
    Identity { username: "admin".to_owned(), groups, policies: Vec::new() }
}

/// A node of a middling size, which nobody runs: the twin plays it, as kwok does on a real control plane.
fn node(name: &str) -> serde_json::Value {
    let size = json!({ "cpu": "4", "memory": "16Gi", "ephemeral-storage": "50Gi", "pods": "110" });
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": { "kwok.x-k8s.io/node": "fake" },
            "labels": {
                "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            },
        },
        "status": { "capacity": size, "allocatable": size },
    })
}

/// The cluster to serve; where no world is given, it is made.
fn cluster_of(world: &mut World, flags: &Flags) -> Result<String> {
    let Some(path) = &flags.world else {
        let name = flags.cluster.clone().unwrap_or_else(|| "twin".to_owned());
        world.start_server(&name);
        for number in 1..=flags.nodes {
            kube::create(world, &name, "nodes", node(&format!("{name}-node-{number}")));
        }
        settle(world);
        return Ok(name);
    };
    let (clusters, shown) = (world.clusters(), path.display());
    match (&*clusters, &flags.cluster) {
        (_, Some(name)) if clusters.contains(name) => Ok(name.clone()),
        ([only], None) => Ok(only.clone()),
        ([], _) => Err(Error::invalid(format!("the world of `{shown}` has no cluster"))
            .note("a world gets one from a runbook: `ekskit run runbooks/prod.rhai --rehearse --world-out FILE`")
            .hint("leave out `--world` to serve a new cluster")),
        (_, Some(name)) => {
            Err(Error::not_found("cluster", name).note(format!("the world of `{shown}` has {}", list_or(&clusters))))
        }
        _ => Err(Error::invalid(format!("the world of `{shown}` has more than one cluster"))
            .note(format!("there are {}", list_or(&clusters)))
            .hint("name one with `--cluster`")),
    }
}

/// Says where it listens: a kubeconfig, written or printed, or one line of JSON.
fn tell(flags: &Flags, format: Format, credentials: &Credentials, cluster: &str, port: u16) -> Result<()> {
    let server = format!("https://127.0.0.1:{port}");
    let config = credentials.kubeconfig(cluster, &server);
    if let Some(path) = &flags.kubeconfig {
        kubeconfig::write(path, &kubeconfig::with(path, &config)?)?;
    }
    match (format, &flags.kubeconfig) {
        (Format::Json, path) => {
            let users = credentials.users.iter();
            let users = users.map(|user| json!({ "name": user.identity.username, "token": user.token }));
            let told = json!({
                "cluster": cluster, "server": server, "certificate_authority": credentials.ca_pem,
                "users": users.collect::<Vec<_>>(),
                "kubeconfig": path.as_ref().map(|path| path.display().to_string()),
            });
            ui::result(&told.to_string());
        }
        (Format::Text, Some(path)) => ui::result(&format!("wrote context `{cluster}` to `{}`", path.display())),
        (Format::Text, None) => {
            let text = serde_yaml::to_string(&config)
                .map_err(|error| Error::bug(format!("a kubeconfig can not be written: {error}")))?;
            ui::result(&text);
        }
    }
    ui::note(&format!("cluster `{cluster}` is served on {server}; Ctrl-C ends it"));
    Ok(())
}

/// Which virtual time it is by the wall clock.
#[derive(Clone, Copy, Debug)]
struct Pace {
    begun: Instant,
    from: Timestamp,
    speed: f64,
}

impl Pace {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from_secs_f64(self.begun.elapsed().as_secs_f64() * self.speed);
        // A clock that has run over the end of the calendar stands still.
        passed.ok().and_then(|passed| self.from.checked_add(passed).ok()).unwrap_or(Timestamp::MAX)
    }

    /// How long it is by the wall clock until then; `None` where that time never comes.
    fn until(&self, time: Timestamp) -> Option<Duration> {
        let left = time.duration_since(self.now()).as_secs_f64() / self.speed;
        Duration::try_from_secs_f64(left.max(0.0)).ok()
    }
}

struct Server {
    twin: Twin,
    cluster: String,
    pace: Pace,
    credentials: Credentials,
}

impl Server {
    fn catch_up(&self) {
        self.twin.advance(self.pace.now());
    }

    /// What is planned comes true when it is due, also while nobody asks.
    async fn let_time_pass(self: Arc<Server>) {
        let mut changes = self.twin.changes();
        loop {
            changes.mark_unchanged();
            self.catch_up();
            let due = self.twin.due().and_then(|due| self.pace.until(due));
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep(due.max(Duration::from_millis(1))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = wait => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn accept(self: Arc<Server>, listener: TcpListener) {
        let acceptor = TlsAcceptor::from(Arc::new(self.credentials.tls.clone()));
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(self.clone().connected(acceptor.clone(), stream));
                }
                // Out of descriptors, most of all: some of them come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn connected(self: Arc<Server>, acceptor: TlsAcceptor, stream: TcpStream) {
        // Small answers must not wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new());
        http.http2().timer(TokioTimer::new());
        let service = service_fn(move |request| self.clone().respond(request));
        // A connection that breaks is the client's affair.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn respond(self: Arc<Server>, request: Request<Incoming>) -> std::io::Result<Response<Body>> {
        let (parts, mut body) = request.into_parts();
        let mut bytes = Vec::new();
        // One byte more than allowed is enough to see that it is too much.
        while bytes.len() <= BODY_MAX
            && let Some(frame) = body.frame().await
        {
            let Ok(frame) = frame else { return Ok(garbled()) };
            bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
        self.answer(&parts, &bytes).map_err(std::io::Error::other)
    }

    fn answer(&self, parts: &Parts, body: &[u8]) -> Result<Response<Body>, ::kube::Error> {
        let nobody = anonymous();
        let shown = parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        let user = shown.map(|shown| shown.strip_prefix("Bearer ").and_then(|token| self.credentials.user_of(token)));
        let caller = match user {
            None => Caller::User(&nobody),
            Some(None) => Caller::Unknown,
            Some(Some(user)) => Caller::User(&user.identity),
        };
        // A list of ten thousand objects takes a while; others are served meanwhile.
        tokio::task::block_in_place(|| {
            self.catch_up();
            self.twin.answer(&self.cluster, caller, parts, body, ticks)
        })
    }
}

/// The answer to a body that breaks off, or is in pieces that are none.
fn garbled() -> Response<Body> {
    let problem = kube::status::unforeseen("invalid byte in chunk length");
    let mut response = Response::new(Full::new(Bytes::from(problem.status().to_string())).boxed_unsync());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// How long a watch lasts where the client does not say it: as long as a real server lets it.
const WATCH: Duration = Duration::from_secs(1800);
const BOOKMARKS: Duration = Duration::from_secs(60);
/// Nobody waits for more than a year.
const WATCH_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The clock of a watch: clients mean seconds of their own, however fast virtual time runs.
fn ticks(lasts: Option<Duration>) -> Ticks {
    let now = tokio::time::Instant::now();
    let end = now + lasts.unwrap_or(WATCH).min(WATCH_MAX);
    Box::pin(futures_util::stream::unfold(now + BOOKMARKS, move |next| async move {
        tokio::time::sleep_until(next.min(end)).await;
        Some(if end <= next { (Tick::End, next) } else { (Tick::Bookmark, next + BOOKMARKS) })
    }))
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use http_body_util::Empty;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;

    const WATCH: &str = "/api/v1/namespaces/default/configmaps?watch=1";

    /// Serves a new cluster to one client, which speaks this protocol.
    fn with_client<T: Future<Output = ()>>(protocol: &str, story: impl FnOnce(Arc<Server>, TlsStream<TcpStream>) -> T) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(7).unwrap();
            world.start_server("twin");
            let twin = Twin::new(world);
            let pace = Pace { begun: Instant::now(), from: twin.world().now, speed: 0.0 };
            let credentials = Credentials::new(vec![admin()]).unwrap();
            let authority = CertificateDer::from_pem_slice(credentials.ca_pem.as_bytes()).unwrap();
            let server = Arc::new(Server { twin, cluster: "twin".to_owned(), pace, credentials });
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(server.clone().accept(listener));
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let mut tls = tls.unwrap().with_root_certificates(roots).with_no_client_auth();
            tls.alpn_protocols = vec![protocol.as_bytes().to_vec()];
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
            tokio::time::timeout(Duration::from_secs(30), story(server, stream)).await.unwrap();
        });
    }

    /// A watch that has told its first event.
    async fn watch(server: &Server, stream: &mut TlsStream<TcpStream>) {
        let token = &server.credentials.users[0].token;
        let head = format!("GET {WATCH} HTTP/1.1\r\nHost: twin\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains("kube-root-ca.crt") {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "{}", String::from_utf8_lossy(&text));
        }
        assert_eq!(server.twin.watchers(), 1);
    }

    async fn forgotten(server: &Server) {
        while server.twin.watchers() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn a_watch_ends_with_what_its_client_writes() {
        // With the end that TLS knows, and with that of TCP alone.
        for is_polite in [true, false] {
            with_client("http/1.1", |server, mut stream| async move {
                watch(&server, &mut stream).await;
                match is_polite {
                    true => stream.shutdown().await.unwrap(),
                    false => stream.get_mut().0.shutdown().await.unwrap(),
                }
                forgotten(&server).await;
                let mut rest = Vec::new();
                // The server hangs up, politely or not.
                let _ = stream.read_to_end(&mut rest).await;
                assert!(!String::from_utf8_lossy(&rest).contains("ADDED"));
            });
        }
    }

    #[test]
    fn a_watch_ends_with_a_connection_that_is_reset() {
        with_client("http/1.1", |server, mut stream| async move {
            watch(&server, &mut stream).await;
            stream.get_ref().0.set_zero_linger().unwrap();
            drop(stream);
            forgotten(&server).await;
        });
    }

    #[test]
    fn a_watch_ends_with_its_stream_and_the_connection_goes_on() {
        with_client("h2", |server, stream| async move {
            let (mut client, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let ask = |path: &str| {
                let bearer = format!("Bearer {}", server.credentials.users[0].token);
                let uri = format!("https://twin{path}");
                Request::get(uri).header(header::AUTHORIZATION, bearer).body(Empty::<Bytes>::new()).unwrap()
            };
            let mut watched = client.send_request(ask(WATCH)).await.unwrap().into_body();
            assert!(watched.frame().await.unwrap().unwrap().is_data());
            assert_eq!(server.twin.watchers(), 1);
            drop(watched);
            forgotten(&server).await;
            assert_eq!(client.send_request(ask("/version")).await.unwrap().status(), 200);
        });
    }
}
