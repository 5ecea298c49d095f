//! The data of the quickstart that is not drawn from a model: requests, and a teacher's stories made tidy.
//! `recipes/quickstart/make.sh` calls it and is the whole chain.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

const WHO: [&str; 24] = [
    "a little dog",
    "a small cat",
    "a girl named Lily",
    "a boy named Tom",
    "a little bird",
    "a kind farmer",
    "a white rabbit",
    "an old man",
    "a brown bear",
    "a girl named Mia",
    "a boy named Ben",
    "a green frog",
    "a tiny mouse",
    "a red fox",
    "a young horse",
    "a duck",
    "a grandmother",
    "a baker",
    "a fish",
    "a sheep",
    "a boy named Sam",
    "a girl named Anna",
    "an owl",
    "a puppy",
];

const WHAT: [&str; 25] = [
    "finds a shiny coin",
    "loses a red ball",
    "wants to fly",
    "bakes a cake",
    "meets a new friend",
    "is afraid of the dark",
    "plants a seed",
    "goes to the sea",
    "helps a friend",
    "gets lost in the forest",
    "sees the first snow",
    "has a birthday",
    "builds a little house",
    "shares an apple",
    "learns to swim",
    "hears a strange sound",
    "looks for a treasure",
    "plays in the rain",
    "says sorry",
    "sings a song",
    "cannot sleep",
    "finds a lost kitten",
    "climbs a tall tree",
    "paints a picture",
    "wins a race",
];

/// What a story request looks like, for SmolLM2 and for the little model alike.
fn request(who: &str, what: &str) -> String {
    format!("Tell me a short story about {who} who {what}.")
}

fn prompts() {
    let system = "You write very short stories for small children. You use short sentences and simple words.";
    for (i, who) in WHO.iter().enumerate() {
        for (j, what) in WHAT.iter().enumerate() {
            let turns = json!([
                {"role": "system", "content": system},
                {"role": "user", "content": request(who, what)},
            ]);
            println!("{}", json!({"id": format!("{i}-{j}"), "prompt": turns}));
        }
    }
}

/// The story up to its last whole sentence, in plain ASCII and one paragraph; none where little is left.
fn tidy(story: &str) -> Option<String> {
    let plain: String = story
        .chars()
        .map(|c| match c {
            '\u{2018}' | '\u{2019}' => '\'',
            '\u{201c}' | '\u{201d}' => '"',
            '\u{2013}' | '\u{2014}' => '-',
            c if c.is_whitespace() => ' ',
            c => c,
        })
        .collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = plain.rfind(['.', '!', '?'])? + 1;
    let end = if plain[end..].starts_with('"') {
        end + 1
    } else {
        end
    };
    let story = plain[..end].trim().to_owned();
    let clean = story.is_ascii() && !story.contains(['*', '#', '[', '{', '_', '<', '|']);
    (clean && story.split(' ').count() >= 20).then_some(story)
}

/// The first three sentences: what the little model can keep in mind.
fn short(story: &str) -> String {
    let ends = story.match_indices(['.', '!', '?']).filter(|(at, _)| {
        let rest = &story[at + 1..];
        rest.is_empty() || rest.starts_with(' ') || rest.starts_with("\" ")
    });
    let end = ends.map(|(at, _)| at + 1).nth(2).unwrap_or(story.len());
    let quote = usize::from(story[end..].starts_with('"'));
    story[..end + quote].to_owned()
}

/// Requests about the first 18 characters are for training, those about the last 6 for evaluation.
fn requests(evaluation: bool) {
    let who = if evaluation { &WHO[18..] } else { &WHO[..18] };
    for who in who {
        for what in WHAT {
            let id = format!("{who} {what}").replace(' ', "-");
            println!(
                "{}",
                json!({"id": id, "prompt": [{"role": "user", "content": request(who, what)}]})
            );
        }
    }
}

/// Rows of `{"id", "prompt", "response"}` from the teacher's responses, without repeats.
fn stories(path: &str) -> Vec<(String, String, String)> {
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let question = row["prompt"].as_array().unwrap().last().unwrap()["content"]
            .as_str()
            .unwrap();
        for (k, response) in row["responses"].as_array().unwrap().iter().enumerate() {
            if let Some(story) = tidy(response.as_str().unwrap())
                && seen.insert(story.clone())
            {
                let id = format!("{}-{k}", row["id"].as_str().unwrap());
                rows.push((id, question.to_owned(), story));
            }
        }
    }
    rows
}

/// Pairs without what only the loop needs; the draw is part of the name, as a request is drawn for twice.
fn pairs(path: &str, draw: &str) {
    for line in fs::read_to_string(path).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let id = format!("{}/{draw}", row["id"].as_str().unwrap());
        let margin = (row["margin"].as_f64().unwrap() * 1e4).round() / 1e4;
        println!(
            "{}",
            json!({"id": id, "prompt": row["prompt"], "chosen": row["chosen"], "rejected": row["rejected"], "margin": margin})
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["prompts"] => prompts(),
        ["text", path] => {
            for (id, _, story) in stories(path) {
                println!("{}", json!({"id": id, "text": story}));
            }
        }
        ["sft", path] => {
            // Every fifth story is enough to learn the form.
            for (id, question, story) in stories(path).into_iter().step_by(5) {
                let turns = json!([
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": short(&story)},
                ]);
                println!("{}", json!({"id": id, "messages": turns}));
            }
        }
        ["pairs", path, draw] => pairs(path, draw),
        ["requests"] => requests(false),
        ["eval"] => requests(true),
        _ => panic!("prompts | text FILE | sft FILE | pairs FILE DRAW | requests | eval"),
    }
}
