//! Selectors as text.

use serde_json::Value;

use super::seen::as_text;

/// `a=b,c=d` of a map of labels, `<none>` where it is empty.
pub fn labels(map: &Value) -> String {
    or_none(requirements(map, &Value::Null))
}

/// `a=b,c in (d,e)` of a `LabelSelector`, `<none>` where it is empty.
pub fn selector(selector: &Value) -> String {
    or_none(bare(selector))
}

/// The same, empty where it is empty.
pub fn bare(selector: &Value) -> String {
    requirements(&selector["matchLabels"], &selector["matchExpressions"])
}

fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

fn requirements(labels: &Value, expressions: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let mut all: Vec<(String, String)> =
        labels.map(|(key, value)| (key.clone(), format!("{key}={}", as_text(value)))).collect();
    for expression in expressions.as_array().into_iter().flatten() {
        let key = as_text(&expression["key"]);
        let mut values: Vec<String> = expression["values"].as_array().into_iter().flatten().map(as_text).collect();
        values.sort();
        let values = values.join(",");
        let text = match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.clone(),
        };
        all.push((key, text));
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requirements_stand_in_the_order_of_their_keys() {
        let shown = selector(&json!({ "matchLabels": { "b": "1" }, "matchExpressions": [
            { "key": "c", "operator": "In", "values": ["y", "x"] }, { "key": "a", "operator": "DoesNotExist" } ] }));
        assert_eq!(shown, "!a,b=1,c in (x,y)");
        assert_eq!(selector(&Value::Null), "<none>");
        assert_eq!(labels(&json!({ "z": "1", "a": "" })), "a=,z=1");
    }
}
