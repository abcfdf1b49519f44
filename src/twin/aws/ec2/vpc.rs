//! VPCs with what every new one has: a main route table, a default security group, a network ACL, DHCP options.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::{listing, route, security_group};
use crate::twin::aws::filter::Names;
use crate::twin::aws::{Answer, Row, refuse, specified_tags, text};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::create_vpc", create_vpc),
    ("ec2::delete_vpc", delete_vpc),
    ("ec2::describe_dhcp_options", describe_dhcp_options),
    ("ec2::describe_network_acls", describe_network_acls),
    ("ec2::describe_vpc_attribute", describe_vpc_attribute),
    ("ec2::describe_vpcs", describe_vpcs),
    ("ec2::modify_vpc_attribute", modify_vpc_attribute),
];

const TABLE: &str = "ec2/vpcs";
const ACLS: &str = "ec2/network_acls";
const DHCP: &str = "ec2/dhcp_options";

/// The block that a text means, where EC2 takes it for a network or a subnet: from /16 to /28.
pub fn block(text: &str) -> Option<Ipv4Net> {
    let block: Ipv4Net = text.parse().ok()?;
    (16..=28).contains(&block.prefix_len()).then(|| block.trunc())
}

fn create_vpc(world: &mut World, input: &Value) -> Answer {
    let cidr = listing::required(input, "cidr_block")?;
    let Ok(asked) = cidr.parse::<Ipv4Net>() else {
        let message = format!("Value ({cidr}) for parameter cidrBlock is invalid. This is not a valid CIDR block.");
        return refuse("InvalidParameterValue", 400, message);
    };
    let Some(cidr) = block(cidr) else {
        return refuse("InvalidVpc.Range", 400, format!("The CIDR '{asked}' is invalid."));
    };
    if world.table(TABLE).len() >= listing::quota(world, "L-F678F1CE", 5) && !world.is_off("ec2 quotas") {
        return refuse("VpcLimitExceeded", 400, "The maximum number of VPCs has been reached.");
    }
    let id = world.id("vpc");
    let association = world.id("vpc-cidr-assoc");
    let vpc = json!({
        "vpc_id": id,
        "cidr_block": cidr.to_string(),
        "cidr_block_association_set": [{
            "association_id": association,
            "cidr_block": cidr.to_string(),
            "cidr_block_state": { "state": "associated" },
        }],
        "dhcp_options_id": dhcp_options(world),
        "instance_tenancy": input["instance_tenancy"].as_str().unwrap_or("default"),
        "is_default": false,
        "owner_id": world.account,
        "state": "available",
        "tags": specified_tags(input, "vpc"),
        "_dns_support": true,
        "_dns_hostnames": false,
    });
    world.put(TABLE, &id, vpc.clone());
    route::create(world, &id, true, json!([]))?;
    security_group::create_default(world, &id);
    create_acl(world, &id);
    let mut answer = vpc;
    answer["state"] = json!("pending");
    Ok(json!({ "vpc": answer }))
}

/// The DHCP options of the region. `default` is how EC2 says that there are none.
fn dhcp_options(world: &World) -> String {
    world.table(DHCP).keys().next().map_or_else(|| "default".to_owned(), Clone::clone)
}

fn create_acl(world: &mut World, vpc_id: &str) {
    let id = world.id("acl");
    let entry = |number: i64, egress: bool, action: &str| {
        json!({
            "rule_number": number, "egress": egress, "protocol": "-1", "rule_action": action,
            "cidr_block": "0.0.0.0/0",
        })
    };
    let entries = [
        entry(100, true, "allow"),
        entry(32_767, true, "deny"),
        entry(100, false, "allow"),
        entry(32_767, false, "deny"),
    ];
    let acl = json!({
        "network_acl_id": id, "vpc_id": vpc_id, "is_default": true, "owner_id": world.account,
        "associations": [], "entries": entries, "tags": [],
    });
    world.put(ACLS, &id, acl);
}

fn describe_vpcs(world: &mut World, input: &Value) -> Answer {
    let names: Names = &[
        ("cidr", "cidr_block"),
        ("cidr-block-association.cidr-block", "cidr_block_association_set.cidr_block"),
        ("cidr-block-association.association-id", "cidr_block_association_set.association_id"),
        ("is-default", "is_default"),
        ("isDefault", "is_default"),
    ];
    let plain = &["cidr-block", "dhcp-options-id", "owner-id", "state", "vpc-id"];
    listing::answer(world, (TABLE, "vpc_ids", "vpcs"), input, names, plain)
}

fn describe_dhcp_options(world: &mut World, input: &Value) -> Answer {
    let names: Names = &[("key", "dhcp_configurations.key"), ("value", "dhcp_configurations.values.value")];
    listing::answer(world, (DHCP, "dhcp_options_ids", "dhcp_options"), input, names, &["dhcp-options-id", "owner-id"])
}

fn describe_network_acls(world: &mut World, input: &Value) -> Answer {
    let names: Names = &[("default", "is_default"), ("association.subnet-id", "associations.subnet_id")];
    let plain = &["network-acl-id", "owner-id", "vpc-id"];
    listing::answer(world, (ACLS, "network_acl_ids", "network_acls"), input, names, plain)
}

fn describe_vpc_attribute(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "vpc_id")?;
    let vpc = listing::get(world, TABLE, id)?;
    let (shown, key, default) = match listing::required(input, "attribute")? {
        "enableDnsSupport" => ("enable_dns_support", "_dns_support", true),
        "enableDnsHostnames" => ("enable_dns_hostnames", "_dns_hostnames", false),
        "enableNetworkAddressUsageMetrics" => ("enable_network_address_usage_metrics", "_usage_metrics", false),
        other => {
            let message = format!("Value ({other}) for parameter attribute is invalid. Unknown attribute.");
            return refuse("InvalidParameterValue", 400, message);
        }
    };
    let value = vpc[key].as_bool().unwrap_or(default);
    Ok(json!({ "vpc_id": id, shown: { "value": value } }))
}

fn modify_vpc_attribute(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "vpc_id")?;
    let support = listing::get(world, TABLE, id)?["_dns_support"] != false;
    let asked: Vec<(&str, bool)> = [
        ("enable_dns_support", "_dns_support"),
        ("enable_dns_hostnames", "_dns_hostnames"),
        ("enable_network_address_usage_metrics", "_usage_metrics"),
    ]
    .into_iter()
    .filter_map(|(key, own)| Some((own, input[key]["value"].as_bool()?)))
    .collect();
    let [(key, value)] = *asked else {
        let message = "The request must contain exactly one attribute to modify";
        return refuse("InvalidParameterCombination", 400, message);
    };
    if key == "_dns_hostnames" && value && !support {
        let message = "In order to enable DNS hostnames, DNS support must be enabled";
        return refuse("InvalidParameterValue", 400, message);
    }
    if let Some(vpc) = world.find_mut(TABLE, id) {
        vpc[key] = json!(value);
    }
    Ok(json!({}))
}

fn delete_vpc(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "vpc_id")?;
    listing::get(world, TABLE, id)?;
    if is_used(world, id) && !world.is_off("vpc in use") {
        let message = format!("The vpc '{id}' has dependencies and cannot be deleted.");
        return refuse("DependencyViolation", 400, message);
    }
    for table in ["ec2/route_tables", "ec2/security_groups", ACLS] {
        let things = world.table(table).iter();
        let own: Vec<String> =
            things.filter(|(_, thing)| thing["vpc_id"] == id).map(|(thing, _)| thing.clone()).collect();
        for thing in own {
            world.remove(table, &thing);
        }
    }
    world.remove(TABLE, id);
    Ok(json!({}))
}

/// Whether a VPC has more in it than what AWS put there.
fn is_used(world: &World, id: &str) -> bool {
    let own = |table| world.table(table).values().filter(|thing| thing["vpc_id"] == id);
    let is_main = |table: &Value| {
        let mut associations = table["associations"].as_array().into_iter().flatten();
        associations.any(|one| one["main"] == true)
    };
    listing::any_in_vpc(world, "ec2/subnets", id)
        || listing::any_in_vpc(world, "ec2/network_interfaces", id)
        || own("ec2/vpc_endpoints").next().is_some()
        || own("ec2/nat_gateways").any(|nat| !matches!(text(nat, "state"), "deleted" | "failed"))
        || own("ec2/security_groups").any(|group| group["group_name"] != "default")
        || own("ec2/route_tables").any(|table| !is_main(table))
        || super::gateway::has_gateway(world, id)
}

#[cfg(test)]
mod tests {
    use super::super::stage::{Stage, code};
    use super::*;

    #[test]
    fn a_new_vpc_has_what_aws_puts_into_it() {
        let mut stage = Stage::new();
        let id = stage.vpc();
        let of_vpc = json!({ "filters": [{ "name": "vpc-id", "values": [id] }] });
        let tables = stage.ok("describe_route_tables", of_vpc.clone());
        assert_eq!(tables["route_tables"][0]["associations"][0]["main"], true);
        let groups = stage.ok("describe_security_groups", of_vpc.clone());
        let group = &groups["security_groups"][0];
        assert_eq!(group["group_name"], "default");
        let members = &group["ip_permissions"][0]["user_id_group_pairs"][0];
        assert_eq!((&members["group_id"], &members["user_id"]), (&group["group_id"], &json!("123456789012")));
        assert_eq!(stage.ok("describe_network_acls", of_vpc)["network_acls"][0]["is_default"], true);
        let vpcs = stage.ok("describe_vpcs", json!({ "vpc_ids": [id] }));
        assert!(text(&vpcs["vpcs"][0], "dhcp_options_id").starts_with("dopt-"));
        stage.ok("delete_vpc", json!({ "vpc_id": id }));
        assert_eq!(code(&stage.no("describe_vpcs", json!({ "vpc_ids": [id] }))), "InvalidVpcID.NotFound");
        assert!(stage.world.table("ec2/security_groups").is_empty(), "what AWS made goes, too");
    }

    #[test]
    fn the_sixth_vpc_is_one_too_many() {
        let mut stage = Stage::new();
        for _ in 0..5 {
            stage.vpc();
        }
        let refusal = stage.no("create_vpc", json!({ "cidr_block": "10.0.0.0/16" }));
        assert_eq!(code(&refusal), "VpcLimitExceeded");
        assert_eq!(code(&stage.no("create_vpc", json!({ "cidr_block": "10.0.0.0/8" }))), "InvalidVpc.Range");
    }

    #[test]
    fn dns_attributes_are_as_in_a_new_vpc_until_modified() {
        let mut stage = Stage::new();
        let id = stage.vpc();
        let ask = json!({ "vpc_id": id, "attribute": "enableDnsHostnames" });
        assert_eq!(stage.ok("describe_vpc_attribute", ask.clone())["enable_dns_hostnames"]["value"], false);
        stage.ok("modify_vpc_attribute", json!({ "vpc_id": id, "enable_dns_hostnames": { "value": true } }));
        assert_eq!(stage.ok("describe_vpc_attribute", ask)["enable_dns_hostnames"]["value"], true);
    }

    #[test]
    fn a_vpc_with_anything_in_it_stays() {
        let mut stage = Stage::new();
        let id = stage.vpc();
        let subnet = stage.subnet(&id, "10.0.0.0/24", "us-west-2a");
        let refusal = stage.no("delete_vpc", json!({ "vpc_id": id }));
        assert_eq!(code(&refusal), "DependencyViolation");
        assert_eq!(refusal.message, format!("The vpc '{id}' has dependencies and cannot be deleted."));
        stage.ok("delete_subnet", json!({ "subnet_id": subnet }));
        stage.ok("delete_vpc", json!({ "vpc_id": id }));
    }
}
