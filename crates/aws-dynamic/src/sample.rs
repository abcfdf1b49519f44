//! Inputs that fill every field, for tests: each value is its own, so that it can be found again on the wire. Of truth
//! values and enums there are too few for that: they differ from each other in one of the variants.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value, json};

use crate::schema::{Operation, Struct, Type};

/// An input, and every value in it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Valid under [`normalise`](crate::normalise).
    pub input: Value,
    /// The values, in the order they were made.
    pub leaves: Vec<Leaf>,
}

/// One value of a sample.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// `scaling_config.min_size`
    pub path: String,
    /// How it may be spelled on the wire: times and numbers have several forms.
    pub spellings: Vec<String>,
}

/// An input that fills every field of the operation; of a union the first member.
pub fn full_input(operation: &Operation) -> Value {
    full(operation, 0).input
}

/// As [`full_input`], with the values and, of each union, the member of that number.
pub fn full(operation: &Operation, variant: usize) -> Sample {
    filled(operation, variant).0
}

/// A sample, and how many truth values and enums it has.
fn filled(operation: &Operation, variant: usize) -> (Sample, u32) {
    let mut filling = Filling { variant, count: 0, choices: 0, inside: vec![], path: vec![], leaves: vec![] };
    let input = filling.structure(operation.input).unwrap_or_else(|| json!({}));
    (Sample { input, leaves: filling.leaves }, filling.choices)
}

/// How many samples show every member of every union in the input, and tell every two truth values apart.
pub fn variants(operation: &Operation) -> usize {
    let digits = u32::BITS - filled(operation, 0).1.leading_zeros();
    members_max(operation).max(digits as usize)
}

/// How many members the largest union of the input has.
fn members_max(operation: &Operation) -> usize {
    let mut seen: Vec<&'static Struct> = vec![];
    let mut todo = vec![operation.input];
    while let Some(shape) = todo.pop() {
        if seen.iter().any(|known| std::ptr::eq(*known, shape)) {
            continue;
        }
        seen.push(shape);
        todo.extend(shape.fields.iter().filter_map(|field| structure_of(field.ty)));
    }
    seen.iter().filter(|shape| shape.union).map(|shape| shape.fields.len()).max().unwrap_or(1)
}

fn structure_of(ty: Type) -> Option<&'static Struct> {
    match ty {
        Type::Struct(shape) | Type::Events(shape) => Some(shape),
        Type::List(item) | Type::Map(item) => structure_of(*item),
        _ => None,
    }
}

struct Filling {
    variant: usize,
    count: u32,
    /// Truth values and enums so far.
    choices: u32,
    /// The structures being filled, so that a recursive type ends.
    inside: Vec<&'static Struct>,
    path: Vec<String>,
    leaves: Vec<Leaf>,
}

impl Filling {
    fn structure(&mut self, shape: &'static Struct) -> Option<Value> {
        if self.inside.iter().any(|outer| std::ptr::eq(*outer, shape)) {
            return None;
        }
        self.inside.push(shape);
        let mut object = Map::new();
        let skipped = if shape.union { self.variant } else { 0 };
        let fields = shape.fields.iter().cycle().skip(skipped).take(shape.fields.len());
        for field in fields {
            if shape.union && !object.is_empty() {
                break;
            }
            self.path.push(field.name.to_owned());
            if let Some(value) = self.value(field.ty) {
                object.insert(field.name.to_owned(), value);
            }
            self.path.pop();
        }
        self.inside.pop();
        Some(Value::Object(object)).filter(|object| !shape.union || object != &json!({}))
    }

    fn value(&mut self, ty: Type) -> Option<Value> {
        match ty {
            Type::Struct(shape) | Type::Events(shape) => self.structure(shape),
            Type::List(item) => {
                self.path.push(String::from("0"));
                let item = self.value(*item);
                self.path.pop();
                item.map(|item| Value::Array(vec![item]))
            }
            Type::Map(item) => {
                let key = format!("key-{}", self.next());
                let leaves = self.leaves.len();
                self.leaf(&key, vec![]);
                self.path.push(key.clone());
                let item = self.value(*item);
                self.path.pop();
                if item.is_none() {
                    self.leaves.truncate(leaves);
                }
                item.map(|item| Value::Object(Map::from_iter([(key, item)])))
            }
            _ => Some(self.scalar(ty)),
        }
    }

    fn scalar(&mut self, ty: Type) -> Value {
        let number = self.next();
        let (value, spelling, others) = match ty {
            Type::Boolean => {
                let truth = self.choice(2) == 1;
                (Value::Bool(truth), truth.to_string(), vec![])
            }
            Type::Integer => (json!(1000 + number), (1000 + number).to_string(), vec![]),
            Type::Long => {
                let long = 5_000_000_000 + i64::from(number);
                (json!(long), long.to_string(), vec![])
            }
            Type::Float | Type::Double => {
                let float = f64::from(number) + 0.5;
                (Number::from_f64(float).map_or(Value::Null, Value::Number), float.to_string(), vec![])
            }
            Type::Timestamp => {
                let moment = DateTime::from_secs(1_900_000_000 + i64::from(number));
                let text = moment.fmt(Format::DateTime).unwrap_or_default();
                (json!(text), text, vec![moment.secs().to_string(), format!("{}.0", moment.secs())])
            }
            Type::Blob => {
                let text = STANDARD.encode(format!("bytes-{number}"));
                (json!(text), text, vec![])
            }
            Type::Enum(shape) => {
                let index = self.choice(shape.values.len());
                let value = shape.values.get(index).copied().unwrap_or("unknown").to_owned();
                (json!(value), value, vec![])
            }
            _ => {
                let text = format!("text-{number}");
                (json!(text), text, vec![])
            }
        };
        self.leaf(&spelling, others);
        value
    }

    /// One of so many: the number of this choice, written in that many digits, has one of them for each variant.
    fn choice(&mut self, among: usize) -> usize {
        self.choices += 1;
        let mut number = self.choices as usize;
        for _ in 0..self.variant {
            number /= among.max(2);
        }
        number % among.max(1)
    }

    fn next(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    fn leaf(&mut self, spelling: &str, others: Vec<String>) {
        let mut spellings = vec![spelling.to_owned()];
        spellings.extend(others);
        self.leaves.push(Leaf { path: self.path.join("."), spellings });
    }
}
