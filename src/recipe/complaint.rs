//! What is wrong with a recipe, and the caret under it.

use super::layers::{Layer, LayerKind, Place};
use crate::Error;
use std::fmt::Write;

/// One mistake.
#[derive(Debug, Clone)]
pub(super) struct Complaint {
    /// Where it stands; `None` where nothing was written, as for a key that is missing at the top.
    pub place: Option<Place>,
    /// The fact and its reason.
    pub message: String,
    /// The mend.
    pub hint: Option<String>,
}

impl Complaint {
    /// Sorts complaints as their places follow each other.
    pub fn order(&self) -> Option<(usize, usize)> {
        let place = self.place.as_ref();
        place.map(|place| (place.layer, place.span.start))
    }
}

/// All mistakes as one error, each with its hint behind it. `whole` names the recipe for those without a place.
pub(super) fn error(complaints: &[Complaint], layers: &[Layer], whole: &str) -> Error {
    let errors: Vec<Error> = complaints
        .iter()
        .map(|complaint| {
            let error = Error::user(match &complaint.place {
                Some(place) => located(&complaint.message, place, &layers[place.layer]),
                None => format!("{whole}: {}", complaint.message),
            });
            match &complaint.hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })
        .collect();
    // The last one's hint is the hint of the whole, so that it is printed as every other error is.
    let (last, others) = errors
        .split_last()
        .expect("an error has at least one complaint");
    let mut blocks: Vec<String> = others.iter().map(ToString::to_string).collect();
    blocks.push(last.message.clone());
    Error {
        message: blocks.join("\n\n"),
        ..last.clone()
    }
}

/// `file:line: message`, the line, and carets under the place.
fn located(message: &str, place: &Place, layer: &Layer) -> String {
    let start = place.span.start.min(layer.text.len());
    let line_start = layer.text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line = layer.text[line_start..].lines().next().unwrap_or_default();
    let number = line_number(&layer.text, start);
    let (prefix, gutter) = match layer.kind {
        LayerKind::Flag => (layer.name.clone(), String::new()),
        LayerKind::File | LayerKind::Builtin => {
            (format!("{}:{number}", layer.name), number.to_string())
        }
    };
    let before = layer.text[line_start..start].chars().count();
    let end = place.span.end.min(line_start + line.len());
    let under = layer
        .text
        .get(start..end)
        .map_or(0, |text| text.chars().count());
    let mut text = format!("{prefix}: {message}\n");
    let blank = " ".repeat(gutter.len());
    let _ = writeln!(text, "{blank} |");
    let _ = writeln!(text, "{gutter} | {line}");
    let _ = write!(
        text,
        "{blank} | {}{}",
        " ".repeat(before),
        "^".repeat(under.max(1))
    );
    text
}

/// The line, from 1, of a byte of a text.
pub(super) fn line_number(text: &str, byte: usize) -> usize {
    text[..byte.min(text.len())].matches('\n').count() + 1
}

/// The candidate that `word` most likely meant, if one is close.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
