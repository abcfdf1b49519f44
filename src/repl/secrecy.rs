//! Whether a line writes a secret out. Such a line is not kept; one too many that is not kept does no harm.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::bindings;
use crate::catalog::Effect;
use crate::engine::tokens::{Kind, Token, depth_after, tokens};

/// A name with one of these in it, whatever its case and its underscores, is that of a secret.
const PARTS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "accesskey",
    "authorization",
    "credential",
];

/// How texts begin that are secrets whatever they are called: tokens of EKS, JSON web tokens, and those of GitHub and
/// Slack.
const BEGINNINGS: [&str; 6] = ["k8s-aws-v1.", "eyJ", "ghp_", "github_pat_", "xoxb-", "xoxp-"];

/// Whether a line writes a secret out: under a name that says so, to a field that AWS's models mark, into a Secret of
/// Kubernetes, or as a text that can not be anything else.
pub fn has_secret(line: &str) -> bool {
    let all: Vec<Token> = tokens(line);
    let code: Vec<&Token> = all.iter().filter(|token| !matches!(token.kind, Kind::Comment { .. })).collect();
    let reader = Reader { line, sensitive: sensitive_here(line, &code), code };
    let spoken = all.iter().filter(|token| matches!(token.kind, Kind::Text { .. } | Kind::Comment { .. }));
    spoken.map(|token| token.text(line)).any(gives_away)
        || (0..reader.code.len()).any(|index| reader.names_secret(index) || reader.writes_secret(index))
}

/// The code of a line, comments left out.
struct Reader<'l> {
    line: &'l str,
    code: Vec<&'l Token>,
    sensitive: BTreeSet<&'static str>,
}

impl<'l> Reader<'l> {
    fn text(&self, index: usize) -> &'l str {
        self.code.get(index).map_or("", |token| token.text(self.line))
    }

    fn said(&self, index: usize) -> Option<&'l str> {
        self.code.get(index)?.said(self.line)
    }

    fn is_text(&self, index: usize) -> bool {
        self.code.get(index).is_some_and(|token| matches!(token.kind, Kind::Text { .. }))
    }

    /// A key or a variable with a secret's name here, and a text on its right-hand side.
    fn names_secret(&self, index: usize) -> bool {
        if !self.is_text(index) && self.code[index].kind != Kind::Word {
            return false;
        }
        let name = self.said(index).unwrap_or_else(|| self.text(index));
        let is_secret = self.sensitive.contains(name) || is_secret_name(name);
        let behind = match self.text(index + 1) {
            ":" | "=" | "+=" => index + 2,
            // `map["password"] = …`
            "]" if matches!(self.text(index + 2), "=" | "+=") => index + 3,
            // `map.set("password", …)`
            "," if self.is_text(index) && self.text(index.saturating_sub(2)) == "set" => index + 2,
            _ => return false,
        };
        name == "stringData" || is_secret && self.holds_text(behind)
    }

    /// Whether a text stands from here to the end of the value; names of what is read do not count.
    fn holds_text(&self, from: usize) -> bool {
        let (mut index, mut depth) = (from, 0);
        while let Some(token) = self.code.get(index) {
            if depth == 0 && matches!(self.text(index), "," | ";" | ")" | "]" | "}") {
                return false;
            }
            if self.is_text(index) {
                return true;
            }
            match self.reads(index) {
                Some(behind) => index = behind,
                None => {
                    depth = depth_after(depth, token, self.line);
                    index += 1;
                }
            }
        }
        false
    }

    /// Where a call here only reads the cloud: what stands behind its parentheses.
    fn reads(&self, index: usize) -> Option<usize> {
        if self.text(index + 1) != "::" || self.text(index + 3) != "(" {
            return None;
        }
        let (namespace, name) = (self.text(index), self.text(index + 2));
        let operation = aws_dynamic::operation(namespace, name);
        let binding = bindings::all().find(|binding| binding.name == format!("{namespace}::{name}"));
        let reads = operation.is_some_and(|operation| operation.effect == aws_dynamic::Effect::Read)
            || binding.is_some_and(|binding| binding.effect == Effect::Read);
        if !reads {
            return None;
        }
        let (mut at, mut depth) = (index + 4, 1);
        while depth > 0 {
            depth = depth_after(depth, self.code.get(at)?, self.line);
            at += 1;
        }
        Some(at)
    }

    /// An object of kind `Secret`, or a write to one: `kube::patch("secrets", "db", #{ … })`.
    fn writes_secret(&self, index: usize) -> bool {
        let name = self.said(index).unwrap_or_else(|| self.text(index));
        if name == "kind" && matches!(self.text(index + 1), ":" | "=") && self.said(index + 2) == Some("Secret") {
            return true;
        }
        let mut writing = bindings::kube::ALL.iter().filter(|binding| binding.effect == Effect::Mutate);
        let is_write = index > 0
            && matches!(self.text(index - 1), "::" | "." | "?.")
            && self.text(index + 1) == "("
            && writing.any(|binding| binding.short_name() == name && binding.short_name() != "delete");
        is_write && self.said(index + 2).is_some_and(|kind| kind.to_lowercase().contains("secret"))
    }
}

/// Case and underscores make no difference to what a name says. What makes a request recognisable is called a token as
/// well.
fn is_secret_name(name: &str) -> bool {
    let folded: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    PARTS.iter().any(|part| folded.contains(part)) && !plain_tokens().contains(folded.as_str())
}

/// The tokens of AWS that are no secrets, folded: those of pages, and those that make a request recognisable.
fn plain_tokens() -> &'static BTreeSet<String> {
    static TOKENS: OnceLock<BTreeSet<String>> = OnceLock::new();
    TOKENS.get_or_init(|| {
        let operations = aws_dynamic::services().iter().flat_map(|service| service.operations);
        let tokens = operations.filter_map(|operation| operation.token).chain(["next_token"]);
        tokens.map(|name| name.replace('_', "").to_lowercase()).collect()
    })
}

/// Whether the words of a text or a comment are a secret: a key, a token, an object of kind `Secret`, or `password=…`.
fn gives_away(text: &str) -> bool {
    let words = |letter: char| letter.is_whitespace() || "\"'`,;()<>=".contains(letter);
    let is_token = |word: &str| {
        let begins = BEGINNINGS.iter().any(|beginning| word.starts_with(beginning));
        is_access_key(word) || begins && word.len() >= 20
    };
    let bare: String = text.chars().filter(|letter| !letter.is_whitespace() && !"\"'\\".contains(*letter)).collect();
    let folded = bare.to_lowercase();
    text.split(words).any(is_token)
        || text.contains("-----BEGIN") && text.contains("KEY")
        || has_bearer(text)
        || folded.contains("kind:secret") && !folded.contains("kind:secretp")
        || folded.contains("stringdata:")
        || has_pair(text)
}

/// `Bearer abc`
fn has_bearer(text: &str) -> bool {
    let lower = text.to_lowercase();
    let words = lower.split(|letter: char| letter.is_whitespace() || "\"'`:=".contains(letter));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.windows(2).any(|pair| pair[0] == "bearer" && pair[1].len() >= 6)
}

/// `password=hunter2` or `"token": "abc"` inside of a text or a comment.
fn has_pair(text: &str) -> bool {
    let is_name = |letter: char| letter.is_alphanumeric() || "_-".contains(letter);
    text.match_indices([':', '=']).any(|(at, sign)| {
        let before = text[..at].trim_end_matches(['"', '\'', '\\', ' ']);
        let name = before.rsplit(|letter| !is_name(letter)).next().unwrap_or_default();
        let value = text[at + sign.len()..].trim_start_matches(['"', '\'', '\\', ' ']);
        let written = value.split(|letter: char| letter.is_whitespace() || "\"'`,;)}".contains(letter)).next();
        is_secret_name(name)
            && written.is_some_and(|value| !value.is_empty() && !value.starts_with([':', '=', '$', '{']))
    })
}

fn is_access_key(text: &str) -> bool {
    (text.starts_with("AKIA") || text.starts_with("ASIA")) && text.len() == 20
        || text.len() == 40
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "+/".contains(letter))
            && text.chars().any(|letter| letter.is_ascii_uppercase())
            && text.chars().any(|letter| letter.is_ascii_digit())
}

/// The names that AWS's models mark: those that are marked wherever there is such a field, and those of the operations
/// that the line calls. `value` is one of `ssm::put_parameter`, and of no tag.
fn sensitive_here(line: &str, code: &[&Token]) -> BTreeSet<&'static str> {
    let called = code.windows(3).filter_map(|three| {
        let [service, colons, operation] = three else { return None };
        (colons.text(line) == "::").then(|| aws_dynamic::operation(service.text(line), operation.text(line)))?
    });
    let mut found = fields_of(called.map(|operation| operation.input).collect()).0;
    found.extend(sensitive_fields());
    found
}

fn sensitive_fields() -> &'static BTreeSet<&'static str> {
    static FIELDS: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    FIELDS.get_or_init(|| {
        let operations = aws_dynamic::services().iter().flat_map(|service| service.operations);
        let (mut sensitive, plain) = fields_of(operations.map(|operation| operation.input).collect());
        sensitive.retain(|name| !plain.contains(name));
        sensitive
    })
}

/// The names of fields at any depth: the sensitive ones, and the others.
fn fields_of(mut open: Vec<&'static aws_dynamic::Struct>) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let (mut sensitive, mut plain, mut seen) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    while let Some(shape) = open.pop() {
        if !seen.insert(std::ptr::from_ref(shape) as usize) {
            continue;
        }
        for field in shape.fields {
            if field.sensitive {
                sensitive.insert(field.name)
            } else {
                plain.insert(field.name)
            };
            open.extend(struct_of(&field.ty));
        }
    }
    (sensitive, plain)
}

fn struct_of(ty: &aws_dynamic::Type) -> Option<&'static aws_dynamic::Struct> {
    match ty {
        aws_dynamic::Type::Struct(shape) | aws_dynamic::Type::Events(shape) => Some(shape),
        aws_dynamic::Type::List(item) | aws_dynamic::Type::Map(item) => struct_of(item),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_secrets_are_told_from_others() {
        for line in [
            "let password = \"hunter2\";",
            "let db_password = \"hunter2-A\";",
            "let clientSecret = \"abc\";",
            "const API_KEY = `abc`;",
            "password += \"more\";",
            "m[\"password\"] = \"hunter2\";",
            "m.Password = text::base64_encode(\"hunter2\");",
            "m.set(\"password\", \"hunter2\")",
            "let password = text::base64_encode(\"hunter2\");",
            "let passwords = [1, \"hunter2\"];",
            "f(#{ Authorization: \"Basic abc\" })",
            "f(#{ headers: [\"Authorization: Bearer abcdef\"] })",
            "f(\"Bearer abcdef\")",
            "let k = \"-----BEGIN PRIVATE KEY-----\\nabc\";",
            "run(\"mysql --password=hunter2\")",
            "// the password: hunter2",
            "yaml::parse(`kind: Secret\ndata: {}`)",
            "let k = `{\"token\": \"abc\"}`;",
            "let k = \"k8s-aws-v1.aHR0cHM6Ly9zdHMudXM\";",
            "kube::patch(\"secrets\", \"db\", #{ data: #{ a: \"b\" } })",
            "prod.patch(\"Secret\", \"db\", change)",
            "ssm::put_parameter(#{ name: \"n\", value: \"hunter2\" })",
            "kube::apply(#{ apiVersion: \"v1\", kind: \"Secret\", metadata: #{ name: \"x\" } })",
            "#{ stringData: data }",
            "\"AKIAIOSFODNN7EXAMPLE\"",
            "f(\"wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYab\")",
        ] {
            assert!(has_secret(line), "{line}");
        }
        for line in [
            "eks::describe_cluster(\"prod\")",
            "let token = next_token;",
            "let token = eks::describe_cluster(\"prod\").cluster.arn;",
            "let secrets = kube::list(\"secrets\");",
            "kube::list(\"secrets\")",
            "kube::delete(\"secrets\", \"db\")",
            "eks::create_addon(#{ cluster_name: \"a\", addon_name: \"b\", client_request_token: \"once\" })",
            "eks::tag_resource(#{ name: \"a\", key: \"b\", id: \"c\", description: \"d\", version: \"1.33\", arn: \"e\" })",
            "ec2::describe_instances(#{ instance_ids: [\"i-0123456789abcdef0\"] })",
            "print(`the token of ${name} is ${token}`)",
            "log::info(\"a bearer of news\")",
        ] {
            assert!(!has_secret(line), "{line}");
        }
    }
}
