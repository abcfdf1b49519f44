//! The session so far as a runbook.
//!
//! Lines that failed are left out. A statement that changed something becomes a step; what it hands on is the step's
//! value, because a step can not change a variable of the script around it. Functions stand first, modules before them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::bindings;
use crate::engine::lines::{LAST, Shape};
use crate::engine::tokens::{self, Kind, tokens};
use crate::error::{Error, Result};

/// One thing that was done.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A function was defined, with its comments.
    Function {
        /// Its name and how many parameters it has.
        signature: (String, usize),
        /// Its text.
        text: String,
    },
    /// A statement ran.
    Ran(Item),
    /// A statement failed after it had changed something.
    Failed {
        /// Its text.
        text: String,
        /// What it had changed.
        changes: Vec<String>,
    },
    /// A statement ran and returned, which would end a runbook.
    Returned(Item),
    /// Bare `kube::` calls go to this cluster from here on.
    Cluster(String),
    /// Calls go to this region from here on.
    Region(String),
}

/// A statement that ran.
#[derive(Clone, Debug)]
pub struct Item {
    /// As it was typed.
    pub text: String,
    /// What it is.
    pub shape: Shape,
    /// It is a step already.
    pub is_step: bool,
    /// What it changed.
    pub changes: Vec<String>,
    /// Its value is plain data, which a step can hand on.
    pub is_plain: bool,
    /// It has a value, so that `it` meant it afterwards.
    pub has_value: bool,
    /// A `return` stands in it, which can not leave a step.
    pub returns: bool,
}

/// Writes the runbook. `imports`: alias → module; `about`: lines for its header.
///
/// Raises `invalid` where a call would go to a cluster that a runbook does not know.
pub fn runbook(entries: &[Entry], imports: &BTreeMap<String, String>, about: &[String]) -> Result<String> {
    let kept = Kept::of(entries);
    let defined = functions(entries);
    let uses_cluster = entries.iter().any(|entry| matches!(entry, Entry::Cluster(_)));
    let bare = if uses_cluster { bare_functions(&defined) } else { BTreeSet::new() };
    let mut writer = Writer { kept: &kept, bare: &bare, handle: None, region: None, handed: 0, body: Vec::new() };
    for (index, entry) in entries.iter().enumerate() {
        writer.entry(index, entry)?;
    }
    let body = writer.body;
    let functions: Vec<String> =
        defined.iter().map(|(name, text)| with_handle(name, text, &bare)).collect::<Result<_>>()?;
    let mut text = String::new();
    for line in about {
        text.push_str(&format!("//! {line}\n"));
    }
    text.push('\n');
    let used = words(&format!("{}\n{}", functions.join("\n"), body.join("\n")));
    for (alias, module) in imports.iter().filter(|(alias, _)| used.contains(alias.as_str())) {
        text.push_str(&format!("import \"{module}\" as {alias};\n"));
    }
    let (params, rest): (Vec<&String>, Vec<&String>) = body.iter().partition(|line| declares_inputs(line));
    for line in params {
        text.push_str(&format!("\n{line}\n"));
    }
    for function in functions {
        text.push_str(&format!("\n{function}\n"));
    }
    text.push('\n');
    for line in rest {
        text.push_str(&format!("{line}\n"));
    }
    Ok(text)
}

/// How many sets of inputs the session declared: a runbook can have one.
pub fn inputs_declared(entries: &[Entry]) -> usize {
    let declared = entries.iter().filter(|entry| matches!(entry, Entry::Ran(item) if declares_inputs(&item.text)));
    declared.count()
}

fn declares_inputs(text: &str) -> bool {
    let all = tokens(text);
    all.windows(2).any(|pair| pair[0].text(text) == "params" && pair[1].text(text) == "(")
}

/// The newest of each signature, in the order in which they were first defined.
fn functions(entries: &[Entry]) -> Vec<(&str, &str)> {
    let mut order: Vec<&(String, usize)> = Vec::new();
    let mut texts: BTreeMap<&(String, usize), &String> = BTreeMap::new();
    for entry in entries {
        if let Entry::Function { signature, text } = entry
            && texts.insert(signature, text).is_none()
        {
            order.push(signature);
        }
    }
    order.iter().filter_map(|signature| Some((signature.0.as_str(), texts.get(signature)?.as_str()))).collect()
}

/// The functions that call `kube::` without saying on which cluster, themselves or by others.
fn bare_functions<'f>(functions: &[(&'f str, &str)]) -> BTreeSet<&'f str> {
    let mut bare: BTreeSet<&str> = BTreeSet::new();
    loop {
        let more: Vec<&str> = functions
            .iter()
            .filter(|(name, text)| !bare.contains(name) && !cluster_calls(text, &bare).is_empty())
            .map(|(name, _)| *name)
            .collect();
        if more.is_empty() {
            return bare;
        }
        bare.extend(more);
    }
}

/// A call in a text that goes to the cluster in use.
enum OnCluster {
    /// `kube::list(…)`: the bytes of `kube::`.
    Bare(Range<usize>),
    /// `pods(…)`, a function with such calls in it: behind its parenthesis, and whether it gets other arguments.
    Function(usize, bool),
}

fn cluster_calls(text: &str, bare: &BTreeSet<&str>) -> Vec<OnCluster> {
    let all = tokens(text);
    let piece = |index: usize| all.get(index).map_or("", |token| token.text(text));
    let mut found = Vec::new();
    for (index, token) in all.iter().enumerate() {
        let name = token.text(text);
        let before = index.checked_sub(1).map_or("", piece);
        if name == "kube" && piece(index + 1) == "::" && piece(index + 3) == "(" && is_method(piece(index + 2)) {
            found.push(OnCluster::Bare(token.span.start..all[index + 1].span.end));
        } else if bare.contains(name) && piece(index + 1) == "(" && !matches!(before, "::" | "." | "?." | "fn") {
            found.push(OnCluster::Function(all[index + 1].span.end, piece(index + 2) != ")"));
        }
    }
    found
}

/// `kube::list(…)` at the prompt is `on_prod.list(…)` in a runbook, which knows no cluster of its own; functions get
/// the handle as their first argument.
fn on_cluster(text: &str, handle: &str, bare: &BTreeSet<&str>) -> Result<String> {
    refuse_hidden_calls(text, bare)?;
    let mut written = String::new();
    let mut at = 0;
    for call in cluster_calls(text, bare) {
        match call {
            OnCluster::Bare(span) => {
                written.push_str(&text[at..span.start]);
                written.push_str(&format!("{handle}."));
                at = span.end;
            }
            OnCluster::Function(behind, has_more) => {
                written.push_str(&text[at..behind]);
                written.push_str(handle);
                written.push_str(if has_more { ", " } else { "" });
                at = behind;
            }
        }
    }
    written.push_str(&text[at..]);
    Ok(written)
}

/// Calls that can not be given the cluster: those inside of a text, and functions that are called by their name as one.
fn refuse_hidden_calls(text: &str, bare: &BTreeSet<&str>) -> Result<()> {
    let all = tokens(text);
    for (index, token) in all.iter().enumerate().filter(|(_, token)| matches!(token.kind, Kind::Text { .. })) {
        let piece = token.text(text);
        let is_name = index >= 2 && all[index - 2].text(text) == "Fn" && all[index - 1].text(text) == "(";
        if let Some(name) = token.said(text).filter(|said| is_name && bare.contains(said)) {
            return Err(unsaid(&format!("function `{name}` is called by its name as a text"))
                .hint(format!("call it as `{name}(…)`, and save again in a new session")));
        }
        let code = piece.starts_with('`') && piece.contains("${");
        if code && (piece.contains("kube::") || bare.iter().any(|name| piece.contains(&format!("{name}(")))) {
            return Err(unsaid(&format!("a `kube::` call stands inside of the text {piece}"))
                .hint("put what it answers into a variable first, and save again in a new session"));
        }
    }
    Ok(())
}

fn unsaid(what: &str) -> Error {
    Error::invalid(format!("the session can not be saved: {what}"))
        .note("a runbook has to say on which cluster it calls `kube::`, and can not do so there")
}

/// A function that is handed the cluster, where it needs it.
fn with_handle(name: &str, text: &str, bare: &BTreeSet<&str>) -> Result<String> {
    if !bare.contains(name) {
        return Ok(text.to_owned());
    }
    let used = words(text);
    let free = |handle: &&str| !used.contains(*handle);
    let handle = ["on", "cluster", "on_cluster"].iter().find(|handle| free(handle)).copied().unwrap_or("the_cluster");
    let written = on_cluster(text, handle, bare)?;
    let all = tokens(&written);
    let open = all.iter().position(|token| token.text(&written) == "(").unwrap_or(0);
    let has_more = all.get(open + 1).is_some_and(|next| next.text(&written) != ")");
    let (head, rest) = written.split_at(all[open].span.end);
    Ok(format!("{head}{handle}{}{rest}", if has_more { ", " } else { "" }))
}

/// Every name in a text, but for those behind a dot and keys of maps.
fn words(text: &str) -> BTreeSet<String> {
    let all = tokens(text);
    let mut found = BTreeSet::new();
    for (index, token) in all.iter().enumerate() {
        match token.kind {
            Kind::Word => {
                let before = index.checked_sub(1).map(|index| all[index].text(text));
                let is_key = all.get(index + 1).is_some_and(|next| next.text(text) == ":");
                if !matches!(before, Some("." | "?.")) && !is_key {
                    found.insert(token.text(text).to_owned());
                }
            }
            // Code in a text in back quotes: every word of it, which is more than need be.
            Kind::Text { .. } if token.text(text).starts_with('`') => {
                let letters = |letter: char| !letter.is_alphanumeric() && letter != '_';
                found.extend(token.text(text).split(letters).map(str::to_owned));
            }
            _ => {}
        }
    }
    found
}

/// Which statements are kept, and which give `it` its value.
struct Kept {
    kept: BTreeSet<usize>,
    last: BTreeSet<usize>,
    used: BTreeSet<String>,
}

impl Kept {
    fn of(entries: &[Entry]) -> Kept {
        let mut kept: BTreeSet<usize> = BTreeSet::new();
        let mut last = BTreeSet::new();
        let mut used = BTreeSet::new();
        for entry in entries {
            if let Entry::Function { text, .. } = entry {
                used.extend(words(text));
            }
        }
        // From the end: what a kept statement needs is kept as well.
        let mut wants_last = false;
        for (index, entry) in entries.iter().enumerate().rev() {
            let Entry::Ran(item) = entry else { continue };
            let gives_last = wants_last && item.has_value;
            if item.shape == Shape::Import || item.shape == Shape::Look && !gives_last {
                continue;
            }
            if gives_last {
                last.insert(index);
                wants_last = false;
            }
            kept.insert(index);
            let names = words(&item.text);
            wants_last |= names.contains(LAST);
            used.extend(names.into_iter().filter(|name| item.shape != Shape::Let(name.clone())));
        }
        Kept { kept, last, used }
    }
}

struct Writer<'k> {
    kept: &'k Kept,
    /// Functions that are handed the cluster in use.
    bare: &'k BTreeSet<&'k str>,
    /// The variable that holds the handle of the cluster in use.
    handle: Option<String>,
    region: Option<String>,
    handed: usize,
    body: Vec<String>,
}

impl Writer<'_> {
    fn entry(&mut self, index: usize, entry: &Entry) -> Result<()> {
        match entry {
            Entry::Function { .. } => {}
            Entry::Region(region) => self.region = Some(region.clone()),
            Entry::Cluster(name) => self.cluster(name),
            Entry::Failed { text, changes } => {
                let first = text.lines().next().unwrap_or_default();
                self.body.push(format!("// Left out, because it failed after {}: {first}", list(changes)));
            }
            Entry::Returned(item) => {
                let first = item.text.lines().next().unwrap_or_default();
                let after =
                    if item.changes.is_empty() { String::new() } else { format!(" after {}", list(&item.changes)) };
                self.body.push(format!("// Left out, because it returned{after}: {first}"));
            }
            Entry::Ran(item) if self.kept.kept.contains(&index) => {
                let is_last = self.kept.last.contains(&index);
                let text = match &self.handle {
                    Some(handle) => on_cluster(&item.text, handle, self.bare)?,
                    None => item.text.clone(),
                };
                let written = self.statement(item, &text, is_last);
                self.body.push(written);
            }
            Entry::Ran(item) if item.shape == Shape::Look => {
                let text = item.text.trim_end_matches(';');
                if !text.contains('\n') && !words(text).is_empty() {
                    self.body.push(format!("// Looked at: {text}"));
                }
            }
            Entry::Ran(_) => {}
        }
        Ok(())
    }

    fn cluster(&mut self, name: &str) {
        let letters = name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
        let variable = format!("on_{}", letters.collect::<String>().to_lowercase());
        if self.handle.as_deref() == Some(variable.as_str()) {
            return;
        }
        self.body.push(format!("let {variable} = kube::cluster(\"{name}\");"));
        self.handle = Some(variable);
    }

    fn statement(&mut self, item: &Item, text: &str, is_last: bool) -> String {
        let text = text.trim_end_matches(';').trim_end();
        let changes = !item.changes.is_empty() && !item.is_step && !item.returns;
        match &item.shape {
            Shape::Let(name) => {
                let value = after_equals(text);
                let is_used = self.kept.used.contains(name);
                match value {
                    Some((head, value)) => {
                        let value = self.in_region(value);
                        let value = if changes && item.is_plain { step(item, &value) } else { value };
                        if is_used || !item.is_plain { format!("{head} {value};") } else { format!("{value};") }
                    }
                    None => format!("{text};"),
                }
            }
            Shape::Other(changed) if changes && !changed.is_empty() => self.handing_on(item, text, changed),
            _ => {
                let text = self.in_region(text);
                let text = if changes { step(item, &text) } else { text };
                if is_last { format!("let {LAST} = {text};") } else { format!("{text};") }
            }
        }
    }

    fn in_region(&self, text: &str) -> String {
        match &self.region {
            Some(region) if text.contains("::") || text.contains('(') => {
                format!("aws::using(#{{ region: \"{region}\" }}, || {text})")
            }
            _ => text.to_owned(),
        }
    }

    /// A statement that changed something and also variables: the step hands their new values on.
    fn handing_on(&mut self, item: &Item, text: &str, changed: &[String]) -> String {
        if let ([only], Some((head, value))) = (changed, after_equals(text))
            && head.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next() == Some(only)
        {
            return format!("{head} {};", step(item, &self.in_region(value)));
        }
        self.handed += 1;
        let handed = if self.handed == 1 { "handed_on".to_owned() } else { format!("handed_on_{}", self.handed) };
        let copies: String = changed.iter().map(|name| format!("    let {name} = {name};\n")).collect();
        let map: Vec<String> = changed.iter().map(|name| format!("{name}: {name}")).collect();
        let back: String = changed.iter().map(|name| format!("\n{name} = {handed}.{name};")).collect();
        let body = indented(&self.in_region(text));
        format!(
            "let {handed} = step \"{}\" {{\n{copies}    {body};\n    #{{ {} }}\n}};{back}",
            title(&item.changes),
            map.join(", ")
        )
    }
}

fn is_method(name: &str) -> bool {
    let mut all = bindings::kube::ALL.iter();
    all.any(|binding| binding.short_name() == name && binding.is_outward())
}

/// `let a =` and what follows, or `a +=` and what follows.
fn after_equals(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    for token in tokens(text) {
        let piece = token.text(text);
        depth = tokens::depth_after(depth, &token, text);
        let assigns =
            piece == "=" || piece.len() == 2 && piece.ends_with('=') && piece.starts_with(['+', '-', '*', '/', '%']);
        if depth == 0 && token.kind == Kind::Symbol && assigns {
            return Some((text[..token.span.end].trim_end(), text[token.span.end..].trim_start()));
        }
    }
    None
}

fn step(item: &Item, text: &str) -> String {
    format!("step \"{}\" {{\n    {}\n}}", title(&item.changes), indented(text))
}

fn indented(text: &str) -> String {
    // The lines of a text in quotes must stay as they are.
    let in_text =
        tokens(text).iter().any(|token| matches!(token.kind, Kind::Text { .. }) && token.text(text).contains('\n'));
    if in_text { text.to_owned() } else { text.replace('\n', "\n    ") }
}

/// `create access entry`, from what was called.
fn title(changes: &[String]) -> String {
    let first = changes.first().map_or("change", String::as_str);
    let name = first.rsplit("::").next().unwrap_or(first).replace('_', " ");
    match changes.len() {
        0 | 1 => name,
        many => format!("{name} and {} more", many - 1),
    }
}

fn list(changes: &[String]) -> String {
    let names: Vec<String> = changes.iter().map(|name| format!("`{name}`")).collect();
    crate::error::list_and(&names).replace("``", "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str, shape: Shape, changes: &[&str]) -> Entry {
        Entry::Ran(Item {
            text: text.to_owned(),
            is_step: text.contains("step"),
            changes: changes.iter().map(|change| (*change).to_owned()).collect(),
            is_plain: true,
            returns: false,
            has_value: !matches!(shape, Shape::Let(_)),
            shape,
        })
    }

    fn saved(entries: &[Entry]) -> String {
        let text = runbook(entries, &BTreeMap::from([("auth".to_owned(), "auth".to_owned())]), &["Saved.".to_owned()])
            .unwrap();
        text.strip_prefix("//! Saved.\n\n").unwrap().trim().to_owned()
    }

    #[test]
    fn what_changed_something_becomes_a_step_that_hands_its_value_on() {
        let entries = [
            item("let a = eks::create_cluster(#{ name: \"x\" });", Shape::Let("a".into()), &["eks::create_cluster"]),
            item("auth::remove(a, \"y\")", Shape::Other(vec![]), &["eks::delete_access_entry", "eks::delete_addon"]),
        ];
        assert_eq!(
            saved(&entries),
            "import \"auth\" as auth;\n\nlet a = step \"create cluster\" {\n    eks::create_cluster(#{ name: \"x\" })\n};\nstep \"delete access entry and 1 more\" {\n    auth::remove(a, \"y\")\n};"
        );
    }

    #[test]
    fn variables_that_a_change_changes_survive() {
        let entries = [
            item("let n = 0;", Shape::Let("n".into()), &[]),
            item("n = f();", Shape::Other(vec!["n".into()]), &["eks::a"]),
            item("for i in 0..2 { g(i); n += 1; }", Shape::Other(vec!["n".into()]), &["eks::b", "eks::b"]),
            item("h(n)", Shape::Other(vec![]), &[]),
        ];
        assert_eq!(
            saved(&entries),
            "let n = 0;\nn = step \"a\" {\n    f()\n};\nlet handed_on = step \"b and 1 more\" {\n    let n = n;\n    for i in 0..2 { g(i); n += 1; };\n    #{ n: n }\n};\nn = handed_on.n;\nh(n);"
        );
    }

    #[test]
    fn what_was_only_looked_at_is_left_out_unless_it_is_used_as_the_last_result() {
        let entries = [
            item("let a = f();", Shape::Let("a".into()), &[]),
            item("a", Shape::Look, &[]),
            item("a.b", Shape::Look, &[]),
            item("g(it)", Shape::Other(vec![]), &[]),
        ];
        assert_eq!(saved(&entries), "let a = f();\n// Looked at: a\nlet it = a.b;\ng(it);");
    }

    #[test]
    fn bare_calls_go_to_the_handle_of_the_cluster_in_use() {
        let entries = [
            Entry::Cluster("my-prod".to_owned()),
            item("let n = kube::list(\"nodes\");", Shape::Let("n".into()), &[]),
            item("f(n, kube::field(n, \"a\"))", Shape::Other(vec![]), &[]),
        ];
        assert_eq!(
            saved(&entries),
            "let on_my_prod = kube::cluster(\"my-prod\");\nlet n = on_my_prod.list(\"nodes\");\nf(n, kube::field(n, \"a\"));"
        );
    }

    #[test]
    fn functions_are_handed_the_cluster_in_use() {
        let function = |name: &str, arity, text: &str| Entry::Function {
            signature: (name.to_owned(), arity),
            text: text.to_owned(),
        };
        let entries = [
            Entry::Cluster("prod".to_owned()),
            function("pods", 0, "fn pods() { kube::list(\"pods\") }"),
            function("named", 1, "fn named(on) { pods().filter(|pod| pod.metadata.name == on) }"),
            function("twice", 1, "fn twice(n) { n * 2 }"),
            item("named(\"a\").len() + twice(pods().len())", Shape::Other(vec![]), &[]),
        ];
        assert_eq!(
            saved(&entries),
            "fn pods(on) { on.list(\"pods\") }\n\nfn named(cluster, on) { pods(cluster).filter(|pod| pod.metadata.name == on) }\n\nfn twice(n) { n * 2 }\n\nlet on_prod = kube::cluster(\"prod\");\nnamed(on_prod, \"a\").len() + twice(pods(on_prod).len());"
        );
        let hidden = [Entry::Cluster("prod".to_owned()), item("`${kube::list(\"pods\")}`", Shape::Other(vec![]), &[])];
        let error = runbook(&hidden, &BTreeMap::new(), &[]).unwrap_err();
        assert!(error.to_string().contains("inside of the text"), "{error}");
    }
}
