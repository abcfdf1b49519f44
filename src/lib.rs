//! ekskit: editable Rhai runbooks against AWS EKS, EC2 and Kubernetes.
//!
//! The map, one line a module, top down. A module uses only modules of the lines below its own:
//!
//! ```text
//! 9 cli         the command line; the only one that names cloud::live and twin
//! 8 repl        the prompt: lines, completion, docs, results as tables, a session as a runbook
//! 7 ui          the only one that prints
//! 7 engine      the script engine; engine/call.rs is the one choke point, the only one that runs a binding
//! 6 report      what a run did: a sink of events
//! 5 session     one run: mode, gate, approval, tokens, cancellation
//! 5 bindings    hand-written functions for scripts
//! 5 diagnostic  an error as text
//! 4 twin        a simulated cloud: one world, virtual time
//! 4 catalog     everything callable, as data
//! 3 cloud       AWS, Kubernetes and clock: interface, live, retry, paging, waiters, error tables
//! 2 project     the project's folder and settings
//! 2 sources     texts of scripts, for excerpts
//! 2 event       what happened
//! 1 file        reads files that an operator names, writes files whole or not at all
//! 1 value       JSON and script values, durations, secrets
//! 0 error       kinds, exit codes, the one error
//! ```
//!
//! Invariants: `rhai::` appears only in `value`, `engine`, `repl` and `cli`; only `cli` and tests name `cloud::live` and
//! `twin`; only `ui` prints; only `engine/call.rs` runs a binding; every `select!` is `biased`; the twin has no wall
//! clock and no unordered map. anyhow is for build scripts and tests; everything else uses `error::Error`.
//! `tests/it/tidy.rs` checks all of this from the table above.

pub mod bindings;
pub mod catalog;
pub mod cli;
pub mod cloud;
pub mod diagnostic;
pub mod engine;
pub mod error;
pub mod event;
pub mod file;
pub mod project;
pub mod repl;
pub mod report;
pub mod session;
pub mod sources;
pub mod twin;
pub mod ui;
pub mod value;
