//! Every operation of every service, called through the real SDK clients against a stub on loopback.
//!
//! The stub answers with an error whose message is the request it got, so a call tells what it put on the wire, and
//! the same call shows that the error was read. Here every value is looked for; under which name it stands is compared
//! with what botocore makes of the same input, by `wires/compare_wire.py` from the file that `EKSKIT_SWEEP_OUT` names.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aws_dynamic::sample::{self, Leaf, Sample};
use aws_dynamic::{Client, Effect, Enums, Operation, Struct, Type, normalise, services};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::aws_stub::{Request, echo, stub};

/// What the stub got for this input.
async fn sent(client: &Client, operation: &'static Operation, input: &Value) -> Result<Request, String> {
    let error = client.call(operation, input).await.expect_err("the stub refuses everything");
    if error.code.as_deref() != Some("Stub")
        || error.status != Some(400)
        || error.maybe_applied
        || error.request_id.as_deref() != Some("stub-request")
    {
        return Err(format!("{error:?}"));
    }
    let raw = STANDARD.decode(&error.message).map_err(|error| error.to_string())?;
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").map_or(raw.len(), |end| end + 4);
    Ok(Request { head: String::from_utf8_lossy(&raw[..end]).into_owned(), body: raw[end..].to_vec() })
}

fn decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let pair: String = if byte == b'%' { rest.clone().take(2).map(char::from).collect() } else { String::new() };
        match u8::from_str_radix(&pair, 16) {
            Ok(code) if byte == b'%' => {
                bytes.push(code);
                rest.nth(1);
            }
            _ => bytes.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every value in the request, and how often it is there.
fn values(request: &Request) -> HashMap<String, usize> {
    let mut found = vec![];
    let target = request.head.split_whitespace().nth(1).unwrap_or_default();
    let target =
        target.strip_prefix("http://").map_or(target, |rest| rest.split_once('/').map_or("", |(_, path)| path));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    found.extend(path.split('/').map(decoded));
    found.extend(query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| decoded(value)));
    found.extend(request.head.lines().filter_map(|line| line.split_once(": ")).map(|(_, value)| value.to_owned()));
    let body = String::from_utf8_lossy(&request.body);
    match serde_json::from_slice::<Value>(&request.body) {
        Ok(json) => scalars(&json, &mut found),
        Err(_) => {
            found.extend(body.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| decoded(value)))
        }
    }
    let mut counted = HashMap::new();
    for value in found {
        *counted.entry(value).or_default() += 1;
    }
    counted
}

fn scalars(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::Object(object) => {
            for (key, value) in object {
                found.push(key.clone());
                scalars(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| scalars(item, found)),
        Value::String(text) => found.push(text.clone()),
        other => found.push(other.to_string()),
    }
}

/// Fields that the SDK leaves out where they are false, for which AWS takes an absent one.
const FALSE_IS_ABSENT: [(&str, &str); 2] = [("cloudwatchlogs", "flatten"), ("cloudwatchlogs", "overwrite_if_exists")];

fn may_be_absent(operation: &Operation, leaf: &Leaf) -> bool {
    let name = leaf.path.rsplit('.').next().unwrap_or_default();
    leaf.spellings == ["false"] && FALSE_IS_ABSENT.contains(&(operation.service, name))
}

/// The values of the sample that the request does not hold.
fn lost(sample: &Sample, request: &Request) -> Vec<String> {
    let mut present = values(request);
    let mut take = |spelling: &String| match present.get_mut(spelling) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    let leaves = sample.leaves.iter();
    leaves.filter(|leaf| !leaf.spellings.iter().any(&mut take)).map(|leaf| leaf.path.clone()).collect()
}

/// Operations, values found, calls made.
#[derive(Debug, Default)]
struct Totals {
    operations: usize,
    leaves: usize,
    calls: usize,
}

/// Where inputs and requests are written as JSON lines.
type Record = Option<Mutex<BufWriter<File>>>;

fn record() -> Record {
    std::env::var_os("EKSKIT_SWEEP_OUT").map(|path| Mutex::new(BufWriter::new(File::create(path).unwrap())))
}

fn write_down(record: &Record, operation: &Operation, input: &Value, request: &Request) {
    let Some(file) = record else { return };
    let body = String::from_utf8(request.body.clone()).unwrap();
    let (service, wire_name) = (operation.service, operation.wire_name);
    let line =
        json!({ "service": service, "operation": wire_name, "input": input, "head": request.head, "body": body });
    writeln!(file.lock().unwrap(), "{line}").unwrap();
}

async fn sweep_one(client: Client, operation: &'static Operation, record: Arc<Record>) -> (Totals, Vec<String>) {
    let mut totals = Totals { operations: 1, ..Totals::default() };
    let mut wrong = vec![];
    for variant in 0..sample::variants(operation) {
        let mut sample = sample::full(operation, variant);
        sample.leaves.retain(|leaf| !may_be_absent(operation, leaf));
        totals.calls += 1;
        totals.leaves += sample.leaves.len();
        match normalise(operation, sample.input.clone(), Enums::Strict) {
            Ok(input) if input == sample.input => {}
            other => wrong.push(format!("{operation}: the sample is not normal: {other:?}")),
        }
        match sent(&client, operation, &sample.input).await {
            Ok(request) => {
                write_down(&record, operation, &sample.input, &request);
                wrong.extend(lost(&sample, &request).iter().map(|path| format!("{operation}: {path}")));
            }
            Err(error) => wrong.push(format!("{operation}: {error}")),
        }
    }
    (totals, wrong)
}

#[test]
fn every_field_of_every_operation_is_on_the_wire() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(16 << 20).build().unwrap();
    let (totals, wrong) = runtime.block_on(async {
        let client = stub(echo).await;
        let (limit, record) = (Arc::new(tokio::sync::Semaphore::new(8)), Arc::new(record()));
        let mut running = tokio::task::JoinSet::new();
        for operation in services().iter().flat_map(|service| service.operations) {
            let (client, limit, record) = (client.clone(), limit.clone(), record.clone());
            running.spawn(async move {
                let _place = limit.acquire().await;
                sweep_one(client, operation, record).await
            });
        }
        let mut totals = Totals::default();
        let mut wrong = vec![];
        while let Some(done) = running.join_next().await {
            let (one, mistakes) = done.unwrap();
            totals.operations += one.operations;
            totals.leaves += one.leaves;
            totals.calls += one.calls;
            wrong.extend(mistakes);
        }
        (totals, wrong)
    });
    assert!(wrong.is_empty(), "{} values are not on the wire:\n{wrong:#?}", wrong.len());
    println!("sweep: {} operations, {} calls, {} values found", totals.operations, totals.calls, totals.leaves);
    assert_eq!(totals.operations, COUNTS.iter().map(|(_, operations, ..)| operations).sum::<usize>());
}

#[test]
fn two_truth_values_differ_in_one_of_the_samples() {
    for operation in services().iter().flat_map(|service| service.operations) {
        let truths = |variant| {
            let leaves = sample::full(operation, variant).leaves.into_iter();
            leaves.filter(|leaf| ["true", "false"].contains(&leaf.spellings[0].as_str()))
        };
        // Where a union shows another member each time, its values have other places.
        let all: Vec<BTreeMap<String, String>> = (0..sample::variants(operation))
            .map(|variant| truths(variant).map(|leaf| (leaf.path, leaf.spellings[0].clone())).collect())
            .collect();
        let shared = all[0].keys().filter(|path| all.iter().all(|truths| truths.contains_key(*path)));
        let mut told: BTreeMap<String, &str> = BTreeMap::new();
        for path in shared {
            let values: String = all.iter().map(|truths| &truths[path][..1]).collect();
            if let Some(other) = told.insert(values, path) {
                panic!("{operation}: `{path}` and `{other}` are alike in every sample");
            }
        }
    }
}

#[test]
fn a_lost_value_would_be_noticed() {
    let sample = sample::full(aws_dynamic::operation("eks", "describe_nodegroup").unwrap(), 0);
    let whole = Request { head: String::from("GET /clusters/text-1/node-groups/text-2 HTTP/1.1\r\n"), body: vec![] };
    assert_eq!(lost(&sample, &whole), Vec::<String>::new());
    let half = Request { head: String::from("GET /clusters/text-1/node-groups/text-1 HTTP/1.1\r\n"), body: vec![] };
    assert_eq!(lost(&sample, &half), ["nodegroup_name"]);
}

/// Name, operations, paginators, waiters, idempotency tokens: what these versions of the SDK crates have.
const COUNTS: [(&str, usize, usize, usize, usize); 11] = [
    ("autoscaling", 68, 13, 3, 1),
    ("cloudwatchlogs", 118, 18, 0, 1),
    ("ec2", 811, 172, 43, 96),
    ("eks", 70, 16, 9, 25),
    ("elasticloadbalancing", 29, 1, 3, 0),
    ("elasticloadbalancingv2", 51, 9, 5, 0),
    ("iam", 180, 34, 4, 0),
    ("kms", 56, 8, 0, 0),
    ("servicequotas", 26, 6, 0, 0),
    ("ssm", 152, 52, 1, 5),
    ("sts", 11, 0, 0, 0),
];

#[test]
fn nothing_is_missing() {
    let count = |wanted: &dyn Fn(&&Operation) -> bool, operations: &'static [Operation]| {
        operations.iter().filter(|operation| wanted(operation)).count()
    };
    let found: Vec<_> = services()
        .iter()
        .map(|service| {
            let paginators = count(&|operation| operation.paginator.is_some(), service.operations);
            let tokens = count(&|operation| operation.token.is_some(), service.operations);
            (service.name, service.operations.len(), paginators, service.waiters.len(), tokens)
        })
        .collect();
    assert_eq!(found, COUNTS);
    for service in services() {
        assert!(service.operations.is_sorted_by_key(|operation| operation.name), "{}", service.name);
        assert!(service.operations.iter().all(|operation| !operation.summary.is_empty()), "{}", service.name);
    }
}

/// The SDK's builders have one getter a field: counted here from the source, apart from the generator.
#[test]
fn no_field_is_lost() {
    let (mut structs, mut fields) = (0, 0);
    for (service, root) in sources() {
        let service = aws_dynamic::service(&service).unwrap();
        let types = types_of(&root.join("src/types"));
        for operation in service.operations {
            let folder = root.join("src/operation").join(operation.name);
            for (shape, file) in [(operation.input, "input"), (operation.output, "output")] {
                let path = folder.join(format!("_{}_{file}.rs", operation.name));
                assert_eq!(getters(&path), shape.fields.len(), "{}", path.display());
                fields += shape.fields.len();
                structs += 1;
            }
        }
        for shape in reachable(service.operations).values().filter(|shape| !shape.union) {
            let path = &types[shape.name];
            assert_eq!(getters(path), shape.fields.len(), "{}", path.display());
            fields += shape.fields.len();
            structs += 1;
        }
    }
    println!("getters: {fields} fields in {structs} structures");
}

fn getters(path: &Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap();
    let text: String = text.split_whitespace().collect();
    text.matches("(&self)->&::std::option::Option<").count() + text.matches("(&self,)->&::std::option::Option<").count()
}

fn types_of(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = if path.is_file() { std::fs::read_to_string(&path).unwrap() } else { continue };
        if let Some(name) = text.lines().find_map(|line| line.strip_prefix("pub struct ")?.split_whitespace().next()) {
            found.insert(name.trim_end_matches("{}").to_owned(), path);
        }
    }
    found
}

fn reachable(operations: &'static [Operation]) -> BTreeMap<&'static str, &'static Struct> {
    let mut found: BTreeMap<&str, &'static Struct> = BTreeMap::new();
    let mut todo: Vec<Type> = vec![];
    let fields = |shape: &'static Struct| shape.fields.iter().map(|field| field.ty);
    todo.extend(operations.iter().flat_map(|operation| fields(operation.input).chain(fields(operation.output))));
    while let Some(ty) = todo.pop() {
        match ty {
            Type::List(item) | Type::Map(item) => todo.push(*item),
            Type::Struct(shape) | Type::Events(shape) if found.insert(shape.name, shape).is_none() => {
                todo.extend(fields(shape));
            }
            _ => {}
        }
    }
    found
}

fn sources() -> Vec<(String, PathBuf)> {
    let metadata = |mode: &str| {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let mut command = std::process::Command::new(env!("CARGO"));
        let output = command.args(["metadata", "--format-version", "1", mode, "--manifest-path", manifest]).output();
        serde_json::from_slice::<Value>(&output.unwrap().stdout).ok()
    };
    let metadata = metadata("--offline").or_else(|| metadata("--locked")).expect("cargo metadata");
    let mut found = vec![];
    for package in metadata["packages"].as_array().unwrap() {
        let Some(name) = package["name"].as_str().unwrap().strip_prefix("aws-sdk-") else { continue };
        if aws_dynamic::service(name).is_some() {
            let manifest = Path::new(package["manifest_path"].as_str().unwrap());
            found.push((name.to_owned(), manifest.parent().unwrap().to_owned()));
        }
    }
    assert_eq!(found.len(), services().len());
    found
}

#[test]
fn effects_are_the_reviewed_ones() {
    let effect = |service, name| aws_dynamic::operation(service, name).unwrap().effect;
    for (service, name) in [
        ("eks", "describe_cluster"),
        ("eks", "list_insights"),
        ("sts", "get_caller_identity"),
        ("ec2", "search_transit_gateway_routes"),
        ("iam", "simulate_principal_policy"),
        ("cloudwatchlogs", "filter_log_events"),
    ] {
        assert_eq!(effect(service, name), Effect::Read, "{service}::{name}");
    }
    for (service, name) in [
        ("sts", "assume_role"),
        ("sts", "get_session_token"),
        ("ec2", "export_image"),
        ("ec2", "export_transit_gateway_routes"),
        ("eks", "start_insights_refresh"),
        ("ec2", "run_instances"),
    ] {
        assert_eq!(effect(service, name), Effect::Mutate, "{service}::{name}");
    }
}
