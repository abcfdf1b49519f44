//! Finds the name somebody meant. No suggestion is better than a silly one.

/// A name without case, `_` and `-`, to compare across `clusterName`, `ClusterName` and `cluster_name`.
pub(crate) fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// The known name closest to the given one, when it is close enough to be meant.
pub(crate) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let folded = fold(given);
    let allowed = match folded.chars().count() {
        0..=2 => return None,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    known
        .iter()
        .map(|name| (strsim::osa_distance(&folded, &fold(name)), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}
