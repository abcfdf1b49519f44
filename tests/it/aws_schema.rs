//! What `aws-dynamic` knows of the operations without calling them: checks of inputs, shorthands, waiters.

use aws_dynamic::{Enums, Invalid, Type, Verdict, complete, normalise, operation, service};
use serde_json::{Value, json};

fn check(name: &str, input: Value) -> Result<Value, Invalid> {
    let (service, name) = name.split_once("::").unwrap();
    normalise(operation(service, name).unwrap(), input, Enums::Strict)
}

fn wrong(name: &str, input: Value) -> Invalid {
    check(name, input).expect_err("must be refused")
}

fn hint(name: &str, input: Value) -> String {
    wrong(name, input).hint.expect("a hint")
}

/// A node group with what is required, so that a test can look at one thing.
fn nodegroup(extra: Value) -> Value {
    let mut input = json!({ "cluster_name": "c", "nodegroup_name": "n", "subnets": ["s"], "node_role": "r" });
    input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    input
}

#[test]
fn an_unknown_field_leads_and_the_missing_ones_follow() {
    let found = wrong("eks::create_cluster", json!({ "nam": "x" }));
    assert_eq!(found.message, "unknown field `nam` for `eks::create_cluster`");
    assert_eq!(found.path, "nam");
    assert_eq!(found.notes[0], "missing `name`, `resources_vpc_config`, `role_arn`");
    assert_eq!(found.hint.as_deref(), Some("did you mean `name`?"));
    assert!(found.notes.len() <= 2);
}

#[test]
fn missing_fields_alone_and_a_token_that_is_filled_in() {
    let found = wrong("eks::create_nodegroup", json!({ "cluster_name": "c", "node_role": null }));
    assert_eq!(found.message, "missing `node_role`, `nodegroup_name`, `subnets` for `eks::create_nodegroup`");
    assert_eq!(found.path, "node_role");
    assert_eq!(wrong("eks::describe_cluster", Value::Null).message, "missing `name` for `eks::describe_cluster`");
    let tokens = operation("ec2", "create_network_insights_path").unwrap();
    let token = tokens.input.field("client_token").unwrap();
    assert!(token.required && tokens.required().all(|field| field.name != "client_token"));
}

#[test]
fn other_casing_is_refused_with_the_right_name() {
    assert_eq!(hint("eks::create_nodegroup", nodegroup(json!({ "scalingConfig": {} }))), "write `scaling_config`");
    assert_eq!(hint("eks::describe_cluster", json!({ "Name": "x" })), "write `name`");
}

#[test]
fn a_name_that_resembles_nothing_gets_no_suggestion() {
    let found = wrong("eks::describe_cluster", json!({ "name": "a", "colour": "red" }));
    assert_eq!((found.hint, found.notes), (None, vec![String::from("fields are `name`")]));
}

#[test]
fn nested_mistakes_name_their_path() {
    let found =
        wrong("eks::create_nodegroup", nodegroup(json!({ "scaling_config": { "min_size": 3_000_000_000_i64 } })));
    assert_eq!(found.path, "scaling_config.min_size");
    let place = "`scaling_config.min_size` of `eks::create_nodegroup`";
    let wanted = "a number between -2147483648 and 2147483647";
    assert_eq!(found.message, format!("{place} must be {wanted}, found the number 3000000000"));
    let found = wrong("ec2::describe_vpcs", json!({ "filters": [{ "nme": "x" }] }));
    assert_eq!(found.message, "unknown field `nme` in `filters[0]` of `ec2::describe_vpcs`");
    assert_eq!(
        (found.path.as_str(), found.notes),
        ("filters[0].nme", vec![String::from("fields are `name`, `values`")])
    );
}

#[test]
fn numbers_are_not_text_nor_text_numbers() {
    let found = wrong("eks::create_nodegroup", nodegroup(json!({ "version": 1.3 })));
    assert_eq!(found.message, "`version` of `eks::create_nodegroup` must be text, found the number 1.3");
    assert_eq!(found.hint.as_deref(), Some("quote it: `\"1.3\"`"));
    assert_eq!(hint("eks::create_nodegroup", nodegroup(json!({ "disk_size": "20" }))), "write `20` without quotes");
    assert_eq!(wrong("eks::create_nodegroup", nodegroup(json!({ "disk_size": 1.5 }))).path, "disk_size");
    assert_eq!(hint("eks::create_nodegroup", nodegroup(json!({ "subnets": "s" }))), "write `[\"s\"]`");
}

#[test]
fn secrets_stay_out_of_the_report() {
    let found = wrong("iam::create_login_profile", json!({ "password": 123456 }));
    assert!(!format!("{found:?}").contains("123456"), "{found:?}");
}

#[test]
fn maps_for_lists_of_pairs() {
    let given = json!({ "filters": { "vpc-id": "v", "state": ["a", "b"] } });
    let wanted = json!([{ "name": "state", "values": ["a", "b"] }, { "name": "vpc-id", "values": ["v"] }]);
    assert_eq!(check("ec2::describe_vpcs", given).unwrap()["filters"], wanted);
    let given = json!({ "resources": ["r"], "tags": { "Owner": "core", "gone": null } });
    assert_eq!(check("ec2::create_tags", given).unwrap()["tags"], json!([{ "key": "Owner", "value": "core" }]));
    let given = json!({ "key_id": "k", "tags": { "owner": "core" } });
    let wanted = json!([{ "tag_key": "owner", "tag_value": "core" }]);
    assert_eq!(check("kms::tag_resource", given).unwrap()["tags"], wanted);
    let written_out = json!({ "filters": [{ "name": "vpc-id", "values": ["v"] }] });
    assert_eq!(check("ec2::describe_vpcs", written_out.clone()).unwrap(), written_out);
}

#[test]
fn a_forgotten_list_is_not_taken_for_a_shorthand() {
    let given = json!({ "filters": { "name": "vpc-id", "values": ["v"] } });
    assert_eq!(hint("ec2::describe_vpcs", given), "put `[` and `]` around the map");
    let found = wrong("ec2::describe_vpcs", json!({ "filters": { "is-default": true } }));
    assert_eq!(found.path, "filters[\"is-default\"][0]");
    assert_eq!(found.hint.as_deref(), Some("quote it: `\"true\"`"));
}

#[test]
fn enums_can_be_overridden() {
    let given = nodegroup(json!({ "capacity_type": "SPO" }));
    let found = wrong("eks::create_nodegroup", given.clone());
    assert_eq!(found.message, "`capacity_type` of `eks::create_nodegroup` can not be \"SPO\"");
    assert_eq!(found.hint.as_deref(), Some("did you mean `SPOT`?"));
    assert!(found.only_enums);
    let create = operation("eks", "create_nodegroup").unwrap();
    assert_eq!(normalise(create, given.clone(), Enums::Lenient).unwrap(), given);
    assert!(!wrong("eks::create_nodegroup", json!({ "capacity_type": "SPO" })).only_enums);
}

#[test]
fn a_union_takes_exactly_one() {
    let with = |config: Value| {
        let input = json!({ "integration_name": "i", "integration_type": "OPENSEARCH", "resource_config": config });
        check("cloudwatchlogs::put_integration", input)
    };
    let found = with(json!({})).unwrap_err();
    assert_eq!(found.message, "`resource_config` of `cloudwatchlogs::put_integration` takes exactly one field");
    let roles = json!({ "data_source_role_arn": "a", "dashboard_viewer_principals": ["p"], "retention_days": 1 });
    assert!(with(json!({ "open_search_resource_config": roles })).is_ok());
}

#[test]
fn absent_is_dropped_and_user_keys_are_kept() {
    let given =
        nodegroup(json!({ "labels": { "someKey": "1", "gone": null }, "scaling_config": { "max_size": null } }));
    let wanted = nodegroup(json!({ "labels": { "someKey": "1" }, "scaling_config": {} }));
    assert_eq!(check("eks::create_nodegroup", given).unwrap(), wanted);
    assert_eq!(hint("ec2::describe_vpcs", json!({ "vpc_ids": [null] })), "leave the item out");
}

#[test]
fn times_and_bytes() {
    for start in [json!(1_700_000_000), json!("2023-11-15T00:13:20+02:00")] {
        assert!(check("ec2::describe_spot_price_history", json!({ "start_time": start })).is_ok());
    }
    assert_eq!(wrong("ec2::describe_spot_price_history", json!({ "start_time": "soon" })).path, "start_time");
    assert_eq!(wrong("ec2::describe_spot_price_history", json!({ "start_time": i64::MAX })).path, "start_time");
    assert!(check("kms::encrypt", json!({ "key_id": "k", "plaintext": "aGk=" })).is_ok());
    assert_eq!(wrong("kms::encrypt", json!({ "key_id": "k", "plaintext": "%%" })).path, "plaintext");
}

#[test]
fn further_mistakes_are_counted() {
    let found = wrong("eks::create_nodegroup", nodegroup(json!({ "version": 1, "disk_size": "x", "zzz": 3 })));
    assert_eq!(found.notes.len(), 1);
    assert!(found.notes[0].starts_with("also: ") && found.notes[0].ends_with("and 1 more"), "{found:?}");
}

#[test]
fn a_simulated_answer_is_checked_and_completed() {
    let list = operation("eks", "list_clusters").unwrap();
    let complete_one = complete(list, json!({ "clusters": ["a"] }), Enums::Strict).unwrap();
    assert_eq!(complete_one, json!({ "clusters": ["a"], "next_token": null }));
    assert_eq!(complete(list, json!({ "clusters": [1] }), Enums::Strict).unwrap_err().path, "clusters[0]");
    let describe = operation("eks", "describe_cluster").unwrap();
    let cluster = complete(describe, json!({ "cluster": { "name": "a" } }), Enums::Strict).unwrap();
    assert_eq!(cluster["cluster"]["status"], Value::Null);
}

#[test]
fn secrets_are_marked_where_they_are() {
    let credentials = operation("sts", "assume_role").unwrap().output.field("credentials").unwrap();
    let Type::Struct(shape) = credentials.ty else { panic!("{credentials:?}") };
    assert!(!credentials.sensitive && shape.field("secret_access_key").unwrap().sensitive);
    for (service, name, field) in
        [("ec2", "create_key_pair", "key_material"), ("ec2", "get_password_data", "password_data")]
    {
        assert!(operation(service, name).unwrap().output.field(field).unwrap().sensitive, "{service}::{name}");
    }
    let Type::Struct(key) = operation("iam", "create_access_key").unwrap().output.fields[0].ty else { panic!() };
    assert!(key.field("secret_access_key").unwrap().sensitive && !key.field("user_name").unwrap().sensitive);
}

fn judge(service_name: &str, waiter: &str, answer: Result<Value, &str>) -> Verdict {
    let waiter = service(service_name).unwrap().waiter(waiter).unwrap();
    waiter.judge(answer.as_ref().map_err(|code| Some(*code)))
}

#[test]
fn a_waiter_on_one_value() {
    let cluster = |status: &str| Ok(json!({ "cluster": { "status": status } }));
    assert_eq!(judge("eks", "cluster_active", cluster("ACTIVE")), Verdict::Success);
    assert_eq!(judge("eks", "cluster_active", cluster("CREATING")), Verdict::Retry);
    let failed = String::from("`cluster.status` is `FAILED`");
    assert_eq!(judge("eks", "cluster_active", cluster("FAILED")), Verdict::Failure(failed));
    assert_eq!(judge("eks", "cluster_deleted", Err("ResourceNotFoundException")), Verdict::Success);
    assert_eq!(judge("eks", "cluster_deleted", Err("AccessDeniedException")), Verdict::Raise);
}

#[test]
fn a_waiter_on_all_of_nested_lists() {
    let running = |states: &[&str]| {
        let instances: Vec<Value> = states.iter().map(|state| json!({ "state": { "name": state } })).collect();
        Ok(json!({ "reservations": [{ "instances": instances }, { "instances": null }] }))
    };
    assert_eq!(judge("ec2", "instance_running", running(&["running", "running"])), Verdict::Success);
    assert_eq!(judge("ec2", "instance_running", running(&["running", "pending"])), Verdict::Retry);
    assert_eq!(judge("ec2", "instance_running", running(&[])), Verdict::Retry);
    let failed = judge("ec2", "instance_running", running(&["pending", "terminated"]));
    assert_eq!(failed, Verdict::Failure(String::from("`reservations[].instances[].state.name` holds `terminated`")));
}

#[test]
fn waiters_on_emptiness_and_on_an_expression() {
    assert_eq!(judge("ec2", "password_data_available", Ok(json!({ "password_data": "" }))), Verdict::Retry);
    assert_eq!(judge("ec2", "password_data_available", Ok(json!({ "password_data": "x" }))), Verdict::Success);
    assert_eq!(judge("autoscaling", "group_exists", Ok(json!({ "auto_scaling_groups": [{}] }))), Verdict::Success);
    let group = |wanted: u32| {
        let instances = json!([{ "lifecycle_state": "InService" }, { "lifecycle_state": "Pending" }]);
        Ok(json!({ "auto_scaling_groups": [{ "min_size": wanted, "instances": instances }] }))
    };
    assert_eq!(judge("autoscaling", "group_in_service", group(1)), Verdict::Success);
    assert_eq!(judge("autoscaling", "group_in_service", group(2)), Verdict::Retry);
}
