//! A topic of the reference as a page of text: for the terminal, as wide as it is, with styles where they are wanted.

use super::Effect;
use super::doc::{Entry, FieldDoc, blocks};
use super::markdown;
use super::reference::{FieldTopic, Namespace, Origin, Reference, Topic, fields_of};
use crate::error::count;

/// How a page looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Columns; nothing is wrapped to fewer than 20.
    pub width: usize,
    /// Whether there are escape codes for colours.
    pub color: bool,
}

/// Enum values are written out up to so many; the page of the field itself has all.
const VALUES_MAX: usize = 12;

/// Names wider than this do not widen the column of names.
const NAME_WIDTH_MAX: usize = 38;

impl Reference {
    /// A topic as text.
    pub fn to_text(&self, topic: &Topic<'_>, look: Look) -> String {
        let mut sheet = Sheet::new(look);
        match topic {
            Topic::Index => self.write_index(&mut sheet),
            Topic::Namespace(namespace, entries) => write_namespace(&mut sheet, namespace, entries),
            Topic::Entry(entry) => write_entry(&mut sheet, entry),
            Topic::Field(entry, topics) => write_fields(&mut sheet, entry, topics),
            Topic::Found(word, entries) => write_found(&mut sheet, word, entries),
        }
        sheet.text
    }

    /// A topic as Markdown; the index is the whole reference.
    pub fn to_markdown(&self, topic: &Topic<'_>) -> String {
        markdown::write(self, topic)
    }

    fn write_index(&self, sheet: &mut Sheet) {
        sheet.paragraph(
            0,
            "What scripts can call. `ekskit doc NAMESPACE` lists one namespace, `ekskit doc NAME` explains one name, \
             `ekskit doc --find WORD` searches.",
        );
        let mut origin = None;
        for namespace in self.namespaces() {
            if origin != Some(namespace.origin) {
                origin = Some(namespace.origin);
                sheet.heading(title(namespace.origin));
            }
            if namespace.origin == Origin::Plain {
                let entries = self.members("");
                sheet.rows(entries.iter().map(|entry| (entry.name.as_str(), entry.summary.clone())), 20);
            } else {
                sheet.row(&namespace.name, 24, &about(namespace, self.members(&namespace.name).len()));
            }
        }
    }
}

/// Headings of the index.
pub fn title(origin: Origin) -> &'static str {
    match origin {
        Origin::Plain => "Control",
        Origin::Host => "Bindings",
        Origin::Aws => "AWS: one call each, with AWS's own names",
        Origin::Stdlib => "Standard library: `import \"vpc\" as vpc;`",
        Origin::Project => "Modules of this project",
    }
}

fn about(namespace: &Namespace, members: usize) -> String {
    format!("{} ({})", namespace.about.trim_end_matches('.'), count("name", members))
}

fn write_namespace(sheet: &mut Sheet, namespace: &Namespace, entries: &[&Entry]) {
    sheet.title(&namespace.name, &count("name", entries.len()));
    sheet.paragraph(0, &namespace.about);
    if matches!(namespace.origin, Origin::Stdlib | Origin::Project) {
        sheet.text.push('\n');
        sheet.line(2, &format!("import \"{0}\" as {0};", namespace.name));
    }
    for (effect, heading) in
        [(Effect::Mutate, "Changes the cloud"), (Effect::Read, "Looks"), (Effect::Pure, "Computes")]
    {
        let of_effect: Vec<&&Entry> = entries.iter().filter(|entry| entry.effect == effect).collect();
        if !of_effect.is_empty() {
            sheet.heading(heading);
            sheet.rows(of_effect.iter().map(|entry| (entry.short_name(), entry.summary.clone())), NAME_WIDTH_MAX);
        }
    }
}

fn write_found(sheet: &mut Sheet, word: &str, entries: &[&Entry]) {
    if entries.is_empty() {
        sheet.paragraph(0, &format!("`{word}` stands in no name and no documentation."));
        return;
    }
    sheet.title(word, &count("name", entries.len()));
    sheet.rows(entries.iter().map(|entry| (entry.name.as_str(), entry.summary.clone())), 44);
}

fn write_entry(sheet: &mut Sheet, entry: &Entry) {
    sheet.title(&entry.name, &format!("{}, {}", entry.kind, effect_words(entry.effect)));
    sheet.paragraph(0, &entry.summary);
    sheet.text.push('\n');
    for signature in &entry.signatures {
        sheet.code(2, signature);
    }
    let prose = entry.prose();
    if !prose.is_empty() {
        sheet.text.push('\n');
        sheet.markdown(&prose);
    }
    write_input(sheet, entry);
    if let Some(operation) = entry.operation.filter(|operation| !operation.output.fields.is_empty()) {
        sheet.heading("Answer");
        sheet.fields(&fields_of(operation.output));
    }
    let examples = blocks(&entry.doc);
    if !examples.is_empty() {
        sheet.heading("Examples");
        for (index, block) in examples.iter().enumerate() {
            if index > 0 {
                sheet.text.push('\n');
            }
            for line in block.lines() {
                sheet.code(2, line);
            }
        }
    }
    write_facts(sheet, entry);
}

fn write_input(sheet: &mut Sheet, entry: &Entry) {
    let (keys, parameters): (Vec<&FieldDoc>, Vec<&FieldDoc>) = entry.fields.iter().partition(|field| field.is_key);
    // A parameter of which nothing is known stands in the signature already.
    if parameters.iter().any(|field| !field.doc.is_empty()) {
        sheet.heading("Parameters");
        sheet.fields(&parameters.into_iter().cloned().collect::<Vec<_>>());
    }
    if !keys.is_empty() {
        sheet.heading(if entry.kind == "binding" && entry.waiter.is_none() { "Options" } else { "Input" });
        sheet.fields(&keys.into_iter().cloned().collect::<Vec<_>>());
    }
}

/// Effect, permissions, pages and the like, each in a line.
fn write_facts(sheet: &mut Sheet, entry: &Entry) {
    sheet.heading("Facts");
    for (name, text) in facts(entry) {
        sheet.row(name, 12, &text);
    }
}

/// What there is to say about an entry besides its doc: `("effect", "changes the cloud")`, …
pub fn facts(entry: &Entry) -> Vec<(&'static str, String)> {
    let mut facts = vec![("effect", effect_words(entry.effect).to_owned())];
    if entry.operation.is_none() && !entry.returns.is_empty() {
        facts.push(("returns", entry.returns.clone()));
    }
    if !entry.raises.is_empty() {
        facts.push(("raises", entry.raises.join(", ")));
    }
    if entry.operation.is_some() {
        let actions = match entry.iam_actions.as_slice() {
            [] => "none needed".to_owned(),
            actions => actions.join(", "),
        };
        facts.push(("IAM", actions));
    }
    if let Some(paginator) = &entry.paginator {
        let items = paginator["items"].as_str().map_or_else(String::new, |items| format!("`{items}` "));
        facts.push(("pages", format!("all pages are fetched, {items}in one answer")));
    }
    if let Some(token) = &entry.token {
        facts.push(("token", format!("`{token}` is filled in: a repeated call does nothing twice")));
    }
    if !entry.waiters.is_empty() {
        facts.push(("waiters", entry.waiters.join(", ")));
    }
    if let Some(operation) = entry.waiter.as_ref().and_then(|operation| operation.as_str()) {
        facts.push(("repeats", operation.to_owned()));
    }
    if let Some(source) = &entry.source {
        facts.push(("file", source.clone()));
    }
    facts
}

/// An effect in words.
pub fn effect_words(effect: Effect) -> &'static str {
    match effect {
        Effect::Pure => "computes",
        Effect::Read => "looks",
        Effect::Mutate => "changes the cloud",
    }
}

fn write_fields(sheet: &mut Sheet, entry: &Entry, topics: &[FieldTopic]) {
    for (index, topic) in topics.iter().enumerate() {
        if index > 0 {
            sheet.text.push('\n');
        }
        let side = if topic.in_answer { "answer" } else { "input" };
        sheet.title(&format!("{}.{}", entry.name, topic.path), side);
        if !topic.field.doc.is_empty() {
            sheet.paragraph(0, &topic.field.doc);
            sheet.text.push('\n');
        }
        sheet.paragraph(2, &type_words(&topic.field, usize::MAX, false));
        if !topic.inside.is_empty() {
            sheet.heading("Inside");
            sheet.fields(&topic.inside);
        }
    }
}

/// `text, required: ON_DEMAND, SPOT`.
pub fn type_words(field: &FieldDoc, values_max: usize, with_keys: bool) -> String {
    let mut parts = Vec::new();
    if field.phrase != "any" {
        parts.push(field.phrase.clone());
    }
    if field.required {
        parts.push("required".to_owned());
    }
    if let Some(default) = &field.default {
        parts.push(format!("default {default}"));
    }
    let mut words = if parts.is_empty() { "anything".to_owned() } else { parts.join(", ") };
    match field.values.len() {
        0 => {}
        number if number <= values_max => words.push_str(&format!(": {}", field.values.join(", "))),
        number => words.push_str(&format!(": one of {number} values")),
    }
    if with_keys && !field.keys.is_empty() {
        let keys = if field.keys.len() <= values_max {
            field.keys.join(", ")
        } else {
            format!("{}, …", field.keys[..values_max].join(", "))
        };
        words.push_str(&format!(" #{{ {keys} }}"));
    }
    words
}

/// Text being written to a width.
struct Sheet {
    text: String,
    look: Look,
}

impl Sheet {
    fn new(look: Look) -> Sheet {
        Sheet { text: String::new(), look: Look { width: look.width.max(20), ..look } }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.look.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn title(&mut self, name: &str, what: &str) {
        let line = format!("{}  {}\n\n", self.paint("1;36", name), self.paint("2", &format!("({what})")));
        self.text.push_str(&line);
    }

    fn heading(&mut self, text: &str) {
        let line = format!("\n{}\n", self.paint("1", text));
        self.text.push_str(&line);
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.text.push_str(&format!("{:indent$}{text}\n", ""));
    }

    /// Code is never wrapped: it is there to be copied. What it shows stands back.
    fn code(&mut self, indent: usize, line: &str) {
        match line.split_once("//") {
            Some((code, comment)) => {
                let comment = self.paint("2", &format!("//{comment}"));
                self.line(indent, &format!("{code}{comment}"));
            }
            None => self.line(indent, line),
        }
    }

    fn paragraph(&mut self, indent: usize, text: &str) {
        for line in self.wrapped(indent, text) {
            self.line(indent, &line);
        }
    }

    /// Paragraphs and lists; lines that are indented stay as they are.
    fn markdown(&mut self, text: &str) {
        for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
            let is_verbatim = |line: &str| line.starts_with(' ') || line.starts_with('|') || line.starts_with("* ");
            if paragraph.lines().any(is_verbatim) {
                for line in paragraph.lines() {
                    self.paragraph(line.len() - line.trim_start().len(), line.trim_start());
                }
            } else {
                self.paragraph(0, &paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            self.text.push('\n');
        }
        while self.text.ends_with("\n\n") {
            self.text.pop();
        }
    }

    fn wrapped(&self, indent: usize, text: &str) -> Vec<String> {
        let width = self.look.width.saturating_sub(indent).max(16);
        // A name that is cut in two can not be copied: it may stand out instead.
        let options = textwrap::Options::new(width)
            .break_words(false)
            .word_separator(textwrap::WordSeparator::AsciiSpace)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        textwrap::wrap(text, options).into_iter().map(|line| line.into_owned()).collect()
    }

    /// A name in a column, and text beside it, or below it where the terminal is narrow or the name long.
    fn row(&mut self, name: &str, column: usize, text: &str) {
        let is_narrow = self.look.width < column + 30;
        let indent = if is_narrow { 6 } else { column + 4 };
        let mut lines = self.wrapped(indent, text).into_iter();
        let painted = self.paint("36", name);
        let length = name.chars().count();
        if is_narrow || length > column {
            self.line(2, &painted);
        } else {
            let pad = column + 2 - length;
            let first = lines.next().unwrap_or_default();
            let line = format!("{painted}{:pad$}{first}", "");
            self.line(2, line.trim_end());
        }
        for line in lines {
            self.line(indent, &line);
        }
    }

    fn rows<'a>(&mut self, rows: impl Iterator<Item = (&'a str, String)> + Clone, column_max: usize) {
        let widest = rows.clone().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, text) in rows {
            self.row(name, widest.min(column_max), &text);
        }
    }

    /// Fields: name and type in a line, the doc below.
    fn fields(&mut self, fields: &[FieldDoc]) {
        let widest = fields.iter().map(|field| field.name.chars().count()).max().unwrap_or(0).min(NAME_WIDTH_MAX);
        for field in fields {
            let ty = type_words(field, VALUES_MAX, true);
            let text = if field.doc.is_empty() { ty } else { format!("{ty}\n{}", field.doc) };
            self.row(&field.name, widest, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::aws;

    fn reference() -> Reference {
        let about =
            |name: &str| Namespace { name: name.to_owned(), origin: Origin::Aws, about: "A service".to_owned() };
        Reference::new(vec![about("eks"), about("ec2")], aws::entries().collect())
    }

    fn shown(name: &str, width: usize) -> String {
        let reference = reference();
        let topic = reference.topic(Some(name)).unwrap();
        reference.to_text(&topic, Look { width, color: false })
    }

    #[test]
    fn an_operation_shows_its_fields_values_and_permission() {
        let text = shown("eks::create_nodegroup", 100);
        for wanted in [
            "cluster_name",
            "text, required",
            "CAPACITY_BLOCK, ON_DEMAND, SPOT",
            "eks:CreateNodegroup, iam:PassRole",
            "changes the cloud",
            "#{ min_size, max_size, desired_size }",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
        }
        let text = shown("eks::describe_nodegroup", 100);
        assert!(text.contains("eks::wait_until_nodegroup_active"), "{text}");
    }

    #[test]
    fn a_nested_field_is_reachable_in_input_and_answer() {
        assert!(shown("eks::create_nodegroup.scaling_config", 80).contains("min_size"));
        let both = shown("eks::create_nodegroup.labels", 80);
        assert!(both.contains("(input)"), "{both}");
        assert!(shown("eks::describe_cluster.cluster.resources_vpc_config.vpc_id", 80).contains("(answer)"));
        let error = reference().topic(Some("eks::create_nodegroup.scaling_config.min_sise")).unwrap_err();
        assert_eq!(error.facts().hint.as_deref(), Some("did you mean `min_size`?"));
    }

    #[test]
    fn names_are_found_as_people_type_them() {
        let reference = reference();
        for typed in [
            "eks::create_nodegroup",
            "create_nodegroup",
            "CreateNodegroup",
            "eks::create_nodegroup()",
            "eks.create_nodegroup",
        ] {
            let Topic::Entry(entry) = reference.topic(Some(typed)).unwrap() else { panic!("{typed}") };
            assert_eq!(entry.name, "eks::create_nodegroup");
        }
        assert_eq!(
            reference.topic(Some("create_nodgroup")).unwrap_err().facts().hint.as_deref(),
            Some("did you mean `eks::create_nodegroup`?")
        );
        assert!(reference.topic(Some("delete_tags")).unwrap_err().to_string().contains("several"));
    }

    #[test]
    fn a_search_shows_names_first() {
        let reference = reference();
        let Topic::Found(_, found) = reference.find("nodegroup delete") else { panic!("no search") };
        assert_eq!(found[0].name, "eks::delete_nodegroup");
    }

    #[test]
    fn prose_keeps_to_the_width_and_a_narrow_terminal_is_no_trouble() {
        for width in [20, 60, 100] {
            for line in shown("eks::create_nodegroup", width).lines() {
                let is_prose = line.split_whitespace().all(|word| word.chars().count() < 14);
                assert!(!is_prose || line.chars().count() <= width.max(24), "{width}: {line}");
            }
        }
        let reference = reference();
        let topic = reference.topic(Some("eks")).unwrap();
        assert!(!reference.to_text(&topic, Look { width: 0, color: true }).is_empty());
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        let reference = reference();
        let topic = reference.topic(Some("eks::list_clusters")).unwrap();
        assert!(!reference.to_text(&topic, Look { width: 80, color: false }).contains('\x1b'));
        assert!(reference.to_text(&topic, Look { width: 80, color: true }).contains("\x1b[1;36meks::list_clusters"));
    }
}
