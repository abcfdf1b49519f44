//! The keys of the map that a script function takes, read from its own code: `inputs::take` names the required ones and
//! the defaults of the others, `inputs::one_of` the choices. The docs list them, and a check compares literal maps.

use std::collections::BTreeMap;

use rhai::{AST, ASTNode, Expr, FnCallExpr, Stmt};

use super::check::parsed::{self, Function, Key};

/// A function hands its map on at most so often before it is taken apart.
const HANDED_ON_MAX: usize = 3;

/// The keys that a function takes.
#[derive(Clone, Debug)]
pub struct Takes {
    /// Which of its parameters is the map.
    pub parameter: usize,
    /// Keys that have to be given, in the order of the code.
    pub required: Vec<String>,
    /// The other keys with what they are otherwise, in the order of the code.
    pub defaults: Vec<(String, Expr)>,
    /// The texts that a key can be.
    pub choices: BTreeMap<String, Vec<String>>,
}

/// What the modules of a script are called in it.
pub fn aliases(ast: &AST) -> BTreeMap<String, String> {
    parsed::imports(ast).map(|(path, alias)| (alias.to_owned(), path.to_owned())).collect()
}

/// What a function takes; none where it takes no map in this way.
pub fn of(functions: &BTreeMap<Key, Function>, aliases: &BTreeMap<String, String>, key: &Key) -> Option<Takes> {
    let parameters = functions.get(key)?.params.len();
    let code = Code { functions, aliases };
    (0..parameters).find_map(|parameter| code.taken(key, parameter, 0))
}

struct Code<'a> {
    functions: &'a BTreeMap<Key, Function>,
    aliases: &'a BTreeMap<String, String>,
}

/// What the statements of a function do with its map.
#[derive(Default)]
struct Seen<'a> {
    taken: Option<FnCallExpr>,
    /// The variable that holds what was taken.
    variable: Option<&'a str>,
    /// Functions that the map is handed to, and as which argument.
    handed_to: Vec<(Key, usize)>,
    choices: BTreeMap<String, Vec<String>>,
}

impl<'a> Code<'a> {
    /// What a function takes from one of its parameters, itself or in a function that it hands it to.
    fn taken(&self, key: &Key, parameter: usize, depth: usize) -> Option<Takes> {
        let function = self.functions.get(key)?;
        let name = function.params.get(parameter)?;
        let mut seen = Seen::default();
        for statement in &function.body {
            self.look(statement, name, &mut seen);
        }
        if let Some(call) = seen.taken {
            let [_, _, required, defaults] = call.args.as_slice() else { return None };
            return Some(Takes {
                parameter,
                required: texts(required)?,
                defaults: match defaults {
                    Expr::Map(entries, _) => {
                        entries.0.iter().map(|(key, value)| (key.name.to_string(), value.clone())).collect()
                    }
                    _ => return None,
                },
                choices: seen.choices,
            });
        }
        if depth >= HANDED_ON_MAX {
            return None;
        }
        let taken = seen.handed_to.iter().find_map(|(key, parameter)| self.taken(key, *parameter, depth + 1))?;
        Some(Takes { parameter, ..taken })
    }

    fn look(&self, statement: &'a Stmt, map: &str, seen: &mut Seen<'a>) {
        let holder = match statement {
            Stmt::Var(parts, ..) => Some(parts.0.name.as_str()),
            _ => None,
        };
        for call in sure_calls(statement) {
            let place = call.args.iter().position(|arg| is_variable(arg, map));
            if self.is_of_inputs(&call, "take") && place == Some(1) {
                if seen.taken.is_none() {
                    (seen.taken, seen.variable) = (Some(call), holder);
                }
            } else if self.is_of_inputs(&call, "one_of") {
                seen.choices.extend(choice(&call, seen.variable));
            } else if call.namespace.is_empty()
                && let Some(place) = place
            {
                seen.handed_to.push(((call.name.to_string(), call.args.len()), place));
            }
        }
    }

    fn is_of_inputs(&self, call: &FnCallExpr, name: &str) -> bool {
        !call.namespace.is_empty()
            && call.name == name
            && self.aliases.get(call.namespace.root()).is_some_and(|module| module == "inputs")
    }
}

/// The calls in a statement that happen whenever it runs; what happens only sometimes says nothing of all calls.
fn sure_calls(statement: &Stmt) -> Vec<FnCallExpr> {
    let mut calls = Vec::new();
    statement.walk(&mut Vec::new(), &mut |path| {
        let is_sure = path.iter().all(|node| match node {
            ASTNode::Stmt(statement) => {
                matches!(
                    statement,
                    Stmt::Var(..) | Stmt::Expr(_) | Stmt::FnCall(..) | Stmt::Block(_) | Stmt::Return(..)
                )
            }
            ASTNode::Expr(expr) => !matches!(expr, Expr::And(..) | Expr::Or(..) | Expr::Coalesce(..)),
            _ => false,
        });
        if let Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _))) = path.last()
            && is_sure
        {
            calls.push((**call).clone());
        }
        true
    });
    calls
}

fn is_variable(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Variable(variable, _, _) if variable.1.as_str() == name)
}

/// `inputs::one_of("nat", o.nat, ["none", "one"])`, where `o` is what was taken.
fn choice(call: &FnCallExpr, taken: Option<&str>) -> Option<(String, Vec<String>)> {
    let [Expr::StringConstant(name, _), value, choices] = call.args.as_slice() else { return None };
    let (root, links) = parsed::chain(value);
    let is_key = matches!(links.as_slice(), [parsed::Link::Property(key, _)] if *key == name.as_str());
    (is_key && is_variable(root, taken?)).then_some(())?;
    Some((name.to_string(), texts(choices)?))
}

/// The texts of a literal list.
fn texts(expr: &Expr) -> Option<Vec<String>> {
    let Expr::Array(items, _) = expr else { return None };
    let texts = items.iter().map(|item| match item {
        Expr::StringConstant(text, _) => Some(text.to_string()),
        _ => None,
    });
    texts.collect()
}
