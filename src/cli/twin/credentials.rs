//! What clients of a served cluster trust and bring: an authority, a certificate, tokens, a kubeconfig of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::twin::physics::access::Identity;

/// Days that a certificate holds: nobody serves one world for longer, and no client refuses one so short.
const DAYS: i64 = 365;

/// The names under which a server on loopback is reached.
const NAMES: &[&str] = &["localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// Somebody who may log in.
#[derive(Clone, Debug)]
pub struct User {
    /// Who that is to the cluster.
    pub identity: Identity,
    /// What it shows.
    pub token: String,
}

/// Everything that lets clients in.
pub struct Credentials {
    /// The authority that clients trust.
    pub ca_pem: String,
    /// The first is the admin.
    pub users: Vec<User>,
    /// What the server shows.
    pub tls: ServerConfig,
}

impl Credentials {
    /// New ones for these users.
    pub fn new(identities: Vec<Identity>) -> Result<Credentials> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let users = identities
            .into_iter()
            .map(|identity| Ok(User { identity, token: token(&provider)? }))
            .collect::<Result<Vec<User>>>()?;
        let (ca_pem, chain, key) = certificate().map_err(|error| Error::bug(format!("no certificate: {error}")))?;
        let unfit = |error: rustls::Error| Error::bug(format!("a certificate of our own does not fit: {error}"));
        let mut tls = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unfit)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Credentials { ca_pem, users, tls })
    }

    /// Who shows this token.
    pub fn user_of(&self, token: &str) -> Option<&User> {
        // Compared whole and without an early end, so that the time tells nothing of how much of it fits.
        self.users.iter().find(|user| {
            user.token.len() == token.len()
                && user.token.bytes().zip(token.bytes()).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
        })
    }

    /// A kubeconfig: a context for each user, that of the admin is the current one and has the name of the cluster.
    pub fn kubeconfig(&self, cluster: &str, server: &str) -> Value {
        let context = |user: &User| match &user.identity.username {
            name if std::ptr::eq(user, &self.users[0]) => (cluster.to_owned(), format!("{cluster}-{name}")),
            name => (format!("{name}@{cluster}"), format!("{cluster}-{name}")),
        };
        let contexts: Vec<Value> = self
            .users
            .iter()
            .map(context)
            .map(|(name, user)| json!({ "name": name, "context": { "cluster": cluster, "user": user } }))
            .collect();
        let users: Vec<Value> =
            self.users.iter().map(|user| json!({ "name": context(user).1, "user": { "token": user.token } })).collect();
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": cluster, "preferences": {},
            "clusters": [{ "name": cluster, "cluster": {
                "server": server, "certificate-authority-data": STANDARD.encode(&self.ca_pem),
            } }],
            "contexts": contexts, "users": users,
        })
    }
}

type Chain = Vec<rustls::pki_types::CertificateDer<'static>>;

/// An authority, and a certificate that it signed, with its key. The authority's own key is forgotten.
fn certificate() -> Result<(String, Chain, PrivateKeyDer<'static>), rcgen::Error> {
    let today = jiff::Timestamp::now();
    let day = |days: i64| {
        let date = jiff::tz::Offset::UTC.to_datetime(today + jiff::SignedDuration::from_hours(24 * days)).date();
        let part = |part: i8| u8::try_from(part).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    authority.distinguished_name.push(DnType::CommonName, "ekskit twin");
    (authority.not_before, authority.not_after) = (day(-1), day(DAYS));
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut server = CertificateParams::new(NAMES.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
    server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    (server.not_before, server.not_after) = (day(-1), day(DAYS));
    let key = KeyPair::generate()?;
    let signed = server.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((authority.pem(), vec![signed.der().clone()], key))
}

/// 128 bits that nobody guesses.
fn token(provider: &CryptoProvider) -> Result<String> {
    let mut bytes = [0; 16];
    provider.secure_random.fill(&mut bytes).map_err(|_| Error::failed("the system gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
