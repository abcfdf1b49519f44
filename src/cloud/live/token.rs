//! Tokens for EKS API servers, minted in process: `k8s-aws-v1.` and a presigned `GetCallerIdentity`.
//!
//! The server sends the URL to STS and learns who signed it; the header `x-k8s-aws-id` ties it to one cluster. It lives
//! for 15 minutes from its date whatever it says itself, so that clients treat it as expired after 14.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};
use crate::value::Secret;

const PREFIX: &str = "k8s-aws-v1.";
const LIFETIME: SignedDuration = SignedDuration::from_mins(14);

/// A token for this cluster and when it expires. STS is that of the region, or what `AWS_ENDPOINT_URL_STS` names.
pub fn mint(credentials: &Credentials, region: &str, cluster: &str, now: Timestamp) -> Result<(Secret, Timestamp)> {
    let endpoint = endpoint(region, |name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    mint_at(&endpoint, credentials, region, cluster, now)
}

fn mint_at(
    endpoint: &str,
    credentials: &Credentials,
    region: &str,
    cluster: &str,
    now: Timestamp,
) -> Result<(Secret, Timestamp)> {
    let url = presign(credentials, endpoint, region, cluster, now)?;
    let expires = now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX);
    Ok((Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(url))), expires))
}

fn endpoint(region: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let named = variable("AWS_ENDPOINT_URL_STS").or_else(|| variable("AWS_ENDPOINT_URL"));
    named.unwrap_or_else(|| format!("https://sts.{region}.{}", domain(region)))
}

/// The DNS suffix of the partition that a region belongs to.
fn domain(region: &str) -> &'static str {
    const DOMAINS: &[(&str, &str)] = &[
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("us-iso-", "c2s.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
    ];
    DOMAINS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("amazonaws.com", |(_, domain)| domain)
}

fn presign(credentials: &Credentials, endpoint: &str, region: &str, cluster: &str, now: Timestamp) -> Result<String> {
    let url = format!("{}/?Action=GetCallerIdentity&Version=2011-06-15", endpoint.trim_end_matches('/'));
    let unsigned = |what: String| Error::bug(format!("a token for cluster `{cluster}` can not be signed: {what}"));
    let mut request = http::Request::get(&url).body(()).map_err(|error| {
        Error::invalid(format!("`{endpoint}` is not the URL of STS: {error}")).hint("correct `AWS_ENDPOINT_URL_STS`")
    })?;
    let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(60));
    let identity = Identity::from(credentials.clone());
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(SystemTime::from(now))
        .settings(settings)
        .build()
        .map_err(|error| unsigned(error.to_string()))?
        .into();
    let headers = [("host", host.as_str()), ("x-k8s-aws-id", cluster)];
    let signable = SignableRequest::new("GET", url.as_str(), headers.into_iter(), SignableBody::Bytes(&[]))
        .map_err(|error| unsigned(error.to_string()))?;
    let (instructions, _) = sign(signable, &params).map_err(|error| unsigned(error.to_string()))?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request.uri().to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn decoded(token: &Secret) -> (String, BTreeMap<String, String>) {
        let text = token.reveal();
        assert!(text.len() <= 4096 && !text.contains('='), "{text}");
        let url = String::from_utf8(URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap()).unwrap()).unwrap();
        let (place, query) = url.split_once('?').unwrap();
        let mut parameters = BTreeMap::new();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap();
            assert!(parameters.insert(key.to_owned(), value.to_owned()).is_none(), "`{key}` stands twice");
        }
        (place.to_owned(), parameters)
    }

    /// The rules of `Verify` in aws-iam-authenticator's `pkg/token/token.go`.
    #[test]
    fn a_token_is_what_the_authenticator_accepts() {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some("session/+=".into()), None, "test");
        let now: Timestamp = "2026-11-05T08:00:00Z".parse().unwrap();
        let (token, expires) =
            mint_at(&endpoint("us-west-2", |_| None), &credentials, "us-west-2", "prod", now).unwrap();
        assert_eq!(expires.to_string(), "2026-11-05T08:14:00Z");
        let (place, parameters) = decoded(&token);
        assert_eq!(place, "https://sts.us-west-2.amazonaws.com/");
        let allowed = [
            "action",
            "version",
            "x-amz-algorithm",
            "x-amz-credential",
            "x-amz-date",
            "x-amz-expires",
            "x-amz-security-token",
            "x-amz-signature",
            "x-amz-signedheaders",
            "x-amz-user-agent",
        ];
        for key in parameters.keys() {
            assert!(allowed.contains(&key.to_lowercase().as_str()), "`{key}` is not allowed");
        }
        assert_eq!(parameters["Action"], "GetCallerIdentity");
        assert_eq!(parameters["X-Amz-Date"], "20261105T080000Z");
        assert_eq!(parameters["X-Amz-Expires"], "60");
        assert_eq!(parameters["X-Amz-SignedHeaders"].replace("%3B", ";"), "host;x-k8s-aws-id");
        assert_eq!(
            parameters["X-Amz-Credential"].replace("%2F", "/"),
            "AKIDEXAMPLE/20261105/us-west-2/sts/aws4_request"
        );
        assert_eq!(parameters["X-Amz-Security-Token"], "session%2F%2B%3D");
        assert!(!token.reveal().contains("secret"));
    }

    #[test]
    fn each_cluster_and_each_minute_has_its_own() {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        let now: Timestamp = "2026-11-05T08:00:00Z".parse().unwrap();
        let token = |cluster, now| {
            mint_at("https://sts.amazonaws.com", &credentials, "us-west-2", cluster, now).unwrap().0.reveal().to_owned()
        };
        assert_ne!(token("prod", now), token("dev", now));
        assert_ne!(token("prod", now), token("prod", now + SignedDuration::from_secs(60)));
        assert_eq!(token("prod", now), token("prod", now));
    }

    #[test]
    fn the_endpoint_is_that_of_the_partition_unless_named() {
        let none = |_: &str| None;
        assert_eq!(endpoint("cn-north-1", none), "https://sts.cn-north-1.amazonaws.com.cn");
        assert_eq!(endpoint("us-gov-west-1", none), "https://sts.us-gov-west-1.amazonaws.com");
        assert_eq!(endpoint("us-iso-east-1", none), "https://sts.us-iso-east-1.c2s.ic.gov");
        assert_eq!(endpoint("us-isob-east-1", none), "https://sts.us-isob-east-1.sc2s.sgov.gov");
        let named = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "http://127.0.0.1:5000".to_owned());
        assert_eq!(endpoint("us-west-2", named), "http://127.0.0.1:5000");
    }
}
