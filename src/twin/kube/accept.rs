//! What a client accepts, as the API server reads it: in what an answer is written, and as what objects are shown.

/// In what an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
}

/// Forms by their subtype, in the order in which the server prefers them.
const FORMS: &[(Form, &str)] = &[(Form::Json, "json"), (Form::Yaml, "yaml")];

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// In what the answer is written.
    pub form: Form,
    /// As what objects are shown, where not as they are.
    pub shown: Option<Shown<'a>>,
}

/// Another kind as which objects are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown<'a> {
    /// `meta.k8s.io`.
    pub group: &'a str,
    /// `v1`.
    pub version: &'a str,
    /// `Table`.
    pub kind: &'a str,
}

/// One of the types of a header.
struct Clause<'a> {
    of: &'a str,
    subtype: &'a str,
    quality: f32,
    params: Vec<(&'a str, &'a str)>,
}

/// The first form that a header accepts, with what may be shown.
pub fn negotiate<'a>(header: &'a str, may_show: impl Fn(&Shown<'_>) -> bool) -> Option<Accepted<'a>> {
    if header.is_empty() {
        return Some(Accepted { form: Form::Json, shown: None });
    }
    let clauses = clauses(header);
    let pairs = clauses.iter().flat_map(|clause| FORMS.iter().map(move |form| (clause, form)));
    let fitting = pairs.filter(|(clause, (_, subtype))| clause.fits(subtype));
    let agreed = fitting.filter_map(|(clause, (form, _))| {
        let shown = clause.shown();
        let is_fine = clause.is_of_this_server(*form) && shown.is_none_or(|shown| may_show(&shown));
        is_fine.then_some(Accepted { form: *form, shown })
    });
    agreed.into_iter().next()
}

/// Whether the router of the server lets a request through to whoever negotiates.
pub fn is_routed(header: &str, produced: &[&str]) -> bool {
    let mut types = header.split(',').map(|one| one.split(';').next().unwrap_or_default().trim_matches(' '));
    header.is_empty() || types.any(|one| one == "*/*" || produced.contains(&one))
}

/// The types of a header, the best first.
fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = Vec::new();
    for clause in header.split(',').filter_map(Clause::parse) {
        // Which of two is the better is no order: each goes before those that it beats, one after the other.
        let worse = clauses.iter().rev().take_while(|other| clause.beats(other)).count();
        clauses.insert(clauses.len() - worse, clause);
    }
    clauses
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let mut parts = text.trim_matches(' ').split(';');
        let media = parts.next().unwrap_or_default();
        let (of, subtype) = match media.split_once('/') {
            Some((_, rest)) if rest.contains('/') || rest.is_empty() => return None,
            Some((of, subtype)) => (of.trim_matches(' '), subtype.trim_matches(' ')),
            None if media.trim_matches(' ') == "*" => ("*", "*"),
            None => return None,
        };
        let mut clause = Clause { of, subtype, quality: 1.0, params: Vec::new() };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim_matches(' ') {
                _ if value.is_empty() || value.contains('=') => {}
                "q" => clause.quality = value.parse().unwrap_or(0.0),
                key => clause.params.push((key, value.trim_matches(' '))),
            }
        }
        Some(clause)
    }

    fn beats(&self, other: &Clause<'_>) -> bool {
        self.quality > other.quality
            || (self.of != "*" && other.of == "*")
            || (self.subtype != "*" && other.subtype == "*")
    }

    fn fits(&self, subtype: &str) -> bool {
        match (self.of, self.subtype) {
            ("*", "*") | ("application", "*") => true,
            (of, own) => of == "application" && own == subtype,
        }
    }

    fn param(&self, key: &str) -> Option<&'a str> {
        self.params.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn shown(&self) -> Option<Shown<'a>> {
        let [kind, group, version] = ["as", "g", "v"].map(|key| self.param(key));
        kind.or(group).or(version)?;
        let or_none = Option::unwrap_or_default;
        Some(Shown { group: or_none(group), version: or_none(version), kind: or_none(kind) })
    }

    /// Whether it wants no stream and no version that the server has not.
    fn is_of_this_server(&self, form: Form) -> bool {
        let streams = self.param("stream").is_none_or(|stream| stream == "watch" && form == Form::Json);
        streams && self.param("sv").is_none_or(|version| version == "v1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(header: &str) -> Option<(Form, &str)> {
        let accepted = negotiate(header, |shown| shown.group == "meta.k8s.io" && shown.kind == "Table")?;
        Some((accepted.form, accepted.shown.map_or("", |shown| shown.kind)))
    }

    #[test]
    fn the_first_type_that_can_be_had_is_taken_and_the_better_one_comes_first() {
        for (header, wanted) in [
            ("", Some((Form::Json, ""))),
            ("*/*", Some((Form::Json, ""))),
            ("application/*", Some((Form::Json, ""))),
            ("text/html, application/yaml", Some((Form::Yaml, ""))),
            ("application/yaml;q=0.5, application/json", Some((Form::Json, ""))),
            ("*/*, application/yaml", Some((Form::Yaml, ""))),
            ("application/vnd.kubernetes.protobuf,application/json", Some((Form::Json, ""))),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some((Form::Json, "Table"))),
            ("application/json;as=Thing;v=v1;g=meta.k8s.io,application/json", Some((Form::Json, ""))),
            ("application/json;as=Thing;v=v1;g=meta.k8s.io", None),
            ("application/json;stream=other", None),
            ("text/html", None),
            (";;,", None),
        ] {
            assert_eq!(agreed(header), wanted, "{header}");
        }
    }
}
