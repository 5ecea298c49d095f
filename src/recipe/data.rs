//! A stage's `[..data]` or `[..prompts]`: which rows.

use super::one_or_many::{OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The rows a stage reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Files of jsonl or parquet, one or a list, relative to the file that names them (in `--set`: to the current
    /// folder). A `*` in a file's name takes all that match: `data/train-*.parquet`. `owner/name` is a data set of the hub,
    /// `owner/name@revision` a revision of it, `hf://datasets/owner/name/folder` a part; the run downloads it.
    /// `quickstart:NAME` is a sample inside the binary.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub files: Vec<String>,
    /// Which split of the hub's data sets; absent: `train` to learn from, `test` or `validation` to measure on, or the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Whether the rows are there to measure on, which the table's place says.
    #[serde(skip)]
    pub measures: bool,
    /// The file's name of a column, by the usual name: `prompt = "question"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// Keep only rows whose column holds this text: `subset = "helpful"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, String>,
    /// Read no more rows than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_rows: Option<usize>,
    /// Take text prompts as one user turn, and text responses as one assistant turn: the model's chat template is put
    /// around them. Otherwise text is taken as it stands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub text_as_chat: bool,
    /// Count and list rows that cannot be read instead of stopping at the first.
    #[serde(default)]
    pub skip_bad: bool,
    /// Share of the prompts that is kept out of training for evaluation. Chosen by the prompt's hash, so that the
    /// pairs of one prompt stand on one side.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub held_out: f64,
}

impl Data {
    /// What stands in front of the name of a sample inside the binary.
    pub const EMBEDDED: &'static str = "quickstart:";

    /// The names that `columns` may rename: all that duel reads.
    pub const COLUMNS: [&'static str; 39] = [
        "id",
        "prompt_id",
        "key",
        "prompt",
        "chosen",
        "rejected",
        "margin",
        "subset",
        "chosen_score",
        "rejected_score",
        "score_chosen",
        "score_rejected",
        "prompt_ids",
        "chosen_ids",
        "rejected_ids",
        "messages",
        "context_messages",
        "conversations",
        "role",
        "content",
        "from",
        "value",
        "response",
        "responses",
        "finish",
        "tokens",
        "rewards",
        "completion",
        "completions",
        "answers",
        "answer",
        "label",
        "labels",
        "instruction",
        "input",
        "output",
        "system",
        "history",
        "text",
    ];
}

/// What happens to a row that is longer than `max_length`; always counted, and the end marker is never cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlong {
    /// The prompt loses tokens from the left; a row whose response alone is too long is dropped.
    #[default]
    TruncatePrompt,
    /// The row is dropped.
    Drop,
}
