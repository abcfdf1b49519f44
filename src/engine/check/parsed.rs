//! A compiled script with the bodies of its functions and closures, which the engine hides.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Expr, FnAccess, FnPtr, Position, Stmt};

/// A function or a closure of a script.
pub struct Function {
    /// Its name; that of a closure is the engine's own.
    pub name: String,
    /// Names of its parameters; of a closure the captured variables come first.
    pub params: Vec<String>,
    /// Only for the script itself.
    pub is_private: bool,
    /// Written as `|…| …`.
    pub is_closure: bool,
    /// The statements of its body.
    pub body: Vec<Stmt>,
    /// The opening brace; of a closure without one, its expression.
    pub start: Position,
    /// The closing brace, where there is one.
    pub end: Position,
}

/// A function is known by its name and its number of parameters.
pub type Key = (String, usize);

impl Function {
    /// Name and number of parameters.
    pub fn key(&self) -> Key {
        (self.name.clone(), self.params.len())
    }

    /// `ensure(wanted)`.
    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.params.join(", "))
    }
}

/// All functions and closures of a script.
pub fn functions(ast: &AST) -> BTreeMap<Key, Function> {
    let mut found: BTreeMap<Key, Function> = BTreeMap::new();
    for definition in ast.iter_fn_def() {
        let function = Function {
            name: definition.name.to_string(),
            params: definition.params.iter().map(ToString::to_string).collect(),
            is_private: definition.access == FnAccess::Private,
            is_closure: definition.name.starts_with("anon$"),
            body: Vec::new(),
            start: definition.body.start_position(),
            end: definition.body.end_position(),
        };
        found.insert(function.key(), function);
    }
    let keys: Vec<Key> = found.keys().cloned().collect();
    fill(&ast.clone_functions_only(), &keys, &mut found);
    found
}

/// The type of a body has no name outside of the engine, so a body is read by walking a script that has nothing else.
/// Halves of halves, because each such script costs a look at all functions of the one that it is made from.
fn fill(ast: &AST, keys: &[Key], found: &mut BTreeMap<Key, Function>) {
    match keys {
        [] => {}
        [one] => {
            let mut body = Vec::new();
            ast.walk(&mut |path: &[ASTNode]| {
                if let [ASTNode::Stmt(statement)] = path {
                    body.push((*statement).clone());
                }
                true
            });
            if let Some(function) = found.get_mut(one) {
                function.body = body;
            }
        }
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            for half in [left, right] {
                let names: BTreeSet<(&str, usize)> = half.iter().map(|(name, arity)| (name.as_str(), *arity)).collect();
                let mut part = ast.clone();
                part.retain_functions(|_, _, name, arity| names.contains(&(name, arity)));
                fill(&part, half, found);
            }
        }
    }
}

/// The literal paths that a script imports at its top, each with its alias.
pub fn imports(ast: &AST) -> impl Iterator<Item = (&str, &str)> {
    ast.statements().iter().filter_map(|statement| match statement {
        Stmt::Import(parts, _) => match &parts.0 {
            Expr::StringConstant(path, _) => Some((path.as_str(), parts.1.name.as_str())),
            _ => None,
        },
        _ => None,
    })
}

/// The closure that an expression makes: the engine's name for it, and how many variables it captures.
pub fn closure(expr: &Expr) -> Option<(String, usize)> {
    match expr {
        Expr::DynamicConstant(value, _) => value.read_lock::<FnPtr>().map(|pointer| (pointer.fn_name().to_owned(), 0)),
        Expr::Stmt(block) => match block.statements() {
            [Stmt::Share(_), Stmt::Expr(inner)] => match &**inner {
                Expr::FnCall(call, _) if call.name == "curry" => {
                    closure(call.args.first()?).map(|(name, _)| (name, call.args.len() - 1))
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// One step along `a.b[c].d()`.
pub enum Link<'a> {
    /// `.name`
    Property(&'a str, Position),
    /// `.name(…)`
    Method(&'a rhai::FnCallExpr, Position),
    /// `[…]`
    Index(&'a Expr),
}

/// Takes `a.b[c].d()` apart into `a` and its links; the engine keeps such a chain as a tree that leans to the right.
pub fn chain(expr: &Expr) -> (&Expr, Vec<Link<'_>>) {
    let mut links = Vec::new();
    let (root, mut rest, mut is_dot, mut ends) = match expr {
        Expr::Dot(pair, flags, _) => (&pair.lhs, &pair.rhs, true, flags.intersects(rhai::ASTFlags::BREAK)),
        Expr::Index(pair, flags, _) => (&pair.lhs, &pair.rhs, false, flags.intersects(rhai::ASTFlags::BREAK)),
        other => return (other, links),
    };
    loop {
        match rest {
            Expr::Dot(pair, flags, _) | Expr::Index(pair, flags, _) if !ends => {
                links.extend(link(&pair.lhs, is_dot));
                is_dot = matches!(rest, Expr::Dot(..));
                ends = flags.intersects(rhai::ASTFlags::BREAK);
                rest = &pair.rhs;
            }
            last => {
                links.extend(link(last, is_dot));
                return (root, links);
            }
        }
    }
}

fn link(expr: &Expr, is_dot: bool) -> Option<Link<'_>> {
    match expr {
        _ if !is_dot => Some(Link::Index(expr)),
        Expr::Property(property, position) => Some(Link::Property(property.2.as_str(), *position)),
        Expr::MethodCall(call, position) => Some(Link::Method(call, *position)),
        _ => None,
    }
}

/// The variable at the root of `a.b[c]`.
pub fn root_variable(expr: &Expr) -> Option<(&str, Position)> {
    match expr {
        Expr::Variable(variable, _, position) if variable.2.is_empty() => Some((variable.1.as_str(), *position)),
        Expr::Dot(..) | Expr::Index(..) => root_variable(chain(expr).0),
        _ => None,
    }
}
