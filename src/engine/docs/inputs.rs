//! The keys of the map that a script function takes ([`takes`]), with what the function's doc says of them.

use std::collections::BTreeMap;

use rhai::{AST, Expr, ScriptFnMetadata};

use crate::catalog::doc::FieldDoc;
use crate::engine::check::parsed;
use crate::engine::takes::{self, Takes};

/// The keys that a function takes, in the order of its code; empty where it takes no map in this way.
pub fn of(ast: &AST, aliases: &BTreeMap<String, String>, function: &ScriptFnMetadata, prose: &str) -> Vec<FieldDoc> {
    let key = (function.name.to_string(), function.params.len());
    let Some(taken) = takes::of(&parsed::functions(ast), aliases, &key) else { return Vec::new() };
    let mut fields = fields_of(&taken);
    for field in &mut fields {
        field.doc = said_of(&field.name, prose);
        // What only repeats the default says nothing more.
        if field.default.as_deref() == Some(field.doc.as_str()) {
            field.doc.clear();
        }
    }
    fields
}

/// What a doc says of a key: the parentheses behind its first mention.
fn said_of(key: &str, prose: &str) -> String {
    let prose = prose.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((_, rest)) = prose.split_once(&format!("`{key}` (")) else { return String::new() };
    let mut depth = 1;
    let end = rest.char_indices().find(|(_, letter)| {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.map_or_else(String::new, |(end, _)| rest[..end].to_owned())
}

/// The required keys, and the others with their defaults.
fn fields_of(taken: &Takes) -> Vec<FieldDoc> {
    let required = taken.required.iter().map(|name| FieldDoc { is_key: true, ..FieldDoc::parameter(name) });
    let mut fields: Vec<FieldDoc> = required.collect();
    fields.extend(taken.defaults.iter().map(|(name, value)| {
        let ty = type_of(value).to_owned();
        let default = literal(value).filter(|text| text != "()");
        FieldDoc { is_key: true, required: false, phrase: ty.clone(), ty, default, ..FieldDoc::parameter(name) }
    }));
    for field in &mut fields {
        if let Some(values) = taken.choices.get(&field.name) {
            field.values.clone_from(values);
        }
    }
    fields
}

fn type_of(expr: &Expr) -> &'static str {
    match expr {
        Expr::StringConstant(..) => "text",
        Expr::IntegerConstant(..) => "integer",
        Expr::FloatConstant(..) => "number",
        Expr::BoolConstant(..) => "boolean",
        Expr::Array(..) => "list",
        Expr::Map(..) => "map",
        _ => "any",
    }
}

/// A literal as a script writes it.
fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::StringConstant(text, _) => Some(format!("\"{text}\"")),
        Expr::IntegerConstant(number, _) => Some(number.to_string()),
        Expr::FloatConstant(number, _) => Some(number.to_string()),
        Expr::BoolConstant(flag, _) => Some(flag.to_string()),
        Expr::Unit(_) => Some("()".to_owned()),
        Expr::Array(items, _) => {
            let items: Option<Vec<String>> = items.iter().map(literal).collect();
            Some(format!("[{}]", items?.join(", ")))
        }
        Expr::Map(entries, _) => {
            let entries: Option<Vec<String>> =
                entries.0.iter().map(|(name, value)| Some(format!("{}: {}", name.name, literal(value)?))).collect();
            let entries = entries?;
            Some(if entries.is_empty() { "#{}".to_owned() } else { format!("#{{ {} }}", entries.join(", ")) })
        }
        _ => None,
    }
}
