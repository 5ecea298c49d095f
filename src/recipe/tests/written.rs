//! What is shown can be loaded again, and hashes change with results only.

use super::*;

#[test]
fn what_is_written_loads_to_the_same_recipe() {
    for shipped in catalogue() {
        let loaded = Recipe::open(shipped.name(), &[]).expect("a shipped recipe");
        for text in [loaded.text.clone(), loaded.show()] {
            let again = recipe(&text).load(&[]).expect("what was written");
            assert_eq!(again.recipe, loaded.recipe, "{}", shipped.name());
        }
    }
}

#[test]
fn odd_keys_and_texts_survive_being_written() {
    let folder = dpo("[dpo.data.filter]\n\"odd key.x\" = \"a \\\"quoted\\\"\\nline\"\n");
    let loaded = folder.load(&[]).expect("a right recipe");
    assert_ne!(loaded.origins["dpo.data.filter.odd key.x"], Origin::Default);
    assert_eq!(
        recipe(&loaded.show())
            .load(&[])
            .expect("what was written")
            .recipe,
        loaded.recipe
    );
}

#[test]
fn a_hash_changes_with_what_changes_the_result_and_with_nothing_else() {
    let hash = |flags: &[&str]| hash_of(&dpo_with(flags));
    assert_eq!(
        hash(&[]),
        hash(&["dpo.train.logging_steps=5", "dpo.train.save_steps=7"])
    );
    assert_eq!(hash(&[]), hash(&["dpo.train.gradient_checkpointing=true"]));
    assert_eq!(hash(&[]), hash(&["dpo.train.learning_rate=5e-7"]));
    assert_ne!(hash(&[]), hash(&["dpo.train.learning_rate=6e-7"]));
    assert_ne!(hash(&[]), hash(&["dpo.loss.loss_type=hinge"]));
    assert_ne!(hash_of(&["ab", "c"]), hash_of(&["a", "bc"]));
    let (one, two) = (
        serde_json::json!({ "a": 1, "b": 2 }),
        serde_json::json!({ "b": 2, "a": 1 }),
    );
    assert_eq!(hash_of(&one), hash_of(&two));
}

fn dpo_with(flags: &[&str]) -> Dpo {
    let flags: Vec<&str> = flags
        .iter()
        .copied()
        .chain(["dpo.data.files=/pairs.jsonl"])
        .collect();
    dpo("")
        .load(&flags)
        .expect("a right recipe")
        .recipe
        .dpo
        .expect("its stage")
}
