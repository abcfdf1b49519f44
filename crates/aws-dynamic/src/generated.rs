//! What the build script wrote, one module a service.

#![allow(
    clippy::allow_attributes,
    clippy::all,
    deprecated,
    missing_docs,
    non_upper_case_globals,
    rustdoc::all,
    unused,
    reason = "nobody reads generated code, and the SDK deprecates fields that AWS still takes"
)]

/// An enum of the SDK takes any text: what it does not know it passes on.
macro_rules! enums {
    ($($name:ident)*) => {
        $(impl FromJson for sdk::types::$name {
            fn from_json(v: &Value, r: &mut Reading) -> Option<Self> {
                v.as_str().map(Self::from).or_else(|| r.wrong("text"))
            }
        }
        impl ToJson for sdk::types::$name {
            fn to_json(&self) -> Value {
                Value::from(self.as_str())
            }
        })*
    };
}

include!(concat!(env!("OUT_DIR"), "/services.rs"));
