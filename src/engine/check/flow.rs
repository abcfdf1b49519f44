//! The flow of a script: what is never reached, and errors that nobody sees.

use rhai::{ASTFlags, ASTNode, Position, Stmt};

use super::rules;
use super::walk::Walk;
use crate::error::Error;

impl<'a> Walk<'a> {
    /// What stands behind a statement that always leaves.
    pub(super) fn dead_code(&mut self, statements: &'a [Stmt]) {
        let Some(end) = statements.iter().position(always_leaves) else { return };
        let dead = statements[end + 1..].iter().find(|statement| !matches!(statement, Stmt::Noop(_)));
        if let Some(dead) = dead {
            let line = statements[end].position().line().unwrap_or(0);
            let error = Error::invalid("this is never reached")
                .note(format!("line {line} always leaves before"))
                .hint("remove it, or make what leaves depend on something");
            self.report(&rules::DEAD_CODE, error, dead.position());
        }
    }

    pub(super) fn empty_catch(&mut self, branch: &[Stmt], at: Position) {
        if branch.iter().all(|statement| matches!(statement, Stmt::Noop(_))) {
            let error = Error::invalid("an error is caught and dropped")
                .hint("look at its kind and throw the rest on: `catch (e) { if e.kind != \"not_found\" { throw; } }`");
            self.report(&rules::EMPTY_CATCH, error, at);
        }
    }
}

/// Whether nothing behind a statement of the same block is ever reached.
fn always_leaves(statement: &Stmt) -> bool {
    let ends = |block: &[Stmt]| block.iter().any(always_leaves);
    match statement {
        Stmt::Return(..) | Stmt::BreakLoop(..) => true,
        Stmt::Block(block) => ends(block.statements()),
        Stmt::If(flow, _) => ends(flow.body.statements()) && ends(flow.branch.statements()),
        _ => false,
    }
}

/// Whether a `return` stands somewhere in it; closures inside have their own.
pub(super) fn returns(statement: &Stmt) -> bool {
    let mut found = false;
    statement.walk(&mut Vec::new(), &mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Return(_, flags, _))) = path.last() {
            found |= !flags.intersects(ASTFlags::BREAK);
        }
        !found
    });
    found
}
