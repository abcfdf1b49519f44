//! What the server refuses of Jobs, CronJobs and ReplicationControllers, field by field.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::selector::Labels;
use super::status::{
    Wrong, duplicate, forbidden_field, invalid, invalid_without_value, required, too_long, too_many, unsupported,
};
use super::validate::{IMMUTABLE, has_wrong, is_label, is_subdomain, key_of, label_pairs};
use super::validate_pod as pod;
use super::validate_pod::{NEGATIVE, items, one_of, text};
use crate::twin::physics::{job, schedule};

const INDEXES_MAX: i64 = 100_000;
/// Pods at once, and failed indexes, of a Job with more indexes than that and a limit for each.
const MANY_MAX: i64 = 10_000;
const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;
const MANAGER_MAX: usize = 63;
/// The name of a CronJob leaves room for what its Jobs add to it.
const CRON_JOB_NAME_MAX: usize = 52;
const INDEXED_ONLY: &str = "requires indexed completion mode";

/// A Job that is to be created, with the labels and the selector that it will have.
pub(super) fn as_selected(new: &Value) -> Cow<'_, Value> {
    if new["metadata"]["uid"].is_string() {
        return Cow::Borrowed(new);
    }
    let mut new = new.clone();
    new["metadata"]["uid"] = json!("00000000-0000-4000-a000-000000000000");
    // What is generated is looked at in the template alone.
    job::select(&mut new, false);
    Cow::Owned(new)
}

/// A Job; `old` is what is there.
pub(super) fn job(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    generated(new, wrong);
    own_spec(spec, wrong);
    last_name(new, wrong);
    let Some(old) = old.map(|old| &old["spec"]) else { return };
    own_spec(spec, wrong);
    completions(old, spec, wrong);
    let mut stays = |field: &str, same: bool, shown: String| {
        if !same {
            wrong.push(Wrong::verbatim(format!("spec.{field}"), &shown, IMMUTABLE));
        }
    };
    stays("selector", old["selector"] == spec["selector"], spec["selector"].to_string());
    let templates =
        if old["suspend"] == true { [scheduled(old), scheduled(spec)] } else { [template(old), template(spec)] };
    stays("template", templates[0] == templates[1], spec["template"].to_string());
    stays("completionMode", old["completionMode"] == spec["completionMode"], spec["completionMode"].to_string());
    let of_failure = &spec["podFailurePolicy"];
    stays("podFailurePolicy", old["podFailurePolicy"] == *of_failure, failures_in_go(of_failure));
    for field in ["backoffLimitPerIndex", "managedBy"] {
        stays(field, old[field] == spec[field], spec[field].to_string());
    }
    stays("successPolicy", old["successPolicy"] == spec["successPolicy"], success_in_go(&spec["successPolicy"]));
}

fn template(spec: &Value) -> Value {
    spec["template"].clone()
}

/// The template without what a suspended Job may still change: where its pods go, and what they need.
fn scheduled(spec: &Value) -> Value {
    let mut template = template(spec);
    let without = |value: Option<&mut Value>, fields: &[&str]| {
        let Some(map) = value.and_then(Value::as_object_mut) else { return };
        map.retain(|field, _| !fields.contains(&field.as_str()));
    };
    without(template.get_mut("metadata"), &["labels", "annotations"]);
    without(template.get_mut("spec"), &["nodeSelector", "affinity", "tolerations", "schedulingGates"]);
    for list in ["containers", "initContainers"] {
        for container in template["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            without(Some(container), &["resources"]);
        }
    }
    template
}

fn completions(old: &Value, new: &Value, wrong: &mut Vec<Wrong>) {
    let field = "completions";
    if old[field] == new[field] {
        return;
    }
    let why = match new["completionMode"] == "Indexed" {
        true if new[field] == new["parallelism"] => return,
        true => "can only be modified in tandem with spec.parallelism",
        false => IMMUTABLE,
    };
    wrong.push(invalid(format!("spec.{field}"), &new[field], why));
}

/// The labels and the selector by which a Job knows its pods.
fn generated(job: &Value, wrong: &mut Vec<Wrong>) {
    let selector = &job["spec"]["selector"];
    if job["spec"]["manualSelector"] == true || selector.is_null() {
        return;
    }
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    let (name, uid) = (&job["metadata"]["name"], &job["metadata"]["uid"]);
    let wanted = json!({
        "controller-uid": uid, "job-name": name,
        "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
    });
    let order = ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];
    for key in order.into_iter().filter(|key| labels[*key] != wanted[*key]) {
        let why = format!("must be '{}'", text(&wanted, key));
        let field = format!("spec.template.metadata.labels[{key}]");
        wrong.push(if labels[key].is_null() { required(field, &why) } else { invalid(field, labels, &why) });
    }
    if !Labels::of_object(selector).match_labels(&wanted) {
        wrong.push(invalid("spec.selector", selector, "`selector` not auto-generated"));
    }
}

/// The name of the last pod of an indexed Job is a label, too.
fn last_name(job: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &job["spec"];
    let Some(count) = spec["completions"].as_i64().filter(|count| *count > 0 && spec["completionMode"] == "Indexed")
    else {
        return;
    };
    let name = format!("{}-{}", text(&job["metadata"], "name"), count - 1);
    if name.len() > 63 || !is_label(&name) {
        let why = format!("will not able to create pod with invalid DNS label: {name}");
        wrong.push(invalid("metadata.name", &job["metadata"]["name"], &why));
    }
}

fn own_spec(spec: &Value, wrong: &mut Vec<Wrong>) {
    job_spec(spec, "spec", wrong);
    let selector = &spec["selector"];
    if selector.is_null() {
        wrong.push(required("spec.selector", ""));
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if selector.is_null() || !Labels::of_object(selector).match_labels(labels) {
        wrong.push(invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"));
    }
}

fn job_spec(spec: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let under = |field: &str| format!("{at}.{field}");
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        not_negative(spec, field, at, wrong);
    }
    if spec["maxFailedIndexes"].is_i64() && spec["backoffLimitPerIndex"].is_null() {
        wrong.push(required(under("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
    if let Some(manager) = spec["managedBy"].as_str() {
        managed_by(manager, under("managedBy"), wrong);
    }
    one_of(&spec["completionMode"], under("completionMode"), &["NonIndexed", "Indexed"], wrong);
    let is_indexed = spec["completionMode"] == "Indexed";
    if is_indexed {
        indexes(spec, at, wrong);
    } else if spec["completionMode"].is_null() || spec["completionMode"] == "NonIndexed" {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if spec[field].is_i64() {
                wrong.push(invalid(under(field), &spec[field], INDEXED_ONLY));
            }
        }
    }
    failures(spec, &under("podFailurePolicy"), wrong);
    if spec["successPolicy"].is_object() {
        if is_indexed {
            success(spec, &under("successPolicy.rules"), wrong);
        } else {
            wrong.push(Wrong::verbatim(under("successPolicy"), &success_in_go(&spec["successPolicy"]), INDEXED_ONLY));
        }
    }
    let known = if spec["podFailurePolicy"].is_object() { &["Failed"][..] } else { &["Failed", "TerminatingOrFailed"] };
    one_of(&spec["podReplacementPolicy"], under("podReplacementPolicy"), known, wrong);
    template_of_pods(&spec["template"], &under("template"), wrong);
    restarts(spec, under("template.spec.restartPolicy"), wrong);
}

fn not_negative(value: &Value, field: &str, at: &str, wrong: &mut Vec<Wrong>) {
    if value[field].as_i64().is_some_and(|number| number < 0) {
        wrong.push(invalid(format!("{at}.{field}"), &value[field], NEGATIVE));
    }
}

fn managed_by(manager: &str, at: String, wrong: &mut Vec<Wrong>) {
    let path = manager.split_once('/').filter(|(domain, path)| is_subdomain(domain) && !path.is_empty());
    if path.is_none() {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        wrong.push(invalid(at.clone(), &json!(manager), why));
    }
    if manager.len() > MANAGER_MAX {
        wrong.push(too_long(at, MANAGER_MAX));
    }
}

/// The numbers of an indexed Job.
fn indexes(spec: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let under = |field: &str| format!("{at}.{field}");
    let number = |field: &str| spec[field].as_i64();
    let (all, at_once, failed) = (number("completions"), number("parallelism"), number("maxFailedIndexes"));
    let refused = |field: &str, why: &str| invalid(under(field), &spec[field], why);
    if all.is_none() {
        wrong.push(required(under("completions"), "when completion mode is Indexed"));
    }
    if at_once.is_some_and(|at_once| at_once > INDEXES_MAX) {
        let why = format!("must be less than or equal to {INDEXES_MAX} when completion mode is Indexed");
        wrong.push(refused("parallelism", &why));
    }
    if all.zip(failed).is_some_and(|(all, failed)| failed > all) {
        wrong.push(refused("maxFailedIndexes", "must be less than or equal to completions"));
    }
    if failed.is_some_and(|failed| failed > INDEXES_MAX) {
        wrong.push(refused("maxFailedIndexes", &format!("must be less than or equal to {INDEXES_MAX}")));
    }
    if all.is_none_or(|all| all <= INDEXES_MAX) || number("backoffLimitPerIndex").is_none() {
        return;
    }
    if failed.is_none() {
        let why = format!("must be specified when completions is above {INDEXES_MAX}");
        wrong.push(required(under("maxFailedIndexes"), &why));
    }
    let why = format!(
        "must be less than or equal to {MANY_MAX} when completions are above {INDEXES_MAX} and used with backoff limit per \
         index"
    );
    for (field, number) in [("parallelism", at_once), ("maxFailedIndexes", failed)] {
        if number.is_some_and(|number| number > MANY_MAX) {
            wrong.push(refused(field, &why));
        }
    }
}

/// The labels and the spec of the pods.
fn template_of_pods(template: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    label_pairs(&template["metadata"]["labels"], &format!("{at}.labels"), wrong);
    for key in template["metadata"]["annotations"].as_object().into_iter().flat_map(|map| map.keys()) {
        key_of(&format!("{at}.annotations"), &key.to_ascii_lowercase(), wrong);
    }
    pod::spec(&template["spec"], &format!("{at}.spec"), wrong);
}

/// Pods of Jobs end for good.
fn restarts(spec: &Value, at: String, wrong: &mut Vec<Wrong>) {
    let policy = &spec["template"]["spec"]["restartPolicy"];
    match policy.as_str() {
        None | Some("" | "Always") => wrong.push(required(at, "valid values: \"OnFailure\", \"Never\"")),
        Some("Never") => {}
        Some("OnFailure") if spec["podFailurePolicy"].is_object() => {
            wrong.push(invalid(at, policy, "only \"Never\" is supported when podFailurePolicy is specified"));
        }
        Some("OnFailure") => {}
        Some(_) => wrong.push(unsupported(at, policy, &["OnFailure", "Never"])),
    }
}

/// What becomes of a Job whose pods fail in certain ways.
fn failures(spec: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let policy = &spec["podFailurePolicy"];
    let pod = &spec["template"]["spec"];
    let containers: Vec<&str> = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| items(pod, list).map(|(_, container)| text(container, "name")))
        .collect();
    rules_are_few(policy, &format!("{at}.rules"), wrong);
    for (index, rule) in items(policy, "rules") {
        let at = format!("{at}.rules[{index}]");
        let known = ["Count", "FailIndex", "FailJob", "Ignore"];
        match text(rule, "action") {
            "" => wrong.push(required(format!("{at}.action"), &format!("valid values: {}", quoted(&known)))),
            "FailIndex" if spec["backoffLimitPerIndex"].is_null() => {
                let why = "requires the backoffLimitPerIndex to be set";
                wrong.push(invalid(format!("{at}.action"), &rule["action"], why));
            }
            _ => one_of(&rule["action"], format!("{at}.action"), &known, wrong),
        }
        let has_conditions = items(rule, "onPodConditions").next().is_some();
        if rule["onExitCodes"].is_object() {
            exit_codes(&rule["onExitCodes"], &containers, &format!("{at}.onExitCodes"), wrong);
        }
        for (index, condition) in items(rule, "onPodConditions") {
            condition_of_pod(condition, &format!("{at}.onPodConditions[{index}]"), wrong);
        }
        match (rule["onExitCodes"].is_object(), has_conditions) {
            (true, true) => {
                let why = "specifying both OnExitCodes and OnPodConditions is not supported";
                wrong.push(invalid_without_value(at, why));
            }
            (false, false) => {
                let why = "specifying one of OnExitCodes and OnPodConditions is required";
                wrong.push(invalid_without_value(at, why));
            }
            _ => {}
        }
    }
}

fn rules_are_few(policy: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let count = items(policy, "rules").count();
    if count > RULES_MAX {
        wrong.push(too_many(at, count, RULES_MAX as u64));
    }
}

/// `["a" "b"]`.
fn quoted(texts: &[&str]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

fn exit_codes(codes: &Value, containers: &[&str], at: &str, wrong: &mut Vec<Wrong>) {
    let known = ["In", "NotIn"];
    let operator = format!("{at}.operator");
    if text(codes, "operator").is_empty() {
        wrong.push(required(operator, &format!("valid values: {}", quoted(&known))));
    } else {
        one_of(&codes["operator"], operator, &known, wrong);
    }
    if codes["containerName"].as_str().is_some_and(|name| !containers.contains(&name)) {
        let why = "must be one of the container or initContainer names in the pod template";
        wrong.push(invalid(format!("{at}.containerName"), &codes["containerName"], why));
    }
    let values = codes["values"].as_array().map(Vec::as_slice).unwrap_or_default();
    let field = format!("{at}.values");
    if values.is_empty() {
        wrong.push(invalid(field.clone(), &json!([]), "at least one value is required"));
    } else if values.len() > CODES_MAX {
        wrong.push(too_many(field.clone(), values.len(), CODES_MAX as u64));
    }
    for (index, value) in values.iter().enumerate() {
        if *value == 0 && codes["operator"] == "In" {
            wrong.push(invalid(format!("{field}[{index}]"), value, "must not be 0 for the In operator"));
        }
        if values[..index].contains(value) {
            wrong.push(duplicate(format!("{field}[{index}]"), value));
        }
    }
    if !values.is_sorted_by_key(|value| value.as_i64()) {
        wrong.push(invalid(field, &codes["values"], "must be ordered"));
    }
}

fn condition_of_pod(condition: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    key_of(&format!("{at}.type"), text(condition, "type"), wrong);
    let known = ["False", "True", "Unknown"];
    if text(condition, "status").is_empty() {
        wrong.push(required(format!("{at}.status"), &format!("valid values: {}", quoted(&known))));
    } else {
        one_of(&condition["status"], format!("{at}.status"), &known, wrong);
    }
}

/// When a Job is done before all its indexes are.
fn success(spec: &Value, at: &str, wrong: &mut Vec<Wrong>) {
    let policy = &spec["successPolicy"];
    let all = spec["completions"].as_i64().unwrap_or(0);
    if items(policy, "rules").next().is_none() {
        wrong.push(required(at, "at least one rules must be specified when the successPolicy is specified"));
    }
    rules_are_few(policy, at, wrong);
    for (index, rule) in items(policy, "rules") {
        let at = format!("{at}[{index}]");
        let count = rule["succeededCount"].as_i64();
        let named = rule["succeededIndexes"].as_str().map(|text| indexes_of(text, all));
        if count.is_none() && named.is_none() {
            let why = "at least one of succeededCount or succeededIndexes must be specified";
            wrong.push(required(at.clone(), why));
        }
        if let Some(Err(why)) = &named {
            let why = format!("error parsing succeededIndexes: {why}");
            wrong.push(invalid(format!("{at}.succeededIndexes"), &rule["succeededIndexes"], &why));
        }
        not_negative(rule, "succeededCount", &at, wrong);
        let most = [
            (Some(all), "the number of specified completions"),
            // What can not be read names none.
            (named.map(Result::unwrap_or_default), "the number of indexes in the specified succeededIndexes field"),
        ];
        for (most, what) in most {
            if let Some((_, most)) = count.zip(most).filter(|(count, most)| count > most) {
                let why = format!("must be less than or equal to {most} ({what})");
                wrong.push(invalid(format!("{at}.succeededCount"), &rule["succeededCount"], &why));
            }
        }
    }
}

/// How many indexes `0-2,4` names, of so many that there are.
fn indexes_of(text: &str, all: i64) -> Result<i64, String> {
    let number = |text: &str| -> Result<i64, String> {
        let number = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if number < all { Ok(number) } else { Err(format!("too large index: {text:?}")) }
    };
    let order = |before: i64, after: i64| format!("non-increasing order, previous: {before}, current: {after}");
    let (mut count, mut last) = (0, None);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let ends: Vec<&str> = part.split('-').collect();
        let (from, to) = match *ends {
            [one] => (one, None),
            [from, to] => (from, Some(to)),
            _ => {
                return Err(format!(
                    "the fragment {part:?} violates the requirement that an index interval can have at most two parts \
                     separated by '-'"
                ));
            }
        };
        let from = number(from)?;
        if let Some(before) = last.filter(|before| *before >= from) {
            return Err(order(before, from));
        }
        let to = to.map_or(Ok(from), number)?;
        if from > to {
            return Err(order(from, to));
        }
        count += to - from + 1;
        last = Some(to);
    }
    Ok(count)
}

/// A policy as Go writes its struct.
fn success_in_go(policy: &Value) -> String {
    if policy.is_null() {
        return "null".to_owned();
    }
    let rule = |(_, rule): (usize, &Value)| {
        format!("{{\"SucceededIndexes\":{},\"SucceededCount\":{}}}", rule["succeededIndexes"], rule["succeededCount"])
    };
    format!("{{\"Rules\":[{}]}}", items(policy, "rules").map(rule).collect::<Vec<_>>().join(","))
}

fn failures_in_go(policy: &Value) -> String {
    if policy.is_null() {
        return "null".to_owned();
    }
    let codes = |codes: &Value| match codes.is_null() {
        true => "null".to_owned(),
        false => format!(
            "{{\"ContainerName\":{},\"Operator\":{},\"Values\":{}}}",
            codes["containerName"], codes["operator"], codes["values"]
        ),
    };
    let condition = |(_, one): (usize, &Value)| format!("{{\"Type\":{},\"Status\":{}}}", one["type"], one["status"]);
    let conditions = |rule: &Value| match rule["onPodConditions"].is_null() {
        true => "null".to_owned(),
        false => format!("[{}]", items(rule, "onPodConditions").map(condition).collect::<Vec<_>>().join(",")),
    };
    let rule = |(_, rule): (usize, &Value)| {
        format!(
            "{{\"Action\":{},\"OnExitCodes\":{},\"OnPodConditions\":{}}}",
            rule["action"],
            codes(&rule["onExitCodes"]),
            conditions(rule)
        )
    };
    format!("{{\"Rules\":[{}]}}", items(policy, "rules").map(rule).collect::<Vec<_>>().join(","))
}

/// A CronJob; `old` is what is there.
pub(super) fn cron_job(old: Option<&Value>, new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    schedule_of(old, spec, wrong);
    not_negative(spec, "startingDeadlineSeconds", "spec", wrong);
    time_zone(&spec["timeZone"], wrong);
    one_of(&spec["concurrencyPolicy"], "spec.concurrencyPolicy".to_owned(), &["Allow", "Forbid", "Replace"], wrong);
    let job = &spec["jobTemplate"]["spec"];
    job_spec(job, "spec.jobTemplate.spec", wrong);
    if !job["selector"].is_null() {
        let why = "`selector` will be auto-generated";
        wrong.push(invalid("spec.jobTemplate.spec.selector", &job["selector"], why));
    }
    if job["manualSelector"] == true {
        let known = ["nil", "false"];
        wrong.push(unsupported("spec.jobTemplate.spec.manualSelector", &job["manualSelector"], &known));
    }
    not_negative(spec, "successfulJobsHistoryLimit", "spec", wrong);
    not_negative(spec, "failedJobsHistoryLimit", "spec", wrong);
    if old.is_none() && text(&new["metadata"], "name").len() > CRON_JOB_NAME_MAX {
        let why = format!("must be no more than {CRON_JOB_NAME_MAX} characters");
        wrong.push(invalid("metadata.name", &new["metadata"]["name"], &why));
    }
}

fn schedule_of(old: Option<&Value>, spec: &Value, wrong: &mut Vec<Wrong>) {
    let written = text(spec, "schedule");
    if written.is_empty() {
        wrong.push(required("spec.schedule", ""));
        return;
    }
    let mut refuse = |why: &str| wrong.push(invalid("spec.schedule", &spec["schedule"], why));
    if let Err(why) = schedule::Schedule::read(written) {
        refuse(&why);
    }
    if written.contains("TZ") {
        // Schedules from before there was the field may stay.
        match old.is_some_and(|old| text(&old["spec"], "schedule").contains("TZ")) {
            true if spec["timeZone"].is_null() => {}
            true => refuse("cannot use both timeZone field and TZ or CRON_TZ in schedule"),
            false => refuse("cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        }
    }
}

fn time_zone(zone: &Value, wrong: &mut Vec<Wrong>) {
    let Some(name) = zone.as_str() else { return };
    let mut refuse = |why: &str| wrong.push(invalid("spec.timeZone", zone, why));
    if name.is_empty() {
        refuse("timeZone must be nil or non-empty string");
        return;
    }
    if name.eq_ignore_ascii_case("local") {
        refuse("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
    if name != "Local" && schedule::zone(name).is_none() {
        refuse(&format!("unknown time zone {name}"));
    }
}

/// A ReplicationController.
pub(super) fn replication_controller(new: &Value, wrong: &mut Vec<Wrong>) {
    let spec = &new["spec"];
    not_negative(spec, "minReadySeconds", "spec", wrong);
    let selector = spec["selector"].as_object().filter(|selector| !selector.is_empty());
    if selector.is_none() {
        wrong.push(required("spec.selector", ""));
    }
    not_negative(spec, "replicas", "spec", wrong);
    let template = &spec["template"];
    if !template.is_object() {
        wrong.push(required("spec.template", ""));
        return;
    }
    let labels = &template["metadata"]["labels"];
    if !selector.into_iter().flatten().all(|(key, value)| labels[key] == *value) {
        wrong.push(invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"));
    }
    template_of_pods(template, "spec.template", wrong);
    let policy = &template["spec"]["restartPolicy"];
    if policy != "Always" && !has_wrong(wrong, "spec.template.spec.restartPolicy") {
        wrong.push(unsupported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let why = "activeDeadlineSeconds in ReplicationController is not Supported";
        wrong.push(forbidden_field("spec.template.spec.activeDeadlineSeconds", why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_counted_in_their_order() {
        let rows = [
            ("0-2,4", Ok(4)),
            ("", Ok(0)),
            ("2,1", Err("non-increasing order, previous: 2, current: 1")),
            ("3-1", Err("non-increasing order, previous: 3, current: 1")),
            ("1-5", Err("too large index: \"5\"")),
            ("1-", Err("cannot convert string to integer for index: \"\"")),
        ];
        for (text, wanted) in rows {
            assert_eq!(indexes_of(text, 5), wanted.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_suspended_job_may_change_where_its_pods_go() {
        let spec = |image: &str, node: &str| {
            json!({ "spec": { "suspend": true, "selector": {}, "template": { "spec": { "restartPolicy": "Never",
                "nodeSelector": { "a": node }, "containers": [{ "name": "a", "image": image }] } } } })
        };
        let refused = |new: Value| {
            let mut wrong = Vec::new();
            job(Some(&spec("i", "x")), &new, &mut wrong);
            has_wrong(&wrong, "spec.template")
        };
        assert!(!refused(spec("i", "y")));
        assert!(refused(spec("j", "x")));
    }
}
