//! The one integration-test binary: each further one would link the SDK again. `tests/README.md` tells what goes where.
#![expect(clippy::unwrap_used, clippy::result_large_err, reason = "a panic is how tests fail; errors are made once")]

mod aws_calls;
mod aws_schema;
mod aws_stub;
mod aws_sweep;
mod check;
mod cli;
mod documented;
mod follow;
mod kube;
mod mutants;
mod pages;
mod piped;
mod plan_ips;
mod repl;
mod scripts;
mod served;
mod stage;
mod terminal;
mod tidy;
mod timing;
mod tree;
mod twin;
mod wire_fuzz;
