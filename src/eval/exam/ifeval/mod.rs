//! IFEval (Zhou et al. 2023): instructions that a program can verify. The harness' `ifeval`.
//!
//! One file for each family of instructions. Each instruction is a function of the response alone, read strictly (the
//! response as it is) and loosely (also without its first line, its last line, both, and its asterisks).

mod arguments;
mod case;
mod combination;
mod content;
mod ends;
mod format;
mod keywords;
mod language;
mod length;
mod sentences;

use super::answer::{Answers, Asked};
use super::choice::text;
use super::mark::Mark;
use crate::data::Fields;
use crate::error::{Error, Result};
use arguments::Arguments;
use serde_json::{Map, Value};

/// Rows `{prompt, instruction_id_list, kwargs}`.
pub struct IfEval;

/// Whether a response follows one instruction.
type Check = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// The instruction of that name with its arguments.
fn check(name: &str, given: &Arguments) -> Result<Check> {
    Ok(match name {
        "keywords:existence" => keywords::existence(given)?,
        "keywords:frequency" => keywords::frequency(given)?,
        "keywords:forbidden_words" => keywords::forbidden(given)?,
        "keywords:letter_frequency" => keywords::letter_frequency(given)?,
        "language:response_language" => language::response(given)?,
        "length_constraints:number_sentences" => length::sentences(given)?,
        "length_constraints:number_paragraphs" => length::paragraphs(given)?,
        "length_constraints:number_words" => length::words(given)?,
        "length_constraints:nth_paragraph_first_word" => length::first_word(given)?,
        "detectable_content:number_placeholders" => content::placeholders(given)?,
        "detectable_content:postscript" => content::postscript(given)?,
        "detectable_format:number_bullet_lists" => format::bullets(given)?,
        "detectable_format:constrained_response" => Box::new(format::constrained),
        "detectable_format:number_highlighted_sections" => format::highlights(given)?,
        "detectable_format:multiple_sections" => format::sections(given)?,
        "detectable_format:json_format" => Box::new(format::json),
        "detectable_format:title" => Box::new(format::title),
        "combination:two_responses" => Box::new(combination::two_responses),
        "combination:repeat_prompt" => combination::repeat_prompt(given)?,
        "startend:end_checker" => ends::end(given)?,
        "startend:quotation" => Box::new(ends::quotation),
        "change_case:capital_word_frequency" => case::capital_words(given)?,
        "change_case:english_capital" => Box::new(case::english_capital),
        "change_case:english_lowercase" => Box::new(case::english_lowercase),
        "punctuation:no_comma" => Box::new(|response: &str| !response.contains(',')),
        unknown => return Err(Error::data(format!("no instruction is called `{unknown}`"))),
    })
}

/// The names of a row's instructions, each with its arguments.
fn instructions(row: &Fields) -> Result<Vec<(String, Map<String, Value>)>> {
    let names = row
        .texts("instruction_id_list")?
        .ok_or_else(|| row.missing("instruction_id_list"))?;
    let arguments = row.value("kwargs").and_then(Value::as_array);
    let arguments = arguments.filter(|arguments| arguments.len() == names.len());
    let Some(arguments) = arguments.filter(|_| !names.is_empty()) else {
        let fact = format!(
            "`kwargs` has not one entry for each of the {} instructions",
            names.len()
        );
        return Err(Error::data(fact));
    };
    let arguments = arguments
        .iter()
        .map(|entry| entry.as_object().cloned().unwrap_or_default());
    Ok(names.into_iter().zip(arguments).collect())
}

impl Answers for IfEval {
    fn asked(&self, row: &Fields) -> Result<Asked> {
        let mut checks = Vec::new();
        for (name, arguments) in instructions(row)? {
            let check = check(&name, &Arguments(&arguments));
            checks.push(check.map_err(|error| error.at(&name))?);
        }
        Ok(Asked {
            prompt: text(row, "prompt")?,
            shown: String::new(),
            part: None,
            mark: Box::new(move |response| marks(&checks, response)),
        })
    }

    fn stops(&self) -> &'static [&'static str] {
        &[]
    }

    fn max_new_tokens(&self) -> usize {
        1280
    }

    fn takes_shots(&self) -> bool {
        false
    }

    fn unusable(&self, row: &Fields) -> Option<&'static str> {
        let unknown = |(name, arguments): &(String, Map<String, Value>)| {
            name == "language:response_language" && !language::is_known(&Arguments(arguments))
        };
        let instructions = instructions(row).ok()?;
        instructions
            .iter()
            .any(unknown)
            .then_some("a language that duel cannot tell")
    }
}

fn marks(checks: &[Check], response: &str) -> Vec<Mark> {
    let loose = variants(response);
    let follows = |check: &Check, text: &str| !text.trim().is_empty() && check(text);
    let strictly = checks
        .iter()
        .filter(|check| follows(check, response))
        .count();
    let any = |check: &&Check| loose.iter().any(|text| follows(check, text));
    let loosely = checks.iter().filter(any).count();
    let each = |metric, followed: usize| Mark {
        metric,
        sum: followed as f64,
        of: checks.len(),
    };
    vec![
        Mark::right("prompt_level_strict_acc", strictly == checks.len()),
        each("inst_level_strict_acc", strictly),
        Mark::right("prompt_level_loose_acc", loosely == checks.len()),
        each("inst_level_loose_acc", loosely),
    ]
}

/// The response, and what is left of it without its first line, its last line or both; each also without asterisks.
fn variants(response: &str) -> Vec<String> {
    let lines: Vec<&str> = response.split('\n').collect();
    let part = |from: usize, to: usize| match from < to {
        true => lines[from..to].join("\n").trim().to_owned(),
        false => String::new(),
    };
    let last = lines.len() - 1;
    let kept = [
        response.to_owned(),
        part(1, lines.len()),
        part(0, last),
        part(1, last),
    ];
    let bare = kept
        .iter()
        .map(|text| text.replace('*', ""))
        .collect::<Vec<_>>();
    kept.into_iter().chain(bare).collect()
}

/// A check for tests, from its name and arguments as JSON.
#[cfg(test)]
fn of(name: &str, arguments: &str) -> Check {
    let arguments: Map<String, Value> = serde_json::from_str(arguments).expect("an object");
    check(name, &Arguments(&arguments)).expect("a known instruction")
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn a_prompt_is_followed_if_all_its_instructions_are() {
        let asked = row(
            r#"{"prompt": "Say it in JSON without a comma.", "instruction_id_list": ["punctuation:no_comma",
                "detectable_format:json_format"], "kwargs": [{}, {"num_words": null}]}"#,
            |row| IfEval.asked(row),
        );
        let asked = asked.expect("a prompt");
        let sums = |response: &str| {
            (asked.mark)(response)
                .iter()
                .map(|m| m.sum)
                .collect::<Vec<_>>()
        };
        assert_eq!(sums("{\"a\": 1}"), [1.0, 2.0, 1.0, 2.0]);
        assert_eq!(sums("[1, 2]"), [0.0, 1.0, 0.0, 1.0]);
        // Loosely, the line before it is forgiven.
        assert_eq!(sums("Here it is:\n{\"a\": 1}"), [0.0, 1.0, 1.0, 2.0]);
        assert_eq!(sums("  "), [0.0; 4]);
    }

    #[test]
    fn a_row_with_an_unknown_instruction_or_without_its_arguments_is_refused() {
        for instruction in ["length_constraints:number_words", "keywords:haiku"] {
            let text = format!(
                r#"{{"prompt": "x", "instruction_id_list": ["{instruction}"], "kwargs": [{{}}]}}"#
            );
            assert!(
                row(&text, |row| IfEval.asked(row)).is_err(),
                "{instruction}"
            );
        }
    }

    #[test]
    fn a_language_that_cannot_be_told_is_said_so() {
        let of = |language: &str| {
            let text = format!(
                r#"{{"prompt": "x", "instruction_id_list": ["language:response_language"], "kwargs": [{{"language": "{language}"}}]}}"#
            );
            row(&text, |row| Ok(IfEval.unusable(row))).expect("a row")
        };
        assert_eq!(of("de"), None);
        assert!(of("sw").is_some());
    }
}
