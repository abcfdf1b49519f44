//! Account, region, tags and cluster handles: functions that belong to the session itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, FnPtr, ImmutableString, Map, Module, NativeCallContext};
use serde_json::{Value, json};

use super::call::{Caller, Thrown};
use super::{Handle, control, here};
use crate::bindings::aws;
use crate::catalog::{Effect, unknown_option};
use crate::cloud::Target;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::session::Session;
use crate::value::{self, Secrets, Show};

/// `aws::`, but for operations.
pub fn register(module: &mut Module, session: &Arc<Session>) {
    let own = session.clone();
    module.set_native_fn("using", move |context: NativeCallContext, options: Map, body: FnPtr| {
        control::using(&own, &context, &options, &body)
    });
    register_asking(module, session);
    let own = session.clone();
    module.set_native_fn("arn", move |context: NativeCallContext, parts: Map| {
        answer(&own, &context, || arn(&own, &parts))
    });
    let own = session.clone();
    module.set_native_fn("default_tags", move |context: NativeCallContext, tags: Map| {
        answer(&own, &context, || default_tags(&own, &tags))
    });
    let own = session.clone();
    module.set_native_fn("settings", move |context: NativeCallContext| answer(&own, &context, || Ok(settings(&own))));
    let own = session.clone();
    module.set_native_fn("operation_exists", move |context: NativeCallContext, name: ImmutableString| {
        answer(&own, &context, || {
            let found = name.split_once("::").and_then(|(service, name)| aws_dynamic::operation(service, name));
            Ok(json!(found.is_some()))
        })
    });
}

fn register_asking(module: &mut Module, session: &Arc<Session>) {
    let own = session.clone();
    module.set_native_fn("identity", move |context: NativeCallContext| {
        answer(&own, &context, || identity(&own, "aws::identity"))
    });
    let own = session.clone();
    module.set_native_fn("expect", move |context: NativeCallContext, options: Map| {
        answer(&own, &context, || expect(&own, &options))
    });
    let own = session.clone();
    module.set_native_fn("region", move |context: NativeCallContext| {
        answer(&own, &context, || region(&own).map(Value::from))
    });
    let own = session.clone();
    module.set_native_fn("partition", move |context: NativeCallContext| {
        answer(&own, &context, || region(&own).map(|region| json!(partition_of(&region))))
    });
}

/// `kube::cluster(name)`.
pub fn register_cluster(module: &mut Module, session: &Arc<Session>) {
    let own = session.clone();
    module.set_native_fn("cluster", move |context: NativeCallContext, name: ImmutableString| -> Thrown {
        let caller = Caller::of(&own, &context);
        let target = target(&own);
        let connection = observed(&own, "kube::cluster", json!({ "name": name.as_str() }), || {
            own.wait(Effect::Read, own.cluster(&target, &name))
        });
        connection.map(|connection| Dynamic::from(Handle(connection))).map_err(|error| caller.throw(error))
    });
}

fn target(session: &Session) -> Target {
    session.target().overlaid(&here::get().target)
}

fn answer(session: &Arc<Session>, context: &NativeCallContext, work: impl FnOnce() -> Result<Value>) -> Thrown {
    let caller = Caller::of(session, context);
    work().map(|value| value::to_dynamic(value, Secrets::None)).map_err(|error| caller.throw(error))
}

/// A read of the session's own, seen by events like any other.
fn observed<T>(session: &Session, binding: &str, arguments: Value, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (call, step, start) = (session.next_call(), here::get().step, session.cloud.clock.now());
    let binding = binding.to_owned();
    let effect = Effect::Read;
    session.events.emit(Event::Intent {
        call,
        binding: binding.clone(),
        effect,
        arguments,
        step: step.clone(),
        at: None,
    });
    let result = work();
    let error = result.as_ref().err().cloned();
    let took = session.cloud.clock.since(start);
    session.events.emit(Event::Outcome { call, binding, effect, changed: false, took, error, step });
    result
}

fn identity(session: &Arc<Session>, binding: &str) -> Result<Value> {
    let target = target(session);
    observed(session, binding, json!({}), || session.wait(Effect::Read, session.identity(&target)))
}

fn expect(session: &Arc<Session>, options: &Map) -> Result<Value> {
    let options = value::to_json(&options.clone().into(), Show::Hidden)?;
    for key in options.as_object().into_iter().flat_map(|map| map.keys()) {
        if key != "account" {
            return Err(unknown_option("aws::expect", key, aws::EXPECT_KEYS));
        }
    }
    let wanted = match &options["account"] {
        Value::Null => "",
        Value::String(account) => account,
        other => {
            return Err(Error::invalid(format!("`account` is text, found {}", value::describe(other)))
                .hint("write the twelve digits with quotes: `\"012345678901\"`"));
        }
    };
    let found = identity(session, "aws::expect")?;
    if !wanted.is_empty() && found["account"] != wanted {
        return Err(Error::refused(format!(
            "this is account {}, expected {wanted}",
            found["account"].as_str().unwrap_or("unknown")
        ))
        .note(format!("signed in as {}", found["arn"].as_str().unwrap_or("unknown")))
        .hint("sign in to the other account, for example with `--profile`"));
    }
    Ok(found)
}

fn region(session: &Arc<Session>) -> Result<String> {
    let target = target(session);
    session.wait(Effect::Pure, session.cloud.aws.region(&target))
}

/// The partition of a region, by its prefix.
pub fn partition_of(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("eusc-") => "aws-eusc",
        region if region.starts_with("us-iso-") => "aws-iso",
        region if region.starts_with("us-isob-") => "aws-iso-b",
        _ => "aws",
    }
}

fn arn(session: &Arc<Session>, parts: &Map) -> Result<Value> {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in parts {
        if !aws::ARN_KEYS.iter().any(|part| part.name == key.as_str()) {
            return Err(unknown_option("aws::arn", key, aws::ARN_KEYS));
        }
        let text = value.clone().into_string().map_err(|found| {
            Error::invalid(format!("`{key}` of `aws::arn` is text, found {}", value::describe_type(found)))
        })?;
        given.insert(key.to_string(), text);
    }
    let need = |part: &str| {
        given.get(part).cloned().ok_or_else(|| Error::invalid(format!("`aws::arn` needs the part `{part}`")))
    };
    let (service, resource) = (need("service")?, need("resource")?);
    let here = region(session)?;
    let region = given.get("region").cloned().unwrap_or_else(|| here.clone());
    let account = match given.get("account") {
        Some(account) => account.clone(),
        None => identity(session, "aws::arn")?["account"].as_str().unwrap_or_default().to_owned(),
    };
    Ok(json!(format!("arn:{}:{service}:{region}:{account}:{resource}", partition_of(&here))))
}

fn default_tags(session: &Arc<Session>, tags: &Map) -> Result<Value> {
    let mut added = BTreeMap::new();
    for (key, value) in tags {
        let text = value
            .clone()
            .into_string()
            .map_err(|found| Error::invalid(format!("tag `{key}` is text, found {}", value::describe_type(found))))?;
        added.insert(key.to_string(), text);
    }
    session.add_default_tags(added);
    Ok(json!(session.default_tags()))
}

fn settings(session: &Arc<Session>) -> Value {
    let settings = &session.project.settings;
    json!({
        "accounts": settings.accounts,
        "default_tags": settings.default_tags,
        "permissions_boundary": settings.permissions_boundary,
        "region": settings.region,
        "role_path": settings.role_path,
    })
}
