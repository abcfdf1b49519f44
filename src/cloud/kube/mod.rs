//! A connection to a Kubernetes API server: requests, kinds, errors. The same code runs over TLS and over the
//! in-process service of a twin or a test, because all that differs is the [`kube::Client`] inside.
//!
//! Requests are written here rather than with `kube::Api`: scripts name kinds at run time, objects are JSON on both
//! sides (one parse, no typed detour), and `kube` 5.0 sends evictions with a misspelt field.

mod cluster;
mod error;
mod kinds;

use std::sync::Arc;

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE};
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::cluster::{connect_cluster, endpoint};
pub use self::error::{Subject, Unanswered, Verb, no_credentials};
pub use self::kinds::Resource;
use self::kinds::{Cache, Groups, Name, ResourceList};
use super::{Endpoint, Target};
use crate::error::{Error, Kind, Result, did_you_mean, list_and};

/// What errors call the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// An EKS cluster of this name.
    Cluster(String),
    /// A context of a kubeconfig.
    Context(String),
}

impl Server {
    /// The bare name.
    pub fn name(&self) -> &str {
        match self {
            Server::Cluster(name) | Server::Context(name) => name,
        }
    }
}

/// An API server, and what was learnt of it so far.
pub struct Connection {
    client: kube::Client,
    server: Server,
    target: Target,
    kinds: Cache,
}

/// Objects fetched at once: what client-go's pager takes, so that a server is not asked for more than it is used to.
pub const PAGE_SIZE: usize = 500;

/// Who made a change, as `metadata.managedFields` remembers it.
pub const FIELD_MANAGER: &str = "ekskit";

const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// One request.
pub struct Request<'a> {
    method: Method,
    verb: Verb,
    resource: &'a Resource,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    subject: Option<&'a str>,
    subresource: Option<&'a str>,
    query: String,
    accept: &'static str,
    content_type: Option<&'static str>,
    body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// Does `verb` to objects of this kind.
    pub fn new(method: Method, verb: Verb, resource: &'a Resource) -> Request<'a> {
        Request {
            method,
            verb,
            resource,
            namespace: None,
            name: None,
            subject: None,
            subresource: None,
            query: String::new(),
            accept: "application/json",
            content_type: None,
            body: Vec::new(),
        }
    }

    /// In this namespace; `None` for what lives in none and for all of them.
    pub fn namespace(mut self, namespace: Option<&'a str>) -> Request<'a> {
        self.namespace = namespace;
        self
    }

    /// To the object of this name.
    pub fn name(mut self, name: &'a str) -> Request<'a> {
        self.name = Some(name);
        self
    }

    /// To a part of the object, such as `status`.
    pub fn subresource(mut self, subresource: Option<&'a str>) -> Request<'a> {
        self.subresource = subresource;
        self
    }

    /// With this query parameter.
    pub fn query(mut self, key: &str, value: &str) -> Request<'a> {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(key);
        self.query.push('=');
        encode(value, &mut self.query);
        self
    }

    /// About the object of this name, where the URL does not name it: a create.
    pub fn about(mut self, name: &'a str) -> Request<'a> {
        self.subject = Some(name);
        self
    }

    /// As a change by us.
    pub fn changing(self, dry_run: bool) -> Request<'a> {
        self.changing_as(FIELD_MANAGER, dry_run)
    }

    /// As a change by this manager, with unknown fields refused; for a dry run nothing is stored.
    pub fn changing_as(self, manager: &str, dry_run: bool) -> Request<'a> {
        let request = self.query("fieldManager", manager).query("fieldValidation", "Strict");
        if dry_run { request.query("dryRun", "All") } else { request }
    }

    /// With answers of this type rather than JSON.
    pub fn accept(mut self, media_type: &'static str) -> Request<'a> {
        self.accept = media_type;
        self
    }

    /// With this body.
    pub fn body(mut self, content_type: &'static str, body: &Value) -> Request<'a> {
        self.content_type = Some(content_type);
        self.body = body.to_string().into_bytes();
        self
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            verb: self.verb,
            kind: &self.resource.kind,
            name: self.name.or(self.subject),
            namespace: self.namespace,
        }
    }

    fn uri(&self) -> String {
        let mut uri = self.resource.base_path();
        if let Some(namespace) = self.namespace {
            uri.push_str("/namespaces/");
            encode(namespace, &mut uri);
        }
        for part in [Some(self.resource.plural.as_str()), self.name, self.subresource].into_iter().flatten() {
            uri.push('/');
            encode(part, &mut uri);
        }
        if !self.query.is_empty() {
            uri.push('?');
            uri.push_str(&self.query);
        }
        uri
    }
}

/// Percent-encodes what is not unreserved, so that no name can change the path of a request.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// An object of which only the metadata was asked for.
#[derive(Deserialize)]
struct Partial {
    metadata: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Page<T> {
    #[serde(default, deserialize_with = "kinds::null_as_default")]
    metadata: PageMetadata,
    #[serde(default, deserialize_with = "kinds::null_as_default")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    token: String,
}

/// Which objects to list.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Label selector.
    pub labels: Option<String>,
    /// Field selector.
    pub fields: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Leaves out who manages which field, page by page: it is often more than the rest.
    pub without_managers: bool,
}

/// Takes out of an object who manages which of its fields.
pub fn forget_managers(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

impl Connection {
    /// A connection over this client.
    pub fn new(client: kube::Client, server: Server, target: Target) -> Connection {
        Connection { client, server, target, kinds: Cache::default() }
    }

    /// A connection by kubeconfig; errors call it by its context.
    pub fn from_kubeconfig(client: kube::Client, endpoint: &Endpoint, target: Target) -> Connection {
        let context = match endpoint {
            Endpoint::Kubeconfig { context: Some(context), .. } => context.clone(),
            _ => "current-context".to_owned(),
        };
        Connection::new(client, Server::Context(context), target)
    }

    /// Whether it was found by kubeconfig rather than by the name of an EKS cluster.
    pub fn is_from_kubeconfig(&self) -> bool {
        matches!(self.server, Server::Context(_))
    }

    /// What errors call the server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Cluster name or context.
    pub fn label(&self) -> &str {
        self.server.name()
    }

    /// The account, role and region it was made under.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The namespace of the context, else `default`.
    pub fn default_namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, mut request: Request<'_>) -> Result<impl AsRef<[u8]> + Send + use<>> {
        let body = std::mem::take(&mut request.body);
        let subject = request.subject();
        self.exchange(request.method.clone(), &request.uri(), request.accept, request.content_type, body, &subject)
            .await
    }

    async fn exchange(
        &self,
        method: Method,
        uri: &str,
        accept: &str,
        content_type: Option<&str>,
        body: Vec<u8>,
        subject: &Subject<'_>,
    ) -> Result<impl AsRef<[u8]> + Send + use<>> {
        let mut builder = http::Request::builder().method(method).uri(uri).header(ACCEPT, accept);
        if let Some(content_type) = content_type {
            builder = builder.header(CONTENT_TYPE, content_type);
        }
        let request = builder
            .body(Body::from(body))
            .map_err(|error| Error::bug(format!("a request to {} can not be written: {error}", self.server)))?;
        let transport = |error: kube::Error| error::of_transport(&self.server, subject, &error);
        let response = self.client.send(request).await.map_err(transport)?;
        let status = response.status();
        let bytes = response.into_body().collect_bytes().await.map_err(transport)?;
        if status.is_success() {
            return Ok(bytes);
        }
        Err(error::of_status(&self.server, subject, &read_status(status.as_u16(), bytes.as_ref())))
    }

    /// Sends a request and parses what it answers.
    pub async fn json<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T> {
        let (kind, name, namespace) =
            (request.resource.kind.clone(), request.name.map(str::to_owned), request.namespace.map(str::to_owned));
        let verb = request.verb;
        let bytes = self.send(request).await?;
        let subject = Subject { verb, kind: &kind, name: name.as_deref(), namespace: namespace.as_deref() };
        self.parse(bytes.as_ref(), &subject)
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8], subject: &Subject<'_>) -> Result<T> {
        serde_json::from_slice(bytes)
            .map_err(|error| error::of_transport(&self.server, subject, &kube::Error::SerdeError(error)))
    }

    /// One object.
    pub async fn get(&self, resource: &Resource, namespace: Option<&str>, name: &str) -> Result<Value> {
        self.json(Request::new(Method::GET, Verb::Get, resource).namespace(namespace).name(name)).await
    }

    /// The names of the objects of a kind, those of the first page.
    async fn names(&self, resource: &Resource, namespace: Option<&str>) -> Result<Vec<String>> {
        let request = list_request(resource, namespace, &Selection::default(), PAGE_SIZE, "").accept(METADATA_LIST);
        let page: Page<Partial> = self.json(request).await?;
        Ok(page.items.into_iter().map(|object| object.metadata.name).collect())
    }

    /// All objects, page by page, each with its `apiVersion` and `kind`, which servers leave out in lists.
    pub async fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selection: &Selection,
    ) -> Result<Vec<Value>> {
        let mut items = match self.pages(resource, namespace, selection, PAGE_SIZE).await {
            // The list got too old between two pages: read it again in one piece, as client-go does.
            Err(error) if error.facts().status == Some(410) => self.pages(resource, namespace, selection, 0).await?,
            other => other?,
        };
        let api_version = resource.api_version();
        for item in &mut items {
            if let Value::Object(object) = item {
                object.entry("apiVersion").or_insert_with(|| Value::String(api_version.clone()));
                object.entry("kind").or_insert_with(|| Value::String(resource.kind.clone()));
            }
        }
        Ok(items)
    }

    async fn pages(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selection: &Selection,
        size: usize,
    ) -> Result<Vec<Value>> {
        let limit = selection.limit.unwrap_or(usize::MAX);
        let mut items: Vec<Value> = Vec::new();
        let mut token = String::new();
        loop {
            let request = list_request(resource, namespace, selection, size.min(limit - items.len()), &token);
            let mut page: Page<Value> = self.json(request).await?;
            if selection.without_managers {
                page.items.iter_mut().for_each(forget_managers);
            }
            if items.is_empty() {
                items = page.items;
            } else {
                items.extend(page.items);
            }
            items.truncate(limit);
            // A server that hands out the same token again would page for ever.
            if page.metadata.token.is_empty() || page.metadata.token == token || items.len() >= limit {
                return Ok(items);
            }
            token = page.metadata.token;
        }
    }

    /// What a script calls a kind, resolved; discovery is asked where the well-known kinds and the cache do not know.
    pub async fn resolve(&self, kind: &str) -> Result<Arc<Resource>> {
        self.resolve_name(&Name::parse(kind), kind).await
    }

    /// The kind of an object.
    pub async fn resolve_object(&self, api_version: &str, kind: &str) -> Result<Arc<Resource>> {
        self.resolve_name(&Name::of_object(api_version, kind), &format!("{api_version}/{kind}")).await
    }

    async fn resolve_name(&self, name: &Name<'_>, text: &str) -> Result<Arc<Resource>> {
        if let Some(resource) = self.kinds.find(name) {
            return Ok(resource);
        }
        // Not known, or not known yet: a definition may have been created since the cache was filled.
        match *name {
            Name::Versioned { group, version, .. } => {
                let path = kinds::version_path(group, version);
                let resources = self.ask_version(group, version).await?.unwrap_or_default();
                self.kinds.learn_version(&path, resources);
            }
            Name::Plain(_) | Name::Grouped { .. } => {
                let resources = self.ask_all("/apis").await?;
                self.kinds.learn_all(resources);
            }
        }
        self.kinds.find(name).ok_or_else(|| self.no_such_kind(text))
    }

    fn no_such_kind(&self, text: &str) -> Error {
        let words = self.kinds.words();
        let typed = text.rsplit('/').next().unwrap_or(text);
        let hint = did_you_mean(typed, words.iter().map(String::as_str)).unwrap_or_else(|| {
            "see what it offers: `kube::kinds()`; a kind of its own needs its definition first".to_owned()
        });
        let mut error = Error::new(Kind::NotFound, format!("{} offers no kind `{text}`", self.server)).hint(hint);
        error.facts_mut().service = Some("kubernetes".to_owned());
        error.facts_mut().code = Some(NO_SUCH_KIND.to_owned());
        error
    }

    /// Every kind that the server offers.
    pub async fn kinds(&self) -> Result<Vec<Arc<Resource>>> {
        let mut resources = self.ask_all("/api").await?;
        resources.extend(self.ask_all("/apis").await?);
        Ok(resources)
    }

    /// What `/version` says.
    pub async fn version(&self) -> Result<Value> {
        let subject = discovering("its version");
        let bytes = self.exchange(Method::GET, "/version", "application/json", None, Vec::new(), &subject).await?;
        self.parse(bytes.as_ref(), &subject)
    }

    async fn ask_all(&self, path: &str) -> Result<Vec<Arc<Resource>>> {
        let subject = discovering("its kinds");
        let bytes = self.exchange(Method::GET, path, kinds::ACCEPT_AGGREGATED, None, Vec::new(), &subject).await?;
        let groups: Groups = self.parse(bytes.as_ref(), &subject)?;
        if let Some(resources) = groups.aggregated() {
            return Ok(resources);
        }
        let mut resources = Vec::new();
        for (group, version) in groups.to_ask() {
            // An aggregated API whose server is down must not hide all the others.
            resources.extend(self.ask_version(&group, &version).await.ok().flatten().unwrap_or_default());
        }
        Ok(resources)
    }

    async fn ask_version(&self, group: &str, version: &str) -> Result<Option<Vec<Arc<Resource>>>> {
        let path = kinds::version_path(group, version);
        let subject = discovering("its kinds");
        let bytes = absent(self.exchange(Method::GET, &path, "application/json", None, Vec::new(), &subject).await)?;
        bytes
            .map(|bytes| Ok(self.parse::<ResourceList>(bytes.as_ref(), &subject)?.resources(group, version)))
            .transpose()
    }

    /// The namespace that a request for this kind goes to: the given one, else that of the context, and none for what
    /// lives in none.
    pub fn namespace_for<'a>(&'a self, resource: &Resource, given: Option<&'a str>) -> Result<Option<&'a str>> {
        match given {
            Some(_) if !resource.namespaced => {
                Err(Error::invalid(format!("{} objects live in no namespace", resource.kind))
                    .hint("leave `namespace` out"))
            }
            Some("") => Err(Error::invalid("the namespace is empty").hint("name one, or leave `namespace` out")),
            Some(namespace) => Ok(Some(namespace)),
            None if resource.namespaced => Ok(Some(self.default_namespace())),
            None => Ok(None),
        }
    }

    /// The error for an object that is not there, with what there is instead.
    pub async fn suggest_name(&self, error: Error, resource: &Resource, namespace: Option<&str>, name: &str) -> Error {
        if error.kind() != Kind::NotFound {
            return error;
        }
        // Best effort: whoever may get one object may not be allowed to list them.
        let Ok(names) = self.names(resource, namespace).await else { return error };
        if let Some(hint) = did_you_mean(name, names.iter().map(String::as_str)) {
            return error.hint(hint);
        }
        match names.len() {
            0 => error.note(format!("there are no {} here", resource.plural)),
            1..=5 => error.note(format!("{} here: {}", resource.plural, list_and(&names))),
            _ => error,
        }
    }
}

/// The code of the error that a kind is not offered: `find` answers `()` for a missing object, not for a missing kind.
pub const NO_SUCH_KIND: &str = "NoSuchKind";

fn discovering(what: &'static str) -> Subject<'static> {
    Subject { verb: Verb::Discover, kind: what, name: None, namespace: None }
}

fn list_request<'a>(
    resource: &'a Resource,
    namespace: Option<&'a str>,
    selection: &Selection,
    size: usize,
    token: &str,
) -> Request<'a> {
    let mut request = Request::new(Method::GET, Verb::List, resource).namespace(namespace);
    if let Some(labels) = &selection.labels {
        request = request.query("labelSelector", labels);
    }
    if let Some(fields) = &selection.fields {
        request = request.query("fieldSelector", fields);
    }
    if size > 0 {
        request = request.query("limit", &size.to_string());
    }
    if token.is_empty() { request } else { request.query("continue", token) }
}

/// `None` for what does not exist.
pub fn absent<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == Kind::NotFound && error.facts().code.as_deref() != Some(NO_SUCH_KIND) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a failed request was answered with. Proxies and load balancers answer with pages of their own.
fn read_status(code: u16, body: &[u8]) -> Status {
    if let Ok(mut status) = serde_json::from_slice::<Status>(body)
        && !(status.reason.is_empty() && status.message.is_empty())
    {
        status.code = if status.code == 0 { code } else { status.code };
        return status;
    }
    let text = String::from_utf8_lossy(body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('<')).unwrap_or_default();
    Status { code, message: line.chars().take(200).collect(), ..Status::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_place_in_the_path() {
        let resource = kinds::Cache::default().find(&Name::parse("pods")).unwrap();
        let request = Request::new(Method::GET, Verb::Get, &resource)
            .namespace(Some("a/../b"))
            .name("x?y=z#q")
            .subresource(Some("log"))
            .query("container", "a&b");
        assert_eq!(request.uri(), "/api/v1/namespaces/a%2F..%2Fb/pods/x%3Fy%3Dz%23q/log?container=a%26b");
    }

    #[test]
    fn a_page_of_a_proxy_is_a_status_too() {
        let status = read_status(503, b"<html>\n<body>upstream connect error</body>\nupstream connect error\n");
        assert_eq!((status.code, status.message.as_str()), (503, "upstream connect error"));
        let status =
            read_status(404, br#"{"kind":"Status","status":"Failure","message":"no","reason":"NotFound","code":404}"#);
        assert!(status.is_not_found());
    }
}
