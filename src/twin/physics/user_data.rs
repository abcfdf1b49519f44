//! User data of instances as nodeadm reads it: NodeConfig documents, plain or in MIME parts, merged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::selection::{list, text};

/// The `spec` of all NodeConfig documents of base64 user data, later ones over earlier ones; `None`: there is none.
pub fn node_config(encoded: &str) -> Option<Value> {
    let bytes = STANDARD.decode(encoded.trim()).ok()?;
    let written = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    let specs: Vec<Value> = documents(&written).iter().filter_map(|document| spec_of(document)).collect();
    specs.into_iter().reduce(merged)
}

fn spec_of(document: &str) -> Option<Value> {
    let parsed: Value = serde_yaml::from_str(document).ok()?;
    let is_config = text(&parsed, "kind") == "NodeConfig" && text(&parsed, "apiVersion").starts_with("node.eks.aws/");
    is_config.then(|| if parsed["spec"].is_object() { parsed["spec"].clone() } else { Value::Object(Map::new()) })
}

fn documents(written: &str) -> Vec<String> {
    let (head, _) = written.split_once("\n\n").unwrap_or((written, ""));
    let Some(boundary) = boundary(head) else {
        return vec![written.to_owned()];
    };
    let mark = format!("--{boundary}");
    let parts = written.split(mark.as_str()).skip(1).take_while(|part| !part.starts_with("--"));
    parts.filter_map(|part| body(part.strip_prefix('\n').unwrap_or(part))).collect()
}

fn boundary(head: &str) -> Option<&str> {
    let at = head.to_lowercase().find("boundary=")?;
    let rest = &head[at + "boundary=".len()..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([';', '\n', ' ']).next(),
    }
}

/// The content of a MIME part, where it is a NodeConfig.
fn body(part: &str) -> Option<String> {
    let (head, body) = part.split_once("\n\n")?;
    let head = head.to_lowercase();
    if !head.contains("application/node.eks.aws") {
        return None;
    }
    if !head.contains("base64") {
        return Some(body.to_owned());
    }
    let joined: String = body.split_whitespace().collect();
    String::from_utf8(STANDARD.decode(joined).ok()?).ok()
}

fn merged(below: Value, above: Value) -> Value {
    match (below, above) {
        (Value::Object(mut below), Value::Object(above)) => {
            for (key, value) in above {
                let under = below.remove(&key).unwrap_or(Value::Null);
                below.insert(key, merged(under, value));
            }
            Value::Object(below)
        }
        (_, above) => above,
    }
}

/// The values of a flag of kubelet, cut at commas.
fn flag<'a>(config: &'a Value, name: &str) -> Vec<&'a str> {
    let prefix = format!("--{name}=");
    let flags = list(&config["kubelet"]["flags"]).iter().filter_map(Value::as_str);
    let values = flags.filter_map(|flag| flag.strip_prefix(&prefix));
    values.flat_map(|value| value.split(',')).filter(|part| !part.is_empty()).collect()
}

/// The labels with which kubelet registers its node.
pub fn labels(config: &Value) -> Vec<(&str, &str)> {
    flag(config, "node-labels").into_iter().map(|one| one.split_once('=').unwrap_or((one, ""))).collect()
}

/// The taints with which kubelet registers its node: key, value, effect.
pub fn taints(config: &Value) -> Vec<(&str, &str, &str)> {
    let taints = flag(config, "register-with-taints").into_iter().filter_map(|one| one.rsplit_once(':'));
    taints
        .map(|(pair, effect)| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key, value, effect)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(written: &str) -> Option<Value> {
        node_config(&STANDARD.encode(written))
    }

    const PART: &str = "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  cluster: {name: prod}\n";

    #[test]
    fn a_plain_document_is_read() {
        assert_eq!(read(PART), Some(json!({ "cluster": { "name": "prod" } })));
        assert_eq!(read("#!/bin/bash\n/etc/eks/bootstrap.sh prod\n"), None);
    }

    #[test]
    fn parts_of_mime_are_merged_and_others_left_out() {
        let more = "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  cluster: {cidr: 172.20.0.0/16}\n  \
                    kubelet:\n    flags: ['--node-labels=a=b,c=d', '--register-with-taints=gpu=yes:NoSchedule']\n";
        let encoded = STANDARD.encode(more);
        let mime = format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"//\"\r\n\r\n--//\r\n\
             Content-Type: text/x-shellscript\r\n\r\nkind: NodeConfig\r\n--//\r\n\
             Content-Type: application/node.eks.aws\r\n\r\n{PART}\r\n--//\r\n\
             Content-Transfer-Encoding: base64\r\nContent-Type: application/node.eks.aws\r\n\r\n{encoded}\r\n--//--\r\n"
        );
        let config = read(&mime).unwrap();
        assert_eq!(config["cluster"], json!({ "name": "prod", "cidr": "172.20.0.0/16" }));
        assert_eq!(labels(&config), [("a", "b"), ("c", "d")]);
        assert_eq!(taints(&config), [("gpu", "yes", "NoSchedule")]);
    }
}
