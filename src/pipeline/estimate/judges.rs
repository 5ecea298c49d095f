//! What the models that will judge take to be trained.

use super::base::{Base, named};
use super::sizes::Sizes;
use super::{Fit, Planner, Wanted, scored};
use crate::data::Key;
use crate::pipeline::examples;
use crate::pipeline::multi_objective::{self, questions};
use crate::pipeline::pairwise::{Shown, comparisons, known};
use crate::pipeline::verifier::{loader, solutions};
use crate::recipe::{MultiObjective, Overlong, Reward, VerifierKind};
use crate::text::{Chat, Letters, Limits};

/// The model's config cannot be read, which was noted.
pub(super) struct Unread;

impl Planner<'_> {
    /// The model that a stage names for itself, if it does.
    pub(super) fn own(
        &mut self,
        stage: &str,
        name: Option<&str>,
        revision: Option<&str>,
    ) -> Result<Option<Base>, Unread> {
        let base = name.map(|name| named(name, revision)).transpose();
        base.map_err(|error| {
            self.unread(&format!("{stage}: the model's config"), error);
            Unread
        })
    }

    pub(super) fn reward(&mut self, base: &Base) {
        let Some(table) = &self.recipe.reward else {
            return;
        };
        let name = table.model_name_or_path.as_deref();
        let Ok(own) = self.own("reward", name, table.revision.as_deref()) else {
            return;
        };
        let base = own.as_ref().unwrap_or(base);
        let spec = scored(&base.spec);
        let sizes = self.reward_sizes(base, table);
        let names = ["reward", "reward-second"];
        for name in &names[..1 + usize::from(table.second_seed.is_some())] {
            let fit = Fit {
                stage: name,
                spec: &spec,
                train: &table.train,
                lora: table.lora.as_ref(),
                references: 0.0,
                times: 1.0,
                guessed: false,
                longest: 2 * table.max_length,
            };
            self.training(fit, sizes.clone());
        }
    }

    fn reward_sizes(&mut self, base: &Base, table: &Reward) -> Option<Sizes> {
        let wanted = Wanted {
            data: &table.data,
            own_eval: table.eval.is_some(),
            max_length: table.max_length,
            overlong: table.overlong,
        };
        let prepare =
            |rows: &[_], chat: &Chat, limits: &Limits| examples::pairs(rows, chat, limits, false);
        self.sizes("reward", base, wanted, examples::preferences, &prepare)
    }

    /// The embedding pass, over rated responses and pairs; the gate is small beside it.
    pub(super) fn multi_objective(&mut self, base: &Base) {
        let Some(table) = &self.recipe.multi_objective else {
            return;
        };
        let name = table.model_name_or_path.as_deref();
        let Ok(own) = self.own("multi-objective", name, table.revision.as_deref()) else {
            return;
        };
        let base = own.as_ref().unwrap_or(base);
        let wanted = Wanted {
            data: &table.data,
            own_eval: table.eval.is_some(),
            max_length: table.max_length,
            overlong: table.overlong,
        };
        let sizes = self.sizes(
            "multi-objective",
            base,
            wanted,
            examples::preferences,
            &questions::pairs,
        );
        let here = examples::here(&table.ratings).map(|ratings| MultiObjective {
            ratings,
            ..table.clone()
        });
        let rated = match here.and_then(|table| multi_objective::ratings(&table)) {
            Ok((ratings, _)) => Some(ratings.rows.len()),
            Err(error) => {
                self.unknown("multi-objective: the ratings", &error);
                None
            }
        };
        let tokens = sizes.zip(rated).map(|(sizes, rated)| {
            // A rated response is about half of a pair.
            let rows = sizes.rows as f64 + rated as f64 / 2.0;
            [(rows * sizes.mean()) as u64, 0]
        });
        let spec = scored(&base.spec);
        self.scoring("multi-objective", &spec, tokens, 1.0, self.kept());
    }

    pub(super) fn pairwise(&mut self, base: &Base) {
        let Some(table) = &self.recipe.pairwise else {
            return;
        };
        let name = table.model_name_or_path.as_deref();
        let Ok(own) = self.own("pairwise", name, table.revision.as_deref()) else {
            return;
        };
        let base = own.as_ref().unwrap_or(base);
        let wanted = Wanted {
            data: &table.data,
            own_eval: table.eval.is_some(),
            max_length: table.max_length,
            overlong: table.overlong,
        };
        let shown = Shown::new(table, Key::new(self.recipe.seed));
        let prepare = move |rows: &[_], chat: &Chat, limits: &Limits| {
            comparisons(
                &known(rows.to_vec()),
                chat,
                limits,
                Letters::of(chat)?,
                shown,
            )
        };
        let sizes = self.sizes("pairwise", base, wanted, examples::preferences, &prepare);
        let fit = Fit {
            stage: "pairwise",
            spec: &base.spec,
            train: &table.train,
            lora: table.lora.as_ref(),
            references: 0.0,
            // As many trainings as there are models: what they learn beside the table's pairs is not known yet.
            times: match (&table.ssrm, &table.rrm) {
                (Some(ssrm), _) => 1.0 + ssrm.iterations as f64,
                (None, Some(rrm)) if rrm.min_surprise > 0.0 => 2.0,
                _ => 1.0,
            },
            guessed: false,
            longest: table.max_length,
        };
        self.training(fit, sizes);
    }

    pub(super) fn verifier(&mut self, base: &Base) {
        let Some(table) = &self.recipe.verifier else {
            return;
        };
        let name = table.model_name_or_path.as_deref();
        let Ok(own) = self.own("verifier", name, table.revision.as_deref()) else {
            return;
        };
        let base = own.as_ref().unwrap_or(base);
        let wanted = Wanted {
            data: &table.data,
            own_eval: table.eval.is_some(),
            max_length: table.max_length,
            overlong: Overlong::Drop,
        };
        let own = table.clone();
        let prepare =
            move |rows: &[_], chat: &Chat, limits: &Limits| solutions(rows, chat, limits, &own);
        let sizes = self.sizes("verifier", base, wanted, loader(table), &prepare);
        let spec = match table.kind {
            VerifierKind::Scalar => scored(&base.spec),
            _ => base.spec.clone(),
        };
        let fit = Fit {
            stage: "verifier",
            spec: &spec,
            train: &table.train,
            lora: table.lora.as_ref(),
            references: 0.0,
            times: 1.0,
            guessed: false,
            longest: table.max_length,
        };
        self.training(fit, sizes);
    }
}
