//! How fresh a read has to be: `resourceVersion`, `resourceVersionMatch` and their kin.

use serde_json::{Value, json};

use super::Problem;
use super::request::Ask;
use super::status::{self, Wrong, bad_request, forbidden_field, invalid_as, unsupported};
use super::store::Store;

const MATCH: &str = "resourceVersionMatch";
const NOT_OLDER: &str = "NotOlderThan";
const EXACT: &str = "Exact";

/// Which state a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The present one.
    Now,
    /// That of a revision.
    At(u64),
}

/// A whole number of a parameter.
pub fn number(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| bad_request(status::unparsed("ParseInt", text)))
}

/// The revision that a request names; none and 0 are no demand.
fn parse(ask: &Ask<'_>) -> Result<Option<u64>, String> {
    let text = ask.param("resourceVersion");
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| format!("resourceVersion: Invalid value: {text:?}: {}", status::unparsed("ParseUint", text));
    text.parse().map(Some).map_err(wrong)
}

fn unreadable(message: String) -> Problem {
    Problem { code: 500, reason: "", message, details: Value::Null }
}

fn too_large(wanted: u64, store: &Store) -> Problem {
    let cause = json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
    let details = json!({ "causes": [cause], "retryAfterSeconds": 1 });
    let message = format!("Timeout: Too large resource version: {wanted}, current: {}", store.revision());
    Problem { code: 504, reason: "Timeout", message, details }
}

/// Refuses a get of what the server does not know yet.
pub fn check_get(ask: &Ask<'_>, store: &Store) -> Result<(), Problem> {
    match parse(ask).map_err(unreadable)? {
        Some(wanted) if wanted > store.revision() => Err(too_large(wanted, store)),
        _ => Ok(()),
    }
}

fn refuse(wrong: &[Wrong]) -> Result<(), Problem> {
    if wrong.is_empty() {
        return Ok(());
    }
    let details = json!({ "group": "meta.k8s.io", "kind": "ListOptions" });
    Err(invalid_as("ListOptions.meta.k8s.io", "", details, wrong))
}

/// Which state a list is to show.
pub fn of_list(ask: &Ask<'_>, store: &Store) -> Result<Moment, Problem> {
    let (version, matching, goes_on) = (ask.param("resourceVersion"), ask.param(MATCH), ask.has("continue"));
    let mut wrong = Vec::new();
    if !matching.is_empty() {
        if version.is_empty() {
            wrong.push(forbidden_field(MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        if goes_on {
            wrong.push(forbidden_field(MATCH, "resourceVersionMatch is forbidden when continue is provided"));
        }
        if matching != EXACT && matching != NOT_OLDER {
            wrong.push(unsupported(MATCH, &json!(matching), &[EXACT, NOT_OLDER, ""]));
        }
        if matching == EXACT && version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            wrong.push(forbidden_field(MATCH, why));
        }
    }
    if ask.has("sendInitialEvents") {
        wrong.push(forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    refuse(&wrong)?;
    let wanted = parse(ask).map_err(|why| bad_request(format!("invalid resource version: {why}")))?;
    if goes_on && wanted.is_some_and(|wanted| wanted != 0) {
        return Err(bad_request("specifying resource version is not allowed when using continue"));
    }
    match wanted {
        Some(wanted) if wanted > store.revision() => Err(too_large(wanted, store)),
        Some(wanted) if matching == EXACT => Ok(Moment::At(wanted)),
        // Pages from a version on show that version.
        Some(wanted)
            if matching.is_empty() && wanted > 0 && number(ask.param("limit")).is_ok_and(|limit| limit > 0) =>
        {
            Ok(Moment::At(wanted))
        }
        _ => Ok(Moment::Now),
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Changes after this revision; `None`: from now on.
    pub since: Option<u64>,
    /// The objects that are there come first.
    pub shows_what_is_there: bool,
    /// And a bookmark after them.
    pub marks_the_beginning: bool,
}

impl Watched {
    /// Reads it from a request.
    pub fn read(ask: &Ask<'_>) -> Result<Watched, Problem> {
        let mut matching = ask.param(MATCH);
        let mut initial = ask.has("sendInitialEvents").then(|| ask.says("sendInitialEvents"));
        if initial.is_none() && matching.is_empty() && matches!(ask.param("resourceVersion"), "" | "0") {
            // Whoever wants nothing in particular wants what is there.
            (initial, matching) = (Some(true), NOT_OLDER);
        }
        let mut wrong = Vec::new();
        if initial.is_some() && matching != NOT_OLDER {
            let why = format!("sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER}");
            wrong.push(forbidden_field(MATCH, &why));
        }
        if !matching.is_empty() {
            if initial.is_none() {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                wrong.push(forbidden_field(MATCH, why));
            }
            if matching != NOT_OLDER {
                wrong.push(unsupported(MATCH, &json!(matching), &[NOT_OLDER]));
            }
            if ask.has("continue") {
                wrong.push(forbidden_field(MATCH, "resourceVersionMatch is forbidden when continue is provided"));
            }
        }
        refuse(&wrong)?;
        let since = parse(ask).map_err(unreadable)?.filter(|since| *since != 0);
        Ok(Watched {
            since,
            shows_what_is_there: initial.unwrap_or(since.is_none()),
            marks_the_beginning: initial == Some(true),
        })
    }
}

/// 410 for a list of a state that is forgotten.
pub fn forgotten() -> Problem {
    status::expired("The resourceVersion for the provided list is too old.")
}

/// 410 for the next page of a list whose state is forgotten; with this token it goes on with the present state.
pub fn forgotten_page(resume: String) -> Problem {
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new \
                   list without the continue parameter, or use the continue token in this response to retrieve the \
                   remainder of the results. Continuing with the provided token results in an inconsistent list - \
                   objects that were created, modified, or deleted between the time the first chunk was returned and \
                   now may show up in the list.";
    Problem { details: json!({ status::RESUME: resume }), ..status::expired(message) }
}
