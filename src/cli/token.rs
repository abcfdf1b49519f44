//! `ekskit token --cluster NAME`: the exec plugin of kubectl and every other client of Kubernetes.

use clap::Args;
use serde_json::{Value, json};

use super::{TargetFlags, start};
use crate::cloud::{Cloud, Target};
use crate::error::{Error, Result};
use crate::ui;
use crate::value::format_time;

/// Flags of `token`.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Name of the EKS cluster
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    #[command(flatten)]
    target: TargetFlags,
}

/// Runs the command.
pub fn main(flags: &Flags) -> Result<()> {
    // What the client says it understands; read before anything is asked.
    let exec_info = std::env::var("KUBERNETES_EXEC_INFO").unwrap_or_default();
    let runtime = start::runtime()?;
    let cloud = start::live_cloud(None);
    let credential = runtime.block_on(credential(&cloud, &flags.target.target(), &flags.cluster, &exec_info))?;
    ui::result(&credential.to_string());
    Ok(())
}

const GROUP: &str = "client.authentication.k8s.io";

/// The `ExecCredential` with a token for this cluster, in the version that `exec_info` asks for.
pub async fn credential(cloud: &Cloud, target: &Target, cluster: &str, exec_info: &str) -> Result<Value> {
    if cluster.is_empty() {
        return Err(Error::usage("`--cluster` is empty").hint("name the EKS cluster: `ekskit token --cluster prod`"));
    }
    let version = api_version(exec_info)?;
    let (token, expires) = cloud.aws.token(target, cluster).await?;
    Ok(json!({
        "kind": "ExecCredential",
        "apiVersion": version,
        "spec": {},
        "status": { "expirationTimestamp": format_time(expires), "token": token.reveal() },
    }))
}

/// A client refuses an answer in another version than it asked for. One that asks for nothing gets v1beta1, as from the
/// AWS CLI; v1alpha1 is dead in clients of today but an old one may still ask for it.
fn api_version(exec_info: &str) -> Result<String> {
    if exec_info.trim().is_empty() {
        return Ok(format!("{GROUP}/v1beta1"));
    }
    let asked: Value = serde_json::from_str(exec_info)
        .map_err(|error| Error::invalid(format!("`KUBERNETES_EXEC_INFO` is not JSON: {error}")))?;
    let asked = asked["apiVersion"].as_str().unwrap_or_default();
    match asked.strip_prefix(GROUP).and_then(|version| version.strip_prefix('/')) {
        Some("v1" | "v1beta1" | "v1alpha1") => Ok(asked.to_owned()),
        _ => Err(Error::invalid(format!("`KUBERNETES_EXEC_INFO` asks for `{asked}`, which is not known"))
            .hint(format!("write `apiVersion: {GROUP}/v1beta1` into the `exec` entry of the kubeconfig"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_gets_the_version_it_asks_for() {
        let asked =
            |version: &str| api_version(&json!({ "apiVersion": version, "kind": "ExecCredential" }).to_string());
        assert_eq!(api_version("").unwrap(), "client.authentication.k8s.io/v1beta1");
        for version in ["v1", "v1beta1", "v1alpha1"] {
            let whole = format!("client.authentication.k8s.io/{version}");
            assert_eq!(asked(&whole).unwrap(), whole);
        }
        assert!(asked("client.authentication.k8s.io/v2").is_err());
        assert!(api_version("{").is_err());
    }
}
