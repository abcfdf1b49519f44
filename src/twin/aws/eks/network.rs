//! How a cluster lies in its VPC: subnets that fit, endpoint access, and what EKS makes there: a security group and
//! network interfaces of the control plane.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{invalid, merge};
use crate::twin::aws::ec2::interface;
use crate::twin::aws::{Refusal, refuse, text, texts, within};
use crate::twin::world::World;

/// Zones in which EKS has no control planes.
const REFUSED_ZONES: &[&str] = &["use1-az3", "usw1-az2", "cac1-az3"];

/// Addresses that EKS needs in each subnet of a cluster.
const ADDRESSES_MIN: usize = 6;

/// Interfaces of a control plane.
const INTERFACES: usize = 2;

/// The VPC configuration with what is asked laid over what is.
pub(super) fn configured(now: &Value, asked: &Value) -> Result<Value, Refusal> {
    let mut config = json!({
        "subnet_ids": [], "security_group_ids": [], "endpoint_public_access": true, "endpoint_private_access": false,
    });
    merge(&mut config, now);
    merge(&mut config, asked);
    let is_public = config["endpoint_public_access"] == true;
    if !is_public && config["endpoint_private_access"] != true {
        return invalid("Private and public endpoint access cannot be false at the same time.");
    }
    let mut cidrs: Vec<String> = texts(&config["public_access_cidrs"]).into_iter().map(str::to_owned).collect();
    if let Some(wrong) = cidrs.iter().find(|cidr| cidr.parse::<ipnet::IpNet>().is_err()) {
        return invalid(format!("The CIDR '{wrong}' is not valid"));
    }
    if cidrs.is_empty() {
        cidrs.push("0.0.0.0/0".to_owned());
    }
    config["public_access_cidrs"] = if is_public { json!(cidrs) } else { json!([]) };
    Ok(config)
}

/// The VPC of a new cluster's subnets, or why EKS can not take them.
pub(super) fn check_new(world: &World, cluster: &str, config: &Value) -> Result<String, Refusal> {
    let ids = texts(&config["subnet_ids"]);
    let subnets = subnets(world, &ids)?;
    check_zones_offered(world, cluster, &subnets)?;
    if zones(&subnets).len() < 2 {
        return invalid("Subnets specified must be in at least two different AZs");
    }
    let vpcs: BTreeSet<&str> = subnets.iter().map(|subnet| text(subnet, "vpc_id")).collect();
    if vpcs.len() > 1 {
        return invalid("The subnets specified must all be in the same VPC");
    }
    check_addresses(world, &ids)?;
    let vpc = vpcs.first().copied().unwrap_or_default();
    check_groups(world, vpc, config)?;
    Ok(vpc.to_owned())
}

/// Whether a cluster may move to these subnets: same VPC, same zones.
pub(super) fn check_changed(world: &World, cluster: &Value, config: &Value) -> Result<(), Refusal> {
    let ids = texts(&config["subnet_ids"]);
    let (new, old) = (subnets(world, &ids)?, texts(&cluster["resources_vpc_config"]["subnet_ids"]));
    let old = old.into_iter().filter_map(|id| world.find("ec2/subnets", id)).collect::<Vec<_>>();
    if zones(&new) != zones(&old) {
        return invalid(format!(
            "Provided subnets belong to the AZs '{}'. But they should belong to the exact set of AZs '{}' in which \
             subnets were provided during cluster creation.",
            joined(&zones(&new)),
            joined(&zones(&old)),
        ));
    }
    let vpc = text(&cluster["resources_vpc_config"], "vpc_id");
    if let Some(stranger) = new.iter().find(|subnet| subnet["vpc_id"] != vpc) {
        return invalid(format!("The subnet ID '{}' is not in the VPC of the cluster", text(stranger, "subnet_id")));
    }
    check_addresses(world, &ids)?;
    check_groups(world, vpc, config)
}

fn joined(zones: &BTreeSet<&str>) -> String {
    zones.iter().copied().collect::<Vec<_>>().join(",")
}

fn zones<'a>(subnets: &[&'a Value]) -> BTreeSet<&'a str> {
    subnets.iter().map(|subnet| text(subnet, "availability_zone")).collect()
}

/// Subnets by their ids.
pub(super) fn subnets<'w>(world: &'w World, ids: &[&str]) -> Result<Vec<&'w Value>, Refusal> {
    let find = |id: &&str| match world.find("ec2/subnets", id) {
        Some(subnet) => Ok(subnet),
        None => invalid(format!("The subnet ID '{id}' does not exist")),
    };
    ids.iter().map(find).collect()
}

fn check_zones_offered(world: &World, cluster: &str, subnets: &[&Value]) -> Result<(), Refusal> {
    let is_refused = |zone_id: &str| REFUSED_ZONES.contains(&zone_id);
    let Some(bad) = subnets.iter().find(|subnet| is_refused(text(subnet, "availability_zone_id"))) else {
        return Ok(());
    };
    let usable = world.table("ec2/availability_zones").values().filter(|zone| !is_refused(text(zone, "zone_id")));
    let mut usable: Vec<&str> = usable.map(|zone| text(zone, "zone_name")).collect();
    usable.sort_unstable();
    let zone = text(bad, "availability_zone");
    refuse(
        "UnsupportedAvailabilityZoneException",
        400,
        format!(
            "Cannot create cluster '{cluster}' because {zone}, the targeted availability zone, does not currently have \
             sufficient capacity to support the cluster. Retry and choose from these availability zones: {}",
            usable.join(", ")
        ),
    )
}

fn check_addresses(world: &World, ids: &[&str]) -> Result<(), Refusal> {
    if world.is_off("eks subnet addresses") {
        return Ok(());
    }
    match ids.iter().find(|id| interface::free_addresses(world, id) < ADDRESSES_MIN) {
        Some(full) => invalid(format!(
            "One or more of the subnets specified do not have enough free IP addresses ({full}): EKS needs at least \
             {ADDRESSES_MIN} in each"
        )),
        None => Ok(()),
    }
}

fn check_groups(world: &World, vpc: &str, config: &Value) -> Result<(), Refusal> {
    let is_known = |id: &&str| world.find("ec2/security_groups", id).is_some_and(|group| group["vpc_id"] == vpc);
    match texts(&config["security_group_ids"]).into_iter().find(|id| !is_known(id)) {
        Some(id) => invalid(format!("The security group '{id}' does not exist in VPC '{vpc}'")),
        None => Ok(()),
    }
}

/// Makes the cluster's security group and the interfaces of its control plane.
pub(super) fn make(world: &mut World, cluster: &Value) -> Result<Value, Refusal> {
    if world.is_off("control plane network") {
        return Ok(json!({}));
    }
    let (name, config) = (text(cluster, "name"), &cluster["resources_vpc_config"]);
    let group = make_group(world, name, text(config, "vpc_id"))?;
    let mut group_ids = vec![group.clone()];
    group_ids.extend(texts(&config["security_group_ids"]).into_iter().map(str::to_owned));
    let mut interfaces = Vec::new();
    for subnet in first_of_zones(world, &texts(&config["subnet_ids"])) {
        let new = interface::New {
            subnet_id: &subnet,
            group_ids: group_ids.clone(),
            description: &format!("Amazon EKS {name}"),
            interface_type: "interface",
            requester_managed: true,
            attached_to: None,
            tags: json!([]),
            address: None,
        };
        interfaces.push(interface::create(world, &new)?);
    }
    Ok(json!({ "cluster_security_group_id": group, "_interfaces": interfaces }))
}

/// The first subnet of each zone, as many as a control plane has interfaces.
fn first_of_zones(world: &World, ids: &[&str]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let subnets = ids.iter().filter_map(|id| world.find("ec2/subnets", id));
    let first = subnets.filter(|subnet| seen.insert(text(subnet, "availability_zone").to_owned()));
    first.take(INTERFACES).map(|subnet| text(subnet, "subnet_id").to_owned()).collect()
}

fn make_group(world: &mut World, cluster: &str, vpc: &str) -> Result<String, Refusal> {
    let name = format!("eks-cluster-sg-{cluster}-{}", world.random("security group of a cluster", 1_000_000_000));
    let owned = format!("kubernetes.io/cluster/{cluster}");
    let tags = json!([{ "key": "Name", "value": name }, { "key": owned, "value": "owned" }]);
    let made = within(
        world,
        "ec2::create_security_group",
        json!({
            "group_name": name, "vpc_id": vpc,
            "description": "EKS created security group applied to ENI that is attached to EKS Control Plane master \
                            nodes, as well as any managed workloads.",
            "tag_specifications": [{ "resource_type": "security-group", "tags": tags }],
        }),
    )?;
    let id = text(&made, "group_id").to_owned();
    let itself = json!([{ "ip_protocol": "-1", "user_id_group_pairs": [{ "group_id": id }] }]);
    within(world, "ec2::authorize_security_group_ingress", json!({ "group_id": id, "ip_permissions": itself }))?;
    // Only AWS itself may write tags that begin with `aws:`.
    if let Some(group) = world.find_mut("ec2/security_groups", &id)
        && let Some(tags) = group["tags"].as_array_mut()
    {
        tags.push(json!({ "key": "aws:eks:cluster-name", "value": cluster }));
    }
    Ok(id)
}

/// Takes away what EKS made. The group stays while something still uses it, as on AWS.
pub(super) fn remove(world: &mut World, cluster: &Value) {
    let config = &cluster["resources_vpc_config"];
    for id in texts(&config["_interfaces"]) {
        interface::delete(world, id);
    }
    if let Some(group) = config["cluster_security_group_id"].as_str() {
        let _ = within(world, "ec2::delete_security_group", json!({ "group_id": group }));
    }
}
