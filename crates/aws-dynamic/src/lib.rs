//! Any operation of the official AWS SDK crates by name: JSON in, JSON out.
//!
//! The build script reads the source of the pinned SDK crates and generates three things for each service: a static
//! [schema](Service), conversions between JSON and the SDK's types, and one function an operation that calls the SDK.
//! Nothing generated is committed, and no operation is left out: what the generator does not understand fails the
//! build. `build/main.rs` tells how the source is read.
//!
//! * [`services`], [`operation`]: what there is to call. Field names are the SDK's snake_case.
//! * [`normalise`]: checks an input and rewrites the shorthands; [`complete`] does the same for a simulated answer, and
//!   [`inspect`] tells the mistakes of an input of which a script shows only a part.
//! * [`Client::call`]: makes the call with the SDK's own retries off; the caller decides what is repeated.
//! * [`Waiter::judge`], [`Paginator`]: waiting and paging as data; the loops belong to the caller, who owns the clock.
//! * [`sample`]: an input that fills every field of an operation, for tests.
//!
//! An answer has every modelled field, absent ones null. Times are RFC 3339 UTC, bytes base64, and policy documents
//! of IAM plain JSON text. [`Field::sensitive`] tells which values must not be shown.

#![cfg_attr(
    not(all(feature = "iam", feature = "cloudwatchlogs")),
    expect(dead_code, reason = "only these two have policy documents, unions and streams")
)]

mod client;
mod convert;
mod generated;
pub mod sample;
mod schema;
mod suggest;
mod time;
mod validate;
mod waiter;

pub use client::{CallError, Client, Credentials, Phase};
pub use schema::{
    Acceptor, Effect, EnumShape, Field, Matcher, Operation, Paginator, Service, State, Step, Struct, Type, Waiter,
    operation, service, services,
};
pub use validate::{Enums, Flaw, FlawKind, Invalid, below, complete, inspect, item, normalise};
pub use waiter::Verdict;
