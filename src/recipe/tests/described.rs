//! The schema and the reference say what loading does.

use super::*;
use serde_json::Value;

/// Every dotted key with its schema.
fn keys(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    for (key, schema) in schema::properties(schema).into_iter().flatten() {
        let path = layers::join(path, key);
        keys(schema, &path, found);
        found.push((path, schema.clone()));
    }
}

fn all_keys() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    keys(&schema(), "", &mut found);
    found
}

#[test]
fn every_key_is_described_and_without_null() {
    let keys = all_keys();
    assert!(keys.len() > 150, "{} keys", keys.len());
    for (key, schema) in keys {
        assert!(
            schema["description"].is_string(),
            "{key} has no description"
        );
        assert!(!schema.to_string().contains("null"), "{key}: {schema}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_that_loading_gives() {
    for name in ["quickstart/quickstart", "smollm2-hh/dpo"] {
        let loaded = Recipe::open(name, &[]).expect("a shipped recipe");
        let values = show::values(&loaded.recipe);
        for (key, schema) in all_keys() {
            let value = key
                .split('.')
                .try_fold(&values, |value, key| value.get(key));
            if loaded.origins.get(&key) == Some(&Origin::Default) {
                assert_eq!(schema.get("default"), value, "{key} in {name}");
            }
        }
    }
}

#[test]
fn the_reference_has_every_key_and_the_defaults_of_every_stage() {
    let text = reference_markdown();
    for (key, schema) in all_keys()
        .iter()
        .filter(|(_, schema)| schema::properties(schema).is_none())
    {
        let name = key.rsplit('.').next().expect("a name");
        assert!(text.contains(&format!("| `{name}` |")), "{key}: {schema}");
    }
    let row = text
        .lines()
        .find(|line| line.starts_with("| `learning_rate`"))
        .expect("a row");
    insta::assert_snapshot!(row, @"| `learning_rate` | number | `1e-5`; `2e-5` in `sft.train`, `2e-6` in `verifier.train`, `5e-7` in `dpo.train`, `5e-7` in `online.train` | The peak learning rate. Must be above 0. |");
    let row = text
        .lines()
        .find(|line| line.starts_with("| `choose`"))
        .expect("a row");
    insta::assert_snapshot!(row, @r#"
    | `choose` | choice | `"max_min"` | The strategy.<br>`max_min`: The best against the worst.<br>`max_random`: The best against a random other, drawn from the seed.<br>`max_max`: The best against the second best.<br>`random`: Two at random, drawn from the seed. |
    "#);
}
