//! The trained policy against the one it started from, on prompts of its own.

use super::context::{Context, Policy};
use super::judges::{Own, Seat, prompts_for};
use super::jury::jury;
use super::responses::{self, GroupRow};
use super::training::tell_of_plain_prompts;
use super::{drift, examples};
use crate::data::PromptRow;
use crate::error::{Error, Result};
use crate::eval::winrate::credits;
use crate::eval::{Bout, LengthControlled, Matchup, WinRate};
use crate::generate::Engine;
use crate::judge::{Audit, Scored};
use crate::model::Model;
use crate::recipe::{Eval, hash_of};
use crate::run::{
    Measured, Opinion, RoundLayout, RoundSummary, Sample, read_json, read_rows, stage_key, stages,
    write_atomic,
};
use crate::text::Limits;
use crate::trainer::diagnose::{RoundAudit, RoundDiagnoser, ties_everything};
use std::collections::HashMap;
use std::path::Path;

/// The start's side of every comparison, made once a run.
pub struct Evaluation {
    table: Option<Eval>,
    start: Policy,
    judges: Vec<(String, Seat)>,
    prompts: Vec<PromptRow>,
    diagnoser: RoundDiagnoser,
}

/// What a round drew, and what was made of it.
pub struct Drawn {
    /// Of the judged responses.
    pub audit: Audit,
    /// How far the policy that drew them is from the start, nats per response.
    pub kl: f64,
    /// Pairs of the own responses that were learnt from.
    pub pairs: usize,
}

/// Samples that the report shows.
const SAMPLES: usize = 8;

impl Evaluation {
    /// An evaluation against `start`; does nothing but the audit where the recipe has no `[eval]`.
    ///
    /// # Errors
    /// Prompts that cannot be read.
    pub fn new(cx: &mut Context, start: &Policy, own: &Own) -> Result<Self> {
        let table = cx.recipe.eval.clone();
        let (mut judges, mut prompts) = (Vec::new(), Vec::new());
        if let Some(table) = &table {
            judges = jury(cx, table, own)?;
            let (rows, report) = prompts_for(table.rule.as_ref())(&table.prompts)?;
            examples::tell(cx, "eval", &report)?;
            prompts = rows;
        }
        Ok(Self {
            table,
            start: start.clone(),
            judges,
            prompts,
            diagnoser: RoundDiagnoser::default(),
        })
    }

    /// Says what is odd about a round's judged responses, before anything is made of them: a round may end there.
    ///
    /// # Errors
    /// Metrics that cannot be written.
    pub fn sampled(
        &mut self,
        cx: &mut Context,
        round: &RoundLayout,
        audit: &Audit,
        kl: f64,
    ) -> Result<()> {
        let found = self.diagnoser.sampled(&RoundAudit {
            round: round.number() as u64,
            responses: audit.responses,
            reward_spread: audit.reward_spread,
            reward_length_correlation: audit.length_correlation,
            kl: Some(kl),
            truncated: Some(audit.truncated),
        });
        cx.metrics.resume(&round.stage("audit"), 0)?;
        cx.diagnose(&round.stage("audit"), found)
    }

    /// Evaluates the policy of a round (where the recipe asks for it) and writes `eval.json`.
    ///
    /// # Errors
    /// Whatever generation or judging reports.
    pub fn round(
        &mut self,
        cx: &mut Context,
        round: &RoundLayout,
        policy: &Policy,
        drawn: &Drawn,
        last: bool,
    ) -> Result<()> {
        let audit = &drawn.audit;
        let wanted = self
            .table
            .as_ref()
            .is_some_and(|table| table.every_round || last);
        let measured = match wanted {
            true => Some(self.policy(cx, &round.stage("eval"), policy)?),
            false => None,
        };
        let headline = measured.as_ref().and_then(Measured::headline);
        let summary = RoundSummary {
            round: round.number(),
            prompts: audit.prompts,
            reward_mean: audit.reward_mean,
            reward_top1: audit.reward_top1,
            reward_spread: audit.reward_spread,
            reward_length_correlation: audit.length_correlation,
            kl: measured.as_ref().and_then(|m| m.kl),
            kl_samples: Some(drawn.kl),
            duplicates: Some(audit.duplicates),
            truncated: Some(audit.truncated),
            win_rate: headline.map(|o| o.win_rate),
            low: headline.map(|o| o.low),
            high: headline.map(|o| o.high),
            confidence: measured.as_ref().and_then(|m| m.confidence),
            length_eval: measured.as_ref().map(|m| m.length_after),
            length_samples: audit.mean_tokens,
            pairs: Some(drawn.pairs),
            seconds: seconds_of(cx, round)?,
        };
        if let Some(kl) = summary.kl {
            let found = self.diagnoser.evaluated(round.number() as u64, kl);
            cx.diagnose(&round.stage("audit"), found)?;
        }
        cx.metrics.round(&summary)?;
        cx.run.write_round(&summary)?;
        if let Some(measured) = &measured {
            cx.run
                .write_samples(Some(round.number()), &measured.samples)?;
        }
        cx.run.write_report()?;
        Ok(())
    }

    /// Evaluates any policy as the stage `name`.
    ///
    /// # Errors
    /// Whatever generation or judging reports.
    pub fn policy(&self, cx: &mut Context, name: &str, policy: &Policy) -> Result<Measured> {
        let Some(table) = &self.table else {
            return Ok(Measured::default());
        };
        // The start's digest is in the name: a recipe may compare with two starts, and neither undoes the other.
        let name_of_start = format!("eval-start-{}", &self.start.digest.to_hex()[..8]);
        let before = self.before(cx, table, &name_of_start)?;
        let mut inputs = vec![
            policy.digest,
            self.start.digest,
            examples::hash(&table.prompts)?,
            examples::hash_of_reading(&table.prompts),
        ];
        inputs.extend(self.judges.iter().map(|(_, seat)| seat.digest()));
        let part = (
            hash_of(&table.generate).to_string(),
            table.max_length,
            table.confidence,
        );
        let stage = cx.run.measurement(name, stage_key(&part, &inputs)?)?;
        let folder = cx.run.layout().root().join(name);
        let result = cx.run.layout().evaluation(name);
        stage.complete(|stage| {
            stage.folder()?;
            let after = self.draw(cx, table, policy, &folder.join("responses.jsonl"))?;
            let kl = drift::kl(cx, [policy, &self.start], &after, &|model| {
                limits(table, model)
            })?;
            let mut before = before;
            let mut after = self.judged(cx, table, &after, &folder)?;
            self.versus(cx, table, &mut before, &mut after, &folder)?;
            let measured = self.compare(table, kl, &before, &after)?;
            let text = serde_json::to_vec_pretty(&measured)
                .map_err(|e| Error::internal(format!("cannot write the evaluation: {e}")))?;
            write_atomic(&result, &text)
        })?;
        let measured: Measured = read_json(&result)?.unwrap_or_default();
        let found = measured.opinions.iter().find_map(|opinion| {
            // Won, tied, lost.
            match opinion.counts {
                [0, tied, 0] => ties_everything(&opinion.judge, tied),
                _ => None,
            }
        });
        cx.diagnose_again(name, found.into_iter().collect())?;
        Ok(measured)
    }

    /// The start's responses to the evaluation's prompts, and what each judge gives them: two stages, for all rounds.
    fn before(&self, cx: &mut Context, table: &Eval, name: &str) -> Result<Vec<Vec<GroupRow>>> {
        let part = (hash_of(&table.generate).to_string(), table.max_length);
        let inputs = [
            self.start.digest,
            examples::hash(&table.prompts)?,
            examples::hash_of_reading(&table.prompts),
            hash_of(&cx.recipe.seed),
        ];
        let file = cx.run.layout().root().join(format!("{name}.jsonl"));
        let drawn = cx
            .run
            .measurement(name, stage_key(&part, &inputs)?)?
            .complete(|_| self.draw(cx, table, &self.start, &file).map(|_| ()))?;
        let rows: Vec<GroupRow> = read_rows(&file)?;
        let name = format!("{name}-scores");
        let mut inputs = vec![drawn.digest()];
        inputs.extend(self.judges.iter().map(|(_, seat)| seat.digest()));
        let stage = cx
            .run
            .measurement(&name, stage_key(&table.max_length, &inputs)?)?;
        let folder = cx.run.layout().root().join(&name);
        stage.complete(|stage| {
            stage.folder()?;
            self.judged(cx, table, &rows, &folder).map(|_| ())
        })?;
        self.judged(cx, table, &rows, &folder)
    }

    /// Lets the judges that compare two responses compare the policies'.
    fn versus(
        &self,
        cx: &Context,
        table: &Eval,
        before: &mut [Vec<GroupRow>],
        after: &mut [Vec<GroupRow>],
        folder: &Path,
    ) -> Result<()> {
        let sides = before.iter_mut().zip(after);
        for ((at, (_, judge)), (before, after)) in self.judges.iter().enumerate().zip(sides) {
            if judge.compares() {
                let file = folder.join(format!("versus-{}.jsonl", at + 1));
                let [new, old] = judge.versus(cx, [&*after, &*before], table.max_length, &file)?;
                (*after, *before) = (new, old);
            }
        }
        Ok(())
    }

    /// The rows as each judge sees them, in the judges' order; files in `folder` keep what is judged already. One that
    /// compares has nothing to say of one side alone.
    fn judged(
        &self,
        cx: &Context,
        table: &Eval,
        rows: &[GroupRow],
        folder: &Path,
    ) -> Result<Vec<Vec<GroupRow>>> {
        let of_judge = |(at, (_, judge)): (usize, &(String, Seat))| {
            if judge.compares() {
                return Ok(rows.to_vec());
            }
            let file = folder.join(format!("scores-{}.jsonl", at + 1));
            judge.score(cx, rows, table.max_length, &file)
        };
        self.judges.iter().enumerate().map(of_judge).collect()
    }

    fn draw(
        &self,
        cx: &mut Context,
        table: &Eval,
        policy: &Policy,
        file: &Path,
    ) -> Result<Vec<GroupRow>> {
        let model = policy.load(&cx.device, cx.frozen())?;
        tell_of_plain_prompts(cx, ["eval", "eval.prompts"], &model.chat, &self.prompts)?;
        let limits = limits(table, &model);
        let engine = Engine::new(&model.decoder, &model.chat, &table.generate);
        let key = cx.key.fold("eval");
        responses::generate(&engine, &self.prompts, Some(&limits), key, file)
    }

    /// `before` and `after` hold the same responses once for each judge.
    fn compare(
        &self,
        table: &Eval,
        kl: f64,
        before: &[Vec<GroupRow>],
        after: &[Vec<GroupRow>],
    ) -> Result<Measured> {
        let sides = before.iter().zip(after);
        let opinions: Result<Vec<Opinion>> = self
            .judges
            .iter()
            .zip(sides)
            .map(|((name, _), (before, after))| opinion(name, before, after, table.confidence))
            .collect();
        let [first_before, first_after] =
            [before, after].map(|side| side.first().map_or(&[][..], Vec::as_slice));
        Ok(Measured {
            confidence: Some(table.confidence),
            opinions: opinions?,
            kl: Some(kl),
            length_before: mean_length(first_before),
            length_after: mean_length(first_after),
            samples: match self.judges.first() {
                Some((judge, _)) => shown(judge, first_before, first_after),
                None => Vec::new(),
            },
        })
    }
}

/// A prompt leaves room for the longest response.
fn limits(table: &Eval, model: &Model) -> Limits {
    let room = table.generate.max_new_tokens;
    examples::limits_of_responses(table.max_length, table.overlong, room, model)
}

/// The time of a round's stages, whenever they ran: a run that only skips them reports the same.
fn seconds_of(cx: &Context, round: &RoundLayout) -> Result<f64> {
    let prefix = round.stage("");
    let stages = stages(cx.run.layout())?;
    let own = stages
        .iter()
        .filter(|stage| stage.name.starts_with(&prefix));
    Ok(own.map(|stage| stage.seconds).sum())
}

/// The audit of a round's scored responses.
///
/// # Errors
/// Lists of different lengths.
pub fn audit(rows: &[GroupRow]) -> Result<Audit> {
    let finished: Vec<Vec<bool>> = rows.iter().map(GroupRow::finished).collect();
    let scored: Vec<Scored> = rows
        .iter()
        .zip(&finished)
        .map(|(row, finished)| {
            Scored::new(&row.id, &row.responses, &row.rewards, finished)?.with_tokens(&row.tokens)
        })
        .collect::<Result<_>>()?;
    Ok(Audit::of(&scored))
}

fn opinion(
    judge: &str,
    before: &[GroupRow],
    after: &[GroupRow],
    confidence: f64,
) -> Result<Opinion> {
    let known: HashMap<&str, &GroupRow> = before.iter().map(|row| (row.id.as_str(), row)).collect();
    let scores = |row: &GroupRow| {
        row.rewards
            .iter()
            .map(|&r| f64::from(r))
            .collect::<Vec<f64>>()
    };
    let matchups: Vec<Matchup> = after
        .iter()
        .filter_map(|row| {
            let other = known.get(row.id.as_str())?;
            Some(Matchup {
                id: row.id.clone(),
                a: scores(row),
                b: scores(other),
            })
        })
        .collect();
    let won = WinRate::of(&matchups, confidence, 0)?;
    let mean = |rows: &[GroupRow]| {
        let all: Vec<f64> = rows.iter().flat_map(scores).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    };
    // Characters, as AlpacaEval counts; of several responses, the mean.
    let chars = |row: &GroupRow| {
        let all = row
            .responses
            .iter()
            .map(|response| response.chars().count());
        all.sum::<usize>() as f64 / row.responses.len().max(1) as f64
    };
    let longer = after
        .iter()
        .filter_map(|row| Some(chars(row) - chars(known.get(row.id.as_str())?)));
    let bouts: Vec<Bout> = credits(&matchups)
        .zip(longer)
        .map(|(credit, longer)| Bout { credit, longer })
        .collect();
    let equal = LengthControlled::of(&bouts, confidence, 0);
    Ok(Opinion {
        judge: judge.to_owned(),
        before: mean(before),
        after: mean(after),
        win_rate: won.win_rate,
        low: won.low,
        high: won.high,
        counts: [won.wins, won.ties, won.losses],
        length_controlled: equal.map(|found| [found.win_rate, found.low, found.high]),
    })
}

fn mean_length(rows: &[GroupRow]) -> f64 {
    let all: Vec<usize> = rows.iter().flat_map(|row| row.tokens.clone()).collect();
    all.iter().sum::<usize>() as f64 / all.len().max(1) as f64
}

/// The first responses of both, with the scores that `judge` has just given them.
fn shown(judge: &str, before: &[GroupRow], after: &[GroupRow]) -> Vec<Sample> {
    before
        .iter()
        .zip(after)
        .filter(|(b, a)| b.id == a.id && !b.responses.is_empty() && !a.responses.is_empty())
        .take(SAMPLES)
        .map(|(before, after)| Sample {
            prompt: before.prompt.shown(),
            before: before.responses[0].clone(),
            after: after.responses[0].clone(),
            judge: Some(judge.to_owned()),
            score_before: before.rewards.first().map(|&r| f64::from(r)),
            score_after: after.rewards.first().map(|&r| f64::from(r)),
        })
        .collect()
}
