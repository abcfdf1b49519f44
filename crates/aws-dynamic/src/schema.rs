//! What the operations look like, as plain static data. The generator writes the values; everything else
//! (validation, documentation, completion, the simulated cloud) only reads them.

use std::fmt;

use crate::client::Dispatch;

/// One AWS service: `eks`, `ec2`, …
#[derive(Debug)]
pub struct Service {
    /// The name scripts use, which is the SDK crate's: `eks`, `cloudwatchlogs`.
    pub name: &'static str,
    /// The service id by which AWS knows it: `EKS`, `CloudWatch Logs`.
    pub sdk_id: &'static str,
    /// The prefix of its endpoints and of its actions in policies, as the SDK signs it: `eks`, `logs`.
    pub signing_name: &'static str,
    /// Every operation, sorted by name.
    pub operations: &'static [Operation],
    /// Every waiter, sorted by name.
    pub waiters: &'static [Waiter],
}

impl Service {
    /// The operation of that snake_case name.
    pub fn operation(&self, name: &str) -> Option<&'static Operation> {
        let index = self.operations.binary_search_by(|operation| operation.name.cmp(name)).ok()?;
        self.operations.get(index)
    }

    /// The waiter of that snake_case name, without `wait_until_`.
    pub fn waiter(&self, name: &str) -> Option<&'static Waiter> {
        let index = self.waiters.binary_search_by(|waiter| waiter.name.cmp(name)).ok()?;
        self.waiters.get(index)
    }
}

/// The services compiled in, sorted by name.
pub fn services() -> &'static [&'static Service] {
    crate::generated::SERVICES
}

/// The service of that name, when it is compiled in.
pub fn service(name: &str) -> Option<&'static Service> {
    services().iter().copied().find(|service| service.name == name)
}

/// Finds `eks`, `create_cluster`.
pub fn operation(service_name: &str, name: &str) -> Option<&'static Operation> {
    service(service_name)?.operation(name)
}

/// One operation of a service.
pub struct Operation {
    /// The service's name: `eks`.
    pub service: &'static str,
    /// `create_cluster`.
    pub name: &'static str,
    /// `CreateCluster`: what goes over the wire and usually the action in a policy.
    pub wire_name: &'static str,
    /// The first sentence of the SDK's documentation as plain text.
    pub summary: &'static str,
    /// Whether calling it may change the cloud.
    pub effect: Effect,
    /// What it takes.
    pub input: &'static Struct,
    /// What it answers.
    pub output: &'static Struct,
    /// The input field that makes a repeated call harmless, when there is one.
    pub token: Option<&'static str>,
    /// How to get the next page, when the answer comes in pages.
    pub paginator: Option<&'static Paginator>,
    /// The function that calls the SDK.
    pub(crate) dispatch: Dispatch,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.service, self.name)
    }
}

impl Operation {
    /// The input fields a caller must give: the required ones but for the idempotency token, which can be filled in.
    pub fn required(&self) -> impl Iterator<Item = &'static Field> {
        let token = self.token;
        self.input.fields.iter().filter(move |field| field.required && Some(field.name) != token)
    }
}

/// What calling an operation may do to the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only looks.
    Read,
    /// It may change something, or hands out credentials.
    Mutate,
}

/// A structure, or a union of which exactly one member is present.
#[derive(Debug)]
pub struct Struct {
    /// The SDK's type name: `VpcConfigRequest`.
    pub name: &'static str,
    /// Exactly one field is present.
    pub union: bool,
    /// In the SDK's order, which is the order of AWS's own documentation.
    pub fields: &'static [Field],
}

impl Struct {
    /// The field of that snake_case name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// One member of a structure.
#[derive(Debug)]
pub struct Field {
    /// snake_case: `scaling_config`, `type`.
    pub name: &'static str,
    /// AWS refuses a request without it. Required lists inside nested structures are not always known.
    pub required: bool,
    /// Never to be shown. Of a sensitive structure the fields are marked, not the structure.
    pub sensitive: bool,
    /// The first sentence of the SDK's documentation as plain text.
    pub doc: &'static str,
    /// What it holds.
    pub ty: Type,
}

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// Text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Long,
    /// A number of 32 bits.
    Float,
    /// A number of 64 bits.
    Double,
    /// A moment: RFC 3339 text, or seconds since 1970 in an input.
    Timestamp,
    /// Bytes as base64.
    Blob,
    /// One of a list of texts; AWS adds to these lists faster than the SDK.
    Enum(&'static EnumShape),
    /// A list.
    List(&'static Type),
    /// A map from text; its keys are the user's and are never rewritten.
    Map(&'static Type),
    /// A nested structure or union.
    Struct(&'static Struct),
    /// The events of a streamed answer, gathered into a list of a union (outputs only).
    Events(&'static Struct),
}

impl fmt::Display for Type {
    /// Writes the type as documentation shows it: `list of Tag`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::String => f.write_str("string"),
            Type::Boolean => f.write_str("boolean"),
            Type::Integer => f.write_str("integer"),
            Type::Long => f.write_str("long"),
            Type::Float => f.write_str("float"),
            Type::Double => f.write_str("double"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Blob => f.write_str("base64"),
            Type::Enum(shape) => f.write_str(shape.name),
            Type::List(item) => write!(f, "list of {item}"),
            Type::Map(item) => write!(f, "map of {item}"),
            Type::Struct(shape) => f.write_str(shape.name),
            Type::Events(shape) => write!(f, "list of {}", shape.name),
        }
    }
}

/// A closed list of texts, as far as the SDK knows it.
#[derive(Debug)]
pub struct EnumShape {
    /// The SDK's type name: `CapacityTypes`.
    pub name: &'static str,
    /// The values on the wire.
    pub values: &'static [&'static str],
}

/// How the pages of an answer follow each other.
#[derive(Debug)]
pub struct Paginator {
    /// The input field that takes the token.
    pub input_token: &'static str,
    /// Where the answer holds the next token; absent or empty on the last page.
    pub output_token: &'static [&'static str],
    /// The list to concatenate. Where AWS's model names none, every list of the answer grows from page to page.
    pub items: Option<&'static [&'static str]>,
    /// The input field that limits the size of a page.
    pub limit: Option<&'static str>,
}

/// Polls an operation until its answer is the wanted one.
pub struct Waiter {
    /// `cluster_active`.
    pub name: &'static str,
    /// The operation to repeat.
    pub operation: &'static Operation,
    /// Seconds before the second call.
    pub min_delay: u64,
    /// Most seconds between two calls.
    pub max_delay: u64,
    /// Looked at in order; the first that matches decides.
    pub acceptors: &'static [Acceptor],
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::wait_until_{}", self.operation.service, self.name)
    }
}

/// One rule of a waiter.
#[derive(Debug)]
pub struct Acceptor {
    /// What it says when it matches.
    pub state: State,
    /// What it looks at.
    pub matcher: Matcher,
}

/// What a matching acceptor means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The wait is over.
    Success,
    /// It will never come true.
    Failure,
    /// Not yet.
    Retry,
}

/// What an acceptor looks at.
#[derive(Debug)]
pub enum Matcher {
    /// The call succeeded (`true`) or failed.
    Success(bool),
    /// The call failed with this code.
    ErrorCode(&'static str),
    /// The value at the path is this text.
    Equals(&'static [Step], &'static str),
    /// There is at least one value, and all are this text.
    All(&'static [Step], &'static str),
    /// Some value is this text.
    Any(&'static [Step], &'static str),
    /// The list at the path holds something (`true`) or nothing.
    NotEmpty(&'static [Step], bool),
    /// A JMESPath expression over the snake_case answer that gives this truth value.
    Expression(&'static str, bool),
}

/// One step of a path into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The snake_case field.
    pub field: &'static str,
    /// Go on with each element of the list.
    pub each: bool,
}
