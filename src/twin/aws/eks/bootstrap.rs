//! What EKS puts into a cluster: what each holds from its first moment, and the objects of its add-ons.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::addon;
use crate::twin::aws::text;
use crate::twin::kube;
use crate::twin::world::World;

const AUTHORITY: &[u8] = include_bytes!("../../worlds/manifests/authority.pem");
const BASE: &str = include_str!("../../worlds/manifests/base.yaml");

/// Manifests by the name of the add-on.
const MANIFESTS: &[(&str, &str)] = &[
    ("aws-ebs-csi-driver", include_str!("../../worlds/manifests/ebs-csi.yaml")),
    ("coredns", include_str!("../../worlds/manifests/coredns.yaml")),
    ("eks-pod-identity-agent", include_str!("../../worlds/manifests/pod-identity-agent.yaml")),
    ("kube-proxy", include_str!("../../worlds/manifests/kube-proxy.yaml")),
    ("metrics-server", include_str!("../../worlds/manifests/metrics-server.yaml")),
    ("vpc-cni", include_str!("../../worlds/manifests/aws-node.yaml")),
];

/// Add-ons that a cluster has from its start, unless it was asked for without.
const SELF_MANAGED: &[&str] = &["vpc-cni", "kube-proxy", "coredns"];

/// The certificate that API servers of the twin have their own from, as clusters show it.
pub(super) fn authority() -> String {
    STANDARD.encode(AUTHORITY)
}

/// Fills the store of a cluster that has just started.
pub(super) fn seed(world: &mut World, cluster: &Value) {
    let name = text(cluster, "name");
    let mut objects = parsed(world, cluster, BASE, "");
    if cluster["_self_managed_addons"] == true {
        for addon in SELF_MANAGED {
            if let Some(version) = addon::default_version(world, addon, text(cluster, "version")) {
                objects.extend(addon_objects(world, cluster, addon, &version));
            }
        }
    }
    for object in objects {
        kube::create(world, name, &kind_of(&object), object);
    }
}

/// The objects of an add-on in this version, as it installs them without settings.
pub(super) fn addon_objects(world: &World, cluster: &Value, addon: &str, version: &str) -> Vec<Value> {
    let manifest = MANIFESTS.iter().find(|(name, _)| *name == addon);
    manifest.map(|(_, manifest)| parsed(world, cluster, manifest, version)).unwrap_or_default()
}

fn parsed(world: &World, cluster: &Value, manifest: &str, version: &str) -> Vec<Value> {
    let service_cidr = text(&cluster["kubernetes_network_config"], "service_ipv4_cidr");
    let facts = [
        ("${APP}", version.split('-').next().unwrap_or_default().to_owned()),
        ("${CLUSTER}", text(cluster, "name").to_owned()),
        ("${DNS_IP}", address(service_cidr, 10)),
        ("${IMAGE}", version.replace("-eksbuild", "-minimal-eksbuild")),
        ("${REGION}", world.region.clone()),
        ("${SERVICE_IP}", address(service_cidr, 1)),
        ("${VERSION}", version.to_owned()),
        ("${VPC}", text(&cluster["resources_vpc_config"], "vpc_id").to_owned()),
    ];
    let text = facts.iter().fold(manifest.to_owned(), |text, (place, fact)| text.replace(place, fact));
    let documents = serde_yaml::Deserializer::from_str(&text);
    documents.filter_map(|document| Value::deserialize(document).ok()).filter(Value::is_object).collect()
}

/// The address at this place of a range.
pub(super) fn address(cidr: &str, place: u32) -> String {
    let Ok(range) = cidr.parse::<ipnet::Ipv4Net>() else { return String::new() };
    std::net::Ipv4Addr::from(u32::from(range.network()).saturating_add(place)).to_string()
}

/// The name of an object's kind in the store: `deployments.apps`.
pub(super) fn kind_of(object: &Value) -> String {
    let kind = text(object, "kind").to_lowercase();
    let plural = if kind.ends_with("ss") { format!("{kind}es") } else { format!("{kind}s") };
    match text(object, "apiVersion").split_once('/') {
        Some((group, _)) => format!("{plural}.{group}"),
        None => plural,
    }
}
