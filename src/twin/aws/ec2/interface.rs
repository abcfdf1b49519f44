//! Network interfaces: who holds which addresses of a subnet. Everything in a VPC that has an address has it here.
//!
//! A subnet knows what is taken of it as spans of addresses (`_used`, first and last as numbers, in order). Addresses are
//! given from below, so that there are few spans however many interfaces a subnet has.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::{address, listing};
use crate::twin::Arrival;
use crate::twin::aws::filter::Names;
use crate::twin::aws::{Answer, Refusal, Row, account, refuse, specified_tags, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::assign_private_ip_addresses", assign_private_ip_addresses),
    ("ec2::create_network_interface", create_network_interface),
    ("ec2::delete_network_interface", delete_network_interface),
    ("ec2::describe_network_interfaces", describe_network_interfaces),
    ("ec2::modify_network_interface_attribute", modify_network_interface_attribute),
    ("ec2::unassign_private_ip_addresses", unassign_private_ip_addresses),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[];

const TABLE: &str = "ec2/network_interfaces";

/// Addresses in a block that is given as one.
const BLOCK: u32 = 16;

/// An interface to be made.
#[derive(Clone, Debug, Default)]
pub struct New<'a> {
    /// In this subnet.
    pub subnet_id: &'a str,
    /// With these security groups; the VPC's default one where there are none.
    pub group_ids: Vec<String>,
    /// What AWS shows as its description: `Amazon EKS prod`.
    pub description: &'a str,
    /// `interface`, `nat_gateway`, `vpc_endpoint`, …
    pub interface_type: &'a str,
    /// Made by a service of AWS rather than by a caller.
    pub requester_managed: bool,
    /// Attached to this instance at this device index; `None`: available, or in use by a service.
    pub attached_to: Option<(&'a str, i64)>,
    /// Tags as EC2 shows them: a list of `{ key, value }`.
    pub tags: serde_json::Value,
    /// This address of the subnet; `None`: any.
    pub address: Option<&'a str>,
}

/// Makes an interface with one primary address and answers its id. `InsufficientFreeAddressesInSubnet` where there is none.
pub fn create(world: &mut World, new: &New<'_>) -> Result<String, Refusal> {
    let subnet = listing::get(world, "ec2/subnets", new.subnet_id)?.clone();
    let vpc_id = text(&subnet, "vpc_id").to_owned();
    let groups = groups_of(world, &vpc_id, new)?;
    let address = match new.address {
        Some(asked) => claim(world, new.subnet_id, asked)?,
        None => {
            let taken = take(world, new.subnet_id, 1, 1).unwrap_or_default();
            let Some(address) = taken.first() else { return Err(no_addresses()) };
            Ipv4Addr::from(*address)
        }
    };
    let id = world.id("eni");
    let mut interface = json!({
        "network_interface_id": id,
        "subnet_id": new.subnet_id,
        "vpc_id": vpc_id,
        "availability_zone": subnet["availability_zone"],
        "description": new.description,
        "interface_type": if new.interface_type.is_empty() { "interface" } else { new.interface_type },
        "mac_address": mac_address(world),
        "owner_id": world.account,
        "requester_managed": new.requester_managed,
        "private_ip_address": address,
        "private_dns_name": private_dns_name(world, address),
        "private_ip_addresses": [],
        "ipv6_addresses": [],
        "groups": groups,
        "source_dest_check": new.interface_type != "natGateway",
        "status": "available",
        "tag_set": if new.tags.is_array() { new.tags.clone() } else { json!([]) },
    });
    interface["private_ip_addresses"] = json!([shown_address(world, address, true)]);
    interface["requester_id"] =
        if new.requester_managed { json!("amazon-aws") } else { json!(account::caller_id(world)) };
    if let Some(attachment) = attachment(world, new) {
        interface["attachment"] = attachment;
        interface["status"] = json!("in-use");
    }
    // EC2 gives a public address to the first interface of an instance where the subnet says so.
    if subnet["map_public_ip_on_launch"] == true && matches!(new.attached_to, Some((_, 0))) {
        let association = json!({ "ip_owner_id": "amazon", "public_ip": address::public(world) });
        interface["private_ip_addresses"][0]["association"] = association.clone();
        interface["association"] = association;
    }
    world.put(TABLE, &id, interface);
    Ok(id)
}

/// Deletes an interface whatever it is attached to: its addresses are free again.
pub fn delete(world: &mut World, id: &str) {
    let Some(interface) = world.remove(TABLE, id) else { return };
    let subnet_id = text(&interface, "subnet_id");
    for span in spans_of(&interface) {
        give_back(world, subnet_id, span);
    }
    if let Some(allocation) = interface["association"]["allocation_id"].as_str() {
        address::detach(world, allocation);
    }
}

/// Gives an interface so many more secondary addresses and answers them.
pub fn assign_addresses(world: &mut World, id: &str, count: usize) -> Result<Vec<String>, Refusal> {
    let subnet_id = text(listing::get(world, TABLE, id)?, "subnet_id").to_owned();
    let Some(taken) = take(world, &subnet_id, 1, count) else { return Err(no_addresses()) };
    let given: Vec<Ipv4Addr> = taken.into_iter().map(Ipv4Addr::from).collect();
    let shown: Vec<Value> = given.iter().map(|&address| shown_address(world, address, false)).collect();
    extend(world, id, "private_ip_addresses", shown);
    Ok(given.iter().map(Ipv4Addr::to_string).collect())
}

/// Takes addresses away from an interface.
pub fn unassign_addresses(world: &mut World, id: &str, addresses: &[String]) {
    take_away(world, id, addresses, |interface, wanted| {
        drop_from(&mut interface["private_ip_addresses"], |one| {
            one["primary"] != true && one["private_ip_address"].as_str() == Some(wanted)
        })
    });
}

/// Gives an interface so many /28 blocks and answers them. `InsufficientCidrBlocks` where the subnet has no free block.
pub fn assign_prefixes(world: &mut World, id: &str, count: usize) -> Result<Vec<String>, Refusal> {
    let subnet_id = text(listing::get(world, TABLE, id)?, "subnet_id").to_owned();
    let Some(taken) = take(world, &subnet_id, BLOCK, count) else {
        let message = "The specified subnet does not have enough free cidr blocks to satisfy the request.";
        return refuse("InsufficientCidrBlocks", 400, message);
    };
    let given: Vec<String> = taken.into_iter().map(|first| format!("{}/28", Ipv4Addr::from(first))).collect();
    extend(world, id, "ipv4_prefixes", given.iter().map(|prefix| json!({ "ipv4_prefix": prefix })).collect());
    Ok(given)
}

/// Takes blocks away from an interface.
pub fn unassign_prefixes(world: &mut World, id: &str, prefixes: &[String]) {
    take_away(world, id, prefixes, |interface, wanted| {
        drop_from(&mut interface["ipv4_prefixes"], |one| one["ipv4_prefix"].as_str() == Some(wanted))
    });
}

/// Free addresses of a subnet, as `available_ip_address_count` shows them: AWS keeps five of each.
pub fn free_addresses(world: &World, subnet_id: &str) -> usize {
    let Some((block, used)) = occupied(world, subnet_id) else { return 0 };
    let taken: u64 = used.iter().map(|(first, last)| u64::from(*last) - u64::from(*first) + 1).sum();
    let all = 1_u64 << (32 - block.prefix_len());
    usize::try_from(all.saturating_sub(taken)).unwrap_or(0)
}

/// Takes every free address of a subnet, for nobody that one could see.
pub fn fill(world: &mut World, subnet_id: &str) {
    if let Some((block, _)) = occupied(world, subnet_id) {
        remember(world, subnet_id, &vec![(u32::from(block.network()), u32::from(block.broadcast()))]);
    }
}

/// The name by which an address is known inside its VPC.
pub fn private_dns_name(world: &World, address: Ipv4Addr) -> String {
    let host = address.to_string().replace('.', "-");
    match world.region.as_str() {
        "us-east-1" => format!("ip-{host}.ec2.internal"),
        region => format!("ip-{host}.{region}.compute.internal"),
    }
}

fn no_addresses() -> Refusal {
    Refusal {
        code: "InsufficientFreeAddressesInSubnet".to_owned(),
        status: 400,
        message: "The specified subnet does not have enough free addresses to satisfy the request.".to_owned(),
    }
}

/// The groups of a new interface as describe answers show them.
fn groups_of(world: &World, vpc_id: &str, new: &New<'_>) -> Result<Value, Refusal> {
    let ids: Vec<&str> = new.group_ids.iter().map(String::as_str).collect();
    if ids.is_empty() {
        let mut all = world.table("ec2/security_groups").values();
        let default = all.find(|group| group["vpc_id"] == vpc_id && group["group_name"] == "default");
        return Ok(default.map_or_else(|| json!([]), |group| json!([shown_group(group)])));
    }
    shown_groups(world, vpc_id, &ids)
}

/// Groups by their ids as interfaces and endpoints show them; all must be of this VPC.
pub fn shown_groups(world: &World, vpc_id: &str, ids: &[&str]) -> Result<Value, Refusal> {
    let mut shown = Vec::new();
    for id in ids {
        let group = listing::get(world, "ec2/security_groups", id)?;
        if group["vpc_id"] != vpc_id {
            let message = "You have specified two resources that belong to different networks.";
            return refuse("InvalidGroup.NotFound", 400, message);
        }
        shown.push(shown_group(group));
    }
    Ok(Value::Array(shown))
}

fn shown_group(group: &Value) -> Value {
    json!({ "group_id": group["group_id"], "group_name": group["group_name"] })
}

fn shown_address(world: &World, address: Ipv4Addr, primary: bool) -> Value {
    json!({
        "primary": primary,
        "private_ip_address": address,
        "private_dns_name": private_dns_name(world, address),
    })
}

/// To what the new interface is attached: an instance, or a service that keeps it for itself.
fn attachment(world: &mut World, new: &New<'_>) -> Option<Value> {
    if new.attached_to.is_none() && !new.requester_managed {
        return None;
    }
    let id = world.id("eni-attach");
    let index = new.attached_to.map_or(1, |(_, index)| index);
    let mut attachment = json!({
        "attachment_id": id,
        "attach_time": world.now_text(),
        "delete_on_termination": new.attached_to.is_some_and(|(_, index)| index == 0),
        "device_index": index,
        "network_card_index": 0,
        "status": "attached",
        "instance_owner_id": "amazon-aws",
    });
    if let Some((instance, _)) = new.attached_to {
        attachment["instance_id"] = json!(instance);
        attachment["instance_owner_id"] = json!(world.account);
    }
    Some(attachment)
}

fn mac_address(world: &mut World) -> String {
    let digits = world.digits("mac", 10);
    let parts: Vec<&str> = (0..5).filter_map(|place| digits.get(place * 2..place * 2 + 2)).collect();
    format!("02:{}", parts.join(":"))
}

fn extend(world: &mut World, id: &str, key: &str, more: Vec<Value>) {
    if let Some(interface) = world.find_mut(TABLE, id) {
        match &mut interface[key] {
            Value::Array(list) => list.extend(more),
            other => *other = Value::Array(more),
        }
    }
}

/// Removes what `removes` says from an interface, and frees the addresses of what was removed.
fn take_away(world: &mut World, id: &str, wanted: &[String], removes: fn(&mut Value, &str) -> bool) {
    let Some(interface) = world.find_mut(TABLE, id) else { return };
    let subnet_id = text(interface, "subnet_id").to_owned();
    let gone: Vec<(u32, u32)> =
        wanted.iter().filter(|one| removes(interface, one)).filter_map(|one| span(one)).collect();
    for span in gone {
        give_back(world, &subnet_id, span);
    }
}

fn drop_from(list: &mut Value, is_meant: impl Fn(&Value) -> bool) -> bool {
    let Value::Array(items) = list else { return false };
    let before = items.len();
    items.retain(|item| !is_meant(item));
    items.len() < before
}

// Spans of addresses.

type Spans = Vec<(u32, u32)>;

/// The first and last address of `10.0.0.1` or `10.0.0.0/28`.
fn span(text: &str) -> Option<(u32, u32)> {
    if let Ok(block) = text.parse::<Ipv4Net>() {
        return Some((block.network().into(), block.broadcast().into()));
    }
    let address: u32 = text.parse::<Ipv4Addr>().ok()?.into();
    Some((address, address))
}

/// All addresses that an interface holds.
fn spans_of(interface: &Value) -> Spans {
    let singles = interface["private_ip_addresses"].as_array().into_iter().flatten();
    let blocks = interface["ipv4_prefixes"].as_array().into_iter().flatten();
    let texts = singles.map(|one| text(one, "private_ip_address")).chain(blocks.map(|one| text(one, "ipv4_prefix")));
    texts.filter_map(span).collect()
}

/// The block of a subnet and what of it is taken. Counted anew where a world file says nothing of it.
fn occupied(world: &World, subnet_id: &str) -> Option<(Ipv4Net, Spans)> {
    let subnet = world.find("ec2/subnets", subnet_id)?;
    let block: Ipv4Net = text(subnet, "cidr_block").parse().ok()?;
    if let Some(known) = subnet["_used"].as_array() {
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        return Some((block, known.iter().filter_map(|one| Some((number(&one[0])?, number(&one[1])?))).collect()));
    }
    let (first, last) = (u32::from(block.network()), u32::from(block.broadcast()));
    // AWS keeps the first four addresses and the last one.
    let mut used = vec![(first, first.saturating_add(3)), (last, last)];
    let interfaces = world.table(TABLE).values().filter(|one| one["subnet_id"] == subnet_id);
    for span in interfaces.flat_map(spans_of) {
        insert(&mut used, span);
    }
    Some((block, used))
}

fn remember(world: &mut World, subnet_id: &str, used: &Spans) {
    if let Some(subnet) = world.find_mut("ec2/subnets", subnet_id) {
        subnet["_used"] = json!(used);
    }
}

/// Takes so many runs of `size` addresses from below and answers their first addresses; all or none.
fn take(world: &mut World, subnet_id: &str, size: u32, count: usize) -> Option<Vec<u32>> {
    let (block, mut used) = occupied(world, subnet_id)?;
    let mut taken = Vec::new();
    for _ in 0..count {
        let first = gap(block, &used, size)?;
        insert(&mut used, (first, first + (size - 1)));
        taken.push(first);
    }
    remember(world, subnet_id, &used);
    Some(taken)
}

/// Takes one certain address of a subnet.
fn claim(world: &mut World, subnet_id: &str, asked: &str) -> Result<Ipv4Addr, Refusal> {
    let Ok(address) = asked.parse::<Ipv4Addr>() else {
        let message = format!("Value ({asked}) for parameter address is invalid. Invalid IPv4 address.");
        return refuse("InvalidParameterValue", 400, message);
    };
    let Some((block, mut used)) = occupied(world, subnet_id) else {
        return Err(listing::not_found("ec2/subnets", subnet_id));
    };
    if !block.contains(&address) {
        return refuse("InvalidParameterValue", 400, "Address does not fall within the subnet's address range");
    }
    let (first, last, number) = (u32::from(block.network()), u32::from(block.broadcast()), u32::from(address));
    if number < first + 4 || number == last {
        return refuse("InvalidParameterValue", 400, "Address is in subnet's reserved address range");
    }
    if used.iter().any(|(from, to)| (*from..=*to).contains(&number)) {
        return refuse("InvalidIPAddress.InUse", 400, format!("Address {address} is in use."));
    }
    insert(&mut used, (number, number));
    remember(world, subnet_id, &used);
    Ok(address)
}

/// Takes all of these addresses, or none.
fn claim_all(world: &mut World, subnet_id: &str, asked: &[&str]) -> Result<Vec<Ipv4Addr>, Refusal> {
    let mut taken = Vec::new();
    for one in asked {
        match claim(world, subnet_id, one) {
            Ok(address) => taken.push(address),
            Err(refusal) => {
                for address in taken.into_iter().map(u32::from) {
                    give_back(world, subnet_id, (address, address));
                }
                return Err(refusal);
            }
        }
    }
    Ok(taken)
}

fn give_back(world: &mut World, subnet_id: &str, span: (u32, u32)) {
    let Some((_, mut used)) = occupied(world, subnet_id) else { return };
    remove(&mut used, span);
    remember(world, subnet_id, &used);
}

/// The lowest aligned run of `size` free addresses.
fn gap(block: Ipv4Net, used: &Spans, size: u32) -> Option<u32> {
    let mut first: u32 = block.network().into();
    for (from, to) in used {
        if first.checked_add(size - 1)? < *from {
            break;
        }
        if first <= *to {
            first = to.checked_add(1)?.checked_next_multiple_of(size)?;
        }
    }
    (first.checked_add(size - 1)? <= u32::from(block.broadcast())).then_some(first)
}

/// Adds a span; neighbours become one.
fn insert(spans: &mut Spans, (first, last): (u32, u32)) {
    let from = spans.partition_point(|(_, to)| to.saturating_add(1) < first);
    let to = spans.partition_point(|(start, _)| *start <= last.saturating_add(1));
    let touched = spans.get(from..to).unwrap_or_default();
    let first = touched.first().map_or(first, |(start, _)| first.min(*start));
    let last = touched.last().map_or(last, |(_, end)| last.max(*end));
    spans.splice(from..to.max(from), [(first, last)]);
}

/// Takes a span out; what it lay in falls in two.
fn remove(spans: &mut Spans, (first, last): (u32, u32)) {
    let old = std::mem::take(spans);
    for (start, end) in old {
        if end < first || start > last {
            spans.push((start, end));
            continue;
        }
        if start < first {
            spans.push((start, first - 1));
        }
        if end > last {
            spans.push((last + 1, end));
        }
    }
}

// Operations.

const NAMES: Names = &[
    ("group-id", "groups.group_id"),
    ("group-name", "groups.group_name"),
    ("tag-key", "tag_set.key"),
    ("attachment.instance-id", "attachment.instance_id"),
    ("attachment.status", "attachment.status"),
    ("attachment.attachment-id", "attachment.attachment_id"),
    ("attachment.instance-owner-id", "attachment.instance_owner_id"),
    ("addresses.private-ip-address", "private_ip_addresses.private_ip_address"),
    ("association.public-ip", "association.public_ip"),
    ("association.allocation-id", "association.allocation_id"),
];
const PLAIN: &[&str] = &[
    "availability-zone",
    "description",
    "interface-type",
    "mac-address",
    "network-interface-id",
    "owner-id",
    "private-dns-name",
    "private-ip-address",
    "requester-id",
    "requester-managed",
    "status",
    "subnet-id",
    "vpc-id",
];

fn describe_network_interfaces(world: &mut World, input: &Value) -> Answer {
    // Filters by tag look at `tags`; interfaces alone call theirs `tag_set`.
    let (by_tag, other): (Vec<Value>, Vec<Value>) = input["filters"]
        .as_array()
        .cloned()
        .unwrap_or_default()
        .into_iter()
        .partition(|filter| text(filter, "name").starts_with("tag:"));
    let mut found = listing::asked(world, TABLE, &input["network_interface_ids"], &json!(other), NAMES, PLAIN)?;
    let by_tag = json!(by_tag);
    found.retain(|one| crate::twin::aws::filter::fits(&json!({ "tags": one["tag_set"] }), &by_tag, &[]));
    Ok(json!({ "network_interfaces": found }))
}

fn create_network_interface(world: &mut World, input: &Value) -> Answer {
    let new = New {
        subnet_id: listing::required(input, "subnet_id")?,
        group_ids: texts(&input["groups"]).into_iter().map(str::to_owned).collect(),
        description: text(input, "description"),
        interface_type: text(input, "interface_type"),
        tags: specified_tags(input, "network-interface"),
        address: input["private_ip_address"].as_str(),
        ..New::default()
    };
    let id = create(world, &new)?;
    let more = input["secondary_private_ip_address_count"].as_u64().and_then(|count| usize::try_from(count).ok());
    let blocks = input["ipv4_prefix_count"].as_u64().and_then(|count| usize::try_from(count).ok());
    let filled = match (more, blocks) {
        (Some(count), _) => assign_addresses(world, &id, count).map(drop),
        (None, Some(count)) => assign_prefixes(world, &id, count).map(drop),
        (None, None) => Ok(()),
    };
    if let Err(refusal) = filled {
        delete(world, &id);
        return Err(refusal);
    }
    Ok(json!({ "network_interface": world.find(TABLE, &id) }))
}

fn delete_network_interface(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "network_interface_id")?;
    let interface = listing::get(world, TABLE, id)?;
    if interface["status"] == "in-use" || interface["attachment"].is_object() {
        let message = format!("Network interface '{id}' is currently in use.");
        return refuse("InvalidParameterValue", 400, message);
    }
    delete(world, id);
    Ok(json!({}))
}

fn modify_network_interface_attribute(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "network_interface_id")?;
    let vpc_id = text(listing::get(world, TABLE, id)?, "vpc_id").to_owned();
    let groups = texts(&input["groups"]);
    let groups = if groups.is_empty() { None } else { Some(shown_groups(world, &vpc_id, &groups)?) };
    let Some(interface) = world.find_mut(TABLE, id) else { return Err(listing::not_found(TABLE, id)) };
    if let Some(groups) = groups {
        interface["groups"] = groups;
    }
    for key in ["description", "source_dest_check"] {
        let value = &input[key]["value"];
        if !value.is_null() {
            interface[key] = value.clone();
        }
    }
    let ends = &input["attachment"]["delete_on_termination"];
    if !ends.is_null() && interface["attachment"].is_object() {
        interface["attachment"]["delete_on_termination"] = ends.clone();
    }
    Ok(json!({}))
}

fn assign_private_ip_addresses(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "network_interface_id")?;
    let interface = listing::get(world, TABLE, id)?;
    let count = |key: &str| input[key].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let (addresses, prefixes) = (count("secondary_private_ip_address_count"), count("ipv4_prefix_count"));
    let held = |key: &str| interface[key].as_array().map_or(0, Vec::len);
    let named = texts(&input["private_ip_addresses"]).len();
    let wanted = held("private_ip_addresses") + held("ipv4_prefixes") + addresses + named + prefixes;
    if per_interface(world, interface).is_some_and(|limit| wanted > limit) {
        let message = "Number of private addresses will exceed limit.";
        return refuse("PrivateIpAddressLimitExceeded", 400, message);
    }
    let subnet_id = text(interface, "subnet_id").to_owned();
    let named = claim_all(world, &subnet_id, &texts(&input["private_ip_addresses"]))?;
    let shown = named.iter().map(|&address| shown_address(world, address, false)).collect();
    extend(world, id, "private_ip_addresses", shown);
    let mut addresses = assign_addresses(world, id, addresses)?;
    addresses.extend(named.iter().map(Ipv4Addr::to_string));
    let prefixes = assign_prefixes(world, id, prefixes)?;
    let addresses: Vec<Value> = addresses.into_iter().map(|one| json!({ "private_ip_address": one })).collect();
    let prefixes: Vec<Value> = prefixes.into_iter().map(|one| json!({ "ipv4_prefix": one })).collect();
    Ok(json!({
        "network_interface_id": id,
        "assigned_private_ip_addresses": addresses,
        "assigned_ipv4_prefixes": prefixes,
    }))
}

/// How many addresses and blocks the instance type of an interface allows; `None` where it is on no instance.
fn per_interface(world: &World, interface: &Value) -> Option<usize> {
    let instance = world.find("ec2/instances", interface["attachment"]["instance_id"].as_str()?)?;
    let kind = world.find("ec2/instance_types", instance["instance_type"].as_str()?)?;
    usize::try_from(kind["network_info"]["ipv4_addresses_per_interface"].as_u64()?).ok()
}

fn unassign_private_ip_addresses(world: &mut World, input: &Value) -> Answer {
    let id = listing::required(input, "network_interface_id")?;
    let interface = listing::get(world, TABLE, id)?;
    let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<String>>();
    let addresses = owned(texts(&input["private_ip_addresses"]));
    let prefixes = owned(texts(&input["ipv4_prefixes"]));
    let primary = text(interface, "private_ip_address").to_owned();
    if addresses.contains(&primary) {
        let message = format!("The private IP address {primary} is the primary address and can not be unassigned.");
        return refuse("InvalidParameterValue", 400, message);
    }
    let held = spans_of(interface);
    for one in addresses.iter().chain(&prefixes) {
        if !span(one).is_some_and(|span| held.contains(&span)) {
            let message = format!("Some of the specified addresses are not assigned to interface {id}");
            return refuse("InvalidParameterValue", 400, message);
        }
    }
    unassign_addresses(world, id, &addresses);
    unassign_prefixes(world, id, &prefixes);
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(cidr: &str) -> World {
        let mut world = World::new(7).unwrap();
        let subnet = json!({ "subnet_id": "subnet-1", "vpc_id": "vpc-1", "cidr_block": cidr });
        world.put("ec2/subnets", "subnet-1", subnet);
        world
    }

    fn made(world: &mut World) -> Result<String, Refusal> {
        create(world, &New { subnet_id: "subnet-1", ..New::default() })
    }

    #[test]
    fn a_certain_address_is_given_once_and_all_or_none() {
        let mut world = world("10.0.0.0/24");
        let asked = |world: &mut World, address| {
            let made = create(world, &New { subnet_id: "subnet-1", address: Some(address), ..New::default() });
            made.map_err(|refusal| refusal.code)
        };
        let id = asked(&mut world, "10.0.0.9").unwrap();
        assert_eq!(world.find(TABLE, &id).unwrap()["private_ip_address"], "10.0.0.9");
        assert_eq!(asked(&mut world, "10.0.0.9").unwrap_err(), "InvalidIPAddress.InUse");
        assert_eq!(asked(&mut world, "10.0.0.3").unwrap_err(), "InvalidParameterValue");
        assert_eq!(asked(&mut world, "10.0.1.9").unwrap_err(), "InvalidParameterValue");
        let free = free_addresses(&world, "subnet-1");
        assert!(claim_all(&mut world, "subnet-1", &["10.0.0.20", "10.0.0.9"]).is_err());
        assert_eq!(free_addresses(&world, "subnet-1"), free);
    }

    #[test]
    fn addresses_come_from_below_and_are_free_again_after_a_delete() {
        let mut world = world("10.0.0.0/24");
        assert_eq!(free_addresses(&world, "subnet-1"), 251);
        let first = made(&mut world).unwrap();
        let second = made(&mut world).unwrap();
        assert_eq!(world.find(TABLE, &first).unwrap()["private_ip_address"], "10.0.0.4");
        assert_eq!(world.find(TABLE, &second).unwrap()["private_dns_name"], "ip-10-0-0-5.us-west-2.compute.internal");
        assert_eq!(assign_addresses(&mut world, &first, 2).unwrap(), ["10.0.0.6", "10.0.0.7"]);
        assert_eq!(free_addresses(&world, "subnet-1"), 247);
        delete(&mut world, &first);
        assert_eq!(free_addresses(&world, "subnet-1"), 250);
        let third = made(&mut world).unwrap();
        assert_eq!(world.find(TABLE, &third).unwrap()["private_ip_address"], "10.0.0.4");
    }

    #[test]
    fn blocks_are_aligned_and_whole() {
        let mut world = world("10.0.0.0/26");
        let id = made(&mut world).unwrap();
        assert_eq!(assign_prefixes(&mut world, &id, 1).unwrap(), ["10.0.0.16/28"]);
        let refusal = assign_prefixes(&mut world, &id, 2).unwrap_err();
        assert_eq!(refusal.code, "InsufficientCidrBlocks");
        assert_eq!(assign_prefixes(&mut world, &id, 1).unwrap(), ["10.0.0.32/28"], "a refusal takes nothing");
        unassign_prefixes(&mut world, &id, &["10.0.0.16/28".to_owned()]);
        assert_eq!(free_addresses(&world, "subnet-1"), 64 - 5 - 1 - 16);
        assert_eq!(assign_prefixes(&mut world, &id, 1).unwrap(), ["10.0.0.16/28"]);
    }

    #[test]
    fn a_full_subnet_refuses() {
        let mut world = world("10.0.0.0/28");
        let id = made(&mut world).unwrap();
        assert_eq!(assign_addresses(&mut world, &id, 11).unwrap_err().code, "InsufficientFreeAddressesInSubnet");
        assert_eq!(assign_addresses(&mut world, &id, 10).unwrap().len(), 10);
        assert_eq!(made(&mut world).unwrap_err().code, "InsufficientFreeAddressesInSubnet");
        unassign_addresses(&mut world, &id, &["10.0.0.9".to_owned(), "10.0.0.4".to_owned()]);
        assert_eq!(free_addresses(&world, "subnet-1"), 1, "the primary address stays");
    }

    #[test]
    fn what_is_taken_is_counted_anew_from_the_interfaces_of_a_world_file() {
        let mut world = world("10.0.0.0/24");
        let interface = json!({
            "network_interface_id": "eni-1", "subnet_id": "subnet-1",
            "private_ip_addresses": [{ "primary": true, "private_ip_address": "10.0.0.4" }],
            "ipv4_prefixes": [{ "ipv4_prefix": "10.0.0.16/28" }],
        });
        world.put(TABLE, "eni-1", interface);
        assert_eq!(free_addresses(&world, "subnet-1"), 251 - 17);
        assert_eq!(assign_prefixes(&mut world, "eni-1", 1).unwrap(), ["10.0.0.32/28"]);
    }

    #[test]
    fn twenty_thousand_addresses_are_given_at_once() {
        let mut world = world("10.0.0.0/16");
        for _ in 0..400 {
            let id = made(&mut world).unwrap();
            assign_addresses(&mut world, &id, 49).unwrap();
        }
        assert_eq!(free_addresses(&world, "subnet-1"), 65_536 - 5 - 20_000);
    }
}
