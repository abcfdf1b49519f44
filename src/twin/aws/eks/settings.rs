//! Configuration values of add-ons: what each takes, and what comes of it in its objects.

use serde_json::{Map, Value, json};

use super::{invalid, merge};
use crate::twin::aws::{Refusal, text};
use crate::value::schema_type;

/// Name of a setting, and the type of JSON schema that it has.
type Known = (&'static str, &'static str);

/// Settings of every add-on's pods.
const OF_PODS: &[Known] = &[
    ("affinity", "object"),
    ("nodeSelector", "object"),
    ("podAnnotations", "object"),
    ("podLabels", "object"),
    ("resources", "object"),
    ("tolerations", "array"),
];

/// Further settings by add-on.
const OWN: &[(&str, &[Known])] = &[
    (
        "vpc-cni",
        &[
            ("cniConfig", "object"),
            ("enableNetworkPolicy", "string"),
            ("enableWindowsIpam", "string"),
            ("eniConfig", "object"),
            ("env", "object"),
            ("extraVolumeMounts", "array"),
            ("extraVolumes", "array"),
            ("init", "object"),
            ("livenessProbeTimeoutSeconds", "integer"),
            ("nodeAgent", "object"),
            ("readinessProbeTimeoutSeconds", "integer"),
        ],
    ),
    (
        "coredns",
        &[
            ("autoScaling", "object"),
            ("computeType", "string"),
            ("corefile", "string"),
            ("podDisruptionBudget", "object"),
            ("replicaCount", "integer"),
            ("topologySpreadConstraints", "array"),
        ],
    ),
    ("kube-proxy", &[("ipvs", "object"), ("mode", "string")]),
    ("eks-pod-identity-agent", &[("agent", "object"), ("priorityClassName", "string"), ("updateStrategy", "object")]),
    (
        "metrics-server",
        &[
            ("args", "array"),
            ("podDisruptionBudget", "object"),
            ("replicas", "integer"),
            ("topologySpreadConstraints", "array"),
            ("updateStrategy", "object"),
        ],
    ),
    (
        "aws-ebs-csi-driver",
        &[
            ("additionalDaemonSets", "object"),
            ("controller", "object"),
            ("defaultStorageClass", "object"),
            ("node", "object"),
            ("sidecars", "object"),
        ],
    ),
];

/// Variables that aws-node reads, besides those that it has from the start.
const AWS_NODE_VARIABLES: &[&str] = &[
    "ANNOTATE_POD_IP",
    "AWS_EC2_ENDPOINT",
    "AWS_EXTERNAL_SERVICE_CIDRS",
    "AWS_MANAGE_ENIS_NON_SCHEDULABLE",
    "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS",
    "AWS_VPC_K8S_CNI_CONFIGURE_RPFILTER",
    "CLUSTER_ENDPOINT",
    "DISABLE_LEAKED_ENI_CLEANUP",
    "DISABLE_POD_V6",
    "ENABLE_BANDWIDTH_PLUGIN",
    "ENABLE_V6_EGRESS",
    "ENI_CONFIG_ANNOTATION_DEF",
    "ENI_CONFIG_LABEL_DEF",
    "INTROSPECTION_BIND_ADDRESS",
    "IP_COOLDOWN_PERIOD",
    "MAX_ENI",
    "MINIMUM_IP_TARGET",
    "POD_MTU",
    "POD_SECURITY_GROUP_ENFORCING_MODE",
    "WARM_IP_TARGET",
];

fn known(addon: &str) -> impl Iterator<Item = Known> {
    let own = OWN.iter().find(|(name, _)| *name == addon).map_or(&[][..], |(_, own)| own);
    own.iter().chain(OF_PODS).copied()
}

/// The JSON schema of an add-on's settings, as EKS shows it.
pub(super) fn schema(addon: &str) -> Value {
    let properties: Map<String, Value> =
        known(addon).map(|(name, kind)| (name.to_owned(), json!({ "type": kind }))).collect();
    json!({
        "$schema": "http://json-schema.org/draft-06/schema#", "type": "object", "properties": properties,
        "additionalProperties": false,
    })
}

/// Reads settings, JSON or YAML, and refuses what the add-on does not know. `objects` are those of the add-on.
pub(super) fn read(addon: &str, settings: &str, objects: &[Value]) -> Result<Value, Refusal> {
    const HEAD: &str = "ConfigurationValue provided in request is not supported";
    let settings: Value = match serde_yaml::from_str(settings) {
        Ok(Value::Null) => json!({}),
        Ok(settings) => settings,
        Err(error) => return invalid(format!("{HEAD}: it is neither JSON nor YAML: {error}")),
    };
    let Some(map) = settings.as_object() else { return invalid(format!("{HEAD}: it is no map")) };
    let mut errors: Vec<String> = map.iter().filter_map(|(key, value)| error_of(addon, key, value)).collect();
    if addon == "vpc-cni" {
        errors.extend(variable_errors(&map.get("env").cloned().unwrap_or_default(), objects));
    }
    if errors.is_empty() {
        return Ok(settings);
    }
    invalid(format!("{HEAD}: Json schema validation failed with error: [{}]", errors.join(", ")))
}

fn error_of(addon: &str, key: &str, value: &Value) -> Option<String> {
    match known(addon).find(|(name, _)| *name == key) {
        None => Some(not_defined(key)),
        Some((_, kind)) if schema_type(value) != kind => {
            Some(format!("$.{key}: {} found, {kind} expected", schema_type(value)))
        }
        Some(_) => None,
    }
}

fn not_defined(path: &str) -> String {
    format!("$.{path}: is not defined in the schema and the schema does not allow additional properties")
}

fn variable_errors(env: &Value, objects: &[Value]) -> Vec<String> {
    let present = objects.iter().find_map(|object| variables(object).map(Vec::as_slice)).unwrap_or_default();
    let is_known = |name: &str| AWS_NODE_VARIABLES.contains(&name) || present.iter().any(|one| one["name"] == name);
    let error = |(name, value): (&String, &Value)| {
        if !is_known(name) {
            Some(not_defined(&format!("env.{name}")))
        } else if value.is_string() {
            None
        } else {
            Some(format!("$.env.{name}: {} found, string expected", schema_type(value)))
        }
    };
    env.as_object().into_iter().flatten().filter_map(error).collect()
}

fn variables(object: &Value) -> Option<&Vec<Value>> {
    let is_workload = object["kind"] == "DaemonSet";
    let list = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
    list.filter(|_| is_workload)
}

/// Writes settings into the objects of an add-on.
pub(super) fn apply(addon: &str, settings: &Value, objects: &mut [Value]) {
    for object in objects {
        match (addon, text(object, "kind")) {
            (_, "ConfigMap") if settings["corefile"].is_string() => {
                object["data"]["Corefile"] = settings["corefile"].clone();
            }
            ("aws-ebs-csi-driver", "Deployment") => apply_to_workload(&settings["controller"], object),
            ("aws-ebs-csi-driver", "DaemonSet") => apply_to_workload(&settings["node"], object),
            ("vpc-cni", "DaemonSet") => {
                apply_to_workload(settings, object);
                apply_to_aws_node(settings, object);
            }
            (_, "Deployment" | "DaemonSet") => apply_to_workload(settings, object),
            _ => {}
        }
    }
}

fn apply_to_workload(settings: &Value, object: &mut Value) {
    if object["kind"] == "Deployment" {
        for key in ["replicaCount", "replicas"] {
            if settings[key].is_u64() {
                object["spec"]["replicas"] = settings[key].clone();
            }
        }
    }
    let template = &mut object["spec"]["template"];
    for (key, field) in [("podAnnotations", "annotations"), ("podLabels", "labels")] {
        if settings[key].is_object() {
            let mut merged =
                if template["metadata"][field].is_object() { template["metadata"][field].take() } else { json!({}) };
            merge(&mut merged, &settings[key]);
            template["metadata"][field] = merged;
        }
    }
    let pod = &mut template["spec"];
    for key in ["affinity", "nodeSelector", "tolerations", "topologySpreadConstraints", "priorityClassName"] {
        if !settings[key].is_null() {
            pod[key] = settings[key].clone();
        }
    }
    if settings["resources"].is_object() {
        pod["containers"][0]["resources"] = settings["resources"].clone();
    }
}

fn apply_to_aws_node(settings: &Value, object: &mut Value) {
    let pod = &mut object["spec"]["template"]["spec"];
    set_variables(&settings["env"], &mut pod["containers"][0]["env"]);
    set_variables(&settings["init"]["env"], &mut pod["initContainers"][0]["env"]);
    let agent = &mut pod["containers"][1]["args"];
    if let Some(value) = settings["enableNetworkPolicy"].as_str() {
        set_argument(agent, "--enable-network-policy", value);
    }
    let arguments = [
        ("enablePolicyEventLogs", "--enable-policy-event-logs"),
        ("enableCloudWatchLogs", "--enable-cloudwatch-logs"),
        ("healthProbeBindAddr", "--health-probe-bind-addr"),
        ("metricsBindAddr", "--metrics-bind-addr"),
    ];
    for (key, argument) in arguments {
        match &settings["nodeAgent"][key] {
            Value::Null => {}
            Value::String(value) => set_argument(agent, argument, value),
            other => set_argument(agent, argument, &other.to_string()),
        }
    }
}

fn set_variables(wanted: &Value, list: &mut Value) {
    let Some(list) = list.as_array_mut() else { return };
    for (name, value) in wanted.as_object().into_iter().flatten() {
        match list.iter_mut().find(|one| one["name"] == *name) {
            Some(present) => *present = json!({ "name": name, "value": value }),
            None => list.push(json!({ "name": name, "value": value })),
        }
    }
}

fn set_argument(arguments: &mut Value, name: &str, value: &str) {
    let Some(list) = arguments.as_array_mut() else { return };
    let head = format!("{name}=");
    list.retain(|one| !one.as_str().is_some_and(|text| text.starts_with(&head)));
    list.push(json!(format!("{head}{value}")));
}
