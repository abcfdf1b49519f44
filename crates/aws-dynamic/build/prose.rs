//! The SDK's documentation is HTML inside Rust comments; ours is one plain sentence.

const SENTENCE_MAX: usize = 400;

/// Tags that end a paragraph.
const BREAKS: &[&str] = &["p", "note", "important", "caution", "ul", "ol", "li", "dl", "dt", "dd", "br", "div", "h1"];

/// Tags that only style their text.
const STYLES: &[&str] = &["code", "i", "b", "a", "em", "strong", "span", "fullname", "title", "u", "sup"];

/// The first sentence of the first paragraph that says something.
pub(crate) fn first_sentence(html: &str) -> String {
    let text = plain(html);
    let paragraph = text.split('\n').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let Some(paragraph) = paragraph.into_iter().find(|part| part.chars().any(char::is_alphabetic)) else {
        return String::new();
    };
    let mut end = sentence_end(&paragraph);
    if end > SENTENCE_MAX {
        end = paragraph[..floor(&paragraph, SENTENCE_MAX)].rfind(' ').unwrap_or(SENTENCE_MAX);
        return format!("{} …", &paragraph[..end]);
    }
    paragraph[..end].to_owned()
}

fn floor(text: &str, mut index: usize) -> usize {
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

fn sentence_end(text: &str) -> usize {
    for (index, _) in text.match_indices(". ") {
        let before = &text[..index];
        let word = before.rsplit([' ', '(']).next().unwrap_or_default();
        let short = matches!(word, "e.g" | "i.e" | "etc" | "vs" | "Inc" | "No" | "approx" | "eg" | "ie");
        let upper = text[index + 2..].starts_with(|c: char| !c.is_lowercase());
        if upper && !short {
            return index + 1;
        }
    }
    text.len()
}

/// Text with line breaks between paragraphs.
fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html.replace('\n', " ");
    rest = rest.replace("\\[", "[").replace("\\]", "]").replace("\\#", "#").replace("\\<", "<").replace("\\>", ">");
    let mut rest = rest.as_str();
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find('>').map_or(rest.len(), |end| end + 1);
        let tag = rest[1..end.max(1)].trim_start_matches('/');
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
        if BREAKS.contains(&name.as_str()) {
            text.push('\n');
        } else if !STYLES.contains(&name.as_str()) {
            text.push_str(&rest[..end]);
        }
        rest = &rest[end..];
    }
    text.push_str(rest);
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&nbsp;", " ").replace("&amp;", "&")
}
