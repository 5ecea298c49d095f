//! The words on the terminal.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit)]

use crate::data::Report;
use crate::error::{Error, Result};
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Prints an error with its hint to stderr.
pub fn error(error: &Error) {
    say(&format!("error: {error}\n"));
}

/// A line to stderr, for a person.
pub fn note(text: &str) {
    say(&format!("{text}\n"));
}

/// What became of the rows of a file, and the first that were left out.
pub fn report(report: &Report) {
    note(&report.summary());
    for line in report.first_lines() {
        note(&format!("  {line}"));
    }
}

/// A question mark for somebody who types.
pub fn prompt(text: &str) {
    say(text);
}

/// Words that nobody can read any more (`2>&1 | head -1`, a full disk) are lost; the exit code still tells.
fn say(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Refuses to write `out` where something would be lost: over the file that the command reads, ever; over another
/// file, unless `force`. What is no regular file (`/dev/stdout`) holds nothing.
///
/// # Errors
/// When the file is there.
pub fn check_free(out: &Path, read: &Path, force: bool) -> Result<()> {
    let fact = match force {
        _ if !out.is_file() => return Ok(()),
        _ if is_same(out, read) => {
            let fact = format!("{} is the file that --data reads", out.display());
            return Err(Error::user(fact).hint("name another file with `--out`"));
        }
        true => return Ok(()),
        false => format!("{} is there already", out.display()),
    };
    Err(Error::user(fact)
        .hint("name another file with `--out`, or replace this one with `--force`"))
}

/// Whether two paths lead to one file that is there.
pub fn is_same(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| path.canonicalize().ok();
    place(a).is_some_and(|a| place(b) == Some(a))
}

/// Text to stdout; a reader that went away (`| head`) is no error.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Error::internal(format!("cannot write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}

/// One line of JSON to stdout.
///
/// # Errors
/// When the value has no JSON form or stdout cannot be written.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|e| Error::internal(format!("cannot write JSON: {e}")))?;
    print(&text)
}

/// A table with a header. A narrow terminal wraps cells between words; words and numbers stay whole.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    arranged(header, rows).to_string()
}

fn arranged(header: &[&str], rows: Vec<Vec<String>>) -> comfy_table::Table {
    /// A longer word is a path or a name, which may be broken.
    const LONGEST: usize = 20;
    /// Blanks on both sides of a cell.
    const PADDING: usize = 2;
    let mut longest: Vec<usize> = vec![0; header.len()];
    let head = header.iter().map(|cell| cell.to_string()).collect();
    for row in std::iter::once(&head).chain(&rows) {
        for (known, cell) in longest.iter_mut().zip(row as &Vec<String>) {
            let words = cell.split_whitespace().map(|word| word.chars().count());
            *known = words.fold(*known, usize::max);
        }
    }
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (column, longest) in table.column_iter_mut().zip(longest) {
        let least = comfy_table::Width::Fixed((longest.min(LONGEST) + PADDING) as u16);
        column.set_constraint(comfy_table::ColumnConstraint::LowerBoundary(least));
    }
    table
}

/// A table of numbers: no cell is broken over lines. Columns that do not fit into `width` characters follow below, each
/// time behind the first column, which names the rows.
pub fn numbers(header: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let length = |text: &str| text.chars().count();
    let widths: Vec<usize> = (0..header.len())
        .map(|at| {
            let cells = rows.iter().map(|row| length(&row[at]));
            cells.fold(length(header[at]), usize::max)
        })
        .collect();
    let parts = side_by_side(&widths, width.unwrap_or(usize::MAX));
    let tables = parts.iter().map(|columns| {
        let mut table = comfy_table::Table::new();
        table
            .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(comfy_table::ContentArrangement::Disabled)
            .set_header(columns.iter().map(|at| header[*at]));
        for row in rows {
            table.add_row(columns.iter().map(|at| row[*at].clone()));
        }
        table.to_string()
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// The columns of each table, by number: as many as fit, and always at least one behind the first.
fn side_by_side(widths: &[usize], limit: usize) -> Vec<Vec<usize>> {
    /// A blank on either side of a cell and a line behind it.
    const AROUND: usize = 3;
    let first = 1 + AROUND + widths.first().copied().unwrap_or(0);
    let mut parts: Vec<Vec<usize>> = vec![vec![0]];
    let mut taken = first;
    for (at, width) in widths.iter().enumerate().skip(1) {
        let more = width + AROUND;
        match parts.last_mut() {
            Some(part) if part.len() == 1 || taken + more <= limit => part.push(at),
            _ => {
                parts.push(vec![0, at]);
                taken = first;
            }
        }
        taken += more;
    }
    parts
}

/// Columns of the terminal; none where stdout is a file or a pipe.
pub fn width() -> Option<usize> {
    comfy_table::Table::new().width().map(usize::from)
}

/// Text of a model or of a file for a terminal: what would move the cursor or ring is shown as a character.
pub fn printable(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let show = |c| if harmless(c) { c } else { '\u{fffd}' };
    text.chars().map(show).collect()
}

/// Ends the process as ^C does.
pub fn leave(last_words: &str) -> ! {
    note(last_words);
    std::process::exit(130)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_do_not_fit_follow_below_and_no_number_is_broken() {
        let header = ["round", "reward", "win rate"];
        let rows = [vec![
            "1".to_owned(),
            "-0.100".to_owned(),
            "51.0 %".to_owned(),
        ]];
        let wide = numbers(&header, &rows, None);
        assert_eq!(wide.lines().count(), 5, "{wide}");
        let narrow = numbers(&header, &rows, Some(20));
        assert_eq!(narrow.lines().count(), 10, "{narrow}");
        for whole in ["-0.100", "51.0 %", "win rate"] {
            assert!(narrow.contains(whole), "{narrow}");
        }
        assert!(
            narrow.lines().all(|line| line.chars().count() <= 20),
            "{narrow}"
        );
        assert_eq!(side_by_side(&[5, 6, 8, 4], 1), [[0, 1], [0, 2], [0, 3]]);
    }

    #[test]
    fn words_of_a_table_stay_whole_when_it_is_narrow() {
        let row = vec![
            "2026-11-24 00:12".to_owned(),
            "-0.100".to_owned(),
            "x ".repeat(60),
        ];
        let mut narrow = arranged(&["started", "reward", "about"], vec![row]);
        let text = narrow.set_width(50).to_string();
        for whole in ["2026-11-24", "00:12", "-0.100", "reward"] {
            assert!(text.contains(whole), "{text}");
        }
    }

    #[test]
    fn a_terminal_is_not_driven_by_what_a_model_writes() {
        assert_eq!(
            printable("a\u{1b}[31m\u{7}\tb\n"),
            "a\u{fffd}[31m\u{fffd}\tb\n"
        );
    }
}
