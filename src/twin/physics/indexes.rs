//! Indexes of the pods of an Indexed Job: sets of them as a status writes them, and when enough of them are done.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::selection::{list, text};

/// The annotation and label by which a pod tells its index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The index of a pod.
pub fn index_of(pod: &Value) -> Option<i64> {
    text(&pod["metadata"]["annotations"], INDEX).parse().ok()
}

/// `1,3-5`; what is not below `completions` is left out.
pub fn read(written: &str, completions: i64) -> BTreeSet<i64> {
    let parts = written.split(',').filter_map(|part| match part.split_once('-') {
        Some((from, to)) => Some((from.parse::<i64>().ok()?, to.parse::<i64>().ok()?)),
        None => part.parse().ok().map(|one| (one, one)),
    });
    parts.flat_map(|(from, to)| from..=to.min(completions - 1)).collect()
}

/// `1,3-5`.
pub fn write(indexes: &BTreeSet<i64>) -> String {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for index in indexes {
        match runs.last_mut().filter(|(_, last)| last + 1 == *index) {
            Some((_, last)) => *last = *index,
            None => runs.push((*index, *index)),
        }
    }
    let run = |(first, last): (i64, i64)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(",")
}

/// The words of the first rule of a success policy that these indexes fulfil.
pub fn enough(policy: &Value, done: &BTreeSet<i64>, completions: i64) -> Option<String> {
    if done.is_empty() {
        return None;
    }
    let count = |indexes: usize| i64::try_from(indexes).unwrap_or(i64::MAX);
    let is_met = |rule: &Value| {
        let wanted = rule["succeededCount"].as_i64();
        let Some(named) = rule["succeededIndexes"].as_str() else {
            return wanted.is_some_and(|wanted| count(done.len()) >= wanted);
        };
        let named = read(named, completions);
        let met = count(named.intersection(done).count());
        !named.is_empty() && (met == count(named.len()) || wanted.is_some_and(|wanted| met >= wanted))
    };
    let at = list(&policy["rules"]).iter().position(is_met)?;
    Some(format!("Matched rules at index {at}"))
}

/// A container finds its index in its environment, unless it sets the variable itself.
pub fn tell_containers(spec: &mut Value) {
    let from = json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": format!("metadata.labels['{INDEX}']") } });
    let told = json!({ "name": "JOB_COMPLETION_INDEX", "valueFrom": from });
    for of in ["initContainers", "containers"] {
        for container in spec.get_mut(of).and_then(Value::as_array_mut).into_iter().flatten() {
            let mut env = list(&container["env"]).to_vec();
            if !env.iter().any(|one| one["name"] == told["name"]) {
                env.push(told.clone());
                container["env"] = json!(env);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_written_as_it_was_read() {
        for written in ["1,3-5,7,8", "0-3", "", "9"] {
            assert_eq!(write(&read(written, 10)), written);
        }
        assert_eq!(write(&read("1,3-5", 5)), "1,3,4", "only those that there are");
    }

    #[test]
    fn the_first_rule_that_is_met_is_told() {
        let done = read("0,2-4", 9);
        let rows = [
            (json!([{ "succeededIndexes": "0" }]), Some(0)),
            (json!([{ "succeededIndexes": "0,1" }]), None),
            (json!([{ "succeededIndexes": "0,1" }, { "succeededIndexes": "0-2", "succeededCount": 2 }]), Some(1)),
            (json!([{ "succeededCount": 4 }]), Some(0)),
            (json!([{ "succeededCount": 5 }]), None),
        ];
        for (rules, wanted) in rows {
            let met = enough(&json!({ "rules": rules }), &done, 9);
            assert_eq!(met, wanted.map(|at| format!("Matched rules at index {at}")), "{rules}");
        }
        assert_eq!(enough(&json!({ "rules": [{ "succeededCount": 0 }] }), &BTreeSet::new(), 9), None);
    }
}
