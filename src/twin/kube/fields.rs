//! Who owns which field: `metadata.managedFields`, as structured-merge-diff keeps them.

use serde_json::Value;

/// Notes in `new` that this manager wrote what differs from `old`, as an `Update` does; what it took over or removed is no
/// longer others'. `subresource` is empty for the object itself.
pub fn note_update(old: Option<&Value>, new: &mut Value, manager: &str, subresource: &str, time: &str) {
    let _ = (old, new, manager, subresource, time);
}
