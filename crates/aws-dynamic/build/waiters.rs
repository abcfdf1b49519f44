//! Paginators and waiters of an SDK crate, as data.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::source::{between, load};

pub(crate) struct Paginator {
    pub(crate) input_token: String,
    pub(crate) output_token: Vec<String>,
    pub(crate) items: Option<Vec<String>>,
    pub(crate) limit: Option<String>,
}

pub(crate) struct Waiter {
    pub(crate) name: String,
    pub(crate) operation: String,
    pub(crate) min_delay: u64,
    pub(crate) max_delay: u64,
    pub(crate) acceptors: Vec<Acceptor>,
}

pub(crate) struct Acceptor {
    /// `Success`, `Failure` or `Retry`.
    pub(crate) state: String,
    pub(crate) matcher: Matcher,
}

pub(crate) enum Matcher {
    Success(bool),
    ErrorCode(String),
    /// Comparator, path with the wire's names, expected text.
    Path(&'static str, String, String),
    NotEmpty(String, bool),
    Expression(String, bool),
}

/// Reads `operation/<name>/paginator.rs`; the paths stand in the functions of `lens.rs` that it calls.
pub(crate) fn paginator(text: &str, lens: &str) -> Result<Paginator> {
    let input_token = between(text, "if !is_empty && new_token == input.", ".as_ref()").context("no input token")?;
    let lens_after = |place: &str| text.split_once(place).and_then(|(_, body)| between(body, "crate::lens::", "("));
    let output_token = lens_after("let new_token =").context("no output token")?;
    let items = lens_after(".flat_map(");
    ensure!(items.is_some() == text.contains("PaginatorItems"), "items without a lens");
    let limit = between(text, "pub fn page_size(", "}").and_then(|body| between(body, "self.builder.", " ="));
    Ok(Paginator {
        input_token: plain(input_token),
        output_token: lens_path(lens, output_token)?,
        items: items.map(|function| lens_path(lens, function)).transpose()?,
        limit: limit.map(plain),
    })
}

fn plain(ident: &str) -> String {
    ident.trim().trim_start_matches("r#").to_owned()
}

fn lens_path(lens: &str, function: &str) -> Result<Vec<String>> {
    let body = between(lens, &format!("fn {function}("), "\n}\n").with_context(|| format!("no lens {function}"))?;
    let (_, body) = body.split_once('{').context("a lens without body")?;
    let steps = body.split("input.").skip(1);
    let names = steps.map(|step| step.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '#').next());
    let path: Vec<String> = names.flatten().map(plain).collect();
    ensure!(!path.is_empty(), "an empty lens {function}");
    Ok(path)
}

/// Reads every waiter that the trait in `client.rs` offers, sorted by name.
pub(crate) fn read_all(src: &Path, client: &str) -> Result<Vec<Waiter>> {
    let Some(offered) = between(client, "pub trait Waiters {", "\n}") else { return Ok(vec![]) };
    let mut names: Vec<&str> =
        offered.split("fn wait_until_").skip(1).filter_map(|rest| rest.split('(').next()).collect();
    names.sort_unstable();
    let files = std::fs::read_dir(src.join("waiters"))?.count() - 1;
    ensure!(files == names.len(), "{} waiters, but {files} files besides matchers.rs", names.len());
    let read = |name: &&str| read_one(src, name).with_context(|| format!("waiter {name}"));
    names.iter().map(read).collect()
}

fn read_one(src: &Path, name: &str) -> Result<Waiter> {
    let text = load(&src.join(format!("waiters/{name}.rs")))?;
    let operation = between(&text, "inner: crate::operation::", "::").context("no operation")?.to_owned();
    let delay = |which: &str| -> Result<u64> {
        let seconds = between(&text, &format!(".{which}(::std::time::Duration::from_secs("), ")");
        Ok(seconds.with_context(|| format!("no {which}"))?.parse()?)
    };
    let mut acceptors = vec![];
    for part in text.split("// Matches: ").skip(1) {
        let rule = part.lines().next().unwrap_or_default();
        let state = between(part, "waiters::AcceptorState::", ";").context("no state")?.to_owned();
        let matcher = matcher(&serde_json::from_str(rule)?).with_context(|| rule.to_owned())?;
        acceptors.push(Acceptor { state, matcher });
    }
    let calls = text.matches("crate::waiters::matchers::").count();
    ensure!(acceptors.len() == calls && calls > 0, "{} rules, but {calls} matchers", acceptors.len());
    let (min_delay, max_delay) = (delay("min_delay")?, delay("max_delay")?);
    Ok(Waiter { name: name.to_owned(), operation, min_delay, max_delay, acceptors })
}

fn matcher(rule: &Value) -> Result<Matcher> {
    let object = rule.as_object().context("not an object")?;
    ensure!(object.len() == 1, "more than one condition");
    if let Some(wanted) = rule["success"].as_bool() {
        return Ok(Matcher::Success(wanted));
    }
    if let Some(code) = rule["errorType"].as_str() {
        return Ok(Matcher::ErrorCode(code.to_owned()));
    }
    let text = |key: &str| rule["output"][key].as_str().with_context(|| format!("no {key}"));
    let (path, expected, comparator) = (text("path")?.to_owned(), text("expected")?, text("comparator")?);
    let kind = match comparator {
        "stringEquals" => "Equals",
        "allStringEquals" => "All",
        "anyStringEquals" => "Any",
        "booleanEquals" => {
            let wanted: bool = expected.parse()?;
            return Ok(boolean(path, wanted));
        }
        other => bail!("unknown comparator {other}"),
    };
    Ok(Matcher::Path(kind, path, expected.to_owned()))
}

/// `length(X) > 0` is frequent enough to be data; the rest is left to a real interpreter.
fn boolean(path: String, wanted: bool) -> Matcher {
    let length = path.strip_prefix("length(").and_then(|rest| rest.split_once(')'));
    match length {
        Some((inner, " > `0`")) => Matcher::NotEmpty(inner.to_owned(), wanted),
        Some((inner, " == `0`")) => Matcher::NotEmpty(inner.to_owned(), !wanted),
        _ => Matcher::Expression(path, wanted),
    }
}
