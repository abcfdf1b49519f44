use serde_json::json;

use super::*;
use crate::client::{CallError, Client, Pending};
use crate::schema::{Effect, Operation};

const fn text(name: &'static str) -> Field {
    field(name, Type::String)
}

const fn field(name: &'static str, ty: Type) -> Field {
    Field { name, required: false, sensitive: false, doc: "", ty }
}

const fn required(name: &'static str, ty: Type) -> Field {
    Field { name, required: true, sensitive: false, doc: "", ty }
}

static EMPTY: Struct = Struct { name: "Empty", union: false, fields: &[] };
static SIZE: EnumShape = EnumShape { name: "Size", values: &["SMALL", "LARGE"] };
static TAG: Struct = Struct { name: "Tag", union: false, fields: &[text("key"), text("value")] };
static FILTER: Struct =
    Struct { name: "Filter", union: false, fields: &[text("name"), field("values", Type::List(&Type::String))] };
static SCALING: Struct =
    Struct { name: "Scaling", union: false, fields: &[required("min_size", Type::Integer), field("big", Type::Long)] };
static CHOICE: Struct = Struct { name: "Choice", union: true, fields: &[text("arn"), field("size", Type::Enum(&SIZE))] };
static INPUT: Struct = Struct {
    name: "MakeInput",
    union: false,
    fields: &[
        required("name", Type::String),
        required("role_arn", Type::String),
        required("client_token", Type::String),
        text("version"),
        field("scaling_config", Type::Struct(&SCALING)),
        field("tags", Type::List(&Type::Struct(&TAG))),
        field("labels", Type::Map(&Type::String)),
        field("filters", Type::List(&Type::Struct(&FILTER))),
        field("size", Type::Enum(&SIZE)),
        field("at", Type::Timestamp),
        field("data", Type::Blob),
        field("choice", Type::Struct(&CHOICE)),
        Field { name: "password", required: false, sensitive: true, doc: "", ty: Type::String },
    ],
};

fn no_call(_: &Client, _: &Value) -> Pending {
    Box::pin(std::future::ready(Err(CallError::input(String::from("not a real operation")))))
}

static MAKE: Operation = Operation {
    service: "eks",
    name: "make",
    wire_name: "Make",
    summary: "",
    effect: Effect::Mutate,
    input: &INPUT,
    output: &EMPTY,
    token: Some("client_token"),
    paginator: None,
    dispatch: no_call,
};

fn wrong(input: Value) -> Invalid {
    normalise(&MAKE, input, Enums::Strict).expect_err("must be refused")
}

/// Fills in what is required, so that a test can look at one thing.
fn with(extra: Value) -> Value {
    let mut input = json!({ "name": "a", "role_arn": "b" });
    input.as_object_mut().expect("object").extend(extra.as_object().expect("object").clone());
    input
}

fn written(extra: Value) -> Value {
    let mut value = normalise(&MAKE, with(extra), Enums::Strict).expect("accepted");
    let object = value.as_object_mut().expect("object");
    object.remove("name");
    object.remove("role_arn");
    value
}

#[test]
fn an_unknown_field_leads_and_the_missing_ones_follow() {
    let found = wrong(json!({ "nam": "x" }));
    assert_eq!(found.message, "unknown field `nam` for `eks::make`");
    assert_eq!(found.notes[0], "missing `name`, `role_arn`");
    assert_eq!(found.hint.as_deref(), Some("did you mean `name`?"));
    assert_eq!(found.path, "nam");
}

#[test]
fn missing_fields_alone() {
    let found = wrong(json!({ "name": "x", "role_arn": null, "scaling_config": {} }));
    assert_eq!(found.message, "missing `scaling_config.min_size`, `role_arn` for `eks::make`");
    assert_eq!(wrong(Value::Null).message, "missing `name`, `role_arn` for `eks::make`");
}

#[test]
fn other_casing_is_refused_with_the_right_name() {
    let found = wrong(with(json!({ "scalingConfig": {} })));
    assert_eq!(found.hint.as_deref(), Some("write `scaling_config`"));
}

#[test]
fn nested_mistakes_name_their_path() {
    let found = wrong(with(json!({ "scaling_config": { "min_size": 3_000_000_000_i64 } })));
    assert_eq!(found.path, "scaling_config.min_size");
    let wanted = "a number between -2147483648 and 2147483647";
    let message = format!("`scaling_config.min_size` of `eks::make` must be {wanted}, found the number 3000000000");
    assert_eq!(found.message, message);
    let found = wrong(with(json!({ "filters": [{ "nme": "x" }] })));
    assert_eq!(found.message, "unknown field `nme` in `filters[0]` of `eks::make`");
    assert_eq!(found.path, "filters[0].nme");
    assert_eq!(found.notes, ["fields are `name`, `values`"]);
}

#[test]
fn numbers_are_not_text_nor_text_numbers() {
    let found = wrong(with(json!({ "version": 1.3 })));
    assert_eq!(found.message, "`version` of `eks::make` must be text, found the number 1.3");
    assert_eq!(found.hint.as_deref(), Some("quote it: `\"1.3\"`"));
    let found = wrong(with(json!({ "scaling_config": { "min_size": 1, "big": "7" } })));
    assert_eq!(found.hint.as_deref(), Some("write `7` without quotes"));
    assert_eq!(wrong(with(json!({ "scaling_config": { "min_size": 1.5 } }))).path, "scaling_config.min_size");
}

#[test]
fn secrets_stay_out_of_the_report() {
    let found = wrong(with(json!({ "password": 123456 })));
    assert!(!format!("{found:?}").contains("123456"), "{found:?}");
}

#[test]
fn maps_for_lists_of_pairs() {
    assert_eq!(written(json!({ "tags": { "owner": "core" } })), json!({ "tags": [{ "key": "owner", "value": "core" }] }));
    let given = json!({ "filters": { "vpc-id": "v", "state": ["a", "b"] } });
    let wanted = json!([{ "name": "state", "values": ["a", "b"] }, { "name": "vpc-id", "values": ["v"] }]);
    assert_eq!(written(given)["filters"], wanted);
    assert_eq!(written(json!({ "filters": [{ "name": "n", "values": ["v"] }] }))["filters"][0]["name"], "n");
}

#[test]
fn a_forgotten_list_is_not_taken_for_a_shorthand() {
    let found = wrong(with(json!({ "filters": { "name": "vpc-id", "values": ["v"] } })));
    assert_eq!(found.hint.as_deref(), Some("put `[` and `]` around the map"));
    let found = wrong(with(json!({ "filters": { "is-default": true } })));
    assert_eq!(found.path, "filters[\"is-default\"][0]");
    assert_eq!(found.hint.as_deref(), Some("quote it: `\"true\"`"));
}

#[test]
fn enums_can_be_overridden() {
    let found = wrong(with(json!({ "size": "SMAL" })));
    assert_eq!(found.message, "`size` of `eks::make` can not be \"SMAL\"");
    assert_eq!(found.hint.as_deref(), Some("did you mean `SMALL`?"));
    assert!(found.only_enums);
    assert!(normalise(&MAKE, with(json!({ "size": "HUGE" })), Enums::Lenient).is_ok());
    assert!(!wrong(json!({ "size": "HUGE" })).only_enums);
}

#[test]
fn a_union_takes_exactly_one() {
    assert!(normalise(&MAKE, with(json!({ "choice": { "arn": "x", "size": null } })), Enums::Strict).is_ok());
    assert_eq!(wrong(with(json!({ "choice": {} }))).message, "`choice` of `eks::make` takes exactly one field");
}

#[test]
fn absent_is_dropped_and_user_keys_are_kept() {
    let given = json!({ "labels": { "someKey": "1", "gone": null }, "scaling_config": { "min_size": 1, "big": null } });
    assert_eq!(written(given), json!({ "labels": { "someKey": "1" }, "scaling_config": { "min_size": 1 } }));
    let found = wrong(with(json!({ "filters": { "x": [null] } })));
    assert_eq!(found.hint.as_deref(), Some("leave the item out"));
}

#[test]
fn times_and_bytes() {
    assert!(normalise(&MAKE, with(json!({ "at": 1_700_000_000, "data": "aGk=" })), Enums::Strict).is_ok());
    assert_eq!(wrong(with(json!({ "at": "soon" }))).path, "at");
    assert_eq!(wrong(with(json!({ "data": "%%" }))).path, "data");
}

#[test]
fn the_rest_is_counted() {
    let found = wrong(with(json!({ "version": 1, "size": 2, "zzz": 3 })));
    assert_eq!(found.notes.len(), 1);
    assert!(found.notes[0].ends_with("and 1 more"), "{found:?}");
}
