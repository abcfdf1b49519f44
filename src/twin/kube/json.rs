//! JSON as the API server reads it: letters that are none are replaced, and what is wrong is told in its words.

use std::borrow::Cow;

use serde_json::Value;

/// How deep lists and maps may lie in each other here.
pub const NESTED_MAX: usize = 127;

/// Whether a value lies at most so many lists and maps deep.
pub fn is_nested_at_most(value: &Value, levels: usize) -> bool {
    let Some(inner) = levels.checked_sub(1) else { return !value.is_object() && !value.is_array() };
    match value {
        Value::Object(map) => map.values().all(|value| is_nested_at_most(value, inner)),
        Value::Array(items) => items.iter().all(|item| is_nested_at_most(item, inner)),
        _ => true,
    }
}

/// Bytes of a value as JSON. Custom objects are stored so; others are a little smaller in etcd.
pub fn written_len(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Nothing that is counted can fail to be written.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// How deep the server lets lists and maps lie in each other.
const DEPTH_MAX: usize = 10_000;

const TOO_DEEP: &str = "exceeded max depth";

/// Reads a text; what is wrong with it. Deeper than 127 levels is too deep here already.
pub fn read(text: &[u8]) -> Result<Value, String> {
    if let Some(fault) = Scan::fault(text) {
        return Err(fault);
    }
    serde_json::from_str(&mended(text)).map_err(|error| match error.to_string() {
        why if why.starts_with("recursion limit") => TOO_DEEP.to_owned(),
        why => why,
    })
}

/// With U+FFFD in the place of every byte that is no UTF-8, and of every half of a pair of surrogates.
fn mended(text: &[u8]) -> Cow<'_, str> {
    let text = match std::str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(lettered(text)),
    };
    if text.contains("\\ud") || text.contains("\\uD") { Cow::Owned(paired(&text)) } else { text }
}

/// A text of which some bytes may be no letters, with U+FFFD in the place of those.
pub fn lettered(text: &[u8]) -> String {
    let mut letters = String::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        letters.push_str(chunk.valid());
        letters.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    letters
}

/// Replaces escapes of surrogates that stand alone.
fn paired(text: &str) -> String {
    let mut paired = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        paired.push_str(before);
        let taken = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => {
                paired.push_str("\\ufffd");
                rest = &escape[6..];
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        let (escape, after) = escape.split_at_checked(taken).unwrap_or((escape, ""));
        paired.push_str(escape);
        rest = after;
    }
    paired.push_str(rest);
    paired
}

/// The number of an escape `\u1234` that a text starts with.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// What stands around the place where a scan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    List,
    Map,
}

/// A pass over a text, which knows JSON and no values.
struct Scan<'a> {
    rest: std::iter::Peekable<std::slice::Iter<'a, u8>>,
    around: Vec<Around>,
}

/// Why a scan ended early.
enum Fault {
    /// The text is over.
    End,
    /// A byte that can not stand there.
    Byte(u8, Cow<'static, str>),
}

type Scanned = Result<(), Fault>;

const VALUE: &str = "looking for beginning of value";
const KEY: &str = "looking for beginning of object key string";

impl Scan<'_> {
    /// What is wrong with a text.
    fn fault(text: &[u8]) -> Option<String> {
        let mut scan = Scan { rest: text.iter().peekable(), around: Vec::new() };
        match scan.document() {
            Ok(()) => None,
            Err(Fault::End) => Some("unexpected end of JSON input".to_owned()),
            Err(Fault::Byte(byte, place)) => Some(format!("invalid character {} {place}", quoted(byte))),
        }
    }

    fn document(&mut self) -> Scanned {
        let mut byte = self.solid()?;
        loop {
            // Here a value begins; empty lists and maps are over at once.
            let is_whole = match byte {
                b'{' => self.enter(Around::Map, b'}')?,
                b'[' => self.enter(Around::List, b']')?,
                byte => {
                    self.plain(byte)?;
                    true
                }
            };
            if !is_whole || self.leave()? {
                byte = self.solid()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Begins a list or a map; whether it is over already. The key of a first entry is read.
    fn enter(&mut self, around: Around, end: u8) -> Result<bool, Fault> {
        if self.around.len() >= DEPTH_MAX {
            let begin = if around == Around::Map { b'{' } else { b'[' };
            return Err(Fault::Byte(begin, TOO_DEEP.into()));
        }
        self.spaces();
        if self.rest.next_if(|byte| **byte == end).is_some() {
            return Ok(true);
        }
        self.around.push(around);
        if around == Around::Map {
            self.key()?;
        }
        Ok(false)
    }

    /// What may follow a value; whether another value does.
    fn leave(&mut self) -> Result<bool, Fault> {
        loop {
            self.spaces();
            let Some(around) = self.around.last().copied() else {
                return match self.rest.next() {
                    None => Ok(false),
                    Some(byte) => Err(Fault::Byte(*byte, "after top-level value".into())),
                };
            };
            match (self.next()?, around) {
                (b',', Around::List) => return Ok(true),
                (b',', Around::Map) => {
                    self.spaces();
                    self.key()?;
                    return Ok(true);
                }
                (b']', Around::List) | (b'}', Around::Map) => {
                    self.around.pop();
                }
                (byte, Around::List) => return Err(Fault::Byte(byte, "after array element".into())),
                (byte, Around::Map) => return Err(Fault::Byte(byte, "after object key:value pair".into())),
            }
        }
    }

    fn key(&mut self) -> Scanned {
        match self.next()? {
            b'"' => self.string()?,
            byte => return Err(Fault::Byte(byte, KEY.into())),
        }
        match self.solid()? {
            b':' => Ok(()),
            byte => Err(Fault::Byte(byte, "after object key".into())),
        }
    }

    /// A value that holds no others.
    fn plain(&mut self, first: u8) -> Scanned {
        match first {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' => match self.inside() {
                digit @ b'0'..=b'9' => self.number(digit),
                byte => Err(Fault::Byte(byte, "in numeric literal".into())),
            },
            b'0'..=b'9' => self.number(first),
            byte => Err(Fault::Byte(byte, VALUE.into())),
        }
    }

    fn literal(&mut self, word: &'static str) -> Scanned {
        for expected in word.bytes().skip(1) {
            let byte = self.inside();
            if byte != expected {
                let place = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(Fault::Byte(byte, place.into()));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Scanned {
        if first != b'0' {
            self.digits();
        }
        if self.rest.next_if(|byte| **byte == b'.').is_some() {
            self.digit("after decimal point in numeric literal")?;
        }
        if self.rest.next_if(|byte| matches!(byte, b'e' | b'E')).is_some() {
            let _ = self.rest.next_if(|byte| matches!(byte, b'+' | b'-'));
            self.digit("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digit(&mut self, place: &'static str) -> Scanned {
        let byte = self.inside();
        if !byte.is_ascii_digit() {
            return Err(Fault::Byte(byte, place.into()));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.rest.next_if(|byte| byte.is_ascii_digit()).is_some() {}
    }

    fn string(&mut self) -> Scanned {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                byte @ ..b' ' => return Err(Fault::Byte(byte, "in string literal".into())),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Scanned {
        match self.inside() {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    let byte = self.inside();
                    if !byte.is_ascii_hexdigit() {
                        return Err(Fault::Byte(byte, "in \\u hexadecimal character escape".into()));
                    }
                }
                Ok(())
            }
            byte => Err(Fault::Byte(byte, "in string escape code".into())),
        }
    }

    /// The next byte inside of a word or number, of which the end is told like a space.
    fn inside(&mut self) -> u8 {
        self.rest.next().copied().unwrap_or(b' ')
    }

    fn next(&mut self) -> Result<u8, Fault> {
        self.rest.next().copied().ok_or(Fault::End)
    }

    /// The next byte that is no space.
    fn solid(&mut self) -> Result<u8, Fault> {
        self.spaces();
        self.next()
    }

    fn spaces(&mut self) {
        while self.rest.next_if(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).is_some() {}
    }
}

/// A byte as Go shows it.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        ..b' ' | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        byte => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_told_as_the_server_does() {
        let character = |found: &str, place: &str| format!("invalid character {found} {place}");
        for (text, fault) in [
            ("{\"a\":[1}", character("'}'", "after array element")),
            ("{\"a\":1,}", character("'}'", "looking for beginning of object key string")),
            ("{\"a\" 1}", character("'1'", "after object key")),
            ("{\"a\":01}", character("'1'", "after object key:value pair")),
            ("[1.]", character("']'", "after decimal point in numeric literal")),
            ("[1e]", character("']'", "in exponent of numeric literal")),
            ("[-x]", character("'x'", "in numeric literal")),
            ("[tru]", character("']'", "in literal true (expecting 'e')")),
            ("[\"\\q\"]", character("'q'", "in string escape code")),
            ("[\"\\u12x4\"]", character("'x'", "in \\u hexadecimal character escape")),
            ("[\"a\nb\"]", character("'\\n'", "in string literal")),
            ("{} x", character("'x'", "after top-level value")),
            ("'a'", character("'\\''", "looking for beginning of value")),
            ("[nul", character("' '", "in literal null (expecting 'l')")),
            ("[1,]", character("']'", "looking for beginning of value")),
            ("\u{feff}{}", character("'ï'", "looking for beginning of value")),
            ("", "unexpected end of JSON input".to_owned()),
            (" {\"a\":[{\"b\":", "unexpected end of JSON input".to_owned()),
        ] {
            assert_eq!(read(text.as_bytes()), Err(fault), "{text}");
        }
        for (deep, fault) in [(128, TOO_DEEP.to_owned()), (DEPTH_MAX + 1, character("'['", TOO_DEEP))] {
            let text = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
            assert_eq!(read(text.as_bytes()), Err(fault));
        }
    }

    #[test]
    fn letters_that_are_none_are_replaced() {
        for (text, letters) in [
            (&b"\"a\xffb\xe2\x82\""[..], "a\u{fffd}b\u{fffd}\u{fffd}"),
            (br#""a\ud800b\udc00""#, "a\u{fffd}b\u{fffd}"),
            (br#""\ud83d\ude00\uD800\u0041""#, "\u{1f600}\u{fffd}A"),
            (br#""\\ud800""#, "\\ud800"),
        ] {
            assert_eq!(read(text), Ok(json!(letters)));
        }
    }

    /// Every text that one scan takes, the other does too.
    #[test]
    fn what_is_json_is_read() {
        for text in [
            "{}",
            "[]",
            " [ ] ",
            "{\"a\":{\"b\":[1,-0.5e+3,true,null,\"\\u00e9\\n\"]},\"c\":{}}",
            "7",
            "\"\"",
            "[[],{}]",
        ] {
            assert_eq!(read(text.as_bytes()), Ok(serde_json::from_str(text).unwrap()), "{text}");
        }
    }
}
