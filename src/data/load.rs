//! The way of every row from its file into a list: read, shape, keep, drop or skip.

use super::fields::Fields;
use super::jsonl::Found;
use super::report::{EMPTY_LINE, FILTERED, LoadOptions, Report};
use super::rows::Origin;
use super::{Catalog, jsonl, parquet};
use crate::error::{Error, Result};
use crate::recipe::HubSet;
use serde_json::Value;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A well-formed row: usable, or not for a reason that is counted.
pub enum Shaped<T> {
    /// The row.
    Row(T),
    /// Why the row is left out.
    Dropped(&'static str),
}

/// Whether a row's columns hold what `filter` asks for. A row that is no object passes: it fails later, with a reason.
fn passes(row: &Value, options: &LoadOptions) -> bool {
    let holds = |(column, text): (&String, &String)| match row.get(column) {
        Some(Value::String(found)) => found == text,
        // Numbers and booleans as JSON writes them.
        Some(found) => serde_json::from_str::<Value>(text).is_ok_and(|text| text == *found),
        None => false,
    };
    !row.is_object() || options.filter.iter().all(holds)
}

/// A row's name, with its number behind it where an earlier row has the same: files name rows by their id.
fn unique(name: String, number: &str, names: &mut HashSet<String>) -> String {
    let name = match names.contains(&name) {
        true => format!("{name}#{number}"),
        false => name,
    };
    names.insert(name.clone());
    name
}

/// Reads rows from files, in the order of the files and of their lines.
///
/// # Errors
/// Files that cannot be read, malformed rows (unless they are skipped), and files without a usable row.
pub fn load<T>(
    paths: &[PathBuf],
    options: &LoadOptions,
    mut shape: impl FnMut(&Fields, String, Origin) -> Result<Shaped<T>>,
) -> Result<(Vec<T>, Report)> {
    options.check()?;
    let mut rows = Vec::new();
    let mut report = Report::default();
    let mut names = HashSet::new();
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut unseen = mapped(options);
    for (number, path) in paths.iter().enumerate() {
        if rows.len() >= limit {
            break;
        }
        let file = Arc::new(path.clone());
        let before = report.total();
        for_each(path, &mut |unit, line, found| {
            let origin = Origin {
                file: Arc::clone(&file),
                line,
                unit,
            };
            let number = row_name(paths.len(), number, line);
            let value = match found {
                Found::Row(value) => Ok(value),
                Found::Malformed(reason) => Err(Error::data(reason)),
                Found::Blank => {
                    report.drop(EMPTY_LINE, origin);
                    return Ok(ControlFlow::Continue(()));
                }
            };
            let shaped = value.and_then(|value| {
                unseen.retain(|(_, column)| value.get(column).is_none());
                if !passes(&value, options) {
                    return Ok(Shaped::Dropped(FILTERED));
                }
                let fields = Fields::new(&value, &options.columns)?;
                fields.refuse_unrendered()?;
                let name = unique(fields.id().unwrap_or(number.clone()), &number, &mut names);
                shape(&fields, name, origin.clone())
            });
            match shaped {
                Ok(Shaped::Row(row)) => rows.push(row),
                Ok(Shaped::Dropped(reason)) => report.drop(reason, origin),
                Err(error) if options.skip_bad => report.skipped.push((origin, error.message)),
                Err(error) => return Err(malformed(error, &origin)),
            }
            report.kept = rows.len();
            Ok(match rows.len() >= limit {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        if report.total() == before {
            return Err(
                Error::data(format!("{}: the file holds no row", path.display()))
                    .hint("check the path, or whether the step that wrote the file has finished"),
            );
        }
    }
    if let (Some((name, column)), true) = (unseen.first(), rows.len() < limit) {
        let fact = format!("no row has the column `{column}` that `{name}` is mapped to");
        return Err(Error::user(fact)
            .hint("a mapping is the usual name, then the file's: `prompt=question`"));
    }
    match rows.is_empty() && limit > 0 && !options.allow_none {
        true => Err(none_usable(paths, &report)),
        false => Ok((rows, report)),
    }
}

/// The mapped columns of rows, which some row must have; those of messages lie deeper.
fn mapped(options: &LoadOptions) -> Vec<(&String, &String)> {
    let of_messages = ["role", "content", "from", "value"];
    let columns = options.columns.iter();
    columns
        .filter(|(name, _)| !of_messages.contains(&name.as_str()))
        .collect()
}

/// Hands every row of a file on; what the file is follows from its name.
fn for_each(path: &Path, sink: &mut jsonl::Sink) -> Result<()> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let (stem, gzipped) = match name.strip_suffix(".gz") {
        Some(stem) => (stem, true),
        None => (name.as_str(), false),
    };
    match stem.rsplit('.').next() {
        Some("jsonl" | "ndjson" | "json") => jsonl::read(path, gzipped, sink),
        Some("parquet") if !gzipped => parquet::read(path, sink),
        _ => Err(no_rows(path)),
    }
}

/// A name that ends as no file of rows does.
fn no_rows(path: &Path) -> Error {
    if !path.exists() {
        let catalog = Catalog::built_in();
        let name = path.to_string_lossy();
        let near = catalog.find(&name).err().and_then(|error| error.hint);
        let hint = match HubSet::parse(&name) {
            Ok(Some(set)) => format!("check the path; the data set of the hub is {set}"),
            _ => near.unwrap_or_else(|| "check the path".to_owned()),
        };
        return Error::user(format!("there is no file {}", path.display())).hint(hint);
    }
    if path.is_dir() {
        return Error::user(format!("{} is a folder", path.display())).hint("name the files in it");
    }
    Error::user(format!(
        "{}: not a kind of file that holds rows",
        path.display()
    ))
    .hint("duel reads .jsonl, .ndjson and .json, also gzipped (.jsonl.gz), and .parquet")
}

/// A row without an id is called by its number, and by its file's number where there are several files.
fn row_name(files: usize, file: usize, line: usize) -> String {
    match files {
        0 | 1 => line.to_string(),
        _ => format!("{}:{line}", file + 1),
    }
}

fn malformed(error: Error, origin: &Origin) -> Error {
    let error = error.at(origin);
    match error.hint {
        Some(_) => error,
        None => error.hint(
            "mend the row, or leave such rows out with `--skip-bad` (in a recipe, `skip_bad = true` in the data's table): \
             they are counted and listed",
        ),
    }
}

fn none_usable(paths: &[PathBuf], report: &Report) -> Error {
    let files: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let error = Error::data(format!(
        "{}: no row can be used: {}",
        files.join(", "),
        report.summary()
    ));
    match report.skipped.first() {
        Some((origin, reason)) => {
            error.hint(format!("the first malformed row is {origin}: {reason}"))
        }
        None => error.hint("look at the rows with `duel data show`"),
    }
}
