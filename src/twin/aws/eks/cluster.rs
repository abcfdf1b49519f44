//! Clusters: made, changed, upgraded, deleted.

use serde_json::{Value, json};

use super::update::Of;
use super::{
    bootstrap, check_role, cluster_of, in_use, invalid, merge, network, node_access, refused, tags, tags_of, update,
    version,
};
use crate::twin::Arrival;
use crate::twin::aws::{Answer, Refusal, Row, refuse, text, texts, within};
use crate::twin::physics::Controller;
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("eks::associate_encryption_config", associate_encryption_config),
    ("eks::create_cluster", create_cluster),
    ("eks::delete_cluster", delete_cluster),
    ("eks::describe_cluster", describe_cluster),
    ("eks::describe_cluster_versions", version::describe_cluster_versions),
    ("eks::describe_update", update::describe_update),
    ("eks::list_clusters", list_clusters),
    ("eks::list_fargate_profiles", list_fargate_profiles),
    ("eks::list_identity_provider_configs", list_identity_provider_configs),
    ("eks::list_insights", list_insights),
    ("eks::list_tags_for_resource", tags::list_tags_for_resource),
    ("eks::list_updates", update::list_updates),
    ("eks::tag_resource", tags::tag_resource),
    ("eks::untag_resource", tags::untag_resource),
    ("eks::update_cluster_config", update_cluster_config),
    ("eks::update_cluster_version", update_cluster_version),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[(TABLE, arrive)];

/// What happens by itself.
pub const CONTROLLERS: &[Controller] = &[];

const TABLE: &str = "eks/clusters";

/// Types of control plane logs.
const LOG_TYPES: &[&str] = &["api", "audit", "authenticator", "controllerManager", "scheduler"];

/// The steps from aws-auth to access entries: one at a time, upwards only.
const MODES: &[&str] = &["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"];

/// The longest name of a cluster.
const NAME_MAX: usize = 100;

fn create_cluster(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "name");
    check_name(name)?;
    if world.find(TABLE, name).is_some() {
        return in_use(format!("Cluster already exists with name: {name}"));
    }
    let access = access_config(&input["access_config"])?;
    let version = version::offered(world, input["version"].as_str())?;
    check_role(world, text(input, "role_arn"), "eks.amazonaws.com")?;
    let mut vpc = network::configured(&json!({}), &input["resources_vpc_config"])?;
    let vpc_id = network::check_new(world, name, &vpc)?;
    let kubernetes_network = kubernetes_network(world, &vpc_id, &input["kubernetes_network_config"])?;
    check_key(world, &input["encryption_config"])?;
    vpc["vpc_id"] = json!(vpc_id);
    let mut support = json!({ "support_type": "EXTENDED" });
    merge(&mut support, &object(&input["upgrade_policy"]));
    let mut cluster = json!({
        "name": name, "arn": world.arn("eks", &format!("cluster/{name}")), "created_at": world.now_text(),
        "version": version["cluster_version"], "platform_version": version["default_platform_version"],
        "role_arn": input["role_arn"], "status": "CREATING", "resources_vpc_config": vpc,
        "kubernetes_network_config": kubernetes_network,
        "logging": logging(&json!({}), &input["logging"]), "access_config": { "authentication_mode": access.0 },
        "upgrade_policy": support, "deletion_protection": input["deletion_protection"] == true,
        "encryption_config": if input["encryption_config"].is_array() { input["encryption_config"].clone() } else { json!([]) },
        "tags": tags_of(input), "health": { "issues": [] },
        "_creator": node_access::principal_of(world, &world.acting.clone()),
        "_bootstrap_creator": access.1,
        "_self_managed_addons": input["bootstrap_self_managed_addons"] != false,
    });
    for optional in ["zonal_shift_config", "control_plane_scaling_config"] {
        if input[optional].is_object() {
            cluster[optional] = input[optional].clone();
        }
    }
    for unplayed in ["compute_config", "storage_config", "remote_network_config", "outpost_config"] {
        if input[unplayed].is_object() && input[unplayed]["enabled"] != false {
            return refuse("NotSimulated", 400, format!("`{unplayed}` of a cluster is not simulated"));
        }
    }
    world.put(TABLE, name, cluster.clone());
    world.begin(TABLE, name, "ACTIVE");
    Ok(json!({ "cluster": cluster }))
}

fn object(value: &Value) -> Value {
    if value.is_object() { value.clone() } else { json!({}) }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let is_fitting = name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
        && name.len() <= NAME_MAX;
    if is_fitting {
        return Ok(());
    }
    invalid("The cluster name must match the pattern ^[0-9A-Za-z][A-Za-z0-9\\-_]*$ and have at most 100 characters")
}

/// Mode of authentication, and whether the creator becomes an administrator.
fn access_config(asked: &Value) -> Result<(String, bool), Refusal> {
    let mode = asked["authentication_mode"].as_str().unwrap_or("CONFIG_MAP");
    let admits = asked["bootstrap_cluster_creator_admin_permissions"] != false;
    if mode == "CONFIG_MAP" && !admits {
        return invalid(
            "bootstrapClusterCreatorAdminPermissions must be true if cluster authentication mode is set to CONFIG_MAP",
        );
    }
    Ok((mode.to_owned(), admits))
}

fn kubernetes_network(world: &World, vpc_id: &str, asked: &Value) -> Answer {
    let vpc_cidr = world.find("ec2/vpcs", vpc_id).map(|vpc| text(vpc, "cidr_block").to_owned()).unwrap_or_default();
    // EKS takes the one of its two default ranges that is farther from the VPC's.
    let usual = if vpc_cidr.starts_with("10.") { "172.20.0.0/16" } else { "10.100.0.0/16" };
    let cidr = asked["service_ipv4_cidr"].as_str().unwrap_or(usual);
    let Ok(range) = cidr.parse::<ipnet::Ipv4Net>() else {
        return invalid(format!("The serviceIpv4Cidr '{cidr}' is not a valid CIDR"));
    };
    if !(12..=24).contains(&range.prefix_len()) || !range.addr().is_private() {
        return invalid("serviceIpv4Cidr must be within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16, from /24 to /12");
    }
    if let Ok(vpc) = vpc_cidr.parse::<ipnet::Ipv4Net>()
        && (vpc.contains(&range) || range.contains(&vpc))
    {
        return invalid(format!("The serviceIpv4Cidr '{cidr}' overlaps with the CIDR '{vpc_cidr}' of the VPC"));
    }
    Ok(json!({ "service_ipv4_cidr": cidr, "ip_family": "ipv4", "elastic_load_balancing": { "enabled": false } }))
}

fn check_key(world: &World, config: &Value) -> Result<(), Refusal> {
    for one in config.as_array().into_iter().flatten() {
        let arn = text(&one["provider"], "key_arn");
        if !world.table("kms/keys").values().any(|key| key["arn"] == arn || key["key_metadata"]["arn"] == arn) {
            return invalid(format!(
                "The keyArn in encryptionConfig provider {arn} is invalid: the key does not exist"
            ));
        }
    }
    Ok(())
}

/// The log setup with what is asked laid over what is: types that are on, then those that are off.
fn logging(now: &Value, asked: &Value) -> Value {
    let mut on: Vec<&str> = Vec::new();
    let setups = |of: &'_ Value| of["cluster_logging"].as_array().cloned().unwrap_or_default();
    let all: Vec<Value> = setups(now).into_iter().chain(setups(asked)).collect();
    for setup in &all {
        for kind in texts(&setup["types"]) {
            on.retain(|one| *one != kind);
            if setup["enabled"] == true {
                on.push(kind);
            }
        }
    }
    let part =
        |wanted: bool| -> Vec<&str> { LOG_TYPES.iter().copied().filter(|kind| on.contains(kind) == wanted).collect() };
    let parts = [(part(true), true), (part(false), false)];
    let shown = parts.iter().filter(|(types, _)| !types.is_empty());
    let shown: Vec<Value> = shown.map(|(types, enabled)| json!({ "types": types, "enabled": enabled })).collect();
    json!({ "cluster_logging": shown })
}

fn describe_cluster(world: &mut World, input: &Value) -> Answer {
    Ok(json!({ "cluster": cluster_of(world, text(input, "name"))? }))
}

fn list_clusters(world: &mut World, _: &Value) -> Answer {
    let names: Vec<&String> = world.table(TABLE).keys().collect();
    Ok(json!({ "clusters": names }))
}

fn list_insights(world: &mut World, input: &Value) -> Answer {
    cluster_of(world, text(input, "cluster_name"))?;
    Ok(json!({ "insights": [] }))
}

fn list_fargate_profiles(world: &mut World, input: &Value) -> Answer {
    cluster_of(world, text(input, "cluster_name"))?;
    Ok(json!({ "fargate_profile_names": [] }))
}

fn list_identity_provider_configs(world: &mut World, input: &Value) -> Answer {
    cluster_of(world, text(input, "cluster_name"))?;
    Ok(json!({ "identity_provider_configs": [] }))
}

fn delete_cluster(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "name");
    let cluster = cluster_of(world, name)?;
    if cluster["deletion_protection"] == true {
        return refused(format!("Cannot delete cluster {name} because deletion protection is enabled"));
    }
    check_steady(cluster, "DeleteCluster")?;
    update::check_idle(world, name, Of::Cluster, "DeleteCluster")?;
    if world.table("eks/nodegroups").values().any(|group| group["cluster_name"] == name) {
        return in_use("Cluster has nodegroups attached");
    }
    if let Some(cluster) = world.find_mut(TABLE, name) {
        cluster["status"] = json!("DELETING");
    }
    world.begin(TABLE, name, "DELETED");
    describe_cluster(world, input)
}

/// Refuses an operation on a cluster that is still being made or already being deleted.
fn check_steady(cluster: &Value, operation: &str) -> Result<(), Refusal> {
    let name = text(cluster, "name");
    match text(cluster, "status") {
        "CREATING" => in_use(format!("Cannot {operation} because cluster {name} currently has a creation in progress")),
        "DELETING" => in_use(format!("Cannot {operation} because cluster {name} currently has a deletion in progress")),
        _ => Ok(()),
    }
}

/// A cluster that can be updated now.
fn idle_cluster(world: &World, name: &str, operation: &str) -> Answer {
    let cluster = cluster_of(world, name)?;
    check_steady(cluster, operation)?;
    update::check_idle(world, name, Of::Cluster, operation)?;
    Ok(cluster.clone())
}

/// Begins an update: at its end these fields of the cluster are so.
fn begin_update(
    world: &mut World,
    name: &str,
    kind: &str,
    to: &str,
    params: &[(&str, String)],
    changes: Value,
) -> Value {
    let update = update::begin(world, name, Of::Cluster, kind, params);
    if let Some(cluster) = world.find_mut(TABLE, name) {
        cluster["status"] = json!("UPDATING");
        cluster["_changes"] = changes;
    }
    world.begin(TABLE, name, to);
    json!({ "update": update })
}

const ONE_UPDATE: &str = "Only one type of update can be allowed.";

fn update_cluster_config(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "name");
    let cluster = idle_cluster(world, name, "UpdateClusterConfig")?;
    let fields = input.as_object().into_iter().flatten();
    let mut asked = fields.filter(|(key, _)| *key != "name" && *key != "client_request_token");
    let (Some((kind, value)), None) = (asked.next(), asked.next()) else {
        return invalid(ONE_UPDATE);
    };
    let (update_type, params, changed) = match kind.as_str() {
        "resources_vpc_config" => vpc_change(world, &cluster, value)?,
        "access_config" => access_change(&cluster, value)?,
        "logging" => {
            let new = logging(&cluster["logging"], value);
            ("LoggingUpdate", vec![("ClusterLogging", new["cluster_logging"].to_string())], new)
        }
        "upgrade_policy" => ("UpgradePolicyUpdate", vec![("UpgradePolicy", value.to_string())], value.clone()),
        "zonal_shift_config" => {
            ("ZonalShiftConfigUpdate", vec![("ZonalShiftConfig", value.to_string())], value.clone())
        }
        "deletion_protection" => {
            ("DeletionProtectionUpdate", vec![("DeletionProtection", value.to_string())], value.clone())
        }
        "control_plane_scaling_config" => {
            ("ControlPlaneScalingConfigUpdate", vec![("UpdatedTier", text(value, "tier").to_owned())], value.clone())
        }
        other => return refuse("NotSimulated", 400, format!("an update of `{other}` is not simulated")),
    };
    if cluster[kind] == changed {
        return invalid(unchanged(kind, &changed));
    }
    Ok(begin_update(world, name, update_type, "UPDATED", &params, json!({ kind.as_str(): changed })))
}

/// What EKS says to a change to what holds already.
fn unchanged(kind: &str, config: &Value) -> String {
    match kind {
        "resources_vpc_config" => format!(
            "Cluster is already at the desired configuration with endpointPrivateAccess: {} , endpointPublicAccess: {}, \
             and Public Endpoint Restrictions: [{}]",
            config["endpoint_private_access"],
            config["endpoint_public_access"],
            texts(&config["public_access_cidrs"]).join(", "),
        ),
        "logging" => "No changes needed for the logging config provided".to_owned(),
        "deletion_protection" => {
            format!("Cluster is already at the desired configuration with deletionProtection: {config}")
        }
        other => format!("Cluster is already at the desired configuration with {other}: {config}"),
    }
}

type Change = (&'static str, Vec<(&'static str, String)>, Value);

fn vpc_change(world: &World, cluster: &Value, asked: &Value) -> Result<Change, Refusal> {
    let names = |keys: &[&str]| keys.iter().any(|key| !asked[*key].is_null());
    let moves = names(&["subnet_ids", "security_group_ids"]);
    let opens = names(&["endpoint_public_access", "endpoint_private_access", "public_access_cidrs"]);
    if moves && opens {
        return invalid(ONE_UPDATE);
    }
    let now = &cluster["resources_vpc_config"];
    let mut new = network::configured(now, asked)?;
    for key in ["public_access_cidrs", "subnet_ids", "security_group_ids"] {
        if same_set(&new[key], &now[key]) {
            new[key] = now[key].clone();
        }
    }
    if moves {
        if new != *now {
            network::check_changed(world, cluster, &new)?;
        }
        let params =
            vec![("Subnets", new["subnet_ids"].to_string()), ("SecurityGroups", new["security_group_ids"].to_string())];
        return Ok(("VpcConfigUpdate", params, new));
    }
    let params = vec![
        ("EndpointPublicAccess", new["endpoint_public_access"].to_string()),
        ("EndpointPrivateAccess", new["endpoint_private_access"].to_string()),
        ("PublicAccessCidrs", new["public_access_cidrs"].to_string()),
    ];
    Ok(("EndpointAccessUpdate", params, new))
}

fn same_set(one: &Value, other: &Value) -> bool {
    let sorted = |value: &Value| {
        let mut items: Vec<String> = texts(value).into_iter().map(str::to_owned).collect();
        items.sort();
        items
    };
    sorted(one) == sorted(other)
}

fn access_change(cluster: &Value, asked: &Value) -> Result<Change, Refusal> {
    let (old, new) = (text(&cluster["access_config"], "authentication_mode"), text(asked, "authentication_mode"));
    let step = |mode: &str| MODES.iter().position(|one| *one == mode);
    match (step(old), step(new)) {
        (Some(from), Some(to)) if to == from + 1 => {}
        _ => return invalid(format!("Unsupported authentication mode update from {old} to {new}")),
    }
    let params = vec![("AuthenticationMode", format!("\"{new}\""))];
    Ok(("AccessConfigUpdate", params, json!({ "authentication_mode": new })))
}

fn update_cluster_version(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "name");
    let cluster = idle_cluster(world, name, "UpdateClusterVersion")?;
    let kind = version::update_kind(world, &cluster, input)?;
    let version = version::offered(world, input["version"].as_str())?;
    let (wanted, platform) = (text(input, "version"), text(&version, "default_platform_version"));
    let params = [("Version", wanted.to_owned()), ("PlatformVersion", platform.to_owned())];
    // An upgrade can be undone for some days, a rollback can not.
    let upgraded_at = if kind == "VersionUpdate" { json!(world.now_text()) } else { Value::Null };
    let changes = json!({ "version": wanted, "platform_version": platform, "_upgraded_at": upgraded_at });
    Ok(begin_update(world, name, kind, "UPGRADED", &params, changes))
}

fn associate_encryption_config(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "cluster_name");
    let cluster = idle_cluster(world, name, "AssociateEncryptionConfig")?;
    if cluster["encryption_config"].as_array().is_some_and(|configs| !configs.is_empty()) {
        return invalid("Encryption is already enabled on this cluster");
    }
    let config = &input["encryption_config"];
    check_key(world, config)?;
    let params = [("EncryptionConfig", config.to_string())];
    let changes = json!({ "encryption_config": config });
    Ok(begin_update(world, name, "AssociateEncryptionConfig", "ENCRYPTED", &params, changes))
}

fn arrive(world: &mut World, name: &str, to: &str) {
    match to {
        "ACTIVE" => start(world, name),
        "DELETED" => vanish(world, name),
        _ => updated(world, name),
    }
}

/// The control plane answers: network, API server, what EKS puts into it, and the creator's way in.
fn start(world: &mut World, name: &str) {
    let Some(mut cluster) = world.find(TABLE, name).cloned() else { return };
    match network::make(world, &cluster) {
        Ok(made) => merge(&mut cluster["resources_vpc_config"], &made),
        Err(refusal) => return fail(world, name, &refusal),
    }
    let digits = world.digits("cluster", 32).to_uppercase();
    let region = world.region.clone();
    let started = json!({
        "status": "ACTIVE",
        "endpoint": format!("https://{digits}.gr7.{region}.eks.amazonaws.com"),
        "certificate_authority": { "data": bootstrap::authority() },
        "identity": { "oidc": { "issuer": format!("https://oidc.eks.{region}.amazonaws.com/id/{digits}") } },
    });
    merge(&mut cluster, &started);
    world.put(TABLE, name, cluster.clone());
    world.start_server(name);
    bootstrap::seed(world, &cluster);
    ensure_log_group(world, &cluster);
    if text(&cluster["access_config"], "authentication_mode") != "CONFIG_MAP" && cluster["_bootstrap_creator"] == true {
        node_access::admit_creator(world, &cluster);
    }
}

fn fail(world: &mut World, name: &str, refusal: &Refusal) {
    if let Some(cluster) = world.find_mut(TABLE, name) {
        let issue = json!({ "code": "InternalFailure", "message": refusal.message, "resource_ids": [] });
        merge(cluster, &json!({ "status": "FAILED", "health": { "issues": [issue] } }));
    }
}

/// EKS makes the log group of a control plane with logging on, where nobody has made it before.
fn ensure_log_group(world: &mut World, cluster: &Value) {
    let setups = cluster["logging"]["cluster_logging"].as_array().cloned().unwrap_or_default();
    if setups.iter().any(|setup| setup["enabled"] == true) {
        let group = format!("/aws/eks/{}/cluster", text(cluster, "name"));
        let _ = within(world, "cloudwatchlogs::create_log_group", json!({ "log_group_name": group }));
    }
}

/// What an update asked for becomes so.
fn updated(world: &mut World, name: &str) {
    let Some(cluster) = world.find_mut(TABLE, name) else { return };
    let changes = cluster["_changes"].take();
    merge(cluster, &changes);
    cluster["status"] = json!("ACTIVE");
    let cluster = cluster.clone();
    ensure_log_group(world, &cluster);
    if !changes["access_config"].is_null() {
        node_access::settle(world, &cluster);
    }
    update::end(world, name, Of::Cluster, &[]);
}

fn vanish(world: &mut World, name: &str) {
    let Some(cluster) = world.remove(TABLE, name) else { return };
    for table in ["eks/addons", "eks/access_entries", "eks/pod_identity_associations"] {
        let inside = world.table(table).iter().filter(|(_, thing)| thing["cluster_name"] == name);
        let ids: Vec<String> = inside.map(|(id, _)| id.clone()).collect();
        for id in ids {
            world.remove(table, &id);
        }
    }
    update::forget(world, name);
    world.stop_server(name);
    network::remove(world, &cluster);
}

#[cfg(test)]
mod tests {
    use super::super::stage::{CLUSTER_ROLE, PLATFORM, Stage, request};
    use super::*;

    #[test]
    fn a_cluster_is_active_after_nine_minutes_with_its_endpoint() {
        let mut stage = Stage::new();
        let made = stage.ok("create_cluster", request(json!({})));
        assert_eq!(made["cluster"]["status"], "CREATING");
        assert_eq!(made["cluster"]["version"], "1.36");
        stage.pass(539);
        assert_eq!(stage.cluster()["status"], "CREATING");
        assert!(stage.world.store("prod").is_none());
        stage.pass(1);
        let cluster = stage.cluster();
        assert_eq!(cluster["status"], "ACTIVE");
        assert!(text(&cluster, "endpoint").ends_with(".gr7.us-west-2.eks.amazonaws.com"), "{}", cluster["endpoint"]);
        assert!(text(&cluster["certificate_authority"], "data").starts_with("LS0tLS1CRUdJTi"));
        assert_eq!(cluster["kubernetes_network_config"]["service_ipv4_cidr"], "172.20.0.0/16");
        let store = stage.world.store("prod").unwrap();
        assert!(store.get("namespaces", "kube-system").is_some());
        assert_eq!(store.get("services", "default/kubernetes").unwrap()["spec"]["clusterIP"], "172.20.0.1");
        assert!(store.get("priorityclasses.scheduling.k8s.io", "system-node-critical").is_some());
    }

    #[test]
    fn bootstrapped_addons_come_unless_they_are_declined() {
        let with = Stage::with_cluster(json!({}));
        let store = with.world.store("prod").unwrap();
        let aws_node = store.get("daemonsets.apps", "kube-system/aws-node").unwrap();
        let container = &aws_node["spec"]["template"]["spec"]["containers"][0];
        assert!(text(container, "image").ends_with("amazon-k8s-cni:v1.23.1-eksbuild.1"), "{}", container["image"]);
        let variables = container["env"].as_array().unwrap();
        assert!(variables.iter().any(|one| one["name"] == "VPC_ID" && one["value"] == "vpc-1"));
        assert_eq!(store.get("services", "kube-system/kube-dns").unwrap()["spec"]["clusterIP"], "172.20.0.10");
        assert!(
            store.get("customresourcedefinitions.apiextensions.k8s.io", "eniconfigs.crd.k8s.amazonaws.com").is_some()
        );
        let without = Stage::with_cluster(json!({ "bootstrap_self_managed_addons": false }));
        let store = without.world.store("prod").unwrap();
        assert!(store.get("daemonsets.apps", "kube-system/aws-node").is_none());
    }

    #[test]
    fn what_is_wrong_with_a_new_cluster_is_refused() {
        let mut stage = Stage::new();
        let mut refused = |fields: Value, says: &str| {
            let error = stage.no("create_cluster", request(fields));
            assert!(error.starts_with(says), "{error}");
        };
        refused(json!({ "version": "1.20" }), "InvalidParameterException: unsupported Kubernetes version 1.20");
        refused(
            json!({ "role_arn": PLATFORM }),
            "InvalidParameterException: Role with arn: arn:aws:iam::123456789012:role/platform, could not be assumed",
        );
        refused(
            json!({ "access_config": {
                "authentication_mode": "CONFIG_MAP", "bootstrap_cluster_creator_admin_permissions": false,
            } }),
            "InvalidParameterException: bootstrapClusterCreatorAdminPermissions must be true",
        );
        refused(
            json!({ "resources_vpc_config": { "subnet_ids": ["subnet-0"] } }),
            "InvalidParameterException: Subnets specified must be in at least two different AZs",
        );
        refused(
            json!({ "resources_vpc_config": { "subnet_ids": ["subnet-0", "subnet-9"] } }),
            "InvalidParameterException: The subnet ID 'subnet-9' does not exist",
        );
        refused(
            json!({ "kubernetes_network_config": { "service_ipv4_cidr": "10.0.0.0/16" } }),
            "InvalidParameterException: The serviceIpv4Cidr '10.0.0.0/16' overlaps",
        );
    }

    #[test]
    fn a_zone_without_control_planes_is_refused_by_its_id_with_those_that_have_some() {
        let mut stage = Stage::new();
        stage.world.find_mut("ec2/subnets", "subnet-1").unwrap()["availability_zone_id"] = json!("use1-az3");
        let error = stage.no("create_cluster", request(json!({})));
        let says = "UnsupportedAvailabilityZoneException: Cannot create cluster 'prod' because us-west-2b";
        assert!(error.starts_with(says) && error.contains("Retry and choose"), "{error}");
    }

    #[test]
    fn full_subnets_are_refused() {
        let mut stage = Stage::new();
        let mut world = World::new(3).unwrap();
        std::mem::swap(&mut world, &mut stage.world);
        for table in ["ec2/vpcs", "ec2/subnets", "iam/roles"] {
            for (id, thing) in world.table(table) {
                stage.world.put(table, id, thing.clone());
            }
        }
        for number in 0..2 {
            let subnet = stage.world.find_mut("ec2/subnets", &format!("subnet-{number}")).unwrap();
            subnet["cidr_block"] = json!(format!("10.0.{number}.0/29"));
        }
        let error = stage.no("create_cluster", request(json!({})));
        assert!(error.contains("do not have enough free IP addresses"), "{error}");
    }

    #[test]
    fn a_second_cluster_of_the_name_and_an_unknown_one() {
        let mut stage = Stage::with_cluster(json!({}));
        let error = stage.no("create_cluster", request(json!({ "version": "1.35" })));
        assert_eq!(error, "ResourceInUseException: Cluster already exists with name: prod");
        let error = stage.no("describe_cluster", json!({ "name": "x" }));
        assert_eq!(error, "ResourceNotFoundException: No cluster found for name: x.");
    }

    #[test]
    fn one_kind_of_update_at_a_time_and_no_idle_one() {
        let mut stage = Stage::with_cluster(json!({}));
        let both = json!({
            "name": "prod", "deletion_protection": true, "upgrade_policy": { "support_type": "STANDARD" },
        });
        let error = stage.no("update_cluster_config", both);
        assert_eq!(error, "InvalidParameterException: Only one type of update can be allowed.");
        let same = json!({ "name": "prod", "resources_vpc_config": { "endpoint_private_access": true } });
        let error = stage.no("update_cluster_config", same);
        assert!(error.contains("Cluster is already at the desired configuration"), "{error}");
        let wanted = json!({ "name": "prod", "resources_vpc_config": { "endpoint_public_access": false } });
        let update = stage.ok("update_cluster_config", wanted)["update"].clone();
        assert_eq!((&update["status"], &update["type"]), (&json!("InProgress"), &json!("EndpointAccessUpdate")));
        assert_eq!(stage.cluster()["status"], "UPDATING");
        assert_eq!(stage.cluster()["resources_vpc_config"]["endpoint_public_access"], true);
        let error = stage.no("update_cluster_config", json!({ "name": "prod", "deletion_protection": true }));
        let says = "ResourceInUseException: Cannot UpdateClusterConfig because cluster prod currently has an update in \
                    progress";
        assert_eq!(error, says);
        stage.pass(150);
        let told = stage.ok("describe_update", json!({ "name": "prod", "update_id": update["id"] }));
        assert_eq!(told["update"]["status"], "Successful");
        assert_eq!(stage.cluster()["resources_vpc_config"]["endpoint_public_access"], false);
        assert_eq!(stage.cluster()["status"], "ACTIVE");
    }

    #[test]
    fn authentication_climbs_one_step_at_a_time() {
        let mut stage = Stage::with_cluster(json!({ "access_config": { "authentication_mode": "CONFIG_MAP" } }));
        let to = |mode: &str| json!({ "name": "prod", "access_config": { "authentication_mode": mode } });
        let error = stage.no("update_cluster_config", to("API"));
        assert_eq!(error, "InvalidParameterException: Unsupported authentication mode update from CONFIG_MAP to API");
        stage.ok("update_cluster_config", to("API_AND_CONFIG_MAP"));
        stage.pass(150);
        let error = stage.no("update_cluster_config", to("CONFIG_MAP"));
        assert!(error.contains("from API_AND_CONFIG_MAP to CONFIG_MAP"), "{error}");
        let entries = stage.ok("list_access_entries", json!({ "cluster_name": "prod" }));
        assert_eq!(entries["access_entries"], json!([PLATFORM]), "the creator gets an entry");
    }

    #[test]
    fn deletion_protection_holds_until_it_is_taken_away() {
        let mut stage = Stage::with_cluster(json!({ "deletion_protection": true }));
        let error = stage.no("delete_cluster", json!({ "name": "prod" }));
        assert!(error.starts_with("InvalidRequestException") && error.contains("deletion protection"), "{error}");
        stage.ok("update_cluster_config", json!({ "name": "prod", "deletion_protection": false }));
        stage.pass(150);
        assert_eq!(stage.ok("delete_cluster", json!({ "name": "prod" }))["cluster"]["status"], "DELETING");
        stage.pass(150);
        assert!(stage.no("describe_cluster", json!({ "name": "prod" })).starts_with("ResourceNotFoundException"));
        assert!(stage.world.store("prod").is_none());
        assert!(stage.world.table("eks/access_entries").is_empty());
    }

    #[test]
    fn node_groups_keep_a_cluster() {
        let mut stage = Stage::with_cluster(json!({}));
        stage.world.put("eks/nodegroups", "prod/a", json!({ "cluster_name": "prod", "nodegroup_name": "a" }));
        let error = stage.no("delete_cluster", json!({ "name": "prod" }));
        assert_eq!(error, "ResourceInUseException: Cluster has nodegroups attached");
    }

    #[test]
    fn versions_go_up_one_by_one_and_back_within_a_week() {
        let mut stage = Stage::with_cluster(json!({ "version": "1.34" }));
        let to = |version: &str| json!({ "name": "prod", "version": version });
        let error = stage.no("update_cluster_version", to("1.36"));
        assert!(error.contains("Unsupported Kubernetes minor version update from 1.34 to 1.36"), "{error}");
        stage.ok("update_cluster_version", to("1.35"));
        assert_eq!(stage.cluster()["version"], "1.34");
        stage.pass(540);
        assert_eq!(stage.cluster()["version"], "1.35");
        let update = stage.ok("update_cluster_version", to("1.34"));
        assert_eq!(update["update"]["type"], "VersionRollback");
        stage.pass(540);
        let error = stage.no("update_cluster_version", to("1.33"));
        assert!(error.contains("Unsupported Kubernetes minor version update"), "a rollback is no upgrade: {error}");
    }

    #[test]
    fn kubelets_may_lag_three_versions() {
        let mut stage = Stage::with_cluster(json!({ "version": "1.35" }));
        let node = |version: &str| {
            json!({
                "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n" },
                "status": { "nodeInfo": { "kubeletVersion": version } },
            })
        };
        crate::twin::kube::create(&mut stage.world, "prod", "nodes", node("v1.32.3-eks-1"));
        let error = stage.no("update_cluster_version", json!({ "name": "prod", "version": "1.36" }));
        assert!(error.starts_with("InvalidRequestException"), "{error}");
        stage.world.store_mut("prod").unwrap().update("nodes", node("v1.33.3-eks-1")).unwrap();
        stage.ok("update_cluster_version", json!({ "name": "prod", "version": "1.36" }));
    }

    #[test]
    fn tags_of_a_cluster_come_and_go() {
        let mut stage = Stage::with_cluster(json!({ "tags": { "a": "1" } }));
        let arn = text(&stage.cluster(), "arn").to_owned();
        stage.ok("tag_resource", json!({ "resource_arn": arn, "tags": { "b": "2" } }));
        stage.ok("untag_resource", json!({ "resource_arn": arn, "tag_keys": ["a"] }));
        assert_eq!(stage.ok("list_tags_for_resource", json!({ "resource_arn": arn }))["tags"], json!({ "b": "2" }));
        assert_eq!(stage.cluster()["tags"], json!({ "b": "2" }));
        assert!(stage.no("list_tags_for_resource", json!({ "resource_arn": CLUSTER_ROLE })).starts_with("NotFound"));
    }

    #[test]
    fn log_types_are_shown_on_and_off() {
        let on = json!({ "cluster_logging": [{ "types": ["api", "audit"], "enabled": true }] });
        let mut stage = Stage::with_cluster(json!({ "logging": on }));
        assert_eq!(stage.cluster()["logging"]["cluster_logging"][0]["types"], json!(["api", "audit"]));
        let off = json!({ "cluster_logging": [{ "types": ["audit"], "enabled": false }] });
        stage.ok("update_cluster_config", json!({ "name": "prod", "logging": off }));
        stage.pass(150);
        assert_eq!(stage.cluster()["logging"]["cluster_logging"][0]["types"], json!(["api"]));
        let error = stage.no("update_cluster_config", json!({ "name": "prod", "logging": off }));
        assert_eq!(error, "InvalidParameterException: No changes needed for the logging config provided");
    }

    #[test]
    fn versions_are_told_newest_first() {
        let mut stage = Stage::new();
        let told = stage.ok("describe_cluster_versions", json!({}));
        let first = &told["cluster_versions"][0];
        assert_eq!((&first["cluster_version"], &first["version_status"]), (&json!("1.36"), &json!("STANDARD_SUPPORT")));
        let told = stage.ok("describe_cluster_versions", json!({ "version_status": "EXTENDED_SUPPORT" }));
        assert_eq!(told["cluster_versions"].as_array().unwrap().len(), 3);
    }
}
