//! Images, instance types and where these are offered.

use serde_json::{Value, json};

use crate::twin::aws::{Answer, Refusal, Row, filter, refuse, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::describe_images", describe_images),
    ("ec2::describe_instance_types", describe_instance_types),
    ("ec2::describe_instance_type_offerings", describe_instance_type_offerings),
];

const IMAGES: &str = "ec2/images";
const TYPES: &str = "ec2/instance_types";

/// Filters whose names do not follow from the fields.
const TYPE_FILTERS: filter::Names = &[
    ("processor-info.supported-architecture", "processor_info.supported_architectures"),
    ("supported-usage-class", "supported_usage_classes"),
    ("vcpu-info.default-vcpus", "v_cpu_info.default_v_cpus"),
    ("memory-info.size-in-mib", "memory_info.size_in_mib"),
];

/// An image, or the refusal of EC2.
pub fn image<'a>(world: &'a World, id: &str) -> Result<&'a Value, Refusal> {
    if !id.starts_with("ami-") {
        return refuse("InvalidAMIID.Malformed", 400, format!("Invalid id: \"{id}\" (expecting \"ami-...\")"));
    }
    match world.find(IMAGES, id) {
        Some(image) => Ok(image),
        None => refuse("InvalidAMIID.NotFound", 400, format!("The image id '[{id}]' does not exist")),
    }
}

/// An instance type, or the refusal with which launches name one that does not exist.
pub fn instance_type<'a>(world: &'a World, name: &str) -> Result<&'a Value, Refusal> {
    match world.find(TYPES, name) {
        Some(found) => Ok(found),
        None if could_exist(name) => Err(unknown_here(&[name])),
        None => refuse("InvalidParameterValue", 400, format!("Invalid value '{name}' for InstanceType.")),
    }
}

/// Whether AWS may well have an instance type of this name: family, generation, options, a size.
fn could_exist(name: &str) -> bool {
    const SIZES: &[&str] = &["nano", "micro", "small", "medium", "large", "xlarge", "metal"];
    let Some((family, size)) = name.split_once('.') else { return false };
    // `m7i`, and of machines with much memory `u-6tb1`.
    let family = family.strip_prefix("u-").map_or(family, |_| "u1");
    let letters = family.chars().take_while(char::is_ascii_lowercase).count();
    let generation = family.chars().nth(letters).is_some_and(|letter| letter.is_ascii_digit());
    let plain = family.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    let base = size.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let metal = size.strip_prefix("metal-").and_then(|rest| rest.strip_suffix("xl"));
    let sized = SIZES.contains(&base) && (base.len() == size.len() || base == "xlarge")
        || metal.is_some_and(|number| !number.is_empty() && number.chars().all(|letter| letter.is_ascii_digit()));
    (1..=3).contains(&letters) && generation && plain && sized
}

/// The twin knows some types only, and says nothing of the others.
fn unknown_here(names: &[&str]) -> Refusal {
    let message = format!(
        "the world of this rehearsal has no facts of instance type {}: add it to table `ec2/instance_types` of a world \
         file, as `ec2::describe_instance_types` shows it, and pass the file with `--world`",
        names.join(", ")
    );
    Refusal { code: "NotSimulated".to_owned(), status: 400, message }
}

fn describe_images(world: &mut World, input: &Value) -> Answer {
    let ids = texts(&input["image_ids"]);
    for id in &ids {
        image(world, id)?;
    }
    let owners: Vec<&str> = texts(&input["owners"]);
    let owner = |image: &Value| match text(image, "owner_id") {
        own if own == world.account => owners.contains(&"self") || owners.contains(&own),
        other => owners.contains(&other) || owners.contains(&text(image, "image_owner_alias")),
    };
    let fits = |image: &&Value| {
        (ids.is_empty() || ids.contains(&text(image, "image_id")))
            && (owners.is_empty() || owner(image))
            && filter::fits(image, &input["filters"], &[("owner-alias", "image_owner_alias")])
    };
    Ok(json!({ "images": world.table(IMAGES).values().filter(fits).collect::<Vec<_>>() }))
}

fn describe_instance_types(world: &mut World, input: &Value) -> Answer {
    let names = texts(&input["instance_types"]);
    let absent: Vec<&str> = names.iter().copied().filter(|name| world.find(TYPES, name).is_none()).collect();
    let possible: Vec<&str> = absent.iter().copied().filter(|name| could_exist(name)).collect();
    if !absent.is_empty() && possible.len() == absent.len() {
        return Err(unknown_here(&possible));
    }
    if !absent.is_empty() {
        let message = format!("The following supplied instance types do not exist: [{}]", absent.join(", "));
        return refuse("InvalidInstanceType", 400, message);
    }
    let wanted = |one: &&Value| names.is_empty() || names.contains(&text(one, "instance_type"));
    let found = filter::select(world.table(TYPES).values().filter(wanted), &input["filters"], TYPE_FILTERS);
    Ok(json!({ "instance_types": found }))
}

fn describe_instance_type_offerings(world: &mut World, input: &Value) -> Answer {
    let location_type = input["location_type"].as_str().unwrap_or("region");
    let zones = world.table("ec2/availability_zones").values();
    let locations: Vec<&str> = match location_type {
        "availability-zone" => zones.map(|zone| text(zone, "zone_name")).collect(),
        "availability-zone-id" => zones.map(|zone| text(zone, "zone_id")).collect(),
        _ => vec![&world.region],
    };
    let offerings = world.table(TYPES).keys().flat_map(|name| {
        locations
            .iter()
            .map(move |location| json!({ "instance_type": name, "location_type": location_type, "location": location }))
    });
    let fitting = offerings.filter(|offering| filter::fits(offering, &input["filters"], &[]));
    Ok(json!({ "instance_type_offerings": fitting.collect::<Vec<_>>() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::aws::within;

    #[test]
    fn a_type_without_facts_is_not_said_to_be_none() {
        for (name, known) in [
            ("m7i.48xlarge", true),
            ("u-6tb1.metal", true),
            ("c7gn.metal-24xl", true),
            ("i4i.large", true),
            ("m5.mouse", false),
            ("mouse.large", false),
            ("m5.12large", false),
            ("m5", false),
        ] {
            assert_eq!(could_exist(name), known, "{name}");
        }
        let mut world = World::new(1).unwrap();
        let ask = json!({ "instance_types": ["z1d.12xlarge"] });
        let refusal = within(&mut world, "ec2::describe_instance_types", ask).unwrap_err();
        assert_eq!(refusal.code, "NotSimulated");
        assert!(refusal.message.contains("z1d.12xlarge") && refusal.message.contains("--world"), "{refusal:?}");
    }

    #[test]
    fn limits_are_those_that_ec2_states() {
        let world = World::new(1).unwrap();
        let stated = include_str!("../../../../tests/it/instance_types.tsv");
        let mut compared = 0;
        for line in stated.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            let Some(found) = world.find(TYPES, columns[0]) else { continue };
            let network = &found["network_info"];
            assert_eq!(network["network_cards"][0]["maximum_network_interfaces"].to_string(), columns[1], "{line}");
            assert_eq!(network["ipv4_addresses_per_interface"].to_string(), columns[2], "{line}");
            assert_eq!(found["v_cpu_info"]["default_v_cpus"].to_string(), columns[3], "{line}");
            assert_eq!(found["hypervisor"] == "nitro", columns[4] == "yes", "{line}");
            compared += 1;
        }
        assert!(compared > 12, "{compared}");
    }

    #[test]
    fn every_fact_fits_the_schema() {
        let mut world = World::new(1).unwrap();
        for name in ["describe_images", "describe_instance_types"] {
            let operation = aws_dynamic::operation("ec2", name).unwrap();
            crate::twin::aws::call(&mut world, operation, &json!({})).unwrap();
        }
    }

    #[test]
    fn images_are_found_by_name_and_owner() {
        let mut world = World::new(1).unwrap();
        let input =
            json!({ "owners": ["amazon"], "filters": { "name": "amazon-eks-node-al2023-arm64-standard-1.36-*" } });
        let found = within(&mut world, "ec2::describe_images", input).unwrap();
        assert_eq!(found["images"].as_array().unwrap().len(), 1);
        let ghost = within(&mut world, "ec2::describe_images", json!({ "image_ids": ["ami-0ffffffffffffffff"] }));
        assert_eq!(ghost.unwrap_err().code, "InvalidAMIID.NotFound");
    }
}
