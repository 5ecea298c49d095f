//! `{% generation %}` blocks: where a template says which words are the model's.
//!
//! Hugging Face's Jinja has this tag and minijinja has not, so the source is rewritten: `{% generation %}` becomes
//! `{% filter NAME %}{% with %}`, and `{% endgeneration %}` becomes `{% endwith %}{% endfilter %}`. The filter puts a mark
//! before and after its text, and the marks are taken out of the result; `with` keeps what the block sets inside it, as
//! in Hugging Face. The signs of whitespace control stay on the outer sides, so the text is the same.
//! (A call block is what Hugging Face uses, but minijinja's forgets a namespace that its body only assigns to.)

use std::ops::Range;

/// The filter that a rewritten block runs through.
pub(super) const FILTER: &str = "duel_generation";

/// The marks. Both are Unicode noncharacters: reserved for use inside a program, never for text.
pub(super) const OPEN: char = '\u{FDD0}';
/// See [`OPEN`].
pub(super) const CLOSE: char = '\u{FDD1}';

/// The source with filter blocks in the place of generation blocks, and whether there were any.
pub(super) fn rewrite(source: &str) -> (String, bool) {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut found = false;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match rest.as_bytes().get(1) {
            Some(b'#') => rest.find("#}").map_or(rest.len(), |i| i + 2),
            Some(b'{') => end_of_code(rest, "}}"),
            Some(b'%') => end_of_code(rest, "%}"),
            _ => 1,
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        match word(piece) {
            Some("generation") => {
                found = true;
                out.push_str(&two_tags(piece, &format!("filter {FILTER}"), "with"));
            }
            Some("endgeneration") => out.push_str(&two_tags(piece, "endwith", "endfilter")),
            Some("raw") => {
                let raw = end_of_raw(rest);
                out.push_str(piece);
                out.push_str(&rest[..raw]);
                rest = &rest[raw..];
            }
            _ => out.push_str(piece),
        }
    }
    out.push_str(rest);
    (out, found)
}

/// The text without its marks, and the byte ranges that they enclosed.
pub(super) fn take_marks(marked: &str) -> (String, Vec<Range<usize>>) {
    let mut text = String::with_capacity(marked.len());
    let mut open = Vec::new();
    let mut ranges = Vec::new();
    for c in marked.chars() {
        match c {
            OPEN => open.push(text.len()),
            CLOSE => ranges.extend(open.pop().map(|start| start..text.len())),
            c => text.push(c),
        }
    }
    (text, ranges)
}

/// Two tags in the place of one, with its whitespace control on their outer sides.
fn two_tags(tag: &str, first: &str, second: &str) -> String {
    let sign = |c: Option<char>| {
        c.filter(|c| matches!(c, '-' | '+'))
            .map(String::from)
            .unwrap_or_default()
    };
    let left = sign(tag.chars().nth(2));
    let right = sign(tag.chars().rev().nth(2));
    format!("{{%{left} {first} %}}{{% {second} {right}%}}")
}

/// The only word of a `{% word %}` tag.
fn word(piece: &str) -> Option<&str> {
    let inner = piece.strip_prefix("{%")?.strip_suffix("%}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    Some(inner.trim())
}

/// Where a `{{` or `{%` ends: the closing brackets inside a string literal do not count.
fn end_of_code(code: &str, close: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in code.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if code[at..].starts_with(close) => return at + close.len(),
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {}
        }
    }
    code.len()
}

/// The length of a raw block's body: up to its `{% endraw %}`.
fn end_of_raw(body: &str) -> usize {
    let tags = body.match_indices("{%");
    tags.map(|(at, _)| at)
        .find(|&at| {
            let tag = &body[at..];
            let end = tag.find("%}").map_or(tag.len(), |i| i + 2);
            word(&tag[..end]) == Some("endraw")
        })
        .unwrap_or(body.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_control_stays_on_the_outer_sides() {
        let (out, found) = rewrite("a\n{%- generation -%}b{%endgeneration+%}\n{{ x }}");
        assert!(found);
        let expected =
            "a\n{%- filter duel_generation %}{% with -%}b{% endwith %}{% endfilter +%}\n{{ x }}";
        assert_eq!(out, expected);
    }

    #[test]
    fn strings_comments_and_raw_blocks_are_left_alone() {
        let source = "{# {% generation %} #}{{ '{% generation %}' ~ \"}}\\\"{% generation %}\" }}\
                      {% raw %}{% generation %}{{ '{%- endraw %}{% set generation = 1 %}{ {% if a == '%}' %}{% endif %}";
        let (out, found) = rewrite(source);
        assert!(!found);
        assert_eq!(out, source);
    }

    #[test]
    fn marks_become_byte_ranges_of_the_clean_text() {
        let (text, ranges) = take_marks("né\u{FDD0}ab\u{FDD1}c\u{FDD0}\u{FDD1}");
        assert_eq!(text, "néabc");
        assert_eq!(ranges, [3..5, 6..6]);
    }
}
