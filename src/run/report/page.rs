//! The page: its sections in the order in which somebody asks for them.

use super::format::escape;
use super::headline::headline;
use super::histogram::histograms;
use super::read::{Facts, Scores};
use super::{accuracy, curves, labels, objectives, opinions, samples, tables};
use crate::run::info::Status;
use crate::run::summary::Diagnosis;

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(super) fn page(facts: &Facts) -> String {
    let sections: Vec<Section> = [
        diagnoses(facts),
        rounds(facts),
        judges(facts),
        side_by_side(facts),
        reward(facts),
        attributes(facts),
        pseudo_labels(facts),
        verifier(facts),
        training(facts),
        distributions(&facts.scores),
        stages(facts),
        recipe(facts),
        Some(Section::new(
            "environment",
            "Environment",
            tables::environment(facts),
        )),
        notes(&facts.notes),
    ]
    .into_iter()
    .flatten()
    .collect();
    let links: String = sections.iter().map(Section::link).collect();
    let body: String = sections.iter().map(Section::html).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{} · duel</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         {}<nav>{links}</nav>\n{body}\
         <footer>Written by duel {}. This page needs no network.</footer>\n</main>\n</body>\n</html>\n",
        escape(&facts.name),
        headline(facts),
        escape(&facts.info.version),
    )
}

struct Section {
    id: &'static str,
    title: &'static str,
    html: String,
}

impl Section {
    fn new(id: &'static str, title: &'static str, html: String) -> Self {
        Self { id, title, html }
    }

    fn link(&self) -> String {
        format!("<a href=\"#{}\">{}</a>", self.id, self.title)
    }

    fn html(&self) -> String {
        let Self { id, title, html } = self;
        format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{html}\n</section>\n")
    }
}

/// The gravest first. A finished run that noticed nothing says so.
fn diagnoses(facts: &Facts) -> Option<Section> {
    let mut found: Vec<&Diagnosis> = facts.history.diagnoses.iter().collect();
    found.sort_by_key(|diagnosis| std::cmp::Reverse(diagnosis.severity));
    let html = match (found.is_empty(), facts.info.status) {
        (false, _) => found.into_iter().map(diagnosis).collect(),
        (true, Status::Done) => {
            "<p class=\"calm\">The run noticed nothing wrong with itself.</p>".to_owned()
        }
        (true, _) => return None,
    };
    Some(Section::new("diagnoses", "Diagnoses", html))
}

fn diagnosis(diagnosis: &Diagnosis) -> String {
    format!(
        "<article class=\"diagnosis {0}\"><p><span class=\"chip {0}\">{0}</span> <b>{1}</b> \
         <small>{2}, step {3}</small></p><p>{4}</p><p class=\"mend\"><span class=\"who\">mend</span>{5}</p></article>\n",
        diagnosis.severity,
        escape(&diagnosis.name),
        escape(&diagnosis.stage),
        diagnosis.step,
        escape(&diagnosis.message),
        escape(&diagnosis.mend),
    )
}

fn rounds(facts: &Facts) -> Option<Section> {
    let rounds = &facts.rounds;
    (!rounds.is_empty()).then(|| {
        let html = curves::rounds(rounds) + &tables::rounds(rounds);
        Section::new("rounds", "Rounds", html)
    })
}

fn judges(facts: &Facts) -> Option<Section> {
    let html = opinions::opinions(&facts.evaluations);
    (!html.is_empty()).then(|| Section::new("judges", "Judges", html))
}

fn reward(facts: &Facts) -> Option<Section> {
    let html = accuracy::accuracies(&facts.accuracies);
    (!html.is_empty()).then(|| Section::new("reward", "Reward model", html))
}

fn attributes(facts: &Facts) -> Option<Section> {
    let found = facts.objectives.as_ref()?;
    let html = objectives::objectives(found);
    Some(Section::new("attributes", "Attributes", html))
}

fn pseudo_labels(facts: &Facts) -> Option<Section> {
    let found = &facts.labelled;
    (!found.is_empty()).then(|| Section::new("labels", "Pseudo-labels", labels::labels(found)))
}

fn verifier(facts: &Facts) -> Option<Section> {
    let html = accuracy::verdicts(facts.verdicts.as_ref()?);
    Some(Section::new("verifier", "Verifier", html))
}

fn side_by_side(facts: &Facts) -> Option<Section> {
    let cards = samples::samples(&facts.samples);
    (!cards.is_empty()).then(|| {
        let after = match facts.samples_round {
            Some(round) => format!("the start, and after round {round}"),
            None => "the start, and after training".to_owned(),
        };
        let html = format!("<p class=\"dim\">The same prompt to the model at {after}.</p>{cards}");
        Section::new("samples", "Before and after", html)
    })
}

fn training(facts: &Facts) -> Option<Section> {
    // The rounds have a section of their own.
    let stages = curves::by_stage(&facts.history.records);
    let html: String = stages
        .iter()
        .filter(|(name, _)| name != "rounds")
        .map(|(name, records)| curves::heading(name, records) + &curves::stage(records))
        .collect();
    (!html.is_empty()).then(|| Section::new("training", "Training", html))
}

fn distributions(scores: &[Scores]) -> Option<Section> {
    let rewards = histograms(scores, "rewards", |s| &s.rewards);
    let lengths = histograms(scores, "lengths", |s| &s.lengths);
    let unit = scores.first().map_or("tokens", |s| s.unit);
    let html = format!(
        "<h3>Rewards of all responses</h3><div class=\"charts\">{rewards}</div>\
         <h3>Lengths of all responses <small>{unit}</small></h3><div class=\"charts\">{lengths}</div>"
    );
    (!scores.is_empty()).then(|| Section::new("distributions", "Rewards and lengths", html))
}

fn stages(facts: &Facts) -> Option<Section> {
    let stages = &facts.stages;
    (!stages.is_empty()).then(|| Section::new("stages", "Stages", tables::stages(stages)))
}

fn recipe(facts: &Facts) -> Option<Section> {
    (!facts.recipe.is_empty()).then(|| {
        let html = format!(
            "<details><summary>The resolved recipe</summary><pre>{}</pre></details>",
            escape(&facts.recipe)
        );
        Section::new("recipe", "Recipe", html)
    })
}

fn notes(notes: &[String]) -> Option<Section> {
    let items: String = notes
        .iter()
        .map(|note| format!("<li>{}</li>", escape(note)))
        .collect();
    (!items.is_empty()).then(|| {
        Section::new(
            "unread",
            "What could not be read",
            format!("<ul>{items}</ul>"),
        )
    })
}
