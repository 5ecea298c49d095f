//! Tests of `Chat`, on a small tokenizer trained here and, where they need it, on SmolLM2's.

use super::*;
use crate::text::{Comparison, Letters, Limits, SpecialTokens, train_bpe};
use std::path::Path;

const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}\
                      {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const HEADED: &str = "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content | trim + '<|im_end|>' }}\
                      {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Words that become few tokens; anything else is spelt in bytes.
const TEXTS: [&str; 3] = [
    "user assistant system Hello there",
    "user assistant system Hello there",
    "Hello",
];

fn files(template: Option<&str>, bos: Option<&str>) -> TokenizerFiles {
    let special = SpecialTokens {
        eos: "<|end|>".to_string(),
        bos: bos.map(str::to_string),
        pad: None,
        others: vec!["<|im_start|>".to_string(), "<|im_end|>".to_string()],
    };
    let mut files = train_bpe(TEXTS.into_iter(), 320, &special).expect("trained");
    files.chat_template = template.map(str::to_string);
    files
}

fn chat(template: Option<&str>) -> Chat {
    Chat::new(&files(template, None)).expect("loads")
}

fn headed() -> Chat {
    Chat::new(&files(Some(HEADED), Some("<|begin|>"))).expect("loads")
}

fn text(chat: &Chat, ids: &[u32]) -> String {
    chat.decode(ids, false).expect("decodes")
}

fn learned(chat: &Chat, spans: &Spans) -> Vec<String> {
    let mut runs: Vec<Vec<u32>> = vec![Vec::new()];
    for (id, scored) in spans.ids.iter().zip(&spans.scored) {
        match (scored, runs.last_mut()) {
            (true, Some(run)) => run.push(*id),
            (false, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    let runs = runs.iter().filter(|run| !run.is_empty());
    runs.map(|run| text(chat, run)).collect()
}

fn conversation() -> Vec<Message> {
    vec![
        Message::user("Hello"),
        Message::assistant("Yes 1"),
        Message::user("there"),
        Message::assistant("No 2"),
    ]
}

#[test]
fn of_a_pair_of_generated_texts_each_ends_as_it_did() {
    let chat = chat(Some(CHATML));
    let prompts = [
        Prompt::Chat(vec![Message::user("Hello")]),
        Prompt::Text("Hello ".to_string()),
    ];
    for prompt in &prompts {
        let answer = |text: &str| Answer::Text(text.to_string());
        let both = chat.response_pair(prompt, ("Yes", true), ("No", true));
        let same = chat.preference(prompt, &answer("Yes"), &answer("No"));
        assert_eq!(both.expect("encoded"), same.expect("encoded"));
        let cut = chat.response_pair(prompt, ("Yes", true), ("No", false));
        let cut = cut.expect("encoded");
        assert_eq!(text(&chat, &cut.rejected), "No");
        let [one, other] = [("Yes", true), ("No", false)]
            .map(|(text, finished)| chat.response(prompt, text, finished).expect("encoded"));
        assert_eq!(
            [&cut.prompt[..], &cut.chosen].concat(),
            [one.prompt, one.answer].concat()
        );
        assert_eq!(
            [cut.prompt, cut.rejected].concat(),
            [other.prompt, other.answer].concat()
        );
    }
}

#[test]
fn the_end_of_turn_belongs_to_the_response() {
    let chat = chat(Some(CHATML));
    let prompt = Prompt::Chat(vec![Message::user("Hello")]);
    let encoded = chat
        .pair(&prompt, &Answer::Chat(vec![Message::assistant("there")]))
        .expect("encoded");
    assert_eq!(encoded.prompt, chat.prompt(&prompt).expect("encoded"));
    assert_eq!(text(&chat, &encoded.answer), "there<|im_end|>\n");
    let as_text = chat
        .pair(&prompt, &Answer::Text("there".to_string()))
        .expect("encoded");
    assert_eq!(as_text, encoded);
}

#[test]
fn d14_a_response_cut_by_the_length_limit_gets_no_end_of_turn() {
    let chat = chat(Some(CHATML));
    let prompts = [
        (
            Prompt::Chat(vec![Message::user("Hello")]),
            "there<|im_end|>\n",
        ),
        (Prompt::Text("Hello\n".to_string()), "there<|end|>"),
        (Prompt::Ids(vec![5, 6]), "there<|end|>"),
    ];
    for (prompt, complete) in prompts {
        let finished = chat.response(&prompt, "there", true).expect("encoded");
        let cut = chat.response(&prompt, "there", false).expect("encoded");
        assert_eq!(text(&chat, &finished.answer), complete);
        assert_eq!(text(&chat, &cut.answer), "there");
        assert_eq!(cut.prompt, finished.prompt);
    }
}

#[test]
fn plain_text_gets_one_bos_and_one_end_of_text() {
    let mut files = files(None, Some("<|begin|>"));
    files.tokenizer_config["add_bos_token"] = true.into();
    let chat = Chat::new(&files).expect("loads");
    for (prompt, answer) in [("Hello", " there"), ("<|begin|>Hello", " there<|end|>")] {
        let prompt = Prompt::Text(prompt.to_string());
        let encoded = chat
            .pair(&prompt, &Answer::Text(answer.to_string()))
            .expect("encoded");
        assert_eq!(text(&chat, &encoded.prompt), "<|begin|>Hello");
        assert_eq!(text(&chat, &encoded.answer), " there<|end|>");
    }
    let spans = chat
        .sft(&SftText::Text("Hello there".to_string()))
        .expect("encoded");
    assert_eq!(text(&chat, &spans.ids), "<|begin|>Hello there<|end|>");
    assert_eq!(learned(&chat, &spans), ["Hello there<|end|>"]);
}

#[test]
fn d16_a_template_writes_the_only_bos() {
    let chat = headed();
    let ids = chat
        .prompt(&Prompt::Chat(vec![Message::user("Hello")]))
        .expect("encoded");
    let bos = chat.tokenizer().bos().expect("has one");
    assert_eq!(ids.iter().filter(|&&id| id == bos).count(), 1);
    assert_eq!(ids[0], bos);
    assert_eq!(chat.leading_bos(), Some(bos));
}

/// D19: the released code takes the BOS out wherever its text stands, also where somebody wrote about it.
#[test]
fn d19_a_bos_is_taken_from_the_front_of_a_text_and_from_nowhere_else() {
    let mut files = files(Some(HEADED), Some("<|begin|>"));
    files.tokenizer_config["add_bos_token"] = true.into();
    let chat = Chat::new(&files).expect("loads");
    let plain = Prompt::Text("<|begin|>Say <|begin|> there".into());
    let ids = chat.prompt(&plain).expect("encoded");
    assert_eq!(text(&chat, &ids), "<|begin|>Say <|begin|> there");
    let turn = Prompt::Chat(vec![Message::user("Say <|begin|> there")]);
    let ids = chat.prompt(&turn).expect("encoded");
    let wanted = "<|begin|><|im_start|>user\nSay <|begin|> there<|im_end|><|im_start|>assistant\n";
    assert_eq!(text(&chat, &ids), wanted);
}

#[test]
fn ids_are_used_as_they_stand() {
    let chat = chat(None);
    let encoded = chat
        .pair(&Prompt::Ids(vec![9, 8]), &Answer::Ids(vec![8, 7]))
        .expect("encoded");
    assert_eq!((encoded.prompt, encoded.answer), (vec![9, 8], vec![8, 7]));
}

#[test]
fn two_responses_are_cut_at_the_same_place() {
    let chat = chat(None);
    let prompt = Prompt::Text("Hel".to_string());
    let answer = |text: &str| Answer::Text(text.to_string());
    // "Hel" + "lo" is one token, so the prompt cannot end before it in either sequence.
    let pair = chat
        .preference(&prompt, &answer("lo"), &answer("p"))
        .expect("encoded");
    assert_eq!(
        text(&chat, &[pair.prompt.clone(), pair.chosen].concat()),
        "Hello<|end|>"
    );
    assert_eq!(
        text(&chat, &[pair.prompt, pair.rejected].concat()),
        "Help<|end|>"
    );
}

#[test]
fn d24_the_loss_covers_assistant_words_and_one_end_of_turn() {
    for chat in [chat(Some(CHATML)), headed()] {
        let spans = chat.sft(&SftText::Chat(conversation())).expect("spans");
        assert_eq!(
            learned(&chat, &spans),
            ["Yes 1<|im_end|>", "No 2<|im_end|>"]
        );
        let [prompt, completion] = [conversation()[..2].to_vec(), conversation()[2..].to_vec()];
        let later = chat
            .sft(&SftText::ChatCompletion(prompt, completion))
            .expect("spans");
        assert_eq!(later.ids, spans.ids);
        assert_eq!(learned(&chat, &later), ["No 2<|im_end|>"]);
    }
}

#[test]
fn marked_words_are_learned_and_nothing_else() {
    let source = "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>{% generation %}{{ m.content }}<|im_end|>\
                  {% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
    let chat = chat(Some(source));
    let spans = chat.sft(&SftText::Chat(conversation())).expect("spans");
    assert_eq!(
        learned(&chat, &spans),
        ["Yes 1<|im_end|>", "No 2<|im_end|>"]
    );
    let [prompt, completion] = [conversation()[..2].to_vec(), conversation()[2..].to_vec()];
    let later = chat
        .sft(&SftText::ChatCompletion(prompt, completion))
        .expect("spans");
    assert_eq!(learned(&chat, &later), ["No 2<|im_end|>"]);
}

#[test]
fn a_template_that_looks_ahead_is_refused_with_the_mend() {
    let last_only =
        "{% for m in messages %}{{ m.role if loop.last else '' }}{{ m.content }}{% endfor %}";
    let error = chat(Some(last_only))
        .sft(&SftText::Chat(conversation()))
        .expect_err("unstable");
    assert!(
        error.message.contains("turn 2") && error.hint.is_some_and(|h| h.contains("generation"))
    );
}

#[test]
fn d15_generation_stops_at_the_end_of_text_and_at_the_end_of_a_turn() {
    let chat = chat(Some(CHATML));
    let marker = chat.tokenizer().id("<|im_end|>").expect("there");
    assert_eq!(chat.stop_ids(), [chat.eos_id(), marker]);
    assert_eq!(chat.pad_id(), chat.eos_id());
    // `<|im_start|>` opens every turn, so it is no BOS that a cut must keep.
    assert_eq!(chat.leading_bos(), None);
}

#[test]
fn a_conversation_without_a_template_says_what_to_do() {
    let error = chat(None)
        .prompt(&Prompt::Chat(conversation()))
        .expect_err("no template");
    assert!(error.to_string().contains("no chat template") && error.hint.is_some());
}

#[test]
fn forms_that_do_not_match_are_refused() {
    let error = chat(Some(CHATML)).pair(&Prompt::Text("a".to_string()), &Answer::Ids(vec![1]));
    assert!(
        error
            .expect_err("mixed")
            .message
            .contains("different forms")
    );
}

#[test]
fn the_table_shows_every_token_with_line_breaks_spelt_out() {
    let chat = chat(Some(CHATML));
    let turns = vec![Message::user("Hello"), Message::assistant("é")];
    let spans = chat.sft(&SftText::Chat(turns)).expect("spans");
    let table = chat.table(&spans);
    assert_eq!(table.len(), spans.ids.len());
    assert!(
        table
            .iter()
            .any(|(_, piece, scored)| piece == "\\n" && !scored)
    );
    assert_eq!(table.iter().filter(|row| row.2).count(), spans.targets());
    assert_eq!(
        table.iter().rfind(|row| row.2).map(|row| row.1.as_str()),
        Some("<|im_end|>")
    );
}

/// SmolLM2-135M-Instruct, whose ids tests/golden holds.
fn smollm2() -> Chat {
    let dir = std::env::var("DUEL_SMOLLM2").expect("DUEL_SMOLLM2 names the model's directory");
    Chat::new(&TokenizerFiles::read(Path::new(&dir)).expect("read")).expect("loads")
}

fn golden(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/smollm2")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).expect("there")).expect("parses")
}

fn parse<T: serde::de::DeserializeOwned>(value: &serde_json::Value) -> T {
    serde_json::from_value(value.clone()).expect("the golden file has this shape")
}

#[test]
#[ignore = "needs the SmolLM2 tokenizer: set DUEL_SMOLLM2"]
fn texts_and_prompts_have_the_ids_of_transformers() {
    let (chat, golden) = (smollm2(), golden("tokenizer.json"));
    let (texts, ids): (Vec<String>, Vec<Vec<u32>>) = parse(&golden["plain"]);
    for (text, ids) in texts.iter().zip(ids) {
        assert_eq!(
            chat.tokenizer().encode(text).expect("encoded"),
            ids,
            "{text}"
        );
        assert_eq!(&chat.decode(&ids, false).expect("decoded"), text);
    }
    for case in parse::<Vec<serde_json::Value>>(&golden["chat"]) {
        let turns: Vec<Message> = parse(&case["messages"]);
        assert_eq!(
            chat.render(&turns, true).expect("rendered").text,
            parse::<String>(&case["text"])
        );
        let ids = chat.prompt(&Prompt::Chat(turns)).expect("encoded");
        assert_eq!(ids, parse::<Vec<u32>>(&case["ids"]));
    }
}

#[test]
#[ignore = "needs the SmolLM2 tokenizer: set DUEL_SMOLLM2"]
fn pairs_have_the_ids_of_trl() {
    let (chat, golden) = (smollm2(), golden("pairs.json"));
    let mut targets = 0;
    for pair in parse::<Vec<serde_json::Value>>(&golden["pairs"]) {
        let turns = |name: &str| parse::<Vec<Message>>(&pair["messages"][name]);
        let prompt = Prompt::Chat(turns("prompt"));
        let answers = [turns("chosen"), turns("rejected")].map(Answer::Chat);
        let encoded = chat
            .preference(&prompt, &answers[0], &answers[1])
            .expect("encoded");
        assert_eq!(encoded.prompt, parse::<Vec<u32>>(&pair["prompt_ids"]));
        assert_eq!(encoded.chosen, parse::<Vec<u32>>(&pair["chosen_ids"]));
        assert_eq!(encoded.rejected, parse::<Vec<u32>>(&pair["rejected_ids"]));
        let row = SftText::ChatCompletion(turns("prompt"), turns("chosen"));
        let spans = chat.sft(&row).expect("spans");
        // All of the response but the line break after `<|im_end|>`.
        assert_eq!(spans.targets(), encoded.chosen.len() - 1);
        targets += encoded.chosen.len();
    }
    assert_eq!(targets, 162, "as counted by TRL's completion mask");
}

#[test]
#[ignore = "needs the SmolLM2 tokenizer: set DUEL_SMOLLM2"]
fn smollm2_stops_at_im_end_and_pads_with_it() {
    let chat = smollm2();
    assert_eq!(
        (chat.stop_ids(), chat.pad_id(), chat.eos_id()),
        (&[2][..], 2, 2)
    );
    assert_eq!(chat.vocab_size(), 49152);
    assert_eq!(chat.leading_bos(), None);
}

/// ArmoRM's gate reads the end-of-turn token in front of the assistant's header (D18: never one behind an answer).
#[test]
fn d18_a_question_ends_with_its_turn_whatever_the_template_opens_then() {
    let turns = &conversation()[..3];
    for chat in [chat(Some(CHATML)), headed()] {
        let prompt = Prompt::Chat(turns.to_vec());
        let ids = chat.prompt(&prompt).expect("encoded");
        let end = chat.question_end(&prompt).expect("found");
        assert_eq!(text(&chat, &ids[end..=end]), "<|im_end|>");
        let behind = text(&chat, &ids[end + 1..]);
        assert_eq!(behind.trim(), "<|im_start|>assistant");
        assert!(text(&chat, &ids[..end]).ends_with("there"));
    }
    let plain = Prompt::Text("Hello there \n".to_string());
    let chat = chat(None);
    let ids = chat.prompt(&plain).expect("encoded");
    let end = chat.question_end(&plain).expect("found");
    assert_eq!(text(&chat, &ids[end + 1..]).trim(), "");
    assert!(!text(&chat, &ids[end..=end]).trim().is_empty());
}

/// Qwen3's template writes an empty thought before the last answer, and asks without one.
#[test]
fn a_letter_stands_behind_the_empty_thought_of_the_template() {
    let thinking = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}\
                    {{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}\
                    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    for (template, opening) in [(thinking, "<think>\n\n</think>\n\n"), (CHATML, "")] {
        let chat = chat(Some(template));
        let letters = Letters::of(&chat).expect("letters");
        assert_eq!(text(&chat, &[letters.a, letters.b]), "AB");
        let [first, second] = ["yes", "no"].map(|word| Answer::Text(word.into()));
        let comparison = Comparison::of(&chat, &Prompt::Text("?".into()), &first, &second);
        let asked = comparison
            .and_then(|comparison| comparison.encode(&chat, &Limits::new(4096)))
            .expect("encoded")
            .expect("fits");
        let asked = text(&chat, &asked.ids);
        let end = format!("<|im_start|>assistant\n{opening}");
        assert!(asked.ends_with(&end), "{asked}");
    }
}
