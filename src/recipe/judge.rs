//! Who ranks responses: the tables `[online.judge.*]` and those of `[eval]`.

use super::VerifierJudge;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who ranks the responses: exactly one of the tables. A later layer's choice replaces an earlier one's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Judge {
    /// A reward model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<RewardJudge>,
    /// A rule over the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// A pairwise preference model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairwise: Option<PairwiseJudge>,
    /// A process or an outcome reward model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier: Option<VerifierJudge>,
    /// A program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandJudge>,
    /// A model behind an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteJudge>,
}

impl Judge {
    /// The names of the tables that are there.
    pub fn named(&self) -> Vec<&'static str> {
        let tables = [
            ("reward", self.reward.is_some()),
            ("rule", self.rule.is_some()),
            ("pairwise", self.pairwise.is_some()),
            ("verifier", self.verifier.is_some()),
            ("command", self.command.is_some()),
            ("remote", self.remote.is_some()),
        ];
        let there = tables.into_iter().filter(|(_, there)| *there);
        there.map(|(name, _)| name).collect()
    }

    /// Whether it names a model of its own, which the run does not train.
    pub fn names_a_model(&self) -> bool {
        let names = [
            self.reward.as_ref().map(|table| &table.model_name_or_path),
            self.pairwise
                .as_ref()
                .map(|table| &table.model_name_or_path),
            self.verifier
                .as_ref()
                .map(|table| &table.model_name_or_path),
        ];
        names.into_iter().flatten().any(Option::is_some)
    }
}

/// A reward model as the judge.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RewardJudge {
    /// A folder or hub id with a one-label `*ForSequenceClassification` or a multi-objective model; absent: the model that
    /// `[multi_objective]` fits, else that of `[reward]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name_or_path: Option<String>,
    /// Branch, tag or commit of a hub id; absent: the main branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// A pairwise preference model as the judge: a chat model that is shown two responses and answers `A` or `B`, asked in both
/// orders.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PairwiseJudge {
    /// A folder or hub id with such a model; absent: the model that `[pairwise]` trains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name_or_path: Option<String>,
    /// Branch, tag or commit of a hub id; absent: the main branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Who meets whom, where several responses are ranked; `[eval]` compares the two models' responses directly.
    pub rounds: Rounds,
    /// Longest comparison (prompt and both responses), in tokens, beyond which the prompt loses its beginning; absent: the longest that
    /// the model allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub max_length: Option<usize>,
}

/// A score from the text alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A rule or a weighted sum of rules: `0.5*sentence + 0.5*length:40`. The rules are `sentence`, `no_repeats`,
    /// `feelings`, `polite`, `length:WORDS`, `contains:PHRASE`, `avoids:PHRASE`, `answer` (the response comes to the row's `answer`)
    /// and, alone, `matches:REGEX`.
    pub formula: String,
}

/// Any program as the judge. It reads a line of JSON for each prompt, `{"id", "prompt", "responses"}`, and answers each with a
/// line `{"rewards": [...]}`, one number a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandJudge {
    /// The program and its arguments; it runs where duel was started. A run does not notice what changes in its files: give a
    /// changed judge another name, or the run.
    pub program: Vec<String>,
    /// How long it may take for the responses to one prompt.
    #[serde(default = "default_timeout")]
    #[schemars(range(max = 86_400.0), extend("exclusiveMinimum" = 0))]
    pub timeout_seconds: f64,
}

/// A model behind an OpenAI-compatible endpoint as the judge. Replies are kept in the user's cache: the same question is asked
/// once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteJudge {
    /// Where it is, up to `/chat/completions`: `https://api.openai.com/v1`, `http://localhost:8000/v1`.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// The environment variable that holds the API key; absent: no key is sent. The key itself is never in a recipe, a run
    /// directory or a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// Two responses side by side, or one at a time.
    #[serde(default)]
    pub ask: Ask,
    /// Who meets whom, where two are compared.
    #[serde(default)]
    pub rounds: Rounds,
    /// The question, as a Jinja template over `prompt`, `a` and `b`, or `prompt` and `response`; absent: duel's own. A reply to
    /// the first has to end in A, B or C (a tie), a reply to the second in a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Of the judge's own sampling.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub temperature: f64,
    /// Tokens a reply may have.
    #[serde(default = "default_max_tokens")]
    #[schemars(range(min = 1))]
    pub max_tokens: usize,
    /// How long a reply may take.
    #[serde(default = "default_timeout")]
    #[schemars(range(max = 86_400.0), extend("exclusiveMinimum" = 0))]
    pub timeout_seconds: f64,
    /// How often a question is asked again that failed in passing, after 0.5 s, 1 s, 2 s and so on.
    #[serde(default = "default_retries")]
    #[schemars(range(max = 1000))]
    pub retries: usize,
    /// Questions under way at once.
    #[serde(default = "default_concurrency")]
    #[schemars(range(min = 1))]
    pub concurrency: usize,
    /// No more questions a minute; absent: as fast as they are answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<usize>,
}

impl RemoteJudge {
    /// Why its address is none; nothing where it is one.
    pub fn fault(&self) -> Option<&'static str> {
        let url = &self.base_url;
        match url.strip_prefix("http://").or(url.strip_prefix("https://")) {
            None => Some("it does not begin with http:// or https://"),
            Some(rest) if rest.contains(['@', '?', '#']) => Some(
                "a key or a password in it would be kept in the run's files: name a variable with `api_key_env`",
            ),
            Some(rest) if rest.trim_end_matches('/').ends_with("/chat/completions") => {
                Some("it ends before /chat/completions")
            }
            Some(_) => None,
        }
    }
}

/// What a judge elsewhere is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Which of two responses is the better, in both orders.
    #[default]
    Pairs,
    /// The grade of one response.
    Grades,
}

/// Who meets whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rounds {
    /// Everybody meets everybody: K (K - 1) / 2 matches, and a score with many values.
    #[default]
    RoundRobin,
    /// The better of two goes on: K - 1 matches, enough for `choose = "max_min"`.
    KnockOut,
}

fn default_timeout() -> f64 {
    60.0
}

fn default_max_tokens() -> usize {
    512
}

fn default_retries() -> usize {
    5
}

fn default_concurrency() -> usize {
    8
}
