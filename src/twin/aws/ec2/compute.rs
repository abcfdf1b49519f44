//! Instances: launched, running, booted, ended.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{address, image, interface, launch_template, volume};
use crate::twin::Arrival;
use crate::twin::aws::{Answer, Refusal, Row, filter, refuse, specified_tags, tags, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::run_instances", run_instances),
    ("ec2::describe_instances", describe_instances),
    ("ec2::describe_instance_status", describe_instance_status),
    ("ec2::terminate_instances", terminate_instances),
];

/// What becomes of things of these tables.
pub const ARRIVALS: &[Arrival] = &[(INSTANCES, arrive)];

const INSTANCES: &str = "ec2/instances";

/// The codes of EC2 for the states of an instance.
const STATES: &[(&str, i64)] =
    &[("pending", 0), ("running", 16), ("shutting-down", 32), ("terminated", 48), ("stopping", 64), ("stopped", 80)];

const FILTERS: filter::Names = &[
    ("instance-state-name", "state.name"),
    ("instance-state-code", "state.code"),
    ("availability-zone", "placement.availability_zone"),
    ("iam-instance-profile.arn", "iam_instance_profile.arn"),
    ("instance.group-id", "security_groups.group_id"),
    ("instance.group-name", "security_groups.group_name"),
    ("ip-address", "public_ip_address"),
    ("dns-name", "public_dns_name"),
    ("block-device-mapping.volume-id", "block_device_mappings.ebs.volume_id"),
    ("network-interface.network-interface-id", "network_interfaces.network_interface_id"),
];

/// An instance to be launched.
#[derive(Clone, Debug, Default)]
pub struct Launch<'a> {
    /// The launch template: `launch_template_id` or `launch_template_name`, and `version`. Null: none.
    pub template: Value,
    /// What is said besides, in the fields of RunInstances: it wins over the template.
    pub own: Value,
    /// The subnet; empty where template or `own` name one.
    pub subnet_id: &'a str,
    /// More tags as EC2 shows them, which win over those of the template.
    pub tags: Value,
}

/// Launches one instance and answers its id.
pub fn launch(world: &mut World, launch: &Launch<'_>) -> Result<String, Refusal> {
    let data = launch_data(world, launch)?;
    let (image_id, image_device) = image_of(world, &data)?;
    let profile = profile_of(world, &data["iam_instance_profile"])?;
    let subnet = subnet_of(world, &data, launch.subnet_id)?;
    let zone = text(&subnet, "availability_zone").to_owned();
    require_capacity(world, text(&data, "instance_type"), &zone)?;

    let id = world.id("i");
    let instance_tags = tags_of(launch, &data);
    let eni = interface::create(
        world,
        &interface::New {
            subnet_id: text(&subnet, "subnet_id"),
            group_ids: group_ids(&data),
            description: "",
            interface_type: "interface",
            requester_managed: false,
            attached_to: Some((&id, 0)),
            tags: specified_tags(&data, "network-interface"),
            address: data["private_ip_address"].as_str(),
        },
    )?;
    let mut instance = new_instance(world, &id, &data, &subnet, &eni);
    instance["architecture"] = image::image(world, &image_id)?["architecture"].clone();
    instance["image_id"] = json!(image_id);
    instance["tags"] = instance_tags;
    instance["iam_instance_profile"] = profile;
    add_public_address(world, &mut instance, &data, &eni);
    instance["block_device_mappings"] = add_disks(world, &id, &zone, &data, &image_device);
    if world.find("trouble/instances", "*").is_some() {
        instance["_failed"] = json!("its status checks fail");
        instance["_impaired"] = json!(true);
    }
    world.put(INSTANCES, &id, instance);
    world.begin(INSTANCES, &id, "running");
    Ok(id)
}

/// Ends an instance, whoever asked for it: shutting down, terminated, and gone from the lists an hour later.
pub fn terminate(world: &mut World, id: &str, code: &str, reason: &str) {
    let time = world.now_text().replace('T', " ").replace('Z', " GMT");
    let Some(instance) = world.find_mut(INSTANCES, id) else { return };
    if ["shutting-down", "terminated"].contains(&text(&instance["state"], "name")) {
        return;
    }
    instance["state"] = state("shutting-down");
    instance["state_reason"] = json!({ "code": code, "message": format!("{code}: {reason}") });
    instance["state_transition_reason"] = json!(match code {
        "Client.UserInitiatedShutdown" => format!("User initiated ({time})"),
        _ => format!("{code}: {reason} ({time})"),
    });
    world.forget(INSTANCES, id);
    world.begin(INSTANCES, id, "terminated");
}

/// EC2 takes a Spot instance back: it ends two minutes after the notice.
pub fn interrupt(world: &mut World, id: &str) {
    if world.find(INSTANCES, id).is_some() && !world.is_planned(INSTANCES, id, "interrupted") {
        world.begin_after(Duration::from_secs(120), INSTANCES, id, "interrupted");
    }
}

/// An instance, or the refusal of EC2.
pub fn instance<'a>(world: &'a World, id: &str) -> Result<&'a Value, Refusal> {
    match world.find(INSTANCES, id) {
        Some(instance) => Ok(instance),
        None => refuse("InvalidInstanceID.NotFound", 400, format!("The instance ID '{id}' does not exist")),
    }
}

fn arrive(world: &mut World, id: &str, to: &str) {
    match to {
        "running" => {
            let Some(instance) = world.find_mut(INSTANCES, id) else { return };
            instance["state"] = state("running");
            if instance["_impaired"] != true {
                world.begin(INSTANCES, id, "booted");
            }
        }
        "booted" => {
            if let Some(instance) = world.find_mut(INSTANCES, id) {
                instance["_booted"] = json!(true);
            }
        }
        "interrupted" => terminate(world, id, "Server.SpotInstanceTermination", "Spot instance termination"),
        "terminated" => end(world, id),
        "gone" => {
            world.remove(INSTANCES, id);
        }
        other => debug_assert!(false, "no instance becomes {other}"),
    }
}

/// The machine is off: its addresses and disks are free.
fn end(world: &mut World, id: &str) {
    for eni in interfaces_of(world, id) {
        if eni["attachment"]["delete_on_termination"] == false {
            continue;
        }
        interface::delete(world, text(&eni, "network_interface_id"));
    }
    volume::release(world, id);
    let Some(instance) = world.find_mut(INSTANCES, id) else { return };
    instance["state"] = state("terminated");
    instance["_booted"] = json!(false);
    instance["private_dns_name"] = json!("");
    instance["public_dns_name"] = json!("");
    instance["security_groups"] = json!([]);
    instance["block_device_mappings"] = json!([]);
    if let Some(fields) = instance.as_object_mut() {
        for key in ["private_ip_address", "public_ip_address", "subnet_id", "vpc_id", "iam_instance_profile"] {
            fields.remove(key);
        }
    }
    world.begin(INSTANCES, id, "gone");
}

fn state(name: &str) -> Value {
    let code = STATES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
    json!({ "name": name, "code": code })
}

/// Fields of the template, overlaid with those that the caller names.
fn launch_data(world: &World, launch: &Launch<'_>) -> Answer {
    let mut data = Map::new();
    let mut marks = Vec::new();
    if !launch.template.is_null() {
        let template = launch_template::find(world, &launch.template)?;
        let version = launch_template::version(template, text(&launch.template, "version"))?;
        data.extend(version["launch_template_data"].as_object().cloned().unwrap_or_default());
        marks.push(json!({ "key": "aws:ec2launchtemplate:id", "value": template["launch_template_id"] }));
        marks.push(json!({ "key": "aws:ec2launchtemplate:version", "value": version["version_number"].to_string() }));
    }
    for (key, value) in launch.own.as_object().into_iter().flatten() {
        data.insert(key.clone(), value.clone());
    }
    data.insert("_marks".to_owned(), Value::Array(marks));
    let data = Value::Object(data);
    image::instance_type(world, text(&data, "instance_type"))?;
    Ok(data)
}

/// Whether an instance could be launched from these: what Auto Scaling checks before it takes a template.
pub fn check(world: &World, template: &Value, instance_type: Option<&str>) -> Result<(), Refusal> {
    let own = instance_type.map_or(Value::Null, |name| json!({ "instance_type": name }));
    let data = launch_data(world, &Launch { template: template.clone(), own, ..Launch::default() })?;
    image_of(world, &data)?;
    profile_of(world, &data["iam_instance_profile"])?;
    Ok(())
}

/// The image with its root device. Its architecture must be that of the instance type.
fn image_of(world: &World, data: &Value) -> Result<(String, Value), Refusal> {
    let named = text(data, "image_id");
    let id = match named.strip_prefix("resolve:ssm:") {
        Some(parameter) => match world.find("ssm/parameters", parameter) {
            Some(parameter) => text(parameter, "value"),
            None => {
                return refuse("InvalidParameterValue", 400, format!("The SSM parameter '{parameter}' does not exist"));
            }
        },
        None => named,
    };
    if id.is_empty() {
        return refuse("MissingParameter", 400, "The request must contain the parameter ImageId");
    }
    let image = image::image(world, id)?;
    let kind = text(data, "instance_type");
    let architectures = &image::instance_type(world, kind)?["processor_info"]["supported_architectures"];
    let (have, want) = (texts(architectures), text(image, "architecture"));
    if !have.contains(&want) {
        let message = format!(
            "The architecture '{}' of the specified instance type does not match the architecture '{want}' of the \
             specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.",
            have.join(",")
        );
        return refuse("InvalidParameterValue", 400, message);
    }
    let root = image["block_device_mappings"][0].clone();
    Ok((id.to_owned(), root))
}

/// `{ arn, id }` as instances show their profile.
fn profile_of(world: &World, named: &Value) -> Answer {
    if named.is_null() {
        return Ok(Value::Null);
    }
    let profiles = world.table("iam/instance_profiles");
    let found = profiles.values().find(|profile| match named["arn"].as_str() {
        Some(arn) => profile["arn"] == arn,
        None => profile["instance_profile_name"] == named["name"],
    });
    match (found, named["arn"].as_str()) {
        (Some(profile), _) => Ok(json!({ "arn": profile["arn"], "id": profile["instance_profile_id"] })),
        (None, Some(arn)) => {
            let message = format!(
                "Value ({arn}) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN"
            );
            refuse("InvalidParameterValue", 400, message)
        }
        (None, None) => {
            let name = text(named, "name");
            let message = format!(
                "Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
            );
            refuse("InvalidParameterValue", 400, message)
        }
    }
}

fn subnet_of(world: &World, data: &Value, chosen: &str) -> Answer {
    let named = [chosen, text(data, "subnet_id"), text(&data["network_interfaces"][0], "subnet_id")];
    let Some(id) = named.into_iter().find(|id| !id.is_empty()) else {
        let message = "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.";
        return refuse("VPCIdNotSpecified", 400, message);
    };
    match world.find("ec2/subnets", id) {
        Some(subnet) => Ok(subnet.clone()),
        None => refuse("InvalidSubnetID.NotFound", 400, format!("The subnet ID '{id}' does not exist")),
    }
}

fn require_capacity(world: &World, kind: &str, zone: &str) -> Result<(), Refusal> {
    if world.find("trouble/capacity", kind).or_else(|| world.find("trouble/capacity", "*")).is_none() {
        return Ok(());
    }
    let zones = world.table("ec2/availability_zones").values().map(|one| text(one, "zone_name"));
    let others: Vec<&str> = zones.filter(|other| *other != zone).collect();
    let message = format!(
        "We currently do not have sufficient {kind} capacity in the Availability Zone you requested ({zone}). Our system \
         will be working on provisioning additional capacity. You can currently get {kind} capacity by not specifying an \
         Availability Zone in your request or choosing {}.",
        others.join(", ")
    );
    refuse("InsufficientInstanceCapacity", 500, message)
}

fn group_ids(data: &Value) -> Vec<String> {
    let own = texts(&data["security_group_ids"]);
    let of_interface = texts(&data["network_interfaces"][0]["groups"]);
    own.into_iter().chain(of_interface).map(str::to_owned).collect()
}

fn tags_of(launch: &Launch<'_>, data: &Value) -> Value {
    let mut all = specified_tags(data, "instance");
    tags::put(&mut all, &data["_marks"], "key");
    tags::put(&mut all, &launch.tags, "key");
    all
}

fn new_instance(world: &mut World, id: &str, data: &Value, subnet: &Value, eni: &str) -> Value {
    let kind = text(data, "instance_type");
    let eni = world.find("ec2/network_interfaces", eni).cloned().unwrap_or_default();
    let address = text(&eni, "private_ip_address");
    let domain = match world.region.as_str() {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    };
    let mut made = json!({
        "instance_id": id, "instance_type": kind, "state": state("pending"), "launch_time": world.now_text(),
        "ami_launch_index": 0, "monitoring": { "state": "disabled" }, "ebs_optimized": false, "ena_support": true,
        "hypervisor": "xen",
        "virtualization_type": "hvm", "root_device_name": "/dev/xvda", "root_device_type": "ebs",
        "platform_details": "Linux/UNIX", "source_dest_check": true, "public_dns_name": "",
        "placement": { "availability_zone": subnet["availability_zone"], "tenancy": "default", "group_name": "" },
        "subnet_id": subnet["subnet_id"], "vpc_id": subnet["vpc_id"], "security_groups": eni["groups"],
        "private_ip_address": address, "private_dns_name": format!("ip-{}.{domain}", address.replace('.', "-")),
        "state_transition_reason": "",
        "_user_data": text(data, "user_data"), "_booted": false, "_reservation": world.id("r"),
    });
    if data["instance_market_options"]["market_type"] == "spot" {
        made["instance_lifecycle"] = json!("spot");
        made["spot_instance_request_id"] = json!(format!("sir-{}", world.digits("sir", 8)));
    }
    if data["key_name"].is_string() {
        made["key_name"] = data["key_name"].clone();
    }
    made["metadata_options"] = metadata_options(data);
    made["hibernation_options"] = json!({ "configured": data["hibernation_options"]["configured"] == true });
    made["enclave_options"] = json!({ "enabled": data["enclave_options"]["enabled"] == true });
    if data["client_token"].is_string() {
        made["client_token"] = data["client_token"].clone();
    }
    made
}

/// What was asked for over what images of Amazon Linux 2023 and EKS bring: tokens required, and one more hop.
fn metadata_options(data: &Value) -> Value {
    let mut options = json!({
        "state": "applied", "http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 2,
        "http_protocol_ipv6": "disabled", "instance_metadata_tags": "disabled",
    });
    for (key, value) in data["metadata_options"].as_object().into_iter().flatten() {
        if !value.is_null() {
            options[key] = value.clone();
        }
    }
    options
}

/// In a public subnet, or on demand, an instance gets an address of the internet, too.
fn add_public_address(world: &mut World, instance: &mut Value, data: &Value, eni: &str) {
    let asked = data["network_interfaces"][0]["associate_public_ip_address"].as_bool();
    let given = world.find("ec2/network_interfaces", eni).is_some_and(|eni| !eni["association"].is_null());
    let wanted = asked.unwrap_or(given);
    if wanted != given {
        let association = json!({ "ip_owner_id": "amazon", "public_ip": address::public(world) });
        let association = if wanted { association } else { Value::Null };
        if let Some(eni) = world.find_mut("ec2/network_interfaces", eni) {
            eni["association"] = association.clone();
            eni["private_ip_addresses"][0]["association"] = association;
        }
    }
    let Some(eni) = world.find("ec2/network_interfaces", eni).filter(|_| wanted) else { return };
    let public = text(&eni["association"], "public_ip").to_owned();
    let dns = format!("ec2-{}.{}.compute.amazonaws.com", public.replace('.', "-"), world.region);
    instance["public_ip_address"] = json!(public);
    instance["public_dns_name"] = json!(dns);
}

/// Makes the disks, and answers how the instance shows them.
fn add_disks(world: &mut World, id: &str, zone: &str, data: &Value, root: &Value) -> Value {
    let tags = specified_tags(data, "volume");
    let mut mappings = data["block_device_mappings"].as_array().cloned().unwrap_or_default();
    mappings.retain(|mapping| mapping["ebs"].is_object());
    if !mappings.iter().any(|mapping| mapping["device_name"] == root["device_name"]) {
        mappings.insert(0, root.clone());
    }
    let mut shown = Vec::new();
    for mapping in &mappings {
        let volume = volume::with_instance(world, id, zone, mapping, &tags);
        let goes = mapping["ebs"]["delete_on_termination"] != false;
        let now = world.now_text();
        shown.push(json!({
            "device_name": mapping["device_name"],
            "ebs": { "volume_id": volume, "status": "attached", "attach_time": now, "delete_on_termination": goes },
        }));
    }
    Value::Array(shown)
}

fn interfaces_of(world: &World, id: &str) -> Vec<Value> {
    let all = world.table("ec2/network_interfaces").values();
    all.filter(|eni| eni["attachment"]["instance_id"] == id).cloned().collect()
}

/// Fields that an instance shows of each of its interfaces.
const INTERFACE_FIELDS: &[&str] = &[
    "network_interface_id",
    "description",
    "groups",
    "mac_address",
    "owner_id",
    "private_dns_name",
    "private_ip_address",
    "source_dest_check",
    "status",
    "subnet_id",
    "vpc_id",
    "interface_type",
    "ipv4_prefixes",
];

fn shown_interface(eni: &Value) -> Value {
    let pick = |from: &Value, keys: &[&str]| {
        let fields = keys.iter().filter(|key| !from[**key].is_null());
        Value::Object(fields.map(|key| ((*key).to_owned(), from[*key].clone())).collect())
    };
    let mut shown = pick(eni, INTERFACE_FIELDS);
    let attachment =
        ["attachment_id", "attach_time", "delete_on_termination", "device_index", "network_card_index", "status"];
    shown["attachment"] = pick(&eni["attachment"], &attachment);
    let association = ["public_ip", "public_dns_name", "ip_owner_id"];
    if !eni["association"].is_null() {
        shown["association"] = pick(&eni["association"], &association);
    }
    let addresses = eni["private_ip_addresses"].as_array().into_iter().flatten();
    let addresses = addresses.map(|one| pick(one, &["primary", "private_ip_address", "private_dns_name"]));
    shown["private_ip_addresses"] = Value::Array(addresses.collect());
    shown
}

/// An instance as DescribeInstances shows it, with the interfaces it has now.
fn shown_instance(world: &World, instance: &Value) -> Value {
    let mut shown = instance.clone();
    let mut own = interfaces_of(world, text(instance, "instance_id"));
    own.sort_by_key(|eni| eni["attachment"]["device_index"].as_i64());
    shown["network_interfaces"] = Value::Array(own.iter().map(shown_interface).collect());
    shown
}

fn reservation(world: &World, instances: &[Value]) -> Value {
    let id = instances.first().map(|one| one["_reservation"].clone());
    json!({ "reservation_id": id, "owner_id": world.account, "groups": [], "instances": instances })
}

fn run_instances(world: &mut World, input: &Value) -> Answer {
    let wanted = input["max_count"].as_i64().unwrap_or(1);
    let least = input["min_count"].as_i64().unwrap_or(1);
    if least < 1 || wanted < least {
        let message = format!("Value ({wanted}) for parameter maxCount is invalid.");
        return refuse("InvalidParameterValue", 400, message);
    }
    let mut own = input.clone();
    if let Some(fields) = own.as_object_mut() {
        fields.retain(|key, _| !["launch_template", "max_count", "min_count"].contains(&key.as_str()));
    }
    let template = input["launch_template"].clone();
    if let (true, Err(refusal)) = (template.is_object(), launch_template::find(world, &template)) {
        let named = refusal.code == "InvalidLaunchTemplateName.NotFoundException";
        return if named { launch_template::no_name() } else { Err(refusal) };
    }
    let plan = Launch { template, own, subnet_id: text(input, "subnet_id"), tags: Value::Null };
    let mut ids = Vec::new();
    while (ids.len() as i64) < wanted {
        match launch(world, &plan) {
            Ok(id) => ids.push(id),
            Err(_) if ids.len() as i64 >= least => break,
            Err(refusal) => {
                for id in ids {
                    end(world, &id);
                    world.remove(INSTANCES, &id);
                }
                return Err(refusal);
            }
        }
    }
    let found: Vec<Value> =
        ids.iter().filter_map(|id| Some(shown_instance(world, world.find(INSTANCES, id)?))).collect();
    Ok(reservation(world, &found))
}

fn require_all(world: &World, ids: &[&str]) -> Result<(), Refusal> {
    for id in ids {
        if !id.starts_with("i-") {
            return refuse("InvalidInstanceID.Malformed", 400, format!("Invalid id: \"{id}\""));
        }
    }
    let absent: Vec<&str> = ids.iter().copied().filter(|id| world.find(INSTANCES, id).is_none()).collect();
    match absent.as_slice() {
        [] => Ok(()),
        [one] => refuse("InvalidInstanceID.NotFound", 400, format!("The instance ID '{one}' does not exist")),
        more => {
            let message = format!("The instance IDs '{}' do not exist", more.join(", "));
            refuse("InvalidInstanceID.NotFound", 400, message)
        }
    }
}

fn describe_instances(world: &mut World, input: &Value) -> Answer {
    let ids = texts(&input["instance_ids"]);
    require_all(world, &ids)?;
    let wanted = |one: &&Value| ids.is_empty() || ids.contains(&text(one, "instance_id"));
    let shown = world.table(INSTANCES).values().filter(wanted).map(|one| shown_instance(world, one));
    let fitting = shown.filter(|one| filter::fits(one, &input["filters"], FILTERS));
    let reservations = fitting.map(|one| reservation(world, &[one]));
    Ok(json!({ "reservations": reservations.collect::<Vec<_>>() }))
}

fn describe_instance_status(world: &mut World, input: &Value) -> Answer {
    let ids = texts(&input["instance_ids"]);
    require_all(world, &ids)?;
    let all = input["include_all_instances"] == true;
    let wanted = |one: &&Value| {
        (ids.is_empty() || ids.contains(&text(one, "instance_id"))) && (all || one["state"]["name"] == "running")
    };
    let names: filter::Names = &[
        ("instance-status.status", "instance_status.status"),
        ("instance-status.reachability", "instance_status.details.status"),
        ("system-status.status", "system_status.status"),
        ("system-status.reachability", "system_status.details.status"),
        ("instance-state-name", "instance_state.name"),
        ("instance-state-code", "instance_state.code"),
    ];
    let statuses: Vec<Value> = world.table(INSTANCES).values().filter(wanted).map(status_of).collect();
    Ok(json!({ "instance_statuses": filter::select(statuses.iter(), &input["filters"], names) }))
}

fn status_of(instance: &Value) -> Value {
    let (status, check) = if instance["state"]["name"] != "running" {
        ("not-applicable", None)
    } else if instance["_impaired"] == true {
        ("impaired", Some("failed"))
    } else if instance["_booted"] == true {
        ("ok", Some("passed"))
    } else {
        ("initializing", Some("initializing"))
    };
    let summary = |status: &str, check: Option<&str>| {
        let details = check.map(|check| json!({ "name": "reachability", "status": check }));
        json!({ "status": status, "details": details.into_iter().collect::<Vec<_>>() })
    };
    // Below the machine all is well: what fails is the instance itself.
    let system = if status == "impaired" { summary("ok", Some("passed")) } else { summary(status, check) };
    json!({
        "instance_id": instance["instance_id"], "availability_zone": instance["placement"]["availability_zone"],
        "instance_state": instance["state"], "instance_status": summary(status, check), "system_status": system,
    })
}

fn terminate_instances(world: &mut World, input: &Value) -> Answer {
    let ids = texts(&input["instance_ids"]);
    require_all(world, &ids)?;
    let mut changes = Vec::new();
    for id in ids {
        let before = instance(world, id)?["state"].clone();
        terminate(world, id, "Client.UserInitiatedShutdown", "User initiated shutdown");
        let after = instance(world, id)?["state"].clone();
        changes.push(json!({ "instance_id": id, "previous_state": before, "current_state": after }));
    }
    Ok(json!({ "terminating_instances": changes }))
}
