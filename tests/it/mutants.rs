//! Mutants: one small mistake each, of the kinds that people make, put into our own scripts.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use aws_dynamic::{Operation, Struct, Type};
use regex::Regex;

/// A script with one mistake.
pub struct Mutant {
    /// What was done.
    pub operator: &'static str,
    /// The script that it was done to.
    pub source: String,
    /// The text with the mistake.
    pub text: String,
    /// The rules that may find it.
    pub rules: &'static [&'static str],
    /// The lines on which they may do so.
    pub lines: RangeInclusive<usize>,
    /// For the report.
    pub what: String,
}

struct Maker<'a> {
    source: &'a str,
    text: &'a str,
    /// The text with blanks for comments and for what stands in texts; as long as the text.
    code: String,
    made: Vec<Mutant>,
}

/// All mutants of a script. `mutating`: names of the functions that change the cloud.
pub fn of(source: &str, text: &str, mutating: &BTreeSet<String>) -> Vec<Mutant> {
    let mut maker = Maker { source, text, code: mask(text), made: Vec::new() };
    maker.names();
    maker.variables();
    maker.arities();
    maker.imports();
    maker.operations();
    maker.options();
    maker.inputs();
    maker.steps(mutating);
    maker.made
}

/// Blanks for everything that is no code.
fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => text[at..].find('\n').map_or(bytes.len(), |end| at + end),
            quote @ (b'"' | b'`') => {
                let mut end = at + 1;
                while end < bytes.len() && bytes[end] != quote {
                    end += if bytes[end] == b'\\' && quote == b'"' { 2 } else { 1 };
                }
                let end = end.min(bytes.len());
                out[at + 1..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
                at = end + 1;
                continue;
            }
            _ => {
                at += 1;
                continue;
            }
        };
        out[at..end].iter_mut().for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8_lossy(&out).replace(|letter: char| !letter.is_ascii(), " ")
}

impl Maker<'_> {
    /// Puts `new` in place of the bytes of a range.
    fn put(
        &mut self,
        operator: &'static str,
        rules: &'static [&'static str],
        from: usize,
        to: usize,
        new: &str,
        reach: usize,
    ) {
        let text = format!("{}{new}{}", &self.text[..from], &self.text[to..]);
        let line = self.text[..from].matches('\n').count() + 1;
        let what = format!("{}:{line}: `{}` → `{new}`", self.source, &self.text[from..to]);
        let lines = line.saturating_sub(reach)..=line + reach;
        self.made.push(Mutant { operator, source: self.source.to_owned(), text, rules, lines, what });
    }

    fn all(&self, pattern: &str) -> Vec<Vec<(usize, usize)>> {
        let pattern = Regex::new(pattern).unwrap();
        let groups = |found: regex::Captures<'_>| {
            found.iter().map(|group| group.map_or((0, 0), |group| (group.start(), group.end()))).collect()
        };
        pattern.captures_iter(&self.code).map(groups).collect()
    }

    fn names(&mut self) {
        for found in self.all(r"\b([a-z_][a-z0-9_]*)::([a-z_][a-z0-9_]*)\(") {
            let (from, to) = found[2];
            let new = misspelt(&self.text[from..to]);
            self.put("misspelt function", &["unknown_function"], from, to, &new, 0);
            let (from, to) = found[1];
            let new = misspelt(&self.text[from..to]);
            self.put("misspelt module", &["unknown_module"], from, to, &new, 0);
        }
        let own: BTreeSet<String> =
            self.all(r"\bfn ([a-z_0-9]+)\(").iter().map(|found| self.text[found[1].0..found[1].1].to_owned()).collect();
        for found in self.all(r"(fn |[:.\w])?\b([a-z_][a-z0-9_]*)\(") {
            let (from, to) = found[2];
            if found[1] == (0, 0) && own.contains(&self.text[from..to]) {
                let new = misspelt(&self.text[from..to]);
                self.put("misspelt own function", &["unknown_function"], from, to, &new, 0);
            }
        }
        for found in self.all(r"[^.]\.([a-z_][a-z0-9_]*)\(") {
            let (from, to) = found[1];
            let new = misspelt(&self.text[from..to]);
            self.put("misspelt method", &["unknown_method"], from, to, &new, 0);
        }
    }

    fn variables(&mut self) {
        let declared: BTreeSet<String> =
            self.all(r"\blet ([a-z_0-9]+)").iter().map(|found| self.text[found[1].0..found[1].1].to_owned()).collect();
        for found in self.all(r"(let |const |fn |as |for |\.|::|\w|\|)?\b([a-z_][a-z0-9_]*)\b(\s*:|\s*\(|\||, [a-z_]+\|| =[^=]|, [a-z]+\) in| in )?") {
            let (from, to) = found[2];
            let line = &self.code[self.code[..from].rfind('\n').map_or(0, |end| end + 1)..from];
            let is_parameter = line.contains("fn ") && !line.contains('{');
            let free = found[1] == (0, 0) && found[3] == (0, 0) && !is_parameter;
            if free && declared.contains(&self.text[from..to]) {
                let new = misspelt(&self.text[from..to]);
                self.put("misspelt variable", &["unknown_variable"], from, to, &new, 0);
            }
        }
    }

    fn arities(&mut self) {
        for found in self.all(r"\b[a-z_][a-z0-9_]*::[a-z_][a-z0-9_]*\((\))?") {
            let end = found[0].1;
            let (at, new) = if found[1] == (0, 0) { (end, "1, 2, 3, ") } else { (end - 1, "1, 2, 3, 4") };
            self.put("wrong arity", &["wrong_arity"], at, at, new, 0);
        }
    }

    fn imports(&mut self) {
        for found in self.all(r#"\bimport "( *)""#) {
            let (from, to) = found[1];
            let new = misspelt(&self.text[from..to]);
            self.put("misspelt import", &["unresolved_import"], from, to, &new, 0);
        }
    }

    /// The end of what begins with an opening bracket.
    fn closed(&self, open: usize) -> usize {
        let mut depth = 0;
        for (index, byte) in self.code.bytes().enumerate().skip(open) {
            match byte {
                b'{' | b'(' | b'[' => depth += 1,
                b'}' | b')' | b']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return index;
            }
        }
        self.code.len()
    }

    /// Keys of the map that opens here, each with its place and that of its value.
    fn keys(&self, open: usize) -> Vec<((usize, usize), (usize, usize))> {
        let end = self.closed(open);
        let key = Regex::new(r"^\s*([a-z_][a-z0-9_]*)\s*:\s*").unwrap();
        let mut found = Vec::new();
        let mut at = open + 1;
        while at < end {
            let mut stop = at;
            while stop < end && self.code.as_bytes()[stop] != b',' {
                stop = match self.code.as_bytes()[stop] {
                    b'{' | b'(' | b'[' => self.closed(stop) + 1,
                    _ => stop + 1,
                };
            }
            if let Some(group) = key.captures(&self.code[at..stop]) {
                let name = group.get(1).unwrap();
                found.push(((at + name.start(), at + name.end()), (at + group.get(0).unwrap().end(), stop)));
            }
            at = stop + 1;
        }
        found
    }

    fn operations(&mut self) {
        for found in self.all(r"\b([a-z0-9]+)::([a-z_0-9]+)\(#\{") {
            let name = |index: usize| &self.text[found[index].0..found[index].1];
            let Some(operation) = aws_dynamic::operation(name(1), name(2)) else { continue };
            let open = found[0].1 - 1;
            self.required(operation, open);
            self.fields(operation.input, open);
        }
    }

    fn required(&mut self, operation: &Operation, open: usize) {
        let required: BTreeSet<&str> = operation.required().map(|field| field.name).collect();
        for (key, value) in self.keys(open) {
            if required.contains(&self.text[key.0..key.1]) {
                let end = if self.code.as_bytes().get(value.1) == Some(&b',') { value.1 + 1 } else { value.1 };
                self.put("dropped required field", &["missing_field"], key.0, end, "", 12);
            }
        }
    }

    fn fields(&mut self, shape: &'static Struct, open: usize) {
        for (key, value) in self.keys(open) {
            let name = self.text[key.0..key.1].to_owned();
            let Some(field) = shape.field(&name) else { continue };
            self.put("misspelt field", &["unknown_field"], key.0, key.1, &misspelt(&name), 0);
            let begin = self.code[value.0..value.1].trim_end();
            let is_text = begin.starts_with('"') && begin.ends_with('"') && begin.matches('"').count() == 2;
            let end = value.0 + begin.len();
            match field.ty {
                Type::Enum(_) if is_text => {
                    let new = misspelt(&self.text[value.0 + 1..end - 1]);
                    self.put("misspelt enum value", &["wrong_value"], value.0 + 1, end - 1, &new, 0);
                    self.put("wrong type", &["wrong_type"], value.0, end, "7", 0);
                }
                Type::String if is_text => self.put("wrong type", &["wrong_type"], value.0, end, "7", 0),
                Type::Boolean if matches!(begin, "true" | "false") => {
                    self.put("wrong type", &["wrong_type"], value.0, end, "\"yes\"", 0);
                }
                Type::Struct(inner) if begin.starts_with("#{") => self.fields(inner, value.0 + 1),
                Type::List(Type::Struct(inner)) if begin.starts_with("[#{") => self.fields(inner, value.0 + 2),
                _ => {}
            }
        }
    }

    /// Keys of literal maps that bindings and stdlib take.
    fn options(&mut self) {
        let calls = self.all(r"\b((?:kube|aws|vpc|cluster|nodegroup|workers|addon|auth)::[a-z_0-9]+|retry|wait_until)\((?:[^()#]*, )?#\{");
        for found in calls {
            let name = self.text[found[1].0..found[1].1].to_owned();
            let takes_any =
                ["kube::apply", "kube::create", "kube::update", "kube::patch", "kube::field", "aws::default_tags"];
            if takes_any.contains(&name.as_str()) || !takes_known_inputs(&name) {
                continue;
            }
            for (key, _) in self.keys(found[0].1 - 1) {
                let new = misspelt(&self.text[key.0..key.1]);
                self.put("misspelt option", &["unknown_option"], key.0, key.1, &new, 0);
            }
        }
    }

    fn inputs(&mut self) {
        if !self.code.contains("params(") {
            return;
        }
        for found in self.all(r"\bcfg\.([a-z_0-9]+)") {
            let (from, to) = found[1];
            let new = misspelt(&self.text[from..to]);
            self.put("misspelt input", &["unknown_input"], from, to, &new, 0);
        }
    }

    fn steps(&mut self, mutating: &BTreeSet<String>) {
        let call = Regex::new(r"\b[a-z_0-9]+::[a-z_0-9]+").unwrap();
        let outer: Vec<(usize, String)> = self
            .all(r"(?m)^let ([a-z_0-9]+)")
            .iter()
            .map(|found| (found[0].0, self.text[found[1].0..found[1].1].to_owned()))
            .collect();
        for found in self.all(r#"(?m)^[^\n]*?(step " *" )\{"#) {
            let (from, to) = found[1];
            let open = found[0].1 - 1;
            let end = self.closed(open);
            let changes = call.find_iter(&self.code[open..end]).any(|name| mutating.contains(name.as_str()));
            if changes {
                self.put("moved mutation", &["mutation_outside_step"], from, to, "", 30);
            }
            // A variable that is there before the step.
            if let Some((_, outer)) = outer.iter().find(|(place, _)| *place < found[0].0) {
                let new = format!(" {outer} = 1;");
                self.put("assignment in a step", &["step_assignment"], open + 1, open + 1, &new, 0);
            }
            self.put("return in a step", &["step_exit"], open + 1, open + 1, " if true { return 1; }", 0);
        }
    }
}

/// Functions of stdlib whose literal inputs are known: those that begin with `inputs::take`.
fn takes_known_inputs(name: &str) -> bool {
    let Some((module, function)) = name.split_once("::") else { return true };
    if matches!(module, "kube" | "aws") {
        return true;
    }
    let text = ekskit::engine::import::embedded(module).unwrap_or_default();
    let begin = Regex::new(&format!(r"(?m)^fn {function}\([^)]*\) \{{\s*let [a-z_]+ = inputs::take\(")).unwrap();
    begin.is_match(text)
}

/// A word with two letters changed places, or with one more where that changes nothing.
fn misspelt(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let middle = letters.len() / 2;
    if letters.len() > 3 && letters[middle] != letters[middle - 1] {
        letters.swap(middle, middle - 1);
    } else {
        letters.push('q');
    }
    letters.into_iter().collect()
}
