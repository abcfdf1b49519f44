//! What managed node groups launch: AMI, user data, and a launch template of EKS's own, the customer's merged in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{bootstrap, invalid};
use crate::twin::aws::{Refusal, text, within};
use crate::twin::world::World;

/// The instance type of a node group that names none.
const INSTANCE_TYPE: &str = "t3.medium";

/// The architecture of an AMI type.
pub(super) fn architecture(ami_type: &str) -> &'static str {
    if ami_type.contains("ARM_64") { "arm64" } else { "x86_64" }
}

/// Where SSM keeps what is recommended for an AMI type and a Kubernetes version.
fn parameter(ami_type: &str, version: &str) -> String {
    let architecture = architecture(ami_type);
    if ami_type.starts_with("BOTTLEROCKET") {
        return format!("/aws/service/bottlerocket/aws-k8s-{version}/{architecture}/latest");
    }
    let variant = match ami_type.rsplit('_').next() {
        Some("NVIDIA") => "nvidia",
        Some("NEURON") => "neuron",
        _ => "standard",
    };
    format!("/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/{architecture}/{variant}/recommended")
}

fn parameter_value(world: &World, name: &str) -> Option<String> {
    let found = world.table("ssm/parameters").get(name);
    let found = found.or_else(|| world.table("ssm/parameters").values().find(|one| one["name"] == name));
    found.and_then(|one| one["value"].as_str()).map(str::to_owned)
}

/// The AMI that EKS recommends.
pub(super) fn image(world: &World, ami_type: &str, version: &str) -> Option<String> {
    parameter_value(world, &format!("{}/image_id", parameter(ami_type, version)))
}

/// The release of that AMI.
pub(super) fn release(world: &World, ami_type: &str, version: &str) -> String {
    let told = parameter_value(world, &format!("{}/release_version", parameter(ami_type, version)));
    told.unwrap_or_else(|| {
        let patch =
            world.find("eks/cluster_versions", version).map(|one| text(one, "kubernetes_patch_version").to_owned());
        format!("{}-20261023", patch.unwrap_or_else(|| version.to_owned()))
    })
}

/// The customer's launch template that a node group names: its id, name and version as EKS shows them, and its data.
pub(super) fn customers(world: &World, asked: &Value) -> Result<(Value, Value), Refusal> {
    let (id, name) = (asked["id"].as_str(), asked["name"].as_str());
    let mut templates = world.table("ec2/launch_templates").values();
    let found = templates.find(|one| match (id, name) {
        (Some(id), _) => one["launch_template_id"] == id,
        (None, name) => one["launch_template_name"].as_str() == name,
    });
    let Some(template) = found else {
        return invalid("Launch template details can't be found. Please check the launch template id or name.");
    };
    let number = match asked["version"].as_str() {
        None | Some("$Default") => template["default_version_number"].as_i64(),
        Some("$Latest") => template["latest_version_number"].as_i64(),
        Some(number) => number.parse().ok(),
    };
    let versions = template["_versions"].as_array().into_iter().flatten();
    let Some(version) = versions.into_iter().find(|one| one["version_number"].as_i64() == number) else {
        return invalid("Launch template details can't be found. Please check the launch template version.");
    };
    let shown = json!({
        "id": template["launch_template_id"], "name": template["launch_template_name"],
        "version": number.unwrap_or_default().to_string(),
    });
    Ok((shown, version["launch_template_data"].clone()))
}

/// The data of EKS's own launch template for a node group.
pub(super) fn data(world: &World, cluster: &Value, group: &Value) -> Result<Value, Refusal> {
    let mut data = match group["launch_template"].is_object() {
        true => customers(world, &group["launch_template"])?.1,
        false => json!({
            "block_device_mappings": [{
                "device_name": "/dev/xvda",
                "ebs": { "volume_size": group["disk_size"], "volume_type": "gp3", "delete_on_termination": true },
            }],
            "metadata_options": { "http_put_response_hop_limit": 2, "http_tokens": "required" },
        }),
    };
    let is_custom = group["ami_type"] == "CUSTOM";
    if !is_custom {
        let (ami_type, version) = (text(group, "ami_type"), text(group, "version"));
        let Some(image) = image(world, ami_type, version) else {
            return invalid(format!("There is no AMI of type {ami_type} for Kubernetes {version}"));
        };
        data["user_data"] = json!(user_data(cluster, group, &image, data["user_data"].as_str())?);
        data["image_id"] = json!(image);
    }
    if data["instance_type"].is_null() {
        data["instance_type"] = json!(group["instance_types"][0].as_str().unwrap_or(INSTANCE_TYPE));
    }
    let has_groups = data["security_group_ids"].is_array() || data["network_interfaces"].is_array();
    if !has_groups {
        data["security_group_ids"] = json!([cluster["resources_vpc_config"]["cluster_security_group_id"]]);
    }
    if group["capacity_type"] == "SPOT" {
        data["instance_market_options"] = json!({ "market_type": "spot" });
    }
    if let Some(profile) = group["_profile"].as_str() {
        data["iam_instance_profile"] = json!({ "name": profile });
    }
    Ok(without_nulls(data))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, value)| !value.is_null() && !key.starts_with('_'));
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Labels that nodes of a group have.
pub(super) fn labels(group: &Value, image: Option<&str>) -> Map<String, Value> {
    let mut labels = group["labels"].as_object().cloned().unwrap_or_default();
    labels.insert("eks.amazonaws.com/nodegroup".to_owned(), group["nodegroup_name"].clone());
    labels.insert("eks.amazonaws.com/capacityType".to_owned(), group["capacity_type"].clone());
    if let Some(image) = image {
        labels.insert("eks.amazonaws.com/nodegroup-image".to_owned(), json!(image));
    }
    labels
}

/// Taints as Kubernetes writes them; EKS has its own words for effects.
pub(super) fn taints(group: &Value) -> Vec<Value> {
    let taints = group["taints"].as_array().into_iter().flatten();
    let effect = |taint: &Value| match text(taint, "effect") {
        "NO_EXECUTE" => "NoExecute",
        "PREFER_NO_SCHEDULE" => "PreferNoSchedule",
        _ => "NoSchedule",
    };
    let written = taints.map(|taint| {
        let mut written = json!({ "key": taint["key"], "effect": effect(taint) });
        if !text(taint, "value").is_empty() {
            written["value"] = taint["value"].clone();
        }
        written
    });
    written.collect()
}

const BOUNDARY: &str = "//";

/// User data in MIME parts: the customer's, then what the node needs to join. Base64.
fn user_data(cluster: &Value, group: &Value, image: &str, customers: Option<&str>) -> Result<String, Refusal> {
    let mut parts = match customers {
        Some(encoded) => mime_parts(encoded)?,
        None => Vec::new(),
    };
    let config = node_config(cluster, group, image);
    let config = serde_yaml::to_string(&config).unwrap_or_default();
    parts.push(format!("Content-Type: application/node.eks.aws\n\n---\n{config}"));
    let mut text = format!("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\n\n");
    for part in parts {
        text.push_str(&format!("--{BOUNDARY}\n{}\n", part.trim_end()));
    }
    text.push_str(&format!("--{BOUNDARY}--\n"));
    Ok(STANDARD.encode(text))
}

fn node_config(cluster: &Value, group: &Value, image: &str) -> Value {
    let named = labels(group, Some(image));
    let named: Vec<String> =
        named.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let mut flags = vec![format!("--node-labels={}", named.join(","))];
    let taints = taints(group);
    if !taints.is_empty() {
        let taints: Vec<String> = taints
            .iter()
            .map(|taint| format!("{}={}:{}", text(taint, "key"), text(taint, "value"), text(taint, "effect")))
            .collect();
        flags.push(format!("--register-with-taints={}", taints.join(",")));
    }
    let cidr = text(&cluster["kubernetes_network_config"], "service_ipv4_cidr");
    json!({
        "apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig",
        "spec": {
            "cluster": {
                "name": cluster["name"], "apiServerEndpoint": cluster["endpoint"],
                "certificateAuthority": cluster["certificate_authority"]["data"], "cidr": cidr,
            },
            "kubelet": { "config": { "clusterDNS": [bootstrap::address(cidr, 10)] }, "flags": flags },
        },
    })
}

/// The parts of MIME multipart user data, each with its headers.
fn mime_parts(encoded: &str) -> Result<Vec<String>, Refusal> {
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    let plain = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    if plain.trim().is_empty() {
        return Ok(Vec::new());
    }
    let boundary = plain.split_once("boundary=").and_then(|(_, rest)| rest.lines().next());
    let boundary = boundary.map(|line| line.split(';').next().unwrap_or(line).trim().trim_matches('"').to_owned());
    let Some(boundary) = boundary.filter(|_| plain.to_lowercase().contains("multipart/mixed")) else {
        return invalid("User data was not in the MIME multipart format.");
    };
    let delimiter = format!("--{boundary}");
    let parts = plain.split(delimiter.as_str()).skip(1).take_while(|part| !part.starts_with("--"));
    Ok(parts.map(|part| part.trim_start_matches('\n').to_owned()).collect())
}

/// Makes the launch template of a node group, and answers where it is.
pub(super) fn make(world: &mut World, cluster: &Value, group: &Value) -> Result<Value, Refusal> {
    let data = data(world, cluster, group)?;
    let name = format!("eks-{}", world.uuid("launch template of a node group"));
    let tags: Vec<Value> =
        owner_tags(group).into_iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    let made = within(
        world,
        "ec2::create_launch_template",
        json!({
            "launch_template_name": name, "launch_template_data": data,
            "tag_specifications": [{ "resource_type": "launch-template", "tags": tags }],
        }),
    )?;
    Ok(json!({ "launch_template_id": made["launch_template"]["launch_template_id"], "version": "1" }))
}

/// Makes the next version of the launch template of a node group.
pub(super) fn make_next(world: &mut World, cluster: &Value, group: &Value) -> Result<Value, Refusal> {
    let data = data(world, cluster, group)?;
    let id = text(&group["_template"], "launch_template_id");
    let input = json!({ "launch_template_id": id, "launch_template_data": data });
    let made = within(world, "ec2::create_launch_template_version", input)?;
    let number = made["launch_template_version"]["version_number"].as_i64().unwrap_or(1);
    Ok(json!({ "launch_template_id": id, "version": number.to_string() }))
}

/// Tags that EKS puts on what it makes for a node group.
pub(super) fn owner_tags(group: &Value) -> Vec<(String, String)> {
    let (cluster, name) = (text(group, "cluster_name"), text(group, "nodegroup_name"));
    vec![("eks:cluster-name".to_owned(), cluster.to_owned()), ("eks:nodegroup-name".to_owned(), name.to_owned())]
}
