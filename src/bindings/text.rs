//! Texts: base64, hashes, regular expressions, percent-encoding, differences.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use regex::Regex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::catalog::{Args, Binding, Param, Ty};
use crate::error::{Error, Result};

/// `text::`, `diff::`, `quantity::` and `url::`.
pub static ALL: &[&Binding] = &[
    &BASE64_ENCODE,
    &BASE64_DECODE,
    &HASH,
    &MATCHES,
    &CAPTURES,
    &LINES,
    &INDENT,
    &NEAREST,
    &DIFF,
    &QUANTITY,
    &URL_ENCODE,
    &URL_DECODE,
];

const TEXT: Param = Param::new("text", Ty::Text, "the text");
const PATTERN: Param = Param::new("pattern", Ty::Text, "a regular expression of Rust's `regex` crate");

static BASE64_ENCODE: Binding = Binding::pure(
    "text::base64_encode",
    "A text as base64, as user data and Secrets want it.

```rhai
text::base64_encode(\"hello\") //=> \"aGVsbG8=\"
```",
    &[TEXT],
    "text",
    |args| Ok(json!(STANDARD.encode(args.text("text")))),
);

static BASE64_DECODE: Binding = Binding::pure(
    "text::base64_decode",
    "The text that a base64 text stands for.

```rhai
text::base64_decode(\"aGVsbG8=\") //=> \"hello\"
text::base64_decode(\"?\") //=> error: invalid
```",
    &[TEXT],
    "text",
    |args| {
        let bytes = STANDARD
            .decode(args.text("text").trim())
            .map_err(|error| Error::invalid(format!("not base64: {error}")))?;
        String::from_utf8(bytes)
            .map(Value::String)
            .map_err(|_| Error::invalid("what the base64 stands for is not UTF-8 text"))
    },
);

static HASH: Binding = Binding::pure(
    "text::hash",
    "The SHA-256 of a text in hexadecimal digits.

```rhai
text::hash(\"\").len() //=> 64
```",
    &[TEXT],
    "text of 64 digits",
    |args| Ok(json!(Sha256::digest(args.text("text")).iter().map(|byte| format!("{byte:02x}")).collect::<String>())),
);

static MATCHES: Binding = Binding::pure(
    "text::matches",
    "Whether a pattern occurs in a text.

```rhai
text::matches(\"i-0abc\", \"^i-[0-9a-f]+$\") //=> true
text::matches(\"x\", \"(\") //=> error: invalid
```",
    &[TEXT, PATTERN],
    "boolean",
    |args| Ok(json!(pattern(args)?.is_match(args.text("text")))),
);

static CAPTURES: Binding = Binding::pure(
    "text::captures",
    "What a pattern and its groups matched first: the whole match, then each group; an empty list where it does not occur.

```rhai
text::captures(\"aws:///us-west-2a/i-0abc\", \"/([a-z0-9-]+)/(i-[0-9a-f]+)$\")[2] //=> \"i-0abc\"
text::captures(\"x\", \"(\") //=> error: invalid
```",
    &[TEXT, PATTERN],
    "list of texts, `()` for a group that did not take part",
    |args| {
        let captures = pattern(args)?.captures(args.text("text")).map(|captures| {
            captures.iter().map(|group| group.map_or(Value::Null, |group| json!(group.as_str()))).collect()
        });
        Ok(Value::Array(captures.unwrap_or_default()))
    },
);

fn pattern(args: &Args) -> Result<Regex> {
    Regex::new(args.text("pattern")).map_err(|error| Error::invalid(format!("the pattern is wrong: {error}")))
}

static LINES: Binding = Binding::pure(
    "text::lines",
    "The lines of a text.

```rhai
text::lines(\"a\\nb\") //=> [\"a\", \"b\"]
```",
    &[TEXT],
    "list of texts",
    |args| Ok(args.text("text").lines().map(Value::from).collect()),
);

static INDENT: Binding = Binding::pure(
    "text::indent",
    "A text with every line that is not empty moved to the right.

```rhai
text::indent(\"a\\nb\", 2) //=> \"  a\\n  b\"
```",
    &[TEXT, Param::new("columns", Ty::Int, "0 to 200")],
    "text",
    |args| {
        let columns =
            args.int("columns").and_then(|columns| usize::try_from(columns).ok()).filter(|columns| *columns <= 200);
        let pad = " ".repeat(columns.ok_or_else(|| Error::invalid("`columns` is a number from 0 to 200"))?);
        let indented: Vec<String> = args
            .text("text")
            .split('\n')
            .map(|line| if line.is_empty() { String::new() } else { format!("{pad}{line}") })
            .collect();
        Ok(json!(indented.join("\n")))
    },
);

static NEAREST: Binding = Binding::pure(
    "text::nearest",
    "The one of these texts that a mistyped one was probably meant to be, or `()` where none is near.

```rhai
text::nearest(\"pord\", [\"prod\", \"test\"]) //=> \"prod\"
text::nearest(\"other\", [\"prod\", \"test\"]) //=> ()
text::nearest(1, []) //=> error: invalid
```",
    &[TEXT, Param::new("candidates", Ty::List, "texts")],
    "text or `()`",
    |args| {
        let candidates = args.list("candidates").iter().filter_map(Value::as_str);
        Ok(crate::error::suggest(args.text("text"), candidates).map_or(Value::Null, Value::from))
    },
);

static DIFF: Binding = Binding::pure(
    "diff::text",
    "The difference of two texts, line by line, as `diff -u` shows it; empty where they are the same.

```rhai
diff::text(\"a\", \"a\") //=> \"\"
```",
    &[Param::new("old", Ty::Text, "before"), Param::new("new", Ty::Text, "after")],
    "text",
    |args| {
        let diff = similar::TextDiff::from_lines(args.text("old"), args.text("new"));
        Ok(json!(diff.unified_diff().context_radius(3).to_string()))
    },
);

static QUANTITY: Binding = Binding::pure(
    "quantity::parse",
    "A Kubernetes quantity as a number of its base unit.

```rhai
quantity::parse(\"500m\") //=> 0.5
quantity::parse(\"2 gigabytes\") //=> error: invalid
```",
    &[TEXT],
    "float",
    |args| crate::value::parse_quantity(args.text("text")).map(|number| json!(number)),
);

static URL_ENCODE: Binding = Binding::pure(
    "url::encode",
    "A text with everything but letters, digits and `-._~` percent-encoded.

```rhai
url::encode(\"a b/c\") //=> \"a%20b%2Fc\"
```",
    &[TEXT],
    "text",
    |args| Ok(json!(utf8_percent_encode(args.text("text"), &UNRESERVED).to_string())),
);

static URL_DECODE: Binding = Binding::pure(
    "url::decode",
    "The text that a percent-encoded text stands for, as IAM answers policy documents.

```rhai
url::decode(\"a%20b\") //=> \"a b\"
url::decode(\"%ff\") //=> error: invalid
```",
    &[TEXT],
    "text",
    |args| {
        let decoded = percent_decode_str(args.text("text")).decode_utf8();
        decoded.map(|text| json!(text)).map_err(|_| Error::invalid("what the text stands for is not UTF-8"))
    },
);

/// What RFC 3986 leaves as it is.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
