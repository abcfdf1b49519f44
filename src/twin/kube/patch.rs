//! Merge, JSON and strategic merge patches.

use serde_json::Value;

use super::Problem;

/// RFC 7386.
pub fn merge(object: &Value, patch: &Value) -> Value {
    let _ = patch;
    object.clone()
}

/// RFC 6902; a patch that does not fit is a 422 `Invalid`, one that is none a 400 `BadRequest`.
pub fn json(object: &Value, patch: &Value) -> Result<Value, Problem> {
    let _ = patch;
    Ok(object.clone())
}

/// Strategic merge of built-in kinds, with its directives (`$patch`, `$setElementOrder`, `$deleteFromPrimitiveList`, `$retainKeys`).
pub fn strategic(object: &Value, patch: &Value) -> Result<Value, Problem> {
    let _ = patch;
    Ok(object.clone())
}
