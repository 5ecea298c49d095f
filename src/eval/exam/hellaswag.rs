//! HellaSwag (Zellers et al. 2019): which ending follows. The harness' `hellaswag`.

use super::choice::{Choices, Metric, Question, index, text};
use crate::data::Fields;
use crate::error::Result;

/// Rows `{activity_label, ctx_a, ctx_b, endings, label}` as published, or with `activity`, `choices` and `answer`.
pub struct HellaSwag;

impl Choices for HellaSwag {
    fn question(&self, row: &Fields) -> Result<Question> {
        let either = |published: &'static str, plain: &'static str| match row.has(published) {
            true => published,
            false => plain,
        };
        let activity = text(row, either("activity_label", "activity"))?;
        let (before, after) = (text(row, "ctx_a")?, row.text("ctx_b")?.unwrap_or_default());
        let endings = either("endings", "choices");
        let endings = row.texts(endings)?.ok_or_else(|| row.missing(endings))?;
        let label = either("label", "answer");
        let answer = index(row, label)?.ok_or_else(|| row.missing(label))?;
        let prompt = cleaned(&format!("{activity}: {before} {}", capitalised(&after)));
        let endings = endings.iter().map(|ending| cleaned(ending)).collect();
        Question::new(prompt, endings, answer)
    }

    fn metrics(&self) -> &'static [Metric] {
        &[Metric::Acc, Metric::AccNorm]
    }
}

/// The traces of WikiHow's markup are taken out.
fn cleaned(text: &str) -> String {
    without_brackets(&text.trim().replace(" [title]", ". ")).replace("  ", " ")
}

/// Without `[...]` as far as it is closed on its line.
fn without_brackets(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let line = rest[open..].split('\n').next().unwrap_or_default();
        match line.find(']') {
            Some(close) => {
                kept.push_str(&rest[..open]);
                rest = &rest[open + close + 1..];
            }
            None => {
                kept.push_str(&rest[..=open]);
                rest = &rest[open + 1..];
            }
        }
    }
    kept + rest
}

/// As Python capitalises: the first letter up, all others down.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let first: String = first.into_iter().flatten().collect();
    first + &letters.as_str().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the harness' `preprocess` makes of the same texts.
    #[test]
    fn markup_is_taken_out_as_in_the_harness() {
        for (text, without) in [
            (
                " How to sew [title] Take a needle. [step] Thread it.",
                "How to sew. Take a needle. Thread it.",
            ),
            ("[header] A [substeps] b", " A b"),
            (
                "open [ and \n closed ] apart",
                "open [ and \n closed ] apart",
            ),
            ("[a[b]c]", "c]"),
            ("four    blanks", "four  blanks"),
        ] {
            assert_eq!(cleaned(text), without);
        }
        assert_eq!(capitalised("the Lady of 1 HOUSE"), "The lady of 1 house");
        assert_eq!(capitalised(""), "");
    }
}
