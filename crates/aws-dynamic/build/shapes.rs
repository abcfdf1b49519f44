//! Structures, unions and enums of an SDK crate.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};

/// The type of a field, as the SDK's source spells it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ty {
    Text,
    Bool,
    I32,
    I64,
    F32,
    F64,
    Timestamp,
    Blob,
    List(Box<Ty>),
    Map(Box<Ty>, Box<Ty>),
    Named(String),
    Events(String),
}

/// One field of a structure or member of a union.
#[derive(Debug)]
pub(crate) struct Member {
    /// As Rust code writes it: `r#type`.
    pub(crate) ident: String,
    /// As scripts write it: `type`.
    pub(crate) name: String,
    pub(crate) ty: Ty,
    pub(crate) required: bool,
    pub(crate) sensitive: bool,
    pub(crate) doc: String,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// `fallible`: its builder insists on some fields.
    Struct {
        fallible: bool,
    },
    /// The members' Rust variants, in the order of the members.
    Union {
        variants: Vec<String>,
    },
    Enum {
        values: Vec<String>,
    },
}

#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) members: Vec<Member>,
}

/// Reads a file that defines one type and, for a structure, its builder.
pub(crate) fn read(text: &str) -> Result<Shape> {
    let lines: Vec<&str> = text.lines().collect();
    let is_start = |line: &&str| line.starts_with("pub struct ") || line.starts_with("pub enum ");
    let start = lines.iter().position(is_start).context("no type in this file")?;
    let mut words = lines[start].split_whitespace().skip(1);
    let keyword = words.next().unwrap_or_default();
    let name = words.next().unwrap_or_default().trim_end_matches("{}").trim_end_matches(';').to_owned();
    let body = body_of(&lines, start);
    let shape = match keyword {
        "struct" => structure(name, text, &lines, body)?,
        _ if text.contains("pub const fn values()") => {
            Shape { name, kind: Kind::Enum { values: enum_values(text)? }, members: vec![] }
        }
        _ => union(name, &lines, body)?,
    };
    Ok(shape)
}

/// The lines between the braces of an item that starts at column 0.
fn body_of<'a>(lines: &'a [&'a str], start: usize) -> &'a [&'a str] {
    if lines[start].ends_with('}') || lines[start].ends_with(';') {
        return &[];
    }
    let length = lines[start..].iter().position(|line| *line == "}").unwrap_or(0);
    &lines[start + 1..start + length.max(1)]
}

fn structure(name: String, text: &str, lines: &[&str], body: &[&str]) -> Result<Shape> {
    let build = section(text, "pub fn build(", "\n    }");
    let signature = build.split('{').next().unwrap_or_default();
    let fallible = signature.contains("Result<");
    let insisted = insisted_on(build);
    let commented = commented_required(lines);
    let redacted = redacted(text);
    let mut members = vec![];
    for (doc, code) in items(body, "pub ") {
        let (ident, ty) = code.trim_end_matches(',').split_once(':').with_context(|| format!("no type in {code}"))?;
        let ident = ident.trim().to_owned();
        let name = ident.trim_start_matches("r#").to_owned();
        members.push(Member {
            ty: parse(ty.trim()).with_context(|| format!("field {name}"))?,
            required: insisted.contains(name.as_str()) || commented.contains(name.as_str()),
            sensitive: redacted.contains(ident.as_str()),
            doc: crate::prose::first_sentence(&doc),
            ident,
            name,
        });
    }
    ensure!(
        members.len() == setters(text),
        "{name} has {} fields and {} setters: the scanner lost one",
        members.len(),
        setters(text)
    );
    Ok(Shape { name, kind: Kind::Struct { fallible }, members })
}

/// Counts the builder's setters, independently of the fields.
fn setters(text: &str) -> usize {
    let heads = text.match_indices("    pub fn set_").map(|(index, _)| &text[index..]);
    heads
        .filter(|head| {
            let signature = head.split('{').next().unwrap_or_default();
            signature.contains("input: ::std::option::Option<")
        })
        .count()
}

fn section<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let Some(start) = text.find(from) else { return "" };
    let rest = &text[start..];
    &rest[..rest.find(to).unwrap_or(rest.len())]
}

/// Fields without which the builder refuses to build.
fn insisted_on(build: &str) -> BTreeSet<&str> {
    let calls = build.split("missing_field(").skip(1);
    calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next()).collect()
}

/// Fields whose builder method says that they are required; it does not say so for lists and maps.
fn commented_required<'a>(lines: &[&'a str]) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut required = false;
    for line in lines {
        if line.trim() == "/// This field is required." {
            required = true;
        } else if let Some(rest) = line.strip_prefix("    pub fn ") {
            if required && let Some(name) = rest.split('(').next() {
                found.insert(name.trim_start_matches("r#"));
            }
            required = false;
        }
    }
    found
}

/// Sensitive fields show only in the hand-rolled `Debug`.
fn redacted(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| line.contains("*** Sensitive Data Redacted ***"));
    lines.filter_map(|line| line.trim().strip_prefix("formatter.field(\"")?.split('"').next()).collect()
}

/// Splits a body into its items: documentation and code, each on one line.
fn items(body: &[&str], prefix: &str) -> Vec<(String, String)> {
    let mut found = vec![];
    let mut doc = String::new();
    let mut lines = body.iter();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text);
            doc.push('\n');
        } else if line.starts_with(prefix) && !line.starts_with("#[") {
            let mut code = line.strip_prefix(prefix).unwrap_or(line).to_owned();
            while !is_complete(&code) {
                let Some(more) = lines.next() else { break };
                code.push_str(more.trim());
            }
            found.push((std::mem::take(&mut doc), code));
        } else if !line.starts_with('#') {
            doc.clear();
        }
    }
    found
}

fn is_complete(code: &str) -> bool {
    let count = |wanted: &[char]| code.chars().filter(|c| wanted.contains(c)).count();
    code.ends_with(',') && count(&['<', '(']) == count(&['>', ')'])
}

fn enum_values(text: &str) -> Result<Vec<String>> {
    let list = section(text, "pub const fn values()", "\n    }");
    let list = list.split_once('{').context("values() without a body")?.1;
    let mut values = vec![];
    for part in list.split('"').skip(1).step_by(2) {
        ensure!(!part.contains('\\'), "an escaped enum value: {part}");
        values.push(part.to_owned());
    }
    Ok(values)
}

fn union(name: String, lines: &[&str], body: &[&str]) -> Result<Shape> {
    // The methods `is_…` give the SDK's own snake_case names, in the order of the variants.
    let names = lines.iter().filter_map(|line| line.strip_prefix("    pub fn is_")?.split('(').next());
    let mut names = names.filter(|name| *name != "unknown");
    let (mut members, mut variants) = (vec![], vec![]);
    for (doc, code) in items(body, "") {
        if code == "Unknown," {
            continue;
        }
        let (variant, ty) = code.trim_end_matches(',').split_once('(').with_context(|| format!("variant {code}"))?;
        let ty = ty.strip_suffix(')').with_context(|| format!("variant {code}"))?;
        let member = names.next().with_context(|| format!("variant {variant} of {name} has no is_ method"))?;
        let ty = parse(ty)?;
        variants.push(variant.to_owned());
        let doc = crate::prose::first_sentence(&doc);
        let (ident, name) = (member.to_owned(), member.to_owned());
        members.push(Member { ident, name, ty, required: false, sensitive: false, doc });
    }
    ensure!(names.next().is_none(), "{name} has more is_ methods than variants");
    Ok(Shape { name, kind: Kind::Union { variants }, members })
}

/// Reads a Rust type. A type it does not know fails the build.
pub(crate) fn parse(text: &str) -> Result<Ty> {
    let text = text.trim().trim_end_matches(',');
    if let Some((head, inner)) = text.strip_suffix('>').and_then(|text| text.split_once('<')) {
        return Ok(match head {
            "::std::option::Option" | "::std::boxed::Box" => parse(inner)?,
            "::std::vec::Vec" => Ty::List(Box::new(parse(inner)?)),
            "::std::collections::HashMap" => {
                let (key, value) = inner.split_once(',').with_context(|| format!("a map of one type: {text}"))?;
                let key = parse(key)?;
                ensure!(matches!(key, Ty::Text | Ty::Named(_)), "a map with odd keys: {text}");
                Ty::Map(Box::new(key), Box::new(parse(value)?))
            }
            "crate::event_receiver::EventReceiver" => {
                let event = inner.split(',').next().unwrap_or_default().trim();
                Ty::Events(event.strip_prefix("crate::types::").context("odd events")?.to_owned())
            }
            _ => bail!("unknown type {text}"),
        });
    }
    Ok(match text {
        "::std::string::String" => Ty::Text,
        "bool" => Ty::Bool,
        "i32" => Ty::I32,
        "i64" => Ty::I64,
        "f32" => Ty::F32,
        "f64" => Ty::F64,
        "::aws_smithy_types::DateTime" => Ty::Timestamp,
        "::aws_smithy_types::Blob" => Ty::Blob,
        named => match named.strip_prefix("crate::types::") {
            Some(name) if name.chars().all(|c| c.is_ascii_alphanumeric()) => Ty::Named(name.to_owned()),
            _ => bail!("unknown type {named}"),
        },
    })
}
