//! The API server of an EKS cluster, found by what EKS says of it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Connection, Server};
use crate::cloud::{Cloud, Endpoint, Target, retry};
use crate::error::{Error, Kind, Result, did_you_mean, list_and};

/// A connection to this EKS cluster. Nothing is sent to its API server yet.
pub async fn connect_cluster(cloud: &Cloud, target: &Target, name: &str) -> Result<Arc<Connection>> {
    let endpoint = endpoint(cloud, target, name).await?;
    let client = cloud.kube.connect(&endpoint).await?;
    Ok(Arc::new(Connection::new(client, Server::Cluster(name.to_owned()), target.clone())))
}

/// Where EKS says the API server of this cluster is.
pub async fn endpoint(cloud: &Cloud, target: &Target, name: &str) -> Result<Endpoint> {
    let cluster = describe(cloud, target, name).await?;
    let status = cluster["status"].as_str().unwrap_or_default();
    let (url, ca) = (cluster["endpoint"].as_str(), cluster["certificate_authority"]["data"].as_str());
    match (url.filter(|url| !url.is_empty()), ca) {
        // An updating cluster serves its API all the while; one that failed may still answer.
        (Some(url), Some(ca)) if !matches!(status, "CREATING" | "PENDING") => {
            let ca_pem = STANDARD.decode(ca.trim()).map_err(|_| {
                Error::invalid(format!("EKS names no certificate authority of cluster `{name}` that can be read"))
            })?;
            Ok(Endpoint::Cluster { name: name.to_owned(), url: url.to_owned(), ca_pem, target: target.clone() })
        }
        _ if matches!(status, "CREATING" | "PENDING") => {
            let mut error = Error::conflict(format!("cluster `{name}` is still being created"))
                .hint(format!("wait for it first: `eks::wait_until_cluster_active(#{{ name: \"{name}\" }})`"));
            error.facts_mut().code = Some(status.to_owned());
            Err(error)
        }
        _ => Err(Error::new(Kind::Failed, format!("cluster `{name}` has no endpoint; its status is {status}"))
            .hint(format!("see `eks::describe_cluster(\"{name}\").cluster.health`"))),
    }
}

async fn describe(cloud: &Cloud, target: &Target, name: &str) -> Result<Value> {
    // Without a region the SDK's own error would talk about endpoint rules.
    let region = cloud.aws.region(target).await?;
    let operation = operation("describe_cluster")?;
    match retry::send(cloud, target, operation, &json!({ "name": name }), &retry::quietly()).await {
        Ok(mut answer) => Ok(answer["cluster"].take()),
        Err(error) if error.kind() == Kind::NotFound => {
            let mut missing = Error::not_found("cluster", name).in_("region", &region);
            let facts = missing.facts_mut();
            facts.service = error.facts().service.clone();
            facts.operation = error.facts().operation.clone();
            facts.code = error.facts().code.clone();
            facts.status = error.facts().status;
            facts.request_id = error.facts().request_id.clone();
            Err(suggest(cloud, target, name, missing).await)
        }
        Err(error) => Err(error),
    }
}

/// Names the clusters there are. Best effort: the error is about the one that is not.
async fn suggest(cloud: &Cloud, target: &Target, name: &str, error: Error) -> Error {
    let Ok(operation) = operation("list_clusters") else { return error };
    let Ok(answer) = retry::send(cloud, target, operation, &json!({}), &retry::quietly()).await else { return error };
    let names: Vec<&str> = answer["clusters"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let error = match names.len() {
        0 => error.note("there are no clusters in this account and region"),
        1..=6 => error.note(format!("there {} {}", if names.len() == 1 { "is" } else { "are" }, list_and(&names))),
        more => error.note(format!("there are {} and {} more", list_and(&names[..5]), more - 5)),
    };
    error.maybe_hint(did_you_mean(name, names.iter().copied()))
}

fn operation(name: &str) -> Result<&'static aws_dynamic::Operation> {
    aws_dynamic::operation("eks", name).ok_or_else(|| Error::bug(format!("`eks::{name}` is not compiled in")))
}
