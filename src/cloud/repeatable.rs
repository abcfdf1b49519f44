//! Mutations that can be sent again after a doubtful outcome although they carry no token: twice is as good as once.

use aws_dynamic::Operation;

/// Why an operation can be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeatable {
    /// It says how something should be; the second time it is that already.
    States,
    /// It ends something that has an id or name of its own; the second time there is nothing left to end, and
    /// `not_found` is the answer that was hoped for.
    Ends,
}

/// Operations that say how something should be: AWS documents each as setting, replacing or upserting. Not here are
/// those that add to a counter or a history, and those that answer with an id which a second send would change.
const STATES: &[(&str, &[&str])] = &[
    (
        "iam",
        &[
            "attach_role_policy",
            "put_role_permissions_boundary",
            "put_role_policy",
            "tag_instance_profile",
            "tag_open_id_connect_provider",
            "tag_policy",
            "tag_role",
            "untag_role",
            "update_assume_role_policy",
        ],
    ),
    (
        "ec2",
        &[
            "create_tags",
            "delete_tags",
            "modify_network_interface_attribute",
            "modify_subnet_attribute",
            "modify_vpc_attribute",
            "replace_route",
            "terminate_instances",
        ],
    ),
    (
        "autoscaling",
        &[
            "create_or_update_tags",
            "delete_tags",
            "put_lifecycle_hook",
            "set_desired_capacity",
            "update_auto_scaling_group",
        ],
    ),
    ("eks", &["associate_access_policy", "tag_resource", "untag_resource"]),
    ("kms", &["enable_key_rotation", "put_key_policy", "tag_resource", "update_alias"]),
    ("cloudwatchlogs", &["put_retention_policy", "tag_resource"]),
    ("elasticloadbalancingv2", &["add_tags", "modify_load_balancer_attributes", "modify_target_group_attributes"]),
];

/// Operations that end something and are not called `delete_…`.
const ENDS: &[(&str, &[&str])] = &[
    ("iam", &["detach_role_policy", "remove_role_from_instance_profile"]),
    (
        "ec2",
        &[
            "disassociate_route_table",
            "release_address",
            "revoke_security_group_egress",
            "revoke_security_group_ingress",
        ],
    ),
    ("eks", &["disassociate_access_policy"]),
];

/// Whether an operation can be sent twice, and why.
pub fn of(operation: &Operation) -> Option<Repeatable> {
    let is_in = |table: &[(&str, &[&str])]| {
        table.iter().any(|(service, names)| *service == operation.service && names.contains(&operation.name))
    };
    if is_in(STATES) {
        Some(Repeatable::States)
    } else if operation.name.starts_with("delete_") || is_in(ENDS) {
        Some(Repeatable::Ends)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_mutation_without_a_token() {
        for (service, names) in STATES.iter().chain(ENDS) {
            for name in *names {
                let operation = aws_dynamic::operation(service, name).unwrap_or_else(|| panic!("{service}::{name}"));
                assert_eq!(operation.effect, aws_dynamic::Effect::Mutate, "{operation}");
                assert_eq!(operation.token, None, "{operation}");
            }
        }
    }

    #[test]
    fn creates_are_not_repeatable() {
        for (service, name) in
            [("iam", "create_role"), ("ec2", "create_vpc"), ("autoscaling", "create_auto_scaling_group")]
        {
            assert_eq!(of(aws_dynamic::operation(service, name).unwrap()), None, "{name}");
        }
    }
}
