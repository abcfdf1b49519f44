//! Writes the Rust code. It is kept thin, because there is so much of it: conversions go through two traits, mistakes
//! are collected rather than returned early, and a module holds few enough items to be compiled beside the others.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};

use crate::review;
use crate::shapes::{Kind, Member, Shape, Ty};
use crate::source::{Operation, Service};
use crate::waiters::{Matcher, Paginator, Waiter};

const ITEMS_A_MODULE: usize = 60;

/// The list of services, and the holder of their clients.
pub(crate) fn services(names: &[&str]) -> String {
    let mut code = String::new();
    let mut clients = String::new();
    for name in names {
        code += &format!("mod {name} {{ include!(concat!(env!(\"OUT_DIR\"), \"/{name}.rs\")); }}\n");
        clients += &format!("    pub(crate) {name}: std::sync::OnceLock<aws_sdk_{name}::Client>,\n");
    }
    let list: Vec<String> = names.iter().map(|name| format!("&{name}::SERVICE")).collect();
    code += &format!("#[derive(Default)]\npub(crate) struct Clients {{\n{clients}}}\n");
    code + &format!("pub(crate) static SERVICES: &[&crate::schema::Service] = &[{}];\n", list.join(", "))
}

/// Everything about one service.
pub(crate) fn service(service: &Service) -> Result<String> {
    let name = &service.name;
    let read = service.reachable(service.operations.iter().map(|operation| &operation.input))?;
    let written = service.reachable(service.operations.iter().map(|operation| &operation.output))?;
    let all: BTreeSet<&str> = read.union(&written).copied().collect();
    let mut code = format!(
        "use crate::client::{{CallError, Client, EVENTS_MAX, Pending, call_error, finish, stream_error}};\n\
         use crate::convert::{{FromJson, Reading, ToJson, Writing}};\n\
         use aws_sdk_{name} as sdk;\nuse serde_json::Value;\n\
         fn client(c: &Client) -> &sdk::Client {{\n    \
             c.shared.clients.{name}.get_or_init(|| sdk::Client::new(&c.shared.config))\n}}\n"
    );
    code += &enums(service, &all)?;
    modules(&mut code, "read", read.iter().map(|name| reader(service.shape(name)?)))?;
    modules(&mut code, "write", written.iter().map(|name| writer(service, service.shape(name)?, "sdk::types")))?;
    modules(&mut code, "answer", service.operations.iter().map(|operation| answer(service, operation)))?;
    let calls = modules(&mut code, "call", service.operations.iter().map(call))?;
    code += &schema(service, &all)?;
    code += &operations(service, &calls)?;
    Ok(code)
}

/// Writes items into modules of limited size; tells which module each one went to.
fn modules(code: &mut String, name: &str, items: impl Iterator<Item = Result<String>>) -> Result<Vec<usize>> {
    let items = items.collect::<Result<Vec<_>>>()?;
    let mut homes = vec![];
    let filled: Vec<&String> = items.iter().collect();
    for (index, chunk) in filled.chunks(ITEMS_A_MODULE).enumerate() {
        homes.extend(std::iter::repeat_n(index, chunk.len()));
        let text: String = chunk.iter().map(|item| item.as_str()).collect();
        write!(code, "mod {name}{index} {{\nuse super::*;\n{text}}}\n")?;
    }
    Ok(homes)
}

fn enums(service: &Service, names: &BTreeSet<&str>) -> Result<String> {
    let mut list = String::new();
    for name in names {
        if let Kind::Enum { .. } = service.shape(name)?.kind {
            list += &format!("{name} ");
        }
    }
    Ok(format!("enums! {{ {list}}}\n"))
}

/// JSON to the SDK's type.
fn reader(shape: &Shape) -> Result<String> {
    let name = &shape.name;
    let body = match &shape.kind {
        Kind::Enum { .. } => return Ok(String::new()),
        Kind::Struct { fallible } => {
            let build = if *fallible { "r.built(b.build())" } else { "Some(b.build())" };
            let setters = setters(&shape.members);
            format!(
                "if !v.is_object() {{ return r.wrong(\"a map\"); }}\n\
                 let b = sdk::types::{name}::builder(){setters};\n{build}"
            )
        }
        Kind::Union { variants } => {
            let mut arms = String::new();
            for (member, variant) in shape.members.iter().zip(variants) {
                let make = format!("FromJson::from_json(v, r).map(sdk::types::{name}::{variant})");
                arms += &format!("{:?} => {make},\n", member.name);
            }
            format!("let (name, v) = r.member(v)?;\nmatch name {{\n{arms}_ => r.wrong(\"a member of {name}\") }}")
        }
    };
    let signature = "fn from_json(v: &Value, r: &mut Reading) -> Option<Self>";
    Ok(format!("impl FromJson for sdk::types::{name} {{ {signature} {{\n{body}\n}} }}\n"))
}

fn setters(members: &[Member]) -> String {
    let set = |member: &Member| format!("\n.set_{0}(r.field(v, {0:?}))", member.name);
    members.iter().map(set).collect()
}

/// The SDK's type to JSON.
fn writer(service: &Service, shape: &Shape, module: &str) -> Result<String> {
    let name = &shape.name;
    let body = match &shape.kind {
        Kind::Enum { .. } => return Ok(String::new()),
        Kind::Struct { .. } => {
            let fields: String = shape.members.iter().map(|member| written(service, member, "self")).collect();
            format!("Writing::default(){fields}.done()")
        }
        Kind::Union { variants } => {
            let nulls: String = shape.members.iter().map(|member| format!(".null({:?})", member.name)).collect();
            let arm = |(member, variant): (&Member, &String)| {
                format!("{module}::{name}::{variant}(x) => w.field({:?}, x),\n", member.name)
            };
            let arms: String = shape.members.iter().zip(variants).map(arm).collect();
            format!("let w = Writing::default(){nulls};\nmatch self {{\n{arms}_ => w }}.done()")
        }
    };
    Ok(format!("impl ToJson for {module}::{name} {{ fn to_json(&self) -> Value {{\n{body}\n}} }}\n"))
}

fn written(service: &Service, member: &Member, from: &str) -> String {
    let method = if review::is_encoded(&service.name, &member.name) { "document" } else { "field" };
    format!("\n.{method}({:?}, &{from}.{})", member.name, member.ident)
}

fn events(operation: &Operation) -> Option<&Member> {
    operation.output.members.iter().find(|member| matches!(member.ty, Ty::Events(_)))
}

/// The operation's output to JSON; a streamed one is gathered by its call.
fn answer(service: &Service, operation: &Operation) -> Result<String> {
    match events(operation) {
        None => writer(service, &operation.output, &format!("sdk::operation::{}", operation.name)),
        Some(_) => Ok(String::new()),
    }
}

fn call(operation: &Operation) -> Result<String> {
    let name = &operation.name;
    let setters = setters(&operation.input.members);
    let head = format!(
        "pub(super) fn {name}(c: &Client, v: &Value) -> Pending {{\nlet mut r = Reading::default();\n\
         let call = client(c).{name}(){setters}\n.customize().send();\n"
    );
    let Some(stream) = events(operation) else { return Ok(head + "finish(r, call)\n}\n") };
    let others = operation.output.members.iter().filter(|member| member.name != stream.name);
    let others: String = others.map(|member| format!(".field({:?}, &out.{})", member.name, member.ident)).collect();
    let (name, ident) = (&stream.name, &stream.ident);
    Ok(head
        + &format!(
            "if let Err(m) = r.finish() {{ return Box::pin(std::future::ready(Err(CallError::input(m)))); }}\n\
             Box::pin(async move {{\nlet mut out = call.await.map_err(call_error)?;\n\
             let mut events: Vec<Value> = vec![];\nwhile events.len() < EVENTS_MAX {{\n\
             match out.{ident}.recv().await.map_err(stream_error)? {{\n\
             Some(event) => events.push(event.to_json()),\nNone => break,\n}}\n}}\n\
             Ok(Writing::default(){others}.field({name:?}, &events).done())\n}})\n}}\n"
        ))
}

/// The static description of every type.
fn schema(service: &Service, names: &BTreeSet<&str>) -> Result<String> {
    let mut code = String::from("mod shapes {\nuse crate::schema as s;\n");
    for name in names {
        let shape = service.shape(name)?;
        code += &match &shape.kind {
            Kind::Enum { values } => {
                format!(
                    "pub(super) static {name}: s::EnumShape = s::EnumShape {{ name: {name:?}, values: &{values:?} }};\n"
                )
            }
            _ => structure(service, shape, name)?,
        };
    }
    code += "}\nmod inputs {\nuse crate::schema as s;\nuse super::shapes;\n";
    for operation in &service.operations {
        code += &structure(service, &operation.input, &operation.name)?;
    }
    code += "}\nmod outputs {\nuse crate::schema as s;\nuse super::shapes;\n";
    for operation in &service.operations {
        code += &structure(service, &operation.output, &operation.name)?;
    }
    Ok(code + "}\n")
}

fn structure(service: &Service, shape: &Shape, item: &str) -> Result<String> {
    let union = matches!(shape.kind, Kind::Union { .. });
    let mut fields = String::new();
    for Member { name, ty, required, sensitive, doc, .. } in &shape.members {
        let ty = type_of(service, ty)?;
        fields += &format!(
            "s::Field {{ name: {name:?}, required: {required}, sensitive: {sensitive}, doc: {doc:?}, ty: {ty} }},\n"
        );
    }
    let name = &shape.name;
    Ok(format!(
        "pub(super) static {item}: s::Struct = s::Struct {{ name: {name:?}, union: {union}, fields: &[\n{fields}] }};\n"
    ))
}

fn type_of(service: &Service, ty: &Ty) -> Result<String> {
    let shapes = "super::shapes";
    Ok(match ty {
        Ty::Text => String::from("s::Type::String"),
        Ty::Bool => String::from("s::Type::Boolean"),
        Ty::I32 => String::from("s::Type::Integer"),
        Ty::I64 => String::from("s::Type::Long"),
        Ty::F32 => String::from("s::Type::Float"),
        Ty::F64 => String::from("s::Type::Double"),
        Ty::Timestamp => String::from("s::Type::Timestamp"),
        Ty::Blob => String::from("s::Type::Blob"),
        Ty::List(item) => format!("s::Type::List(&{})", type_of(service, item)?),
        Ty::Map(_, item) => format!("s::Type::Map(&{})", type_of(service, item)?),
        Ty::Events(name) => format!("s::Type::Events(&{shapes}::{name})"),
        Ty::Named(name) => match service.shape(name)?.kind {
            Kind::Enum { .. } => format!("s::Type::Enum(&{shapes}::{name})"),
            _ => format!("s::Type::Struct(&{shapes}::{name})"),
        },
    })
}

fn operations(service: &Service, calls: &[usize]) -> Result<String> {
    let mut code = String::new();
    for (operation, home) in service.operations.iter().zip(calls) {
        let Operation { name, wire_name, summary, token, mutates, .. } = operation;
        let effect = if *mutates { "Mutate" } else { "Read" };
        let paginator = match &operation.paginator {
            Some(paginator) => {
                check_pages(service, operation, paginator).with_context(|| format!("paginator of {name}"))?;
                format!("Some(&{})", pages(paginator))
            }
            None => String::from("None"),
        };
        code += &format!(
            "s::Operation {{ service: {:?}, name: {name:?}, wire_name: {wire_name:?}, summary: {summary:?}, \
             effect: s::Effect::{effect}, input: &inputs::{name}, output: &outputs::{name}, token: {token:?}, \
             paginator: {paginator}, dispatch: call{home}::{name} }},\n",
            service.name
        );
    }
    let mut waiters = String::new();
    for waiter in &service.waiters {
        waiters += &waiter_of(service, waiter).with_context(|| format!("waiter {}", waiter.name))?;
    }
    let Service { name, sdk_id, signing_name, operations, .. } = service;
    Ok(format!(
        "use crate::schema as s;\nstatic OPERATIONS: [s::Operation; {}] = [\n{code}];\n\
         static WAITERS: [s::Waiter; {}] = [\n{waiters}];\n\
         pub(crate) static SERVICE: s::Service = s::Service {{ name: {name:?}, sdk_id: {sdk_id:?}, \
         signing_name: {signing_name:?}, operations: &OPERATIONS, waiters: &WAITERS }};\n",
        operations.len(),
        service.waiters.len()
    ))
}

fn pages(paginator: &Paginator) -> String {
    let Paginator { input_token, output_token, items, limit } = paginator;
    let items = items.as_ref().map_or(String::from("None"), |items| format!("Some(&{items:?})"));
    format!(
        "s::Paginator {{ input_token: {input_token:?}, output_token: &{output_token:?}, \
         items: {items}, limit: {limit:?} }}"
    )
}

/// Every name of a paginator must be a field, and its items a list or map.
fn check_pages(service: &Service, operation: &Operation, paginator: &Paginator) -> Result<()> {
    service.member(&operation.input, &paginator.input_token)?;
    if let Some(limit) = &paginator.limit {
        service.member(&operation.input, limit)?;
    }
    follow(service, &operation.output, &paginator.output_token)?;
    if let Some(items) = &paginator.items {
        let ty = follow(service, &operation.output, items)?;
        ensure!(matches!(ty, Ty::List(_) | Ty::Map(..)), "the items are no list");
    }
    Ok(())
}

fn follow<'a>(service: &'a Service, from: &'a Shape, path: &[String]) -> Result<&'a Ty> {
    let (last, before) = path.split_last().context("an empty path")?;
    let mut shape = from;
    for name in before {
        match &service.member(shape, name)?.ty {
            Ty::Named(name) => shape = service.shape(name)?,
            other => bail!("{name} is {other:?}, not a structure"),
        }
    }
    Ok(&service.member(shape, last)?.ty)
}

fn waiter_of(service: &Service, waiter: &Waiter) -> Result<String> {
    let index = service.operations.iter().position(|operation| operation.name == waiter.operation);
    let index = index.with_context(|| format!("no operation {}", waiter.operation))?;
    let output = &service.operations[index].output;
    let mut acceptors = String::new();
    for acceptor in &waiter.acceptors {
        let matcher = match &acceptor.matcher {
            Matcher::Success(wanted) => format!("Success({wanted})"),
            Matcher::ErrorCode(code) => format!("ErrorCode({code:?})"),
            Matcher::Path(kind, path, wanted) => format!("{kind}(&[{}], {wanted:?})", steps(service, output, path)?),
            Matcher::NotEmpty(path, wanted) => format!("NotEmpty(&[{}], {wanted})", steps(service, output, path)?),
            Matcher::Expression(text, wanted) => {
                format!("Expression({:?}, {wanted})", snake_expression(service, text)?)
            }
        };
        acceptors +=
            &format!("s::Acceptor {{ state: s::State::{}, matcher: s::Matcher::{matcher} }},\n", acceptor.state);
    }
    let Waiter { name, min_delay, max_delay, .. } = waiter;
    Ok(format!(
        "s::Waiter {{ name: {name:?}, operation: &OPERATIONS[{index}], min_delay: {min_delay}, \
         max_delay: {max_delay}, acceptors: &[\n{acceptors}] }},\n"
    ))
}

/// A path with the wire's names as steps with ours.
fn steps(service: &Service, output: &Shape, path: &str) -> Result<String> {
    let mut shape = Some(output);
    let mut steps = vec![];
    for part in path.split('.') {
        let each = part.ends_with("[]");
        let wanted = fold(part.trim_end_matches("[]"));
        let from = shape.with_context(|| format!("{part} is not inside a structure"))?;
        let member = from.members.iter().find(|member| fold(&member.name) == wanted);
        let member = member.with_context(|| format!("{} has no field {part}", from.name))?;
        shape = match (&member.ty, each) {
            (Ty::Named(name), false) => Some(service.shape(name)?),
            (Ty::List(item), true) => match item.as_ref() {
                Ty::Named(name) => Some(service.shape(name)?),
                _ => None,
            },
            (_, true) => bail!("{part} is no list"),
            _ => None,
        };
        steps.push(format!("s::Step {{ field: {:?}, each: {each} }}", member.name));
    }
    Ok(steps.join(", "))
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

/// Rewrites the names of fields, which start with a capital; what is quoted stays.
fn snake_expression(service: &Service, text: &str) -> Result<String> {
    let mut written = String::new();
    let mut quote = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '\'' | '`' | '"') => quote = Some(c),
            None if c.is_ascii_uppercase() => {
                let mut name = String::from(c);
                while let Some(next) = rest.next_if(char::is_ascii_alphanumeric) {
                    name.push(next);
                }
                let mut members = service.types.values().chain(service.operations.iter().map(|o| &o.output));
                let same = |shape: &Shape| {
                    shape
                        .members
                        .iter()
                        .find(|member| fold(&member.name) == fold(&name))
                        .map(|member| member.name.clone())
                };
                written += &members.find_map(same).with_context(|| format!("no field {name}"))?;
                continue;
            }
            _ => {}
        }
        written.push(c);
    }
    Ok(written)
}
