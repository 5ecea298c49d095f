//! What types cannot say: ranges, and tables that contradict each other.

mod files;
mod judges;
mod multi_objective;

pub(super) use files::{MissingFile, missing_files, names_data_sets};

use super::complaint::{Complaint, closest};
use super::layers::{Node, Table, find, join};
use super::{
    CommandJudge, Data, HubSet, Lora, NewModel, Online, PairLoss, Recipe, RemoteJudge, Rule,
    Sampling, schema,
};

/// Every mistake of a recipe, with its place in `tree`.
pub(super) fn check(recipe: &Recipe, tree: &Table) -> Vec<Complaint> {
    let mut check = Check {
        tree,
        complaints: Vec::new(),
    };
    check.ranges(tree, "");
    check.name(recipe);
    check.model(recipe);
    check.revisions(recipe);
    check.stages(recipe);
    let mut complaints = check.complaints;
    complaints.sort_by_key(|complaint| {
        complaint
            .place
            .as_ref()
            .map(|place| (place.layer, place.span.start))
    });
    complaints
}

struct Check<'t> {
    tree: &'t Table,
    complaints: Vec<Complaint>,
}

impl Check<'_> {
    fn complain(&mut self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let place = find(self.tree, &path).map(|(entry, whole)| match (&entry.node, whole) {
            (Node::Leaf(..), true) => entry.value.clone(),
            _ => entry.key.clone(),
        });
        self.complaints.push(Complaint {
            place,
            message: message.into(),
            hint: Some(hint.into()),
        });
    }

    /// Every number against the range in its schema.
    fn ranges(&mut self, tree: &Table, path: &str) {
        for (key, entry) in tree {
            let path = join(path, key);
            let value = match &entry.node {
                Node::Table(inner) => {
                    self.ranges(inner, &path);
                    continue;
                }
                Node::Leaf(toml::Value::Integer(value), _) => *value as f64,
                Node::Leaf(toml::Value::Float(value), _) => *value,
                Node::Leaf(..) => continue,
            };
            let range = schema::at(&path).and_then(schema::range);
            if let Some(range) = range.filter(|range| !range.holds(value)) {
                let message = format!("`{path}` is {value}, but must be {range}");
                self.complain(&path, message, schema::describe(&path).unwrap_or_default());
            } else if !value.is_finite() {
                self.complain(
                    &path,
                    format!("`{path}` is {value}"),
                    "write a finite number",
                );
            }
        }
    }

    fn name(&mut self, recipe: &Recipe) {
        let name = &recipe.name;
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            self.complain(
                "name",
                format!("`name` is {name:?}, which cannot be the name of a folder"),
                "the run is kept in `<output_dir>/<name>`: use letters, digits, `-` and `_`",
            );
        }
    }

    fn model(&mut self, recipe: &Recipe) {
        let model = &recipe.model;
        if model.load_in_4bit {
            self.packed(recipe);
        }
        match (&model.model_name_or_path, &model.new) {
            (None, None) => self.complain(
                "model",
                "the recipe names no model",
                "set `model.model_name_or_path`, for example to `quickstart`, a folder or a hub id",
            ),
            (Some(_), Some(_)) => self.complain(
                "model.new",
                "`[model.new]` makes a model, and `model.model_name_or_path` names one",
                "take one of the two away (`--set model.new=false` drops the table)",
            ),
            (None, Some(new)) => self.new_model(recipe, new),
            (Some(name), None) if name.trim().is_empty() => {
                self.complain(
                    "model.model_name_or_path",
                    "the model's name is empty",
                    "name a folder or a hub id",
                );
            }
            (Some(_), None) => {}
        }
    }

    /// A revision says nothing without the model that it is of.
    fn revisions(&mut self, recipe: &Recipe) {
        let judges = [
            recipe.online.as_ref().and_then(|t| t.judge.reward.as_ref()),
            recipe.eval.as_ref().and_then(|t| t.reward.as_ref()),
        ];
        let [online, eval] =
            judges.map(|judge| judge.map(|t| (&t.revision, &t.model_name_or_path)));
        let model = Some((&recipe.model.revision, &recipe.model.model_name_or_path));
        let reward = recipe.reward.as_ref();
        let reward = reward.map(|t| (&t.revision, &t.model_name_or_path));
        let dpo = recipe.dpo.as_ref();
        let dpo = dpo.map(|t| (&t.ref_model_revision, &t.ref_model));
        let judges = [
            recipe
                .online
                .as_ref()
                .and_then(|t| t.judge.pairwise.as_ref()),
            recipe.eval.as_ref().and_then(|t| t.pairwise.as_ref()),
        ];
        let [online_pairs, eval_pairs] =
            judges.map(|judge| judge.map(|t| (&t.revision, &t.model_name_or_path)));
        let pairwise = recipe.pairwise.as_ref();
        let pairwise = pairwise.map(|t| (&t.revision, &t.model_name_or_path));
        let judges = [
            recipe
                .online
                .as_ref()
                .and_then(|t| t.judge.verifier.as_ref()),
            recipe.eval.as_ref().and_then(|t| t.verifier.as_ref()),
        ];
        let [online_verifier, eval_verifier] =
            judges.map(|judge| judge.map(|t| (&t.revision, &t.model_name_or_path)));
        let verifier = recipe.verifier.as_ref();
        let verifier = verifier.map(|t| (&t.revision, &t.model_name_or_path));
        let objectives = recipe.multi_objective.as_ref();
        let objectives = objectives.map(|t| (&t.revision, &t.model_name_or_path));
        for (table, given) in [
            ("model", model),
            ("reward", reward),
            ("multi_objective", objectives),
            ("pairwise", pairwise),
            ("verifier", verifier),
            ("online.judge.pairwise", online_pairs),
            ("online.judge.verifier", online_verifier),
            ("eval.pairwise", eval_pairs),
            ("eval.verifier", eval_verifier),
            ("dpo", dpo),
            ("online.judge.reward", online),
            ("eval.reward", eval),
        ] {
            if let Some((Some(_), None)) = given {
                let (revision, name) = match table {
                    "dpo" => ("ref_model_revision", "ref_model"),
                    _ => ("revision", "model_name_or_path"),
                };
                self.complain(
                    &format!("{table}.{revision}"),
                    "a revision, but no model that it is of",
                    format!("name the model with `{table}.{name}`, or leave the revision out"),
                );
            }
        }
    }

    /// 4 bits cannot be trained: what trains needs an adapter over them.
    fn packed(&mut self, recipe: &Recipe) {
        let trained = [
            ("sft", recipe.sft.as_ref().map(|sft| &sft.lora)),
            ("reward", recipe.reward.as_ref().map(|reward| &reward.lora)),
            ("pairwise", recipe.pairwise.as_ref().map(|t| &t.lora)),
            ("verifier", recipe.verifier.as_ref().map(|t| &t.lora)),
            ("dpo", recipe.dpo.as_ref().map(|dpo| &dpo.lora)),
            ("online", recipe.online.as_ref().map(|online| &online.lora)),
        ];
        for (stage, lora) in trained {
            if lora.is_some_and(Option::is_none) {
                self.complain(
                    "model.load_in_4bit",
                    format!(
                        "`[{stage}]` trains every weight, but `model.load_in_4bit` freezes them"
                    ),
                    format!("add a `[{stage}.lora]` table, or leave `load_in_4bit` out"),
                );
            }
        }
    }

    fn new_model(&mut self, recipe: &Recipe, new: &NewModel) {
        let (heads, groups) = (
            new.num_attention_heads.max(1),
            new.num_key_value_heads.max(1),
        );
        if !new.hidden_size.is_multiple_of(2 * heads) {
            self.complain(
                "model.new.num_attention_heads",
                format!(
                    "{heads} heads do not divide `hidden_size` {} into even parts",
                    new.hidden_size
                ),
                "each head needs an even width: rotary embeddings turn pairs",
            );
        }
        if !heads.is_multiple_of(groups) {
            self.complain(
                "model.new.num_key_value_heads",
                format!("{groups} key/value heads cannot be shared evenly by {heads} query heads"),
                "use a divisor of `num_attention_heads`",
            );
        }
        if recipe.sft.is_none() {
            self.complain(
                "model.new",
                "a model of random weights has nothing to say before it was trained",
                "add an `[sft]` table: its data are what the model learns to write",
            );
        }
        if recipe.sft.as_ref().is_some_and(|sft| sft.lora.is_some()) {
            self.complain(
                "sft.lora",
                "adapters over random weights train nothing but the adapters",
                "drop the table with `--set sft.lora=false`",
            );
        }
    }

    fn stages(&mut self, recipe: &Recipe) {
        if recipe.sft.is_none()
            && recipe.reward.is_none()
            && recipe.multi_objective.is_none()
            && recipe.pairwise.is_none()
            && recipe.verifier.is_none()
            && recipe.dpo.is_none()
            && recipe.online.is_none()
            && recipe.eval.is_none()
        {
            self.complain(
                "name",
                "the recipe has nothing to do",
                "add a table for a stage: `[sft]`, `[reward]`, `[multi_objective]`, `[pairwise]`, `[verifier]`, `[dpo]`, `[online]` or \
                 `[eval]`",
            );
        }
        if let Some(sft) = &recipe.sft {
            self.split("sft", &sft.data, sft.eval.as_ref());
            self.lora("sft", sft.lora.as_ref());
        }
        self.trained_judges(recipe);
        if let Some(dpo) = &recipe.dpo {
            self.split("dpo", &dpo.data, dpo.eval.as_ref());
            self.lora("dpo", dpo.lora.as_ref());
            self.loss("dpo.loss", &dpo.loss);
        }
        if let Some(online) = &recipe.online {
            self.online(recipe, online);
        }
        if let Some(eval) = &recipe.eval {
            self.eval(recipe, eval);
        }
    }

    fn split(&mut self, stage: &str, data: &Data, eval: Option<&Data>) {
        self.data(&format!("{stage}.data"), data);
        if let Some(eval) = eval {
            self.data(&format!("{stage}.eval"), eval);
            if data.held_out > 0.0 {
                self.complain(
                    &format!("{stage}.data.held_out"),
                    format!(
                        "`{stage}.data.held_out` and `[{stage}.eval]` both say what to evaluate on"
                    ),
                    "take one of the two away",
                );
            }
        }
    }

    fn data(&mut self, key: &str, data: &Data) {
        if data.files.is_empty() {
            self.complain(
                &format!("{key}.files"),
                format!("`{key}.files` is an empty list"),
                "name at least one file",
            );
        }
        for file in &data.files {
            if let Err(error) = HubSet::parse(file) {
                let hint = error.hint.unwrap_or_default();
                self.complain(&format!("{key}.files"), error.message, hint);
            }
        }
        let of_hub = |file: &String| file.starts_with(HubSet::SCHEME);
        if data.split.is_some() && !data.files.iter().any(of_hub) {
            self.complain(
                &format!("{key}.split"),
                format!(
                    "`{key}.split` is one of a data set of the hub, and `{key}.files` names none"
                ),
                "take it away, or name such a set: `files = \"owner/name\"`",
            );
        }
        for column in data.columns.keys() {
            if !Data::COLUMNS.contains(&column.as_str()) {
                let hint = match closest(column, Data::COLUMNS) {
                    Some(likely) => {
                        format!("did you mean `{likely}`? The usual name stands left of the file's")
                    }
                    None => format!(
                        "the usual name stands left: one of {}",
                        Data::COLUMNS.join(", ")
                    ),
                };
                self.complain(
                    &format!("{key}.columns.{column}"),
                    format!("duel reads no column `{column}`"),
                    hint,
                );
            }
        }
    }

    fn lora(&mut self, stage: &str, lora: Option<&Lora>) {
        let Some(lora) = lora else {
            return;
        };
        if lora.lora_dropout > 0.0 {
            self.complain(
                &format!("{stage}.lora.lora_dropout"),
                "adapters train without dropout, as yet",
                "leave `lora_dropout` out",
            );
        }
        let key = format!("{stage}.lora.target_modules");
        if lora.target_modules.is_empty() {
            self.complain(
                &key,
                "adapters on no layer train nothing",
                "leave the key out to adapt every linear layer",
            );
        }
        let unknown = lora
            .target_modules
            .iter()
            .find(|name| !Lora::MODULES.contains(&name.as_str()));
        if let Some(name) = unknown {
            let hint = match closest(name, Lora::MODULES) {
                Some(likely) => format!("did you mean `{likely}`?"),
                None => format!("choose among {}", Lora::MODULES.join(", ")),
            };
            self.complain(&key, format!("no linear layer is called `{name}`"), hint);
        }
    }

    fn loss(&mut self, key: &str, loss: &PairLoss) {
        for fault in loss.faults() {
            self.complain(&format!("{key}.{}", fault.key), fault.fact, fault.hint);
        }
    }

    fn online(&mut self, recipe: &Recipe, online: &Online) {
        self.data("online.prompts", &online.prompts);
        if let Some(offline) = &online.offline {
            self.data("online.offline", offline);
        }
        self.lora("online", online.lora.as_ref());
        self.loss("online.loss", &online.loss);
        self.sampling("online", &online.generate, online.max_length);
        if online.generate.num_generations == 1 {
            self.complain(
                "online.generate.num_generations",
                "with `num_generations = 1` there is nothing to compare: a pair needs two responses to one prompt",
                "use 4 (the paper uses 8); for pairs that exist already, use `[dpo]`",
            );
        }
        if !online.generate.temperature.is_empty()
            && online.generate.temperature.iter().all(|one| *one == 0.0)
        {
            self.complain(
                "online.generate.temperature",
                "at temperature 0 every response to a prompt is the same, and pairs of equals are dropped",
                "use 1.0, or a mix such as [1.0, 0.7]",
            );
        }
        let judge = &online.judge;
        self.judges(
            "online.judge",
            judge.rule.as_ref(),
            judge.command.as_ref(),
            judge.remote.as_ref(),
        );
        self.loop_judge(recipe, judge);
    }

    /// The judges that are no models of duel's.
    fn judges(
        &mut self,
        table: &str,
        rule: Option<&Rule>,
        command: Option<&CommandJudge>,
        remote: Option<&RemoteJudge>,
    ) {
        if let Some(rule) = rule {
            self.rule(&format!("{table}.rule"), rule);
        }
        if command.is_some_and(|command| command.program.iter().all(String::is_empty)) {
            self.complain(
                &format!("{table}.command.program"),
                "the judge's command is empty",
                "write the program and its arguments, for example `[\"python3\", \"judge.py\"]`",
            );
        }
        if let Some(fault) = remote.and_then(RemoteJudge::fault) {
            self.complain(
                &format!("{table}.remote.base_url"),
                format!("`base_url` is no address to ask: {fault}"),
                "write it as `http://localhost:8000/v1`",
            );
        }
    }

    fn rule(&mut self, key: &str, rule: &Rule) {
        if rule.formula.trim().is_empty() {
            let key = format!("{key}.formula");
            self.complain(
                &key,
                "the formula of the rule is empty",
                "write, for example, `sentence`",
            );
        }
    }

    fn sampling(&mut self, stage: &str, sampling: &Sampling, max_length: usize) {
        let key = format!("{stage}.generate.temperature");
        if sampling.temperature.is_empty() || sampling.temperature.len() > sampling.num_generations
        {
            self.complain(
                &key,
                format!(
                    "{} temperatures for {} responses to a prompt",
                    sampling.temperature.len(),
                    sampling.num_generations
                ),
                "give one, or a mix of at most `num_generations`",
            );
        }
        if sampling
            .temperature
            .iter()
            .any(|one| !(0.0..=10.0).contains(one))
        {
            self.complain(
                &key,
                "a temperature must be at least 0 and at most 10",
                "0 is greedy, 1 the model's own",
            );
        }
        if sampling.max_new_tokens >= max_length {
            self.complain(
                &format!("{stage}.generate.max_new_tokens"),
                format!(
                    "responses of {} tokens leave no room for a prompt in `{stage}.max_length` {max_length}",
                    sampling.max_new_tokens
                ),
                format!("lower it, or raise `{stage}.max_length`"),
            );
        }
    }
}
