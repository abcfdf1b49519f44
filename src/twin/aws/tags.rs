//! Lists of tags as services keep them: `{ key, value }`, in KMS `{ tag_key, tag_value }`.

use serde_json::Value;

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
