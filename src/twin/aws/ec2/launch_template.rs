//! Launch templates and their versions.

use serde_json::{Value, json};

use crate::twin::aws::{Answer, Refusal, Row, filter, refuse, specified_tags, text, texts};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[
    ("ec2::create_launch_template", create_launch_template),
    ("ec2::create_launch_template_version", create_launch_template_version),
    ("ec2::describe_launch_templates", describe_launch_templates),
    ("ec2::describe_launch_template_versions", describe_launch_template_versions),
    ("ec2::modify_launch_template", modify_launch_template),
    ("ec2::delete_launch_template", delete_launch_template),
    ("ec2::delete_launch_template_versions", delete_launch_template_versions),
];

const TEMPLATES: &str = "ec2/launch_templates";

/// The template that `launch_template_id` or `launch_template_name` names.
pub fn find<'a>(world: &'a World, named: &Value) -> Result<&'a Value, Refusal> {
    match (named["launch_template_id"].as_str(), named["launch_template_name"].as_str()) {
        (Some(id), _) => world.find(TEMPLATES, id).map_or_else(|| no_id(id), Ok),
        (None, Some(name)) => {
            let found = world.table(TEMPLATES).values().find(|one| one["launch_template_name"] == name);
            found.map_or_else(|| no_such_name(name), Ok)
        }
        (None, None) => {
            refuse("MissingParameter", 400, "Either a launch template ID or a launch template name must be specified")
        }
    }
}

fn no_id<T>(id: &str) -> Result<T, Refusal> {
    let message = format!("The specified launch template, with template ID {id}, does not exist.");
    refuse("InvalidLaunchTemplateId.NotFound", 400, message)
}

fn no_such_name<T>(name: &str) -> Result<T, Refusal> {
    let message = format!("The specified launch template, with template name {name}, does not exist.");
    refuse("InvalidLaunchTemplateName.NotFoundException", 400, message)
}

/// What describing templates and launching from one say of a name that nobody has.
pub fn no_name<T>() -> Result<T, Refusal> {
    let message = "At least one of the launch templates specified in the request does not exist.";
    refuse("InvalidLaunchTemplateName.NotFoundException", 400, message)
}

/// The version that `$Latest`, `$Default` or a number names; the default one where nothing is named.
pub fn version<'a>(template: &'a Value, named: &str) -> Result<&'a Value, Refusal> {
    let number = match named {
        "$Latest" => template["latest_version_number"].as_i64(),
        "$Default" | "" => template["default_version_number"].as_i64(),
        number => number.parse().ok(),
    };
    let versions = template["_versions"].as_array();
    let found = versions.into_iter().flatten().find(|one| number.is_some() && one["version_number"].as_i64() == number);
    match found {
        Some(version) => Ok(version),
        None => {
            let message = format!(
                "Could not find the specified version {named} for the launch template with ID {}.",
                text(template, "launch_template_id")
            );
            refuse("InvalidLaunchTemplateId.VersionNotFound", 400, message)
        }
    }
}

fn new_version(world: &World, template: &Value, number: i64, input: &Value, data: Value) -> Value {
    let mut made = json!({
        "launch_template_id": template["launch_template_id"], "launch_template_name": template["launch_template_name"],
        "version_number": number, "create_time": world.now_text(), "created_by": world.caller,
        "default_version": number == 1, "launch_template_data": data,
    });
    if input["version_description"].is_string() {
        made["version_description"] = input["version_description"].clone();
    }
    made
}

fn create_launch_template(world: &mut World, input: &Value) -> Answer {
    let name = text(input, "launch_template_name");
    if world.table(TEMPLATES).values().any(|one| one["launch_template_name"] == name) {
        return refuse("InvalidLaunchTemplateName.AlreadyExistsException", 400, "Launch template name already in use.");
    }
    let id = world.id("lt");
    let mut template = json!({
        "launch_template_id": id, "launch_template_name": name, "create_time": world.now_text(),
        "created_by": world.caller, "default_version_number": 1, "latest_version_number": 1,
        "tags": specified_tags(input, "launch-template"),
    });
    let version = new_version(world, &template, 1, input, input["launch_template_data"].clone());
    template["_versions"] = json!([version]);
    world.put(TEMPLATES, &id, template.clone());
    Ok(json!({ "launch_template": template }))
}

fn create_launch_template_version(world: &mut World, input: &Value) -> Answer {
    let template = find(world, input)?;
    let mut data = match input["source_version"].as_str() {
        Some(source) => version(template, source)?["launch_template_data"].clone(),
        None => json!({}),
    };
    for (key, value) in input["launch_template_data"].as_object().into_iter().flatten() {
        data[key] = value.clone();
    }
    let number = template["latest_version_number"].as_i64().unwrap_or_default() + 1;
    let made = new_version(world, template, number, input, data);
    let id = text(template, "launch_template_id").to_owned();
    if let Some(template) = world.find_mut(TEMPLATES, &id) {
        template["latest_version_number"] = json!(number);
        if let Some(versions) = template["_versions"].as_array_mut() {
            versions.push(made.clone());
        }
    }
    Ok(json!({ "launch_template_version": made }))
}

fn describe_launch_templates(world: &mut World, input: &Value) -> Answer {
    let (ids, names) = (texts(&input["launch_template_ids"]), texts(&input["launch_template_names"]));
    for id in &ids {
        find(world, &json!({ "launch_template_id": id }))?;
    }
    for name in &names {
        if !world.table(TEMPLATES).values().any(|one| one["launch_template_name"] == *name) {
            return no_name();
        }
    }
    let wanted = |one: &&Value| {
        (ids.is_empty() || ids.contains(&text(one, "launch_template_id")))
            && (names.is_empty() || names.contains(&text(one, "launch_template_name")))
    };
    let found = filter::select(world.table(TEMPLATES).values().filter(wanted), &input["filters"], &[]);
    Ok(json!({ "launch_templates": found }))
}

fn describe_launch_template_versions(world: &mut World, input: &Value) -> Answer {
    let wanted = texts(&input["versions"]);
    let is_one = !input["launch_template_id"].is_null() || !input["launch_template_name"].is_null();
    let found: Vec<Value> = if is_one {
        let template = find(world, input)?;
        if wanted.is_empty() {
            let mut all = template["_versions"].as_array().cloned().unwrap_or_default();
            all.reverse();
            all
        } else {
            wanted.iter().map(|named| version(template, named).cloned()).collect::<Result<_, _>>()?
        }
    } else if wanted.is_empty() {
        let message = "Either a launch template ID or a launch template name, or versions must be specified";
        return refuse("MissingParameter", 400, message);
    } else {
        let templates = world.table(TEMPLATES).values();
        templates.flat_map(|one| wanted.iter().filter_map(|named| version(one, named).ok().cloned())).collect()
    };
    let fitting = found.iter().filter(|one| filter::fits(one, &input["filters"], VERSION_FILTERS));
    Ok(json!({ "launch_template_versions": fitting.collect::<Vec<_>>() }))
}

const VERSION_FILTERS: filter::Names = &[
    ("image-id", "launch_template_data.image_id"),
    ("instance-type", "launch_template_data.instance_type"),
    ("is-default-version", "default_version"),
];

fn modify_launch_template(world: &mut World, input: &Value) -> Answer {
    let template = find(world, input)?;
    let id = text(template, "launch_template_id").to_owned();
    let number = version(template, text(input, "default_version"))?["version_number"].clone();
    if let Some(template) = world.find_mut(TEMPLATES, &id) {
        template["default_version_number"] = number.clone();
        for one in template["_versions"].as_array_mut().into_iter().flatten() {
            one["default_version"] = json!(one["version_number"] == number);
        }
    }
    Ok(json!({ "launch_template": world.find(TEMPLATES, &id) }))
}

fn delete_launch_template(world: &mut World, input: &Value) -> Answer {
    let id = text(find(world, input)?, "launch_template_id").to_owned();
    Ok(json!({ "launch_template": world.remove(TEMPLATES, &id) }))
}

fn delete_launch_template_versions(world: &mut World, input: &Value) -> Answer {
    let template = find(world, input)?;
    let (id, name) = (text(template, "launch_template_id").to_owned(), template["launch_template_name"].clone());
    let (mut deleted, mut kept) = (Vec::new(), Vec::new());
    for named in texts(&input["versions"]) {
        let row = |number: &Value| json!({ "launch_template_id": id, "launch_template_name": name, "version_number": number });
        match version(template, named) {
            Ok(one) if one["default_version"] == true => {
                let mut row = row(&one["version_number"]);
                let message = "The default version of a launch template can not be deleted.";
                row["response_error"] = json!({ "code": "unexpectedError", "message": message });
                kept.push(row);
            }
            Ok(one) => deleted.push(row(&one["version_number"])),
            Err(refusal) => {
                let mut row = row(&json!(named.parse::<i64>().unwrap_or_default()));
                row["response_error"] =
                    json!({ "code": "launchTemplateVersionDoesNotExist", "message": refusal.message });
                kept.push(row);
            }
        }
    }
    if let Some(versions) = world.find_mut(TEMPLATES, &id).and_then(|one| one["_versions"].as_array_mut()) {
        versions.retain(|one| !deleted.iter().any(|gone| gone["version_number"] == one["version_number"]));
    }
    Ok(json!({
        "successfully_deleted_launch_template_versions": deleted,
        "unsuccessfully_deleted_launch_template_versions": kept,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::aws::within;

    #[test]
    fn a_change_is_a_new_version() {
        let mut world = World::new(1).unwrap();
        let data =
            |kind: &str| json!({ "launch_template_name": "prod", "launch_template_data": { "instance_type": kind } });
        within(&mut world, "ec2::create_launch_template", data("m6i.large")).unwrap();
        let again = within(&mut world, "ec2::create_launch_template", data("m6i.large")).unwrap_err();
        assert_eq!(again.code, "InvalidLaunchTemplateName.AlreadyExistsException");
        let made = within(&mut world, "ec2::create_launch_template_version", data("m7i.large")).unwrap();
        assert_eq!(made["launch_template_version"]["version_number"], 2);
        let asked = |version: &str| json!({ "launch_template_name": "prod", "versions": [version] });
        for (version, kind) in [("$Default", "m6i.large"), ("$Latest", "m7i.large"), ("2", "m7i.large")] {
            let found = within(&mut world, "ec2::describe_launch_template_versions", asked(version)).unwrap();
            let data = &found["launch_template_versions"][0]["launch_template_data"];
            assert_eq!(data["instance_type"], kind, "{version}");
        }
        let absent = within(&mut world, "ec2::describe_launch_template_versions", asked("3")).unwrap_err();
        assert_eq!(absent.code, "InvalidLaunchTemplateId.VersionNotFound");
        let ghost = json!({ "launch_template_id": "lt-1" });
        let absent = within(&mut world, "ec2::delete_launch_template", ghost).unwrap_err();
        assert_eq!(absent.code, "InvalidLaunchTemplateId.NotFound");
    }
}
