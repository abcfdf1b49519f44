//! What containers have written. Nothing runs in a twin: each container wrote that it started and, in the end, that it
//! ended; the times are those of its status.

use serde_json::{Value, json};

use super::request::Ask;
use super::{Problem, status};
use crate::twin::physics::selection::{list, text};
use crate::twin::physics::timer;
use crate::twin::world::World;

/// The lines of a container of a pod, as one asks for them.
pub fn lines(world: &World, pod: &Value, ask: &Ask<'_>) -> Result<String, Problem> {
    let name = text(&pod["metadata"], "name");
    let container = container(pod, ask.param("container"))?;
    if text(&pod["spec"], "nodeName").is_empty() {
        return Ok(String::new());
    }
    let statuses = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let mut all = statuses.iter().flat_map(|of| list(&pod["status"][*of]));
    let state = all.find(|one| one["name"] == container.as_str()).map_or(&Value::Null, |one| &one["state"]);
    if ask.says("previous") {
        return Err(status::bad_request(format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        )));
    }
    let waits = state["waiting"]["reason"].as_str();
    if let Some(reason) = waits.or_else(|| state.is_null().then_some("ContainerCreating")) {
        let why = match reason {
            "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" => "trying and failing to pull image",
            other => other,
        };
        return Err(status::bad_request(format!(
            "container \"{container}\" in pod \"{name}\" is waiting to start: {why}"
        )));
    }
    Ok(chosen(world, &written(&container, state), ask))
}

/// Refuses what nobody can ask of a log.
pub fn check(name: &str, ask: &Ask<'_>) -> Result<(), Problem> {
    let mut wrong = Vec::new();
    let since = ask.param("sinceTime");
    for (count, least, why) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        let given = ask.param(count);
        if given.is_empty() {
            continue;
        }
        let Ok(number) = given.parse::<i64>() else {
            return Err(status::bad_request(status::unparsed("ParseInt", given)));
        };
        if count == "sinceSeconds" && !since.is_empty() {
            let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            wrong.push(status::forbidden_field("[]", why));
        } else if number < least {
            wrong.push(status::invalid(count, &json!(number), why));
        }
    }
    if !since.is_empty() && since.parse::<jiff::Timestamp>().is_err() {
        let why =
            format!("parsing time {since:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {since:?} as \"2006\"");
        return Err(status::bad_request(why));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(status::invalid_as("PodLogOptions", name, json!({ "kind": "PodLogOptions" }), &wrong)),
    }
}

/// The container that is asked for, or the only one.
fn container(pod: &Value, given: &str) -> Result<String, Problem> {
    let name = text(&pod["metadata"], "name");
    let of = ["initContainers", "containers", "ephemeralContainers"];
    let names: Vec<&str> = of.iter().flat_map(|of| list(&pod["spec"][*of])).map(|one| text(one, "name")).collect();
    if !given.is_empty() {
        return match names.contains(&given) {
            true => Ok(given.to_owned()),
            false => Err(status::bad_request(format!("container {given} is not valid for pod {name}"))),
        };
    }
    match list(&pod["spec"]["containers"]) {
        [only] => Ok(text(only, "name").to_owned()),
        _ => {
            let names = names.join(" ");
            let why = format!("a container name must be specified for pod {name}, choose one of: [{names}]");
            Err(status::bad_request(why))
        }
    }
}

/// Time and text of every line.
fn written(container: &str, state: &Value) -> Vec<(String, String)> {
    let (running, ended) = (&state["running"], &state["terminated"]);
    let started = running["startedAt"].as_str().or(ended["startedAt"].as_str()).unwrap_or_default();
    let mut lines = vec![(started.to_owned(), format!("{container} started"))];
    if ended.is_object() {
        let code = ended["exitCode"].as_i64().unwrap_or(0);
        lines.push((text(ended, "finishedAt").to_owned(), format!("{container} ended with code {code}")));
    }
    lines
}

fn chosen(world: &World, lines: &[(String, String)], ask: &Ask<'_>) -> String {
    let since: Option<i64> = ask.param("sinceSeconds").parse().ok();
    let since = since.map(|seconds| timer::after(world.now, -seconds)).or_else(|| ask.param("sinceTime").parse().ok());
    let is_new = |time: &str| since.is_none_or(|since| time.parse::<jiff::Timestamp>().is_ok_and(|time| time >= since));
    let kept: Vec<&(String, String)> = lines.iter().filter(|(time, _)| is_new(time)).collect();
    let tail: usize = ask.param("tailLines").parse().unwrap_or(usize::MAX);
    let kept = &kept[kept.len().saturating_sub(tail)..];
    let line = |(time, line): &&(String, String)| match ask.says("timestamps") {
        true => format!("{time} {line}\n"),
        false => format!("{line}\n"),
    };
    let mut text: String = kept.iter().map(line).collect();
    if let Ok(most) = ask.param("limitBytes").parse() {
        text.truncate(most);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Wire, pod};
    use serde_json::json;

    #[test]
    fn a_container_that_has_not_started_has_no_log_and_one_that_is_not_there_none_at_all() {
        let mut wire = Wire::new();
        let pods = "/api/v1/namespaces/default/pods";
        let mut two = pod("two");
        two["spec"]["containers"] = json!([{ "name": "a", "image": "a:1" }, { "name": "b", "image": "b:1" }]);
        two["spec"]["nodeName"] = json!("n1");
        assert_eq!(wire.post(pods, two).0, 201);
        let mut ask = |query: &str| wire.get(&format!("{pods}/two/log{query}"));
        let (code, told) = ask("");
        let message = "a container name must be specified for pod two, choose one of: [a b]";
        assert_eq!((code, told["message"].as_str()), (400, Some(message)));
        let (_, told) = ask("?container=x");
        assert_eq!(told["message"], "container x is not valid for pod two");
        let (code, told) = ask("?container=a");
        let message = "container \"a\" in pod \"two\" is waiting to start: ContainerCreating";
        assert_eq!((code, told["message"].as_str()), (400, Some(message)));
    }

    #[test]
    fn lines_have_the_times_of_their_container() {
        let mut wire = Wire::new();
        let pods = "/api/v1/namespaces/default/pods";
        wire.post(pods, pod("one"));
        let store = wire.world.store_mut("prod").unwrap();
        store.change("pods", "default/one", |pod| {
            pod["spec"]["nodeName"] = json!("n1");
            pod["status"]["containerStatuses"] = json!([{ "name": "a", "state": { "terminated": { "exitCode": 3,
                "startedAt": "2026-11-02T09:00:00Z", "finishedAt": "2026-11-02T09:05:00Z" } } }]);
        });
        let mut ask = |query: &str| wire.get(&format!("{pods}/one/log{query}")).1;
        assert_eq!(ask(""), "a started\na ended with code 3\n");
        assert_eq!(ask("?timestamps=true&tailLines=1"), "2026-11-02T09:05:00Z a ended with code 3\n");
        assert_eq!(ask("?sinceTime=2026-11-02T09:01:00Z"), "a ended with code 3\n");
        assert_eq!(ask("?limitBytes=3"), "a s");
    }
}
