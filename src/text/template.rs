//! Chat templates, rendered as Hugging Face renders them.
//!
//! Its Jinja trims blocks, strips the whitespace before them and drops the template's last newline; a literal
//! reading of a template gives other text. `raise_exception`, `strftime_now`, `tojson`, loop controls, Python's methods
//! of strings and dictionaries and `{% generation %}` blocks all work; golden renders of transformers hold it.

use super::dialogue::Message;
use super::{clock, generation, python};
use crate::error::{Error, Result};
use jiff::civil::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, Value, escape_formatter};
use std::ops::Range;

/// A compiled chat template with the special tokens that it may name.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    globals: Vec<(String, Value)>,
    marks_generation: bool,
}

/// A rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// What the model reads.
    pub text: String,
    /// Byte ranges of `text` that stood in `{% generation %}` blocks: the model's own words.
    pub generated: Vec<Range<usize>>,
}

/// The name under which errors know the template.
const NAME: &str = "chat template";

impl ChatTemplate {
    /// Compiles `source`. `special_tokens` are the names that a template may use: `("bos_token", "<s>")`.
    ///
    /// # Errors
    /// A syntax error, with its line.
    pub fn new(source: &str, special_tokens: &[(String, String)]) -> Result<Self> {
        let (rewritten, marks_generation) = generation::rewrite(source);
        let mut environment = environment()?;
        environment
            .add_template_owned(NAME, rewritten)
            .map_err(|error| {
                explain(&error).hint("the template is not valid Jinja; mend the line named")
            })?;
        let tokens = special_tokens.iter();
        Ok(Self {
            environment,
            globals: tokens
                .map(|(name, token)| (name.clone(), Value::from(token.as_str())))
                .collect(),
            marks_generation,
        })
    }

    /// Passes further variables to the template, over those it has: `tools`, `documents`, `enable_thinking`, ...
    pub fn with_variables(
        mut self,
        variables: &serde_json::Map<String, serde_json::Value>,
    ) -> Self {
        for (name, value) in variables {
            self.globals.retain(|(own, _)| own != name);
            self.globals.push((name.clone(), from_json(value)));
        }
        self
    }

    /// Gives `strftime_now` a time of its own.
    pub fn at(mut self, now: DateTime) -> Self {
        add_clock(&mut self.environment, move || now);
        self
    }

    /// Whether the template says itself which words are the model's.
    pub fn marks_generation(&self) -> bool {
        self.marks_generation
    }

    /// Renders a conversation; `add_generation_prompt` also opens the assistant's next turn.
    ///
    /// # Errors
    /// What the template raises (roles that do not alternate, ...), with the template's line.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Rendered> {
        let marks = [generation::OPEN, generation::CLOSE];
        if self.marks_generation && messages.iter().any(|m| m.content.contains(marks)) {
            return Err(Error::data(
                "a message holds U+FDD0 or U+FDD1, which Unicode reserves for use inside programs",
            )
            .hint("remove the character from the data"));
        }
        let messages: Vec<Value> = messages.iter().map(message).collect();
        let fixed = [
            ("messages", Value::from(messages)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ];
        let own = self
            .globals
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()));
        let context = Value::from_pairs(fixed.into_iter().chain(own));
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|e| explain(&e))?;
        let marked = template.render(context).map_err(|e| explain(&e))?;
        let (text, generated) = if self.marks_generation {
            generation::take_marks(&marked)
        } else {
            (marked, Vec::new())
        };
        Ok(Rendered { text, generated })
    }
}

/// Jinja as Hugging Face sets it up.
fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .map_err(|error| Error::internal(format!("Jinja's syntax: {error}")))?;
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(|out, state, value| match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number | ValueKind::Seq | ValueKind::Map => {
            Ok(out.write_str(&python::display(value))?)
        }
        _ => escape_formatter(out, state, value),
    });
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", python::tojson);
    environment.add_filter("string", python::display);
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_filter(generation::FILTER, |body: &str| {
        format!("{}{body}{}", generation::OPEN, generation::CLOSE)
    });
    environment.add_test("iterable", |value: &Value| {
        let iterable = value.try_iter().is_ok();
        iterable
            && !matches!(
                value.kind(),
                ValueKind::None | ValueKind::Bool | ValueKind::Number
            )
    });
    environment.add_test("sequence", |value: &Value| {
        use ValueKind::{Map, Seq, String, Undefined};
        matches!(value.kind(), Seq | String | Map | Undefined)
    });
    add_clock(&mut environment, clock::now);
    Ok(environment)
}

fn add_clock(
    environment: &mut Environment<'static>,
    now: impl Fn() -> DateTime + Send + Sync + 'static,
) {
    environment.add_function("strftime_now", move |format: String| {
        jiff::fmt::strtime::format(&format, now()).map_err(|error| {
            minijinja::Error::new(
                ErrorKind::InvalidOperation,
                format!("strftime_now: {error}"),
            )
        })
    });
}

fn message(message: &Message) -> Value {
    Value::from_pairs([
        ("role", Value::from(message.role.as_str())),
        ("content", Value::from(message.content.as_str())),
    ])
}

fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(integer)) => Value::from(integer),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            Value::from(items.iter().map(from_json).collect::<Vec<_>>())
        }
        serde_json::Value::Object(entries) => Value::from_pairs(
            entries
                .iter()
                .map(|(name, value)| (name.as_str(), from_json(value))),
        ),
    }
}

/// The template's own words, and the line that said them.
fn explain(error: &minijinja::Error) -> Error {
    let words = match error.detail() {
        Some(detail) => detail.to_string(),
        None => error.kind().to_string(),
    };
    match error.line() {
        Some(line) => Error::data(format!("{NAME}, line {line}: {words}")),
        None => Error::data(format!("{NAME}: {words}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Deserialize)]
    struct Golden {
        now: String,
        templates: BTreeMap<String, String>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        template: String,
        messages: Vec<Message>,
        add_generation_prompt: bool,
        variables: serde_json::Map<String, serde_json::Value>,
        text: Option<String>,
        generated: Option<Vec<String>>,
        error: Option<String>,
    }

    fn template(source: &str) -> Result<ChatTemplate> {
        let token = |name: &str, token: &str| (name.to_string(), token.to_string());
        ChatTemplate::new(
            source,
            &[token("bos_token", "<s>"), token("eos_token", "</s>")],
        )
    }

    /// Made by tests/golden/templates/make_templates.py.
    #[test]
    fn every_golden_template_renders_as_in_transformers() {
        let golden = include_str!("../../tests/golden/templates/templates.json");
        let golden: Golden = serde_json::from_str(golden).expect("the golden file parses");
        let now: DateTime = golden.now.parse().expect("a time");
        for (i, case) in golden.cases.iter().enumerate() {
            let source = &golden.templates[&case.template];
            let template = template(source).expect("compiles").at(now);
            let template = template.with_variables(&case.variables);
            let rendered = template.render(&case.messages, case.add_generation_prompt);
            let name = format!("case {i}: {}", case.template);
            match (&case.text, rendered) {
                (Some(text), Ok(rendered)) => {
                    assert_eq!(&rendered.text, text, "{name}");
                    let generated = rendered.generated.iter().map(|r| &rendered.text[r.clone()]);
                    let expected = case.generated.clone().unwrap_or_default();
                    assert_eq!(generated.collect::<Vec<_>>(), expected, "{name}");
                }
                (None, Err(error)) => {
                    let expected = case.error.as_deref().expect("text or error");
                    assert!(error.message.contains(expected), "{name}: {error}");
                }
                (_, rendered) => panic!("{name}: {rendered:?}"),
            }
        }
    }

    #[test]
    fn an_error_names_the_line_of_the_template() {
        let refuses =
            template("{{ bos_token }}\n\n{{ raise_exception('no tools') }}").expect("compiles");
        let error = refuses
            .render(&[Message::user("Hi")], false)
            .expect_err("raised");
        assert_eq!(error.message, "chat template, line 3: no tools");
        let error = template("\n{% for m in messages %}\n{% endif %}").expect_err("syntax");
        assert!(
            error.message.starts_with("chat template, line 3: "),
            "{error}"
        );
    }

    #[test]
    fn marks_in_a_message_cannot_move_the_loss() {
        let source = "{% generation %}{{ messages[0].content }}{% endgeneration %}";
        let turns = [Message::assistant("a\u{FDD1}b")];
        let error = template(source).expect("compiles").render(&turns, false);
        assert!(error.expect_err("refused").message.contains("U+FDD0"));
        let plain = template("{{ messages[0].content }}")
            .expect("compiles")
            .render(&turns, false);
        assert_eq!(plain.expect("rendered").text, "a\u{FDD1}b");
    }
}
