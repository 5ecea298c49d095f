//! Rows on their way to examples: nothing is lost uncounted, and an end marker that is missing is noticed.

use super::*;
use crate::data::rows::{Origin, Unit};
use crate::text::{Answer, Message, Prompt, TokenizerFiles};
use burn::tensor::Device;
use serde_json::Value;

fn tokenizer() -> TokenizerFiles {
    TokenizerFiles::read(&embedded::model().expect("unpacked")).expect("read")
}

/// The embedded tokenizer with another template.
fn chat(template: &str) -> Chat {
    let template = Some(template.to_owned());
    Chat::new(&TokenizerFiles {
        chat_template: template,
        ..tokenizer()
    })
    .expect("a template")
}

const OPEN: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}";
const CLOSED: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}";

fn pair(prompt: Prompt, chosen: Answer, rejected: Answer) -> Preference {
    Preference {
        id: "1".into(),
        prompt,
        chosen,
        rejected,
        margin: None,
        subset: None,
        origin: Origin {
            file: Default::default(),
            line: 1,
            unit: Unit::Line,
        },
    }
}

fn talk(chosen: &str, rejected: &str) -> Preference {
    let answer = |text: &str| Answer::Text(text.to_owned());
    let prompt = Prompt::Chat(vec![Message::user("Tell me a story.")]);
    pair(prompt, answer(chosen), answer(rejected))
}

/// Rows whose answers the loss sees without an end marker.
fn unended_pairs(row: Preference, chat: &Chat) -> usize {
    let prepared = pairs(&[row], chat, &Limits::new(256), true).expect("prepared");
    assert_eq!(prepared.audit.rows, 1);
    prepared.audit.unended
}

#[test]
fn an_answer_that_no_marker_ends_is_counted() {
    assert_eq!(unended_pairs(talk("A cat.", "A dog."), &chat(OPEN)), 1);
    // White space after the marker is the template's own.
    assert_eq!(unended_pairs(talk("A cat.", "A dog."), &chat(CLOSED)), 0);
    let chat = chat(CLOSED);
    let ids = |last: u32| Answer::Ids(vec![40, 41, last]);
    let row = |rejected| pair(Prompt::Ids(vec![30, 31]), ids(chat.eos_id()), rejected);
    assert_eq!(unended_pairs(row(ids(42)), &chat), 1);
    assert_eq!(unended_pairs(row(ids(chat.eos_id())), &chat), 0);
}

#[test]
fn a_conversation_that_no_marker_ends_is_counted_and_running_text_is_not() {
    let unended = |messages: SftText, template: &str| {
        let row = Sft {
            id: "1".into(),
            messages,
            origin: talk("", "").origin,
        };
        let prepared = texts(&[row], &chat(template), &Limits::new(32)).expect("prepared");
        assert!(prepared.audit.rows > 0);
        prepared.audit.unended
    };
    let turns = || SftText::Chat(vec![Message::user("Hi."), Message::assistant("Yes.")]);
    assert_eq!(unended(turns(), OPEN), 1);
    assert_eq!(unended(turns(), CLOSED), 0);
    // The marker stands in the text, but is no target: it is not learnt.
    let unlearnt = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}\
                    {% endgeneration %}<|end|>{% else %}{{ m.content }}{% endif %}{% endfor %}";
    assert_eq!(unended(turns(), unlearnt), 1);
    let text = SftText::Text("Once a cat sat on a mat and saw a dog. ".repeat(8));
    assert_eq!(unended(text, OPEN), 0);
}

#[test]
fn merged_rows_keep_all_their_counts() {
    let limits = Limits::new(64);
    let long = "A cat sat on a mat. ".repeat(40);
    let rows = [talk("A cat.", "A cat."), talk(&long, "No.")];
    let fixed = pairs(&rows, &chat(OPEN), &limits, true).expect("prepared");
    let audit = DataAudit {
        rows: 10,
        truncated: 2,
        equal_pairs: 3,
        unended: 4,
        cut: 5,
    };
    let mut prepared = Prepared {
        audit,
        dropped: 6,
        ..Prepared::default()
    };
    prepared.merge(fixed);
    let merged = DataAudit {
        rows: 11,
        equal_pairs: 4,
        unended: 5,
        ..audit
    };
    assert_eq!(prepared.audit, merged);
    assert_eq!((prepared.dropped, prepared.examples.len()), (7, 1));
}

#[test]
fn held_out_rows_that_are_not_evaluated_are_said() {
    let said = |rows: &[Preference]| {
        let prepared = pairs(rows, &chat(CLOSED), &Limits::new(64), true).expect("prepared");
        prepared.not_evaluated(64).unwrap_or_default()
    };
    let (short, long) = (talk("Yes.", "No."), talk(&"A cat. ".repeat(100), "No."));
    assert_eq!(said(std::slice::from_ref(&short)), "");
    let some = said(&[short, long.clone()]);
    assert!(some.starts_with("1 of 2 held-out rows"), "{some}");
    let none = said(&[long]);
    assert!(none.starts_with("nothing is evaluated: all 1 "), "{none}");
}

/// Two vocabularies of one size whose ids mean different things.
#[test]
fn tokenizers_of_one_size_are_not_the_same() {
    let load = || Model::load(&embedded::model().expect("there"), &Device::flex()).expect("loaded");
    let with = |edit: &dyn Fn(&mut Value)| {
        let mut files = tokenizer();
        let mut json: Value = serde_json::from_str(&files.tokenizer_json).expect("JSON");
        edit(&mut json);
        files.tokenizer_json = json.to_string();
        let chat = Chat::new(&files).expect("a tokenizer");
        Model {
            chat,
            tokenizer: files,
            ..load()
        }
    };
    let policy = load();
    same_tokens(&policy, &with(&|_| ())).expect("printed anew, the same vocabulary");
    let turned = with(&|json| {
        let vocab = &mut json["model"]["vocab"];
        let [a, b] = [vocab["!"].clone(), vocab["#"].clone()];
        (vocab["!"], vocab["#"]) = (b, a);
    });
    assert_eq!(turned.chat.vocab_size(), policy.chat.vocab_size());
    let refused = same_tokens(&policy, &turned).expect_err("refused").message;
    assert!(
        refused.contains("is `!` in one and `#` in the other"),
        "{refused}"
    );
}
