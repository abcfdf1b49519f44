//! The one integration-test binary: each further one would link the SDK again. `tests/README.md` tells what goes where.

mod aws_calls;
mod aws_schema;
mod aws_stub;
mod aws_sweep;
mod kube;
mod cli;
mod documented;
mod scripts;
mod stage;
mod tidy;
