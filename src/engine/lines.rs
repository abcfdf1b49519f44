//! Scripts that arrive line by line: what one line defines, the next ones know.
//!
//! The text of a session grows at its end, and each line is compiled behind as many line breaks as there were lines
//! before it. So a place such as `input:12:5` means the same line for as long as the session lasts, also in a function
//! that was defined long ago.

use std::collections::BTreeMap;

use rhai::{AST, ASTFlags, ASTNode, Dynamic, Expr, Ident, Module, Position, Scope, Shared, Stmt, StmtBlock};

use super::params::{self, Given};
use super::{Interpreter, STEP, check, fault, import, isolate};
use crate::error::{Error, Result, did_you_mean};

/// The variable that holds the last result.
pub const LAST: &str = "it";

/// The source of what was typed, as places name it.
const SOURCE: &str = "";

/// What persists from line to line.
pub struct Lines {
    scope: Scope<'static>,
    functions: AST,
    text: String,
    /// Alias → module.
    imports: BTreeMap<String, String>,
    /// Alias → the file that imported it, where that was not the prompt.
    importers: BTreeMap<String, String>,
    /// The file that is being loaded: what it imports is looked for beside it.
    loading: Option<String>,
}

impl Default for Lines {
    fn default() -> Lines {
        let mut scope = Scope::new();
        scope.push(LAST, Dynamic::UNIT);
        Lines {
            scope,
            functions: AST::empty(),
            text: String::new(),
            imports: BTreeMap::new(),
            importers: BTreeMap::new(),
            loading: None,
        }
    }
}

/// A function that was defined at the prompt.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: Vec<String>,
    /// The first line of its `///` comment.
    pub summary: String,
}

impl Function {
    /// `fn scale(nodes, to)`.
    pub fn signature(&self) -> String {
        format!("fn {}({})", self.name, self.params.join(", "))
    }
}

impl Lines {
    /// Variables and their values, the newest of each name, by name.
    pub fn variables(&self) -> BTreeMap<&str, &Dynamic> {
        // Newer ones come later, and win.
        self.scope.iter_raw().map(|(name, _, value)| (name, value)).collect()
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&Dynamic> {
        self.scope.get(name)
    }

    /// Functions, by name.
    pub fn functions(&self) -> Vec<Function> {
        let all = self.functions.iter_functions().filter(|function| !function.name.starts_with("anon$"));
        let mut all: Vec<Function> = all
            .map(|function| Function {
                name: function.name.to_owned(),
                params: function.params.iter().map(|&param| param.to_owned()).collect(),
                summary: summary(&function.comments),
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Modules by the names under which they were imported.
    pub fn imports(&self) -> &BTreeMap<String, String> {
        &self.imports
    }

    /// Which file the next lines come from, if any: what they import is looked for beside it.
    pub fn come_from(&mut self, file: Option<String>) {
        self.loading = file;
    }

    /// Sets the last result.
    pub fn set_last(&mut self, value: Dynamic) {
        self.scope.set_value(LAST, value);
    }

    /// The last result.
    pub fn last(&self) -> Dynamic {
        self.scope.get_value::<Dynamic>(LAST).unwrap_or_default()
    }
}

fn summary(comments: &[&str]) -> String {
    let line = comments.iter().flat_map(|comment| comment.lines()).next().unwrap_or_default();
    line.trim_start_matches('/').trim().to_owned()
}

/// A line that compiled: its statements run one by one.
pub struct Line {
    /// In order; function definitions are none.
    pub statements: Vec<Statement>,
    functions: AST,
}

/// One statement.
#[derive(Clone)]
pub struct Statement {
    stmt: Stmt,
    /// What it is, for who wants to write it down.
    pub shape: Shape,
}

/// What a statement is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `import "vpc" as vpc;`
    Import,
    /// `let a = …;` or `const A = …;`
    Let(String),
    /// Anything else, with the variables of other statements that it changes.
    Other(Vec<String>),
    /// An expression that calls nothing and changes nothing: it was only looked at.
    Look,
}

impl Statement {
    /// Whether a `return` stands in it.
    pub fn returns(&self) -> bool {
        check::returns(&self.stmt)
    }

    /// Whether it is a `return` as a whole.
    pub fn is_return(&self) -> bool {
        matches!(self.stmt, Stmt::Return(..))
    }
}

/// What became of a statement.
pub struct Ran {
    /// Its value, or that of the `return` in it.
    pub value: Dynamic,
    /// It returned: what stands behind it on its line does not run.
    pub returned: bool,
}

/// The variable that holds the value of a statement that came to its end; no script can write this name.
const END: &str = "$end";

/// A statement that makes a variable when it comes to its end.
fn watched(stmt: Stmt) -> Stmt {
    let at = stmt.position();
    let value = Expr::Stmt(Box::new(StmtBlock::new([stmt], at, at)));
    Stmt::Var(Box::new((Ident { name: END.into(), pos: at }, value, None)), ASTFlags::empty(), at)
}

impl Interpreter {
    /// Compiles a line. Nothing of it runs where any of it can not run.
    ///
    /// `given`: values for the inputs that it declares, where it does.
    pub fn compile_line(&self, lines: &mut Lines, text: &str, given: &Given) -> Result<Line> {
        let text = super::without_mark(text);
        let before = lines.text.matches('\n').count();
        let whole = format!("{}{text}\n", lines.text);
        self.sources.insert(SOURCE, &whole);
        let padded = format!("{}{}", "\n".repeat(before), isolate::functions(text));
        let mut ast = self.engine.compile_with_scope(&lines.scope, padded).map_err(|failure| {
            let mut error = fault::parse_error(&failure.0);
            error.facts_mut().at = Some(fault::place(Some(SOURCE), failure.1));
            self.placed(error)
        })?;
        ast.set_source(SOURCE);
        let declares = params::is_first(&ast);
        let known: Vec<&str> = lines.variables().into_keys().collect();
        check::refuse_line(&self.engine, &self.ground, SOURCE, &whole, &ast, &known)
            .map_err(|error| self.placed(error))?;
        if declares {
            self.session.set_inputs(params::resolve(&params::declared(&ast)?, given)?);
        }
        lines.text = whole;
        let statements = ast.statements().iter().filter(|stmt| !matches!(stmt, Stmt::Noop(_)));
        let statements =
            statements.map(|stmt| Statement { stmt: stmt.clone(), shape: self.shape(&ast, stmt) }).collect();
        Ok(Line { statements, functions: ast.clone_functions_only() })
    }

    fn shape(&self, ast: &AST, stmt: &Stmt) -> Shape {
        match stmt {
            Stmt::Import(..) => Shape::Import,
            Stmt::Var(var, ..) => Shape::Let(var.0.name.to_string()),
            stmt => {
                let changed = check::changed_outside(&self.engine, &self.ground, SOURCE, ast, stmt);
                if changed.is_empty() && calls_nothing(stmt) { Shape::Look } else { Shape::Other(changed) }
            }
        }
    }

    /// Takes over the functions of a line, before its statements run.
    pub fn define(&self, lines: &mut Lines, line: &Line) {
        lines.functions = lines.functions.merge(&line.functions);
    }

    /// Runs one statement. Variables of a statement that fails are forgotten.
    pub fn run_statement(&mut self, lines: &mut Lines, statement: &Statement) -> Result<Ran> {
        if let Stmt::Import(import, at) = &statement.stmt
            && let Expr::StringConstant(module, _) = &import.0
            && !import.1.name.is_empty()
        {
            let importer = lines.loading.clone();
            self.import(lines, importer, module, &import.1.name, *at)?;
            return Ok(Ran { value: Dynamic::UNIT, returned: false });
        }
        let returns = statement.returns();
        // The engine does not tell a `return` from the end of a statement, but a variable that comes to be only at the
        // end does.
        let is_watched = returns && !matches!(statement.stmt, Stmt::Var(..));
        let stmt = if is_watched { watched(statement.stmt.clone()) } else { statement.stmt.clone() };
        let mut ast = AST::new([stmt], lines.functions.shared_lib().clone());
        ast.set_source(SOURCE);
        let variables = lines.scope.len();
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut lines.scope, &ast);
        let result = result.map_err(|failure| self.failed(Some(SOURCE), &failure));
        if result.is_err() {
            lines.scope.rewind(variables);
        }
        let value = result?;
        if !returns || lines.scope.len() == variables {
            return Ok(Ran { value, returned: returns });
        }
        let value = if is_watched { lines.scope.get_value(END).unwrap_or_default() } else { value };
        if is_watched {
            lines.scope.rewind(variables);
        }
        Ok(Ran { value, returned: false })
    }

    /// Imports a module for all lines to come, as the file `importer` would, where it is one that does.
    pub fn import(
        &mut self,
        lines: &mut Lines,
        importer: Option<String>,
        module: &str,
        alias: &str,
        at: Position,
    ) -> Result<()> {
        if super::bindings::all().any(|binding| binding.namespace() == alias) || aws_dynamic::service(alias).is_some() {
            return Err(Error::invalid(format!("module `{module}` can not be called `{alias}` here"))
                .note(format!("`{alias}::` are built-in functions, and would be hidden"))
                .hint(format!("write `import \"{module}\" as my_{alias};`")));
        }
        let resolved = self
            .engine
            .module_resolver()
            .resolve(&self.engine, Some(importer.as_deref().unwrap_or(SOURCE)), module, at)
            .map_err(|failure| self.failed(Some(SOURCE), &failure))?;
        let resolved: Shared<Module> = resolved;
        self.engine.register_static_module(alias, resolved);
        lines.imports.insert(alias.to_owned(), module.to_owned());
        match importer {
            Some(file) => lines.importers.insert(alias.to_owned(), file),
            None => lines.importers.remove(alias),
        };
        Ok(())
    }

    /// Whether a module of this name can be imported, without importing it.
    pub fn is_module(&self, name: &str) -> bool {
        let shared = self.session.project.root.as_ref().map(|root| root.join("stdlib").join(format!("{name}.rhai")));
        import::embedded(name).is_some() || shared.is_some_and(|path| path.is_file())
    }

    /// Reads all modules anew: they may have been edited.
    pub fn reload(&mut self, lines: &mut Lines) -> Result<()> {
        self.forget_modules();
        for (alias, module) in lines.imports.clone() {
            let importer = lines.importers.get(&alias).cloned();
            self.import(lines, importer, &module, &alias, Position::NONE)?;
        }
        Ok(())
    }
}

/// The hint for a command that does not exist.
pub fn near<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    did_you_mean(name, names)
}

fn calls_nothing(stmt: &Stmt) -> bool {
    let mut calls = false;
    stmt.walk(&mut Vec::new(), &mut |path| {
        calls |=
            path.last().is_some_and(|node| super::is_call(node) || matches!(node, ASTNode::Stmt(Stmt::Assignment(..))));
        !calls
    });
    !calls
}

/// Whether a statement is a step already, or takes the value of one.
pub fn is_step(statement: &Statement) -> bool {
    let step = |expr: &Expr| matches!(expr, Expr::Custom(custom, _) if custom.tokens.first().is_some_and(|token| token == STEP));
    match &statement.stmt {
        Stmt::Expr(expr) => step(expr),
        Stmt::Var(var, ..) => step(&var.1),
        Stmt::Assignment(assignment) => step(&assignment.1.rhs),
        _ => false,
    }
}
