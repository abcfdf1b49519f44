//! Indexes of the pods of an Indexed Job: sets of them as a status writes them, and when enough of them are done.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::selection::{list, text};

/// The annotation and label by which a pod tells its index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The index of a pod.
pub fn index_of(pod: &Value) -> Option<i64> {
    text(&pod["metadata"]["annotations"], INDEX).parse().ok().filter(|index| *index >= 0)
}

/// A set of indexes, kept as runs: a Job may ask for two thousand million of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes {
    /// First → last; two runs neither overlap nor touch.
    runs: BTreeMap<i64, i64>,
}

impl Indexes {
    /// Of `1,3-5`; what is not below `completions` is left out.
    pub fn read(written: &str, completions: i64) -> Indexes {
        let mut read = Indexes::default();
        for part in written.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse(), last.parse::<i64>()) {
                read.add(first, last.min(completions - 1));
            }
        }
        read
    }

    /// `1,3-5`.
    pub fn write(&self) -> String {
        let run = |(first, last): (&i64, &i64)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        };
        self.runs.iter().map(run).collect::<Vec<_>>().join(",")
    }

    fn add(&mut self, mut first: i64, mut last: i64) {
        if first > last {
            return;
        }
        let before = self.runs.range(..=last.saturating_add(1)).rev();
        let touched: Vec<i64> = before.take_while(|(_, end)| **end >= first - 1).map(|(start, _)| *start).collect();
        for start in touched {
            let end = self.runs.remove(&start).unwrap_or(last);
            (first, last) = (first.min(start), last.max(end));
        }
        self.runs.insert(first, last);
    }

    /// Adds those of another set.
    pub fn add_all(&mut self, others: &Indexes) {
        others.runs.iter().for_each(|(first, last)| self.add(*first, *last));
    }

    /// Whether an index is among them.
    pub fn contains(&self, index: i64) -> bool {
        self.runs.range(..=index).next_back().is_some_and(|(_, last)| *last >= index)
    }

    /// How many they are.
    pub fn count(&self) -> i64 {
        self.runs.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// How many of them are among others, too.
    fn count_in(&self, others: &Indexes) -> i64 {
        let (one, other) = (self.count(), others.count());
        let mut either = self.clone();
        either.add_all(others);
        one + other - either.count()
    }

    /// Those below `completions` that are not among them, in order.
    pub fn missing(&self, completions: i64) -> impl Iterator<Item = i64> {
        let starts = std::iter::once(0).chain(self.runs.values().map(|last| last.saturating_add(1)));
        let ends = self.runs.keys().copied().chain(std::iter::once(completions));
        starts.zip(ends).flat_map(move |(start, end)| start..end.min(completions))
    }
}

impl Extend<i64> for Indexes {
    fn extend<I: IntoIterator<Item = i64>>(&mut self, more: I) {
        more.into_iter().for_each(|index| self.add(index, index));
    }
}

/// The words of the first rule of a success policy that these indexes fulfil.
pub fn enough(policy: &Value, done: &Indexes, completions: i64) -> Option<String> {
    if done.count() == 0 {
        return None;
    }
    let is_met = |rule: &Value| {
        let wanted = rule["succeededCount"].as_i64();
        let Some(named) = rule["succeededIndexes"].as_str() else {
            return wanted.is_some_and(|wanted| done.count() >= wanted);
        };
        let named = Indexes::read(named, completions);
        let met = named.count_in(done);
        named.count() > 0 && (met == named.count() || wanted.is_some_and(|wanted| met >= wanted))
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
            assert_eq!(Indexes::read(written, 10).write(), written);
        }
        assert_eq!(Indexes::read("1,3-5", 5).write(), "1,3,4", "only those that there are");
        assert_eq!(Indexes::read("7,3-5,4-6,1,x,9-8", 10).write(), "1,3-7");
    }

    #[test]
    fn sets_are_as_quick_with_thousands_of_millions() {
        let completions = 2_000_000_000;
        let mut done = Indexes::read("0-999999999,1000000001-1999999990", completions);
        assert!(done.contains(999_999_999) && !done.contains(1_000_000_000) && !done.contains(-1));
        assert_eq!(
            done.missing(completions).take(3).collect::<Vec<_>>(),
            [1_000_000_000, 1_999_999_991, 1_999_999_992]
        );
        done.extend([1_000_000_000, 5, 1_999_999_999]);
        assert_eq!((done.write().as_str(), done.count()), ("0-1999999990,1999999999", 1_999_999_992));
        assert_eq!(done.missing(completions).count(), 8);
        assert_eq!(Indexes::default().missing(3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(Indexes::read("0-2", 3).missing(3).count(), 0);
        assert_eq!(Indexes::read("4", 9).missing(3).collect::<Vec<_>>(), [0, 1, 2], "of a Job that asks for fewer now");
    }

    #[test]
    fn the_first_rule_that_is_met_is_told() {
        let done = Indexes::read("0,2-4", 9);
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
        assert_eq!(enough(&json!({ "rules": [{ "succeededCount": 0 }] }), &Indexes::default(), 9), None);
    }
}
