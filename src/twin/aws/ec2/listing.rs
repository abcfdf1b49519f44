//! What describe operations of EC2 have in common: things by their ids, things that fit filters, and the refusals of
//! ids that nobody has. Also where things of a type are: by the beginning of their ids.

use serde_json::{Value, json};

use crate::twin::aws::filter::{self, Names};
use crate::twin::aws::{Refusal, refuse, texts};
use crate::twin::world::World;

/// One type of thing of EC2.
pub struct Kind {
    /// With what its ids begin.
    pub prefix: &'static str,
    /// Where it is.
    pub table: &'static str,
    /// As tags and policies call it.
    pub resource_type: &'static str,
    /// The field that holds its tags.
    pub tags: &'static str,
    /// The code of the refusal of an unknown id.
    pub code: &'static str,
    /// What stands around the id in that refusal.
    pub message: (&'static str, &'static str),
}

const fn kind(
    prefix: &'static str,
    table: &'static str,
    resource_type: &'static str,
    code: &'static str,
    subject: &'static str,
) -> Kind {
    Kind { prefix, table, resource_type, tags: "tags", code, message: (subject, "' does not exist") }
}

/// Everything that has an id and tags.
pub const KINDS: &[Kind] = &[
    kind("vpc", "ec2/vpcs", "vpc", "InvalidVpcID.NotFound", "The vpc ID '"),
    kind("subnet", "ec2/subnets", "subnet", "InvalidSubnetID.NotFound", "The subnet ID '"),
    kind("rtb", "ec2/route_tables", "route-table", "InvalidRouteTableID.NotFound", "The routeTable ID '"),
    kind(
        "igw",
        "ec2/internet_gateways",
        "internet-gateway",
        "InvalidInternetGatewayID.NotFound",
        "The internetGateway ID '",
    ),
    Kind {
        message: ("NAT gateway ", " was not found"),
        ..kind("nat", "ec2/nat_gateways", "natgateway", "NatGatewayNotFound", "")
    },
    kind("eipalloc", "ec2/addresses", "elastic-ip", "InvalidAllocationID.NotFound", "The allocation ID '"),
    kind("vpce", "ec2/vpc_endpoints", "vpc-endpoint", "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '"),
    kind("sg", "ec2/security_groups", "security-group", "InvalidGroup.NotFound", "The security group '"),
    Kind {
        tags: "tag_set",
        ..kind(
            "eni",
            "ec2/network_interfaces",
            "network-interface",
            "InvalidNetworkInterfaceID.NotFound",
            "The networkInterface ID '",
        )
    },
    kind("acl", "ec2/network_acls", "network-acl", "InvalidNetworkAclID.NotFound", "The networkAcl ID '"),
    kind("dopt", "ec2/dhcp_options", "dhcp-options", "InvalidDhcpOptionID.NotFound", "The dhcpOption ID '"),
    kind("i", "ec2/instances", "instance", "InvalidInstanceID.NotFound", "The instance ID '"),
    kind("vol", "ec2/volumes", "volume", "InvalidVolume.NotFound", "The volume '"),
    kind(
        "lt",
        "ec2/launch_templates",
        "launch-template",
        "InvalidLaunchTemplateId.NotFound",
        "The specified launch template, with template ID '",
    ),
];

/// The kind of thing that has ids of this form.
pub fn kind_of(id: &str) -> Option<&'static Kind> {
    let prefix = id.split_once('-').map_or(id, |(prefix, _)| prefix);
    KINDS.iter().find(|kind| kind.prefix == prefix)
}

/// The kind whose things are in this table.
fn kind_in(table: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.table == table)
}

/// What AWS says of an id in a table that is not there.
pub fn not_found(table: &str, id: &str) -> Refusal {
    let (code, (before, after)) =
        kind_in(table).map_or(("InvalidID", ("The ID '", "' is not valid")), |kind| (kind.code, kind.message));
    Refusal { code: code.to_owned(), status: 400, message: format!("{before}{id}{after}") }
}

/// A thing that must be there.
pub fn get<'a>(world: &'a World, table: &str, id: &str) -> Result<&'a Value, Refusal> {
    world.find(table, id).ok_or_else(|| not_found(table, id))
}

/// The id that an input must give.
pub fn required<'a>(input: &'a Value, key: &str) -> Result<&'a str, Refusal> {
    match input[key].as_str() {
        Some(text) if !text.is_empty() => Ok(text),
        _ => {
            let name: String = key.split('_').enumerate().map(|(place, part)| capital(place, part)).collect();
            refuse("MissingParameter", 400, format!("The request must contain the parameter {name}"))
        }
    }
}

/// `vpc_id` → `vpcId`.
fn capital(place: usize, part: &str) -> String {
    let mut letters = part.chars();
    match letters.next() {
        Some(first) if place > 0 => first.to_uppercase().chain(letters).collect(),
        Some(first) => std::iter::once(first).chain(letters).collect(),
        None => String::new(),
    }
}

/// The things of a table that were asked for: by ids in `ids_key`, each of which must be there, and by filters.
pub fn asked(
    world: &World,
    table: &str,
    ids: &Value,
    filters: &Value,
    names: Names,
    plain: &[&str],
) -> Result<Vec<Value>, Refusal> {
    filter::check(filters, names, plain)?;
    let ids = texts(ids);
    if ids.is_empty() {
        return Ok(filter::select(world.table(table).values(), filters, names));
    }
    let mut found = Vec::new();
    for id in ids {
        found.push(get(world, table, id)?);
    }
    Ok(filter::select(found.into_iter(), filters, names))
}

/// The same for operations that write `filters`, and answer one list: `{ key: […] }`.
pub fn answer(
    world: &World,
    (table, ids, key): (&str, &str, &str),
    input: &Value,
    names: Names,
    plain: &[&str],
) -> Result<Value, Refusal> {
    let found = asked(world, table, &input[ids], &input["filters"], names, plain)?;
    Ok(json!({ key: found }))
}

/// How many of something an account may have: what its quotas say, or AWS's default.
pub fn quota(world: &World, code: &str, default: usize) -> usize {
    let quotas = world.table("servicequotas/quotas").values();
    let mut values = quotas.filter(|quota| quota["quota_code"] == code).filter_map(|quota| quota["value"].as_f64());
    // Quotas are whole, and far below what a float holds exactly.
    values.next().map_or(default, |value| value.max(0.0) as usize)
}

/// Whether any thing of a table is in this VPC.
pub fn any_in_vpc(world: &World, table: &str, vpc_id: &str) -> bool {
    world.table(table).values().any(|thing| thing["vpc_id"] == vpc_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_ids_are_refused_in_the_words_of_aws() {
        let vpc = not_found("ec2/vpcs", "vpc-1");
        assert_eq!((&*vpc.code, &*vpc.message), ("InvalidVpcID.NotFound", "The vpc ID 'vpc-1' does not exist"));
        let nat = not_found("ec2/nat_gateways", "nat-1");
        assert_eq!((&*nat.code, &*nat.message), ("NatGatewayNotFound", "NAT gateway nat-1 was not found"));
    }

    #[test]
    fn a_missing_parameter_is_named_as_on_the_wire() {
        let refusal = required(&json!({}), "vpc_id").unwrap_err();
        assert_eq!(refusal.message, "The request must contain the parameter vpcId");
    }
}
