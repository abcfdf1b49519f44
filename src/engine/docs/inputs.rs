//! The keys of the map that a script function takes, read from its own code: `inputs::take` names the required ones and
//! the defaults of the others, `inputs::one_of` the choices, and the function's doc says what they mean.

use std::collections::BTreeMap;

use rhai::{AST, ASTNode, Expr, FnCallExpr, ScriptFnMetadata, Stmt};

use crate::catalog::doc::FieldDoc;
use crate::engine::check::parsed::{self, Function, Key};

/// A function hands its map on to a private one at most so often.
const DEPTH_MAX: usize = 3;

/// The keys that a function takes, in the order of its code; empty where it takes no map in this way.
pub fn of(ast: &AST, aliases: &BTreeMap<String, String>, function: &ScriptFnMetadata, prose: &str) -> Vec<FieldDoc> {
    let functions = parsed::functions(ast);
    let code = Code { functions: &functions, aliases };
    let name = function.name.to_string();
    let found = function.params.iter().find_map(|param| code.taken(&name, function.params.len(), param, 0));
    let mut fields = found.unwrap_or_default();
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

struct Code<'a> {
    functions: &'a BTreeMap<Key, Function>,
    aliases: &'a BTreeMap<String, String>,
}

impl Code<'_> {
    /// The keys that a function takes from its parameter `param`, itself or in a function that it hands it to.
    fn taken(&self, function: &str, parameters: usize, param: &str, depth: usize) -> Option<Vec<FieldDoc>> {
        let body = &self.functions.get(&(function.to_owned(), parameters))?.body;
        let mut fields = None;
        let mut choices: Vec<(String, Vec<String>)> = Vec::new();
        let mut handed_to: Vec<(String, usize, usize)> = Vec::new();
        let mut look = |path: &[ASTNode<'_>]| {
            if let Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _))) = path.last() {
                if self.is_of_inputs(call, "take") && call.args.get(1).is_some_and(|arg| is_variable(arg, param)) {
                    fields.get_or_insert_with(|| fields_of(&call.args));
                } else if self.is_of_inputs(call, "one_of") {
                    choices.extend(choice(&call.args));
                } else if call.namespace.is_empty()
                    && let Some(place) = call.args.iter().position(|arg| is_variable(arg, param))
                {
                    handed_to.push((call.name.to_string(), call.args.len(), place));
                }
            }
            true
        };
        for statement in body {
            statement.walk(&mut Vec::new(), &mut look);
        }
        if fields.is_none() && depth < DEPTH_MAX {
            fields = handed_to.into_iter().find_map(|(name, parameters, place)| {
                let function = self.functions.get(&(name.clone(), parameters))?;
                self.taken(&name, parameters, function.params.get(place)?, depth + 1)
            });
        }
        let mut fields = fields?;
        for (name, values) in choices {
            if let Some(field) = fields.iter_mut().find(|field| field.name == name) {
                field.values = values;
            }
        }
        Some(fields)
    }

    fn is_of_inputs(&self, call: &FnCallExpr, name: &str) -> bool {
        !call.namespace.is_empty()
            && call.name == name
            && self.aliases.get(call.namespace.root()).is_some_and(|module| module == "inputs")
    }
}

fn is_variable(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Variable(variable, _, _) if variable.1.as_str() == name)
}

/// The required names and the defaults of `inputs::take(subject, given, required, defaults)`.
fn fields_of(args: &[Expr]) -> Vec<FieldDoc> {
    let mut fields = Vec::new();
    if let Some(Expr::Array(names, _)) = args.get(2) {
        let names = names.iter().filter_map(text_of);
        fields.extend(names.map(|name| FieldDoc { is_key: true, ..FieldDoc::parameter(&name) }));
    }
    if let Some(Expr::Map(defaults, _)) = args.get(3) {
        fields.extend(defaults.0.iter().map(|(name, value)| {
            let ty = type_of(value).to_owned();
            let default = literal(value).filter(|text| text != "()");
            FieldDoc {
                is_key: true,
                required: false,
                phrase: ty.clone(),
                ty,
                default,
                ..FieldDoc::parameter(name.name.as_str())
            }
        }));
    }
    fields
}

/// `inputs::one_of("nat", o.nat, ["none", "one"])`.
fn choice(args: &[Expr]) -> Option<(String, Vec<String>)> {
    let (Some(name), Some(Expr::Array(values, _))) = (args.first().and_then(text_of), args.get(2)) else { return None };
    Some((name, values.iter().filter_map(text_of).collect()))
}

fn text_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::StringConstant(text, _) => Some(text.to_string()),
        _ => None,
    }
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
