//! ekskit: editable Rhai runbooks against AWS EKS, EC2 and Kubernetes.
//!
//! The map, top down; a module uses only what stands below it, `tests/it/tidy.rs` checks that:
//!
//! ```text
//! cli         the command line; the only one that names cloud::live
//! engine      the script engine; engine/call.rs is the one choke point, the only one that runs a binding
//! report      what a run did           diagnostic  an error as text      ui  the only one that prints
//! session     one run: mode, gate, approval, events, cancellation
//! bindings    hand-written functions for scripts
//! catalog     everything callable, as data
//! cloud       AWS, Kubernetes and clock: interface, live, retry, paging, waiters, error tables
//! project     the project's folder and settings          event  what happened
//! value       JSON and script values, durations, secrets  error  kinds, exit codes, the one error
//! ```
//!
//! Invariants, each checked by a test: `rhai::` appears only in `value`, `engine`, `repl` and `cli`; only `cli` and
//! tests name `cloud::live`; only `ui` prints; only `engine/call.rs` runs a binding; every `select!` is `biased`.
//! anyhow is for `main`, build scripts and tests; everything else uses `error::Error`.

pub mod bindings;
pub mod catalog;
pub mod cli;
pub mod cloud;
pub mod diagnostic;
pub mod engine;
pub mod error;
pub mod event;
pub mod project;
pub mod report;
pub mod session;
pub mod ui;
pub mod value;
