//! Which proxy a request to a Kubernetes API server goes through.
//!
//! The rules are kubectl's (Go's `ProxyFromEnvironment`): the upper-case variable wins, `NO_PROXY` names hosts,
//! domains, addresses, networks and `*`, and loopback is never proxied. They stand here because a `kube::Config` made
//! by hand reads no environment, and the one that kube 5.0 reads from a file compares `NO_PROXY` with the proxy's own
//! address.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

use crate::error::{Error, Result};

/// The proxy variables of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    https: Option<String>,
    http: Option<String>,
    no_proxy: Option<String>,
}

impl Proxies {
    /// What the environment says; `variable` reads it.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Proxies {
        let either = |upper: &str, lower: &str| {
            [upper, lower].iter().filter_map(|name| variable(name)).find(|value| !value.trim().is_empty())
        };
        Proxies {
            https: either("HTTPS_PROXY", "https_proxy"),
            http: either("HTTP_PROXY", "http_proxy"),
            no_proxy: either("NO_PROXY", "no_proxy"),
        }
    }

    /// The proxy for this server, if any.
    pub fn for_server(&self, server: &Uri) -> Result<Option<Uri>> {
        let (variable, proxy) = match server.scheme_str() {
            Some("http") => ("HTTP_PROXY", &self.http),
            _ => ("HTTPS_PROXY", &self.https),
        };
        match proxy {
            Some(proxy) if !self.excludes(server) => parse(proxy, variable).map(Some),
            _ => Ok(None),
        }
    }

    fn excludes(&self, server: &Uri) -> bool {
        let host = server.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
        let rules = self.no_proxy.as_deref().unwrap_or_default();
        rules
            .split([',', ' '])
            .map(str::trim)
            .filter(|rule| !rule.is_empty())
            .any(|rule| matches(rule, &host, address, port))
    }
}

fn matches(rule: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if rule == "*" {
        return true;
    }
    if let Ok(network) = rule.parse::<IpNet>() {
        return address.is_some_and(|address| network.contains(&address));
    }
    if let Ok(excluded) = rule.parse::<IpAddr>() {
        return address == Some(excluded);
    }
    let rule = rule.to_ascii_lowercase();
    let (name, wanted) = match rule.rsplit_once(':') {
        Some((name, digits)) if digits.parse::<u16>().is_ok() => (name, digits.parse::<u16>().ok()),
        _ => (rule.as_str(), None),
    };
    if wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    // `example.com` means itself and what is below it; `.example.com` and `*.example.com` only what is below.
    let below = name.trim_start_matches('*').trim_start_matches('.');
    let is_below = host.strip_suffix(below).is_some_and(|rest| rest.ends_with('.'));
    is_below || (host == name)
}

/// A proxy's URL; without a scheme it is HTTP.
pub fn parse(text: &str, place: &str) -> Result<Uri> {
    let text = text.trim();
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    // Names are resolved by the proxy in either spelling.
    let whole = whole.replacen("socks5h://", "socks5://", 1);
    // The URL may hold a password, so it is not shown.
    let wrong = |what: &str| {
        Error::invalid(format!("`{place}` is not the URL of a proxy: {what}"))
            .hint(format!("set `{place}` to something like `http://proxy.example.com:3128`"))
    };
    let uri: Uri = whole.parse().map_err(|_| wrong("it can not be read"))?;
    match uri.scheme_str() {
        _ if uri.host().unwrap_or_default().is_empty() => Err(wrong("it names no host")),
        Some("http" | "https" | "socks5") => Ok(uri),
        Some(other) => Err(wrong(&format!("`{other}` is neither `http`, `https` nor `socks5`"))),
        None => Err(wrong("it has no scheme")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_environment(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxy_of(variables: &[(&str, &str)], server: &str) -> Option<String> {
        proxies(variables).for_server(&server.parse().unwrap()).unwrap().map(|uri| uri.to_string())
    }

    #[test]
    fn the_scheme_decides_and_upper_case_wins() {
        let both = [("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2"), ("HTTP_PROXY", "c:3")];
        assert_eq!(proxy_of(&both, "https://x.example").as_deref(), Some("http://a:1/"));
        assert_eq!(proxy_of(&both, "http://x.example").as_deref(), Some("http://c:3/"));
        assert_eq!(
            proxy_of(&[("HTTPS_PROXY", ""), ("https_proxy", "b:2")], "https://x.example").as_deref(),
            Some("http://b:2/")
        );
        assert_eq!(proxy_of(&[], "https://x.example"), None);
    }

    #[test]
    fn no_proxy_is_compared_with_the_server() {
        let excluded = |rules: &str, server: &str| {
            proxy_of(&[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", rules)], server).is_none()
        };
        assert!(excluded("example.com", "https://example.com"));
        assert!(excluded("example.com", "https://a.example.com"));
        assert!(!excluded("example.com", "https://badexample.com"));
        assert!(!excluded(".example.com", "https://example.com"));
        assert!(excluded("*.example.com,", "https://a.b.example.com"));
        assert!(excluded(".eks.amazonaws.com", "https://ABC.gr7.us-west-2.eks.amazonaws.com"));
        assert!(excluded("example.com:6443", "https://example.com:6443"));
        assert!(!excluded("example.com:6443", "https://example.com"));
        assert!(excluded("10.0.0.0/8, 192.168.1.1", "https://10.1.2.3:6443"));
        assert!(excluded("10.0.0.0/8, 192.168.1.1", "https://192.168.1.1"));
        assert!(!excluded("10.0.0.0/8", "https://11.1.2.3"));
        assert!(excluded("fd00::/8", "https://[fd00::1]:6443"));
        assert!(excluded("*", "https://anything.example"));
        // The address of the proxy itself plays no part.
        assert!(!excluded("p", "https://example.com"));
    }

    #[test]
    fn loopback_is_never_proxied() {
        for server in ["https://127.0.0.1:6443", "https://localhost:6443", "https://[::1]:6443"] {
            assert_eq!(proxy_of(&[("HTTPS_PROXY", "http://p:1")], server), None, "{server}");
        }
    }

    #[test]
    fn a_wrong_proxy_names_the_variable_and_hides_the_url() {
        let error = proxies(&[("HTTPS_PROXY", "ftp://u:secret@p:1")])
            .for_server(&"https://x.example".parse().unwrap())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`HTTPS_PROXY` is not the URL of a proxy: `ftp` is neither `http`, `https` nor `socks5`"
        );
        assert!(!format!("{error:?}").contains("secret"));
    }
}
