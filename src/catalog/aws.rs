//! AWS operations and waiters as catalog entries, from the generated schema.

use aws_dynamic::{Operation, Service, Type, Waiter};
use serde_json::{Value, json};

use super::Effect;
use super::doc::{Entry, FieldDoc};

/// Every operation and waiter of every service compiled in.
pub fn entries() -> impl Iterator<Item = Entry> {
    aws_dynamic::services().iter().copied().flat_map(|service: &Service| {
        service.operations.iter().map(operation).chain(service.waiters.iter().map(waiter))
    })
}

/// The entry of an operation.
pub fn operation(operation: &Operation) -> Entry {
    Entry {
        name: operation.to_string(),
        kind: "operation",
        effect: match operation.effect {
            aws_dynamic::Effect::Read => Effect::Read,
            aws_dynamic::Effect::Mutate => Effect::Mutate,
        },
        summary: operation.summary.to_owned(),
        doc: String::new(),
        fields: fields(operation),
        returns: returns(operation),
        raises: Vec::new(),
        token: operation.token.map(str::to_owned),
        paginator: operation.paginator.map(|paginator| {
            json!({
                "input_token": paginator.input_token,
                "output_token": paginator.output_token.join("."),
                "items": paginator.items.map(|items| items.join(".")),
                "limit": paginator.limit,
            })
        }),
        waiter: None,
    }
}

fn fields(operation: &Operation) -> Vec<FieldDoc> {
    let required: Vec<&str> = operation.required().map(|field| field.name).collect();
    let docs = operation.input.fields.iter().map(|field| FieldDoc {
        name: field.name.to_owned(),
        ty: field.ty.to_string(),
        required: required.contains(&field.name),
        values: values(&field.ty),
        doc: field.doc.to_owned(),
    });
    docs.collect()
}

fn values(ty: &Type) -> Vec<String> {
    match ty {
        Type::Enum(shape) => shape.values.iter().map(|value| (*value).to_owned()).collect(),
        Type::List(item) | Type::Map(item) => values(item),
        _ => Vec::new(),
    }
}

fn returns(operation: &Operation) -> String {
    let names: Vec<&str> = operation.output.fields.iter().map(|field| field.name).collect();
    if names.is_empty() { "nothing".to_owned() } else { format!("#{{ {} }}", names.join(", ")) }
}

fn waiter(waiter: &Waiter) -> Entry {
    let called = operation(waiter.operation);
    Entry {
        name: format!("{}::wait_until_{}", waiter.operation.service, waiter.name),
        kind: "binding",
        effect: Effect::Read,
        summary: format!("Asks `{}` again until it answers as AWS's waiter `{}` wants.", called.name, waiter.name),
        doc: "The options map, second, takes `timeout`; without it the wait ends after 30 minutes.".to_owned(),
        raises: vec!["timeout".to_owned(), "failed".to_owned()],
        waiter: Some(Value::String(called.name.clone())),
        token: None,
        paginator: None,
        ..called
    }
}
