//! The top of the page: what was trained, and what came of it, in a sentence and a few numbers.

use super::format::{count, duration, escape, moment, number, percent};
use super::read::Facts;
use crate::run::info::Status;
use crate::run::metrics::Record;
use crate::run::summary::{Measured, RoundSummary, WinRate, interval_name};

/// The header of the page.
pub(super) fn headline(facts: &Facts) -> String {
    let info = &facts.info;
    let (name, about) = (escape(&facts.name), escape(&info.about));
    let about = match about.is_empty() {
        true => String::new(),
        false => format!("<p class=\"about\">{about}</p>"),
    };
    let status = format!("<span class=\"chip {0}\">{0}</span>", info.status);
    let started = moment(&info.started);
    let win = win(facts);
    format!(
        "<header><p class=\"eyebrow\">duel run · {started} {status}</p><h1>{name}</h1>{about}\
         <p class=\"result\">{}</p>{}{}{}</header>\n",
        result(facts),
        win.map(|(round, win)| interval(win, judge(facts, round)))
            .unwrap_or_default(),
        standing(facts),
        tiles(facts),
    )
}

/// The last win rate there is, and the round it is of; that of a whole run has none.
fn win(facts: &Facts) -> Option<(Option<usize>, WinRate)> {
    let of_round = |round: &RoundSummary| Some((Some(round.round), round.win()?));
    let rounds = facts.rounds.iter().rev();
    let of_run = |measured: &Measured| Some((None, measured.win(measured.headline()?)));
    let whole = facts.evaluations.iter().rev();
    let whole = whole.filter(|evaluation| evaluation.round.is_none());
    rounds
        .filter_map(of_round)
        .chain(whole.filter_map(|evaluation| of_run(&evaluation.measured)))
        .next()
}

/// The result in one sentence.
fn result(facts: &Facts) -> String {
    if let Some((round, win)) = win(facts) {
        let verdict = match (win.is_decided(), win.rate > 0.5) {
            (false, _) => ", which cannot be told from a draw",
            (true, true) => "",
            (true, false) => ": it got worse",
        };
        let after = match round {
            Some(round) => format!("After {} it", count(round, "round")),
            None => "It".to_owned(),
        };
        return format!(
            "{after} beats the model it started from on <b>{}</b> of the prompts{verdict}.",
            percent(win.rate)
        );
    }
    if let Some((name, held_out)) = facts.accuracies.first() {
        return format!(
            "On {} the {name} model prefers the right response in <b>{}</b> of the cases; preferring the \
             longer one is right in {}.",
            count(held_out.judge.pairs, "held-out pair"),
            percent(held_out.judge.accuracy),
            percent(held_out.length_only.accuracy)
        );
    }
    if let Some(held_out) = &facts.verdicts {
        let auc = held_out.auc.map(|auc| format!("; AUC {auc:.3}"));
        return format!(
            "Of {} the verifier is right about <b>{}</b>; always the same answer is right about {}{}.",
            count(held_out.labels, "held-out label"),
            percent(held_out.accuracy),
            percent(held_out.majority),
            auc.unwrap_or_default()
        );
    }
    let held_out =
        |r: &Record| value(r, "eval_accuracy").or_else(|| value(r, "eval_rewards/accuracies"));
    let records = &facts.history.records;
    if let Some((accuracy, record)) = records.iter().rev().find_map(|r| Some((held_out(r)?, r))) {
        if record.stage == "verifier" {
            return format!(
                "Of held-out labels the verifier is right about <b>{}</b>.",
                percent(accuracy)
            );
        }
        return format!(
            "On held-out pairs {} prefers the right response in <b>{}</b> of the cases.",
            escape(&record.stage),
            percent(accuracy)
        );
    }
    let last = records
        .iter()
        .rev()
        .find_map(|r| Some((value(r, "loss")?, r)));
    let Some((last, record)) = last else {
        return "Nothing has been measured yet.".to_owned();
    };
    let first = records
        .iter()
        .find(|r| r.stage == record.stage && value(r, "loss").is_some());
    let first = first.and_then(|r| value(r, "loss")).unwrap_or(last);
    format!(
        "In {} the loss went from {} to <b>{}</b> by step {}.",
        escape(&record.stage),
        number(first),
        number(last),
        record.step
    )
}

fn value(record: &Record, name: &str) -> Option<f64> {
    let found = record.values.iter().find(|(known, _)| known == name)?;
    found.1.is_finite().then_some(found.1)
}

/// A win rate and its interval on a line from 0 to 100 %, the draw marked.
pub(super) fn track(win: WinRate) -> String {
    let (low, width) = (win.low * 100.0, (win.high - win.low) * 100.0);
    let dot = win.rate * 100.0;
    format!(
        "<div class=\"track\"><i class=\"draw\"></i>\
         <i class=\"span\" style=\"left:{low:.1}%;width:{width:.1}%\"></i>\
         <i class=\"dot\" style=\"left:{dot:.1}%\"></i></div>"
    )
}

/// Whose opinion the win rate of a round, or of the whole run, is.
fn judge(facts: &Facts, round: Option<usize>) -> Option<&str> {
    let mut evaluations = facts.evaluations.iter();
    let evaluation = evaluations.find(|evaluation| evaluation.round == round)?;
    Some(&evaluation.measured.headline()?.judge)
}

/// The interval as a line and in words.
fn interval(win: WinRate, judge: Option<&str>) -> String {
    let judge = judge.map(|judge| format!("; judge: {}", escape(judge)));
    let judge = judge.unwrap_or_default();
    let (from, to) = (percent(win.low), percent(win.high));
    let name = interval_name(win.confidence);
    format!(
        "<div class=\"scale\">{}<p><span>0</span><span>draw</span><span>100 %</span></p>\
         <p class=\"words\">{name}: {from} to {to}{judge}</p></div>",
        track(win)
    )
}

/// How an unfinished run stands, and how to go on.
fn standing(facts: &Facts) -> String {
    let info = &facts.info;
    let done = facts.stages.iter().filter(|stage| stage.done).count();
    let so_far = match facts.stages.iter().find(|stage| !stage.done) {
        Some(stage) => format!(
            "{} done, now in {}",
            count(done, "stage"),
            escape(&stage.name)
        ),
        None => format!("{} done", count(done, "stage")),
    };
    let because = info.error.as_deref().map(|e| format!(": {}", escape(e)));
    let because = because.unwrap_or_default();
    let text = match info.status {
        Status::Done => return String::new(),
        Status::Running => format!("Still running: {so_far}."),
        Status::Interrupted => {
            format!("Stopped by hand ({so_far}). The same command continues it.")
        }
        Status::Killed => {
            format!("Its process ended without a word ({so_far}). The same command continues it.")
        }
        Status::Failed => format!("Failed ({so_far}){because}"),
    };
    format!("<p class=\"standing {}\">{text}</p>", info.status)
}

/// One of a round's numbers.
type Measure = fn(&RoundSummary) -> Option<f64>;

/// A few numbers, each with where it came from.
fn tiles(facts: &Facts) -> String {
    let (first, last) = (facts.rounds.first(), facts.rounds.last());
    let mut tiles = String::new();
    let mut tile = |name: &str, value: String, beside: String| {
        tiles.push_str(&format!(
            "<div><dt>{name}</dt><dd>{value}<small>{beside}</small></dd></div>"
        ));
    };
    let measured: [(&str, Measure); 5] = [
        ("Mean reward", |r| r.reward_mean),
        ("Best of K", |r| r.reward_top1),
        ("KL from the start", |r| r.kl.or(r.kl_samples)),
        ("Tokens, evaluation", |r| r.length_eval),
        ("Tokens, own samples", |r| r.length_samples),
    ];
    for (name, of) in measured {
        if let Some(now) = last.and_then(of) {
            let then = first.filter(|_| facts.rounds.len() > 1).and_then(of);
            let from = then.map(|then| format!("from {}", number(then)));
            tile(name, number(now), from.unwrap_or_default());
        }
    }
    let seconds: f64 = facts.stages.iter().map(|stage| stage.seconds).sum();
    if seconds > 0.0 {
        let stages = count(facts.stages.len(), "stage");
        tile("Time", duration(seconds), stages);
    }
    match tiles.is_empty() {
        true => String::new(),
        false => format!("<dl class=\"tiles\">{tiles}</dl>"),
    }
}
