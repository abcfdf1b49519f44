//! The one integration-test binary: each further one would link the SDK again. `tests/README.md` tells what goes where.

mod aws_sweep;
mod scripts;
mod tidy;
