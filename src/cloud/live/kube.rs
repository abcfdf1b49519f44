//! Kubernetes over TLS: clients for EKS endpoints with tokens minted in process, and for kubeconfig contexts.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Mutex;
use tower::{BoxError, service_fn};

use super::kubeconfig;
use super::proxy::Proxies;
use crate::cloud::kube::{Unanswered, no_credentials};
use crate::cloud::{Aws, Endpoint, Future, Kube, Target};
use crate::error::{Error, Result};

/// API servers themselves.
pub struct LiveKube {
    aws: Arc<dyn Aws>,
    proxies: Proxies,
}

impl LiveKube {
    /// With tokens from this AWS, and proxies from the environment.
    pub fn new(aws: Arc<dyn Aws>) -> LiveKube {
        LiveKube::with_proxies(aws, Proxies::from_environment(|name| std::env::var(name).ok()))
    }

    /// With these proxies.
    pub fn with_proxies(aws: Arc<dyn Aws>, proxies: Proxies) -> LiveKube {
        LiveKube { aws, proxies }
    }

    fn cluster(&self, name: &str, url: &str, ca_pem: &[u8], target: &Target) -> Result<Client> {
        let uri: Uri = url
            .parse()
            .map_err(|_| Error::invalid(format!("cluster `{name}` has the endpoint `{url}`, which is no URL")))?;
        let mut config = Config::new(uri.clone());
        let roots = certificates(ca_pem).map_err(|error| {
            Error::invalid(format!("the certificate authority of cluster `{name}` can not be used: {error}"))
        })?;
        config.root_cert = Some(roots);
        config.proxy_url = self.proxies.for_server(&uri)?;
        let tokens = Arc::new(Tokens {
            aws: self.aws.clone(),
            target: target.clone(),
            cluster: name.to_owned(),
            held: Mutex::default(),
        });
        let inner = plain_client(config)?;
        Ok(Client::new(service_fn(move |request| authorised(inner.clone(), tokens.clone(), request)), "default"))
    }
}

impl Kube for LiveKube {
    fn named(&self, endpoint: &Endpoint) -> Endpoint {
        named(endpoint)
    }

    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> Future<'a, Result<Client>> {
        Box::pin(async move {
            match endpoint {
                Endpoint::Cluster { name, url, ca_pem, target } => self.cluster(name, url, ca_pem, target),
                Endpoint::Kubeconfig { path, context } => {
                    let (path, context, proxies) = (path.clone(), context.clone(), self.proxies.clone());
                    // An exec plugin runs while the client is made, and blocks.
                    tokio::task::spawn_blocking(move || {
                        plain_client(kubeconfig::load(path.as_deref(), context.as_deref(), &proxies)?)
                    })
                    .await
                    .map_err(|error| Error::bug(format!("reading a kubeconfig broke off: {error}")))?
                }
            }
        })
    }
}

/// The endpoint with the name of the context that a kubeconfig stands at.
fn named(endpoint: &Endpoint) -> Endpoint {
    match endpoint {
        Endpoint::Kubeconfig { path, context: None } => {
            Endpoint::Kubeconfig { path: path.clone(), context: kubeconfig::context_name(path.as_deref(), None).ok() }
        }
        other => other.clone(),
    }
}

/// The certificates of a PEM text.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>> {
    let parsed: Result<Vec<Vec<u8>>, _> =
        CertificateDer::pem_slice_iter(pem).map(|certificate| certificate.map(|der| der.as_ref().to_vec())).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::invalid("it holds no PEM certificate")),
    }
}

/// A client over TLS as the configuration says, with our time limits and without kube's own retries: what is repeated
/// is decided once, above.
fn plain_client(mut config: Config) -> Result<Client> {
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    // API servers end requests after 60 s themselves. Counted from when the request is sent.
    config.read_timeout = Some(Duration::from_secs(75));
    config.reset_reader_on_write = true;
    config.write_timeout = Some(Duration::from_secs(75));
    config.headers.push((USER_AGENT, HeaderValue::from_static(concat!("ekskit/", env!("CARGO_PKG_VERSION")))));
    let (url, proxy) = (config.cluster_url.to_string(), config.proxy_url.as_ref().map(without_password));
    let namespace = config.default_namespace.clone();
    let client = ClientBuilder::try_from(config).map_err(|error| unusable(&url, &error))?.build();
    Ok(Client::new(
        service_fn(move |request| {
            let (client, url, proxy) = (client.clone(), url.clone(), proxy.clone());
            async move {
                let answer = client.send(request).await;
                answer.map_err(|source| BoxError::from(Unanswered { url, proxy, source }))
            }
        }),
        namespace,
    ))
}

fn unusable(url: &str, error: &kube::Error) -> Error {
    match error {
        kube::Error::Auth(auth) => no_credentials(&format!("the server {url} of the kubeconfig"), auth),
        other => Error::invalid(format!("the connection to {url} can not be set up")).note(other.to_string()),
    }
}

fn without_password(proxy: &Uri) -> String {
    let scheme = proxy.scheme_str().unwrap_or("http");
    let port = proxy.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{}{port}", proxy.host().unwrap_or_default())
}

/// The token of one cluster, held until shortly before it expires.
struct Tokens {
    aws: Arc<dyn Aws>,
    target: Target,
    cluster: String,
    held: Mutex<Option<(HeaderValue, Timestamp)>>,
}

/// A token is not used in its last minute: a slow request must not outlive it.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

impl Tokens {
    /// The header to send, and whether it was minted for this very request. `refused` is never answered again.
    async fn header(&self, refused: Option<&HeaderValue>) -> Result<(HeaderValue, bool)> {
        let mut held = self.held.lock().await;
        if let Some((header, expires)) = &*held
            && refused != Some(header)
            && Timestamp::now() + MARGIN < *expires
        {
            return Ok((header.clone(), false));
        }
        let (token, expires) = self.aws.token(&self.target, &self.cluster).await?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
            .map_err(|_| Error::bug("a cluster token does not fit into a header"))?;
        header.set_sensitive(true);
        *held = Some((header.clone(), expires));
        Ok((header, true))
    }
}

/// Sends a request with the token. A held token that is refused is minted anew, once: credentials may have been renewed
/// or the clock set right since. A 401 proves that nothing was applied, so that mutations may be sent again as well.
async fn authorised(client: Client, tokens: Arc<Tokens>, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let (mut parts, body) = request.into_parts();
    let again = body.try_clone().map(|body| (parts.clone(), body));
    let (header, fresh) = tokens.header(None).await?;
    parts.headers.insert(AUTHORIZATION, header.clone());
    let response = client.send(Request::from_parts(parts, body)).await?;
    match again {
        Some((mut parts, body)) if response.status() == StatusCode::UNAUTHORIZED && !fresh => {
            let (header, _) = tokens.header(Some(&header)).await?;
            parts.headers.insert(AUTHORIZATION, header);
            Ok(client.send(Request::from_parts(parts, body)).await?)
        }
        _ => Ok(response),
    }
}
