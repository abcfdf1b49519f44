//! The one integration-test binary: each further one would link the SDK again. `tests/README.md` tells what goes where.

mod aws_sweep;
mod kube;
mod documented;
mod scripts;
mod stage;
mod tidy;
