//! A base model has no chat template: a recipe may bring one along, and what is trained under it carries it.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, duel, folder};
use crate::tiny_files;
use std::fs;

const TEMPLATE: &str =
    "{% for turn in messages %}<|{{ turn.role }}|>{{ turn.content | trim }}<|end|>{% endfor %}";

#[test]
fn a_base_model_learns_under_the_template_of_the_recipe_and_keeps_it() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let base = folder.path().join("base");
    tiny_files::model(&base);
    fs::remove_file(base.join("chat_template.jinja")).unwrap();
    let recipe = |name: &str, template: &str| {
        let text = format!(
            "name = \"{name}\"\n[model]\nmodel_name_or_path = \"base\"\n{template}\n[sft]\nmax_length = 128\n\
             [sft.data]\nfiles = \"pairs.jsonl\"\n[sft.train]\nmax_steps = 1\n"
        );
        fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
        duel(
            &folder,
            &["sft", &format!("{name}.toml"), "--backend", "cpu"],
        )
    };
    let said = recipe("bare", "");
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("has no chat template"), "{}", said.err);
    assert!(said.err.contains("model.chat_template"), "{}", said.err);

    let said = recipe("dressed", &format!("chat_template = '{TEMPLATE}'"));
    assert_eq!(said.code, 0, "{}", said.err);
    let written = folder
        .path()
        .join("runs/dressed/sft/checkpoint/chat_template.jinja");
    assert_eq!(fs::read_to_string(written).unwrap(), TEMPLATE);
    // Another template is another recipe: the stage is not taken for done.
    let said = recipe("dressed", &format!("chat_template = '{TEMPLATE}{{# #}}'"));
    assert_ne!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("model.chat_template: "), "{}", said.err);

    let said = recipe("broken", "chat_template = '{% for %}'");
    assert_ne!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("template"), "{}", said.err);
}
