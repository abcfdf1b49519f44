//! Moments in JSON: RFC 3339 text or seconds since 1970 in, RFC 3339 UTC text out.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::Value;

/// Reads a moment from text or a number.
pub(crate) fn parse(value: &Value) -> Option<DateTime> {
    match value {
        Value::String(text) => DateTime::from_str(text, Format::DateTimeWithOffset).ok(),
        Value::Number(number) => match number.as_i64() {
            Some(seconds) => Some(DateTime::from_secs(seconds)).filter(|_| seconds.unsigned_abs() < MAX_SECONDS),
            None => number.as_f64().filter(|seconds| seconds.abs() < MAX_SECONDS as f64).map(DateTime::from_secs_f64),
        },
        _ => None,
    }
}

/// The end of the year 9999, after which RFC 3339 has no text.
const MAX_SECONDS: u64 = 253_402_300_800;

/// Writes a moment; one that RFC 3339 can not express becomes null.
pub(crate) fn write(moment: &DateTime) -> Value {
    moment.fmt(Format::DateTime).map_or(Value::Null, Value::String)
}
