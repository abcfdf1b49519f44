//! Lists of tags as services keep them: `{ key, value }`, in KMS `{ tag_key, tag_value }`.

use serde_json::Value;

use super::{Refusal, refuse};

/// What operations of EC2 that make something can tag in the same request.
const TAGGED: &[(&str, &[&str])] = &[
    ("ec2::allocate_address", &["elastic-ip"]),
    ("ec2::authorize_security_group_egress", &["security-group-rule"]),
    ("ec2::authorize_security_group_ingress", &["security-group-rule"]),
    ("ec2::create_internet_gateway", &["internet-gateway"]),
    ("ec2::create_launch_template", &["launch-template"]),
    ("ec2::create_nat_gateway", &["natgateway"]),
    ("ec2::create_network_interface", &["network-interface"]),
    ("ec2::create_route_table", &["route-table"]),
    ("ec2::create_security_group", &["security-group"]),
    ("ec2::create_subnet", &["subnet"]),
    ("ec2::create_volume", &["volume"]),
    ("ec2::create_vpc", &["vpc"]),
    ("ec2::create_vpc_endpoint", &["vpc-endpoint"]),
    ("ec2::run_instances", &["instance", "volume", "network-interface", "spot-instances-request", "elastic-gpu"]),
];

/// Refuses `tag_specifications` for something that the operation does not make.
pub fn check_specifications(operation: &str, input: &Value) -> Result<(), Refusal> {
    let Some((_, known)) = TAGGED.iter().find(|(name, _)| *name == operation) else { return Ok(()) };
    for one in input["tag_specifications"].as_array().into_iter().flatten() {
        let kind = super::text(one, "resource_type");
        if !known.contains(&kind) {
            let code =
                if operation == "ec2::create_vpc_endpoint" { "InvalidParameter" } else { "InvalidParameterValue" };
            let message = match operation {
                "ec2::create_launch_template" => {
                    "The value for the ResourceType member of the TagSpecification request \
                     parameter must be 'launch-template'. Verify the ResourceType and try again."
                        .to_owned()
                }
                _ => format!("'{kind}' is not a valid taggable resource type for this operation."),
            };
            return refuse(code, 400, message);
        }
    }
    Ok(())
}

/// Adds tags to a list; those with a key that is there already replace it.
pub fn put(list: &mut Value, more: &Value, key: &str) {
    let mut all = list.as_array().cloned().unwrap_or_default();
    for tag in more.as_array().into_iter().flatten() {
        match all.iter_mut().find(|present| present[key] == tag[key]) {
            Some(present) => *present = tag.clone(),
            None => all.push(tag.clone()),
        }
    }
    *list = Value::Array(all);
}

/// Takes tags away by their keys.
pub fn drop(list: &mut Value, keys: &[&str], key: &str) {
    if let Some(all) = list.as_array_mut() {
        all.retain(|tag| !keys.iter().any(|gone| tag[key] == *gone));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_create_tags_only_what_it_makes() {
        let of = |kind: &str| json!({ "tag_specifications": [{ "resource_type": kind, "tags": [] }] });
        assert!(check_specifications("ec2::create_vpc", &of("vpc")).is_ok());
        assert!(check_specifications("ec2::run_instances", &of("volume")).is_ok());
        let refusal = check_specifications("ec2::create_vpc", &of("subnet")).unwrap_err();
        assert_eq!(refusal.code, "InvalidParameterValue");
        assert_eq!(refusal.message, "'subnet' is not a valid taggable resource type for this operation.");
    }

    #[test]
    fn every_create_of_ec2_with_tags_is_in_the_table() {
        for name in crate::twin::aws::simulated().filter(|name| name.starts_with("ec2::")) {
            let operation = aws_dynamic::operation("ec2", name.trim_start_matches("ec2::")).unwrap();
            let takes = operation.input.fields.iter().any(|field| field.name == "tag_specifications");
            assert_eq!(takes, TAGGED.iter().any(|(known, _)| *known == name), "{name}");
        }
    }
}
