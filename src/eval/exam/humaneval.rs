//! HumanEval (Chen et al. 2021): Python functions to be completed after their docstrings, and right if their tests pass. The
//! harness' `humaneval`: greedy, and so `pass@1` is the share that passes.
//!
//! To mark an answer is to run it. See [`sandbox`](super::super::sandbox) for when that happens, and how.

use super::super::sandbox;
use super::answer::{Answers, Asked};
use super::choice::text;
use super::mark::Mark;
use crate::data::Fields;
use crate::error::Result;

/// Rows `{task_id, prompt, test, entry_point, canonical_solution}`.
pub struct HumanEval;

impl Answers for HumanEval {
    fn asked(&self, row: &Fields) -> Result<Asked> {
        let prompt = text(row, "prompt")?;
        let tests = format!(
            "{}\ncheck({})\n",
            text(row, "test")?,
            text(row, "entry_point")?
        );
        let entry = format!("def {}(", text(row, "entry_point")?);
        Ok(Asked {
            shown: row.text("canonical_solution")?.unwrap_or_default(),
            part: None,
            mark: {
                let prompt = prompt.clone();
                Box::new(move |answer| {
                    let program = program(&prompt, answer, &entry, &tests);
                    vec![Mark::right("pass@1", sandbox::passes(&program))]
                })
            },
            prompt,
        })
    }

    fn stops(&self) -> &'static [&'static str] {
        &["\nclass", "\ndef", "\n#", "\nif", "\nprint"]
    }

    fn max_new_tokens(&self) -> usize {
        1024
    }

    fn takes_shots(&self) -> bool {
        false
    }

    fn runs_code(&self) -> bool {
        true
    }
}

/// The prompt with its answer, then the tests. An answer that comes as a block of Markdown or with the function's head, as
/// chat models write it, defines the function anew: the prompt, whose function has its docstring for a body, brings what else
/// it needs.
fn program(prompt: &str, answer: &str, entry: &str, tests: &str) -> String {
    let block = answer.split_once("```").map(|(_, rest)| {
        let code = rest.split("```").next().unwrap_or_default();
        // Behind the fence stands the language.
        code.split_once('\n').map_or("", |(_, code)| code)
    });
    let code = block.unwrap_or(answer);
    let anew = code.lines().any(|line| line.starts_with(entry));
    let between = if anew { "\n\n" } else { "" };
    format!("{prompt}{between}{code}\n{tests}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str = "import math\n\ndef half(x):\n    \"\"\" Half of x. \"\"\"\n";
    const TESTS: &str = "def check(f):\n    assert f(4) == 2\ncheck(half)\n";

    #[test]
    fn an_answer_goes_on_after_the_docstring_or_defines_the_function_anew() {
        let of = |answer| program(PROMPT, answer, "def half(", TESTS);
        assert_eq!(
            of("    return x / 2"),
            format!("{PROMPT}    return x / 2\n{TESTS}")
        );
        let anew = format!("{PROMPT}\n\ndef half(x):\n    return x / 2\n\n{TESTS}");
        assert_eq!(
            of("Here it is:\n```python\ndef half(x):\n    return x / 2\n```\nDone."),
            anew
        );
        let block = of("```\n    return x / 2\n```");
        assert!(
            block.starts_with(&format!("{PROMPT}    return x / 2\n")),
            "{block}"
        );
    }
}
