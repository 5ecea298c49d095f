//! Lines of JSON, plain or gzipped; and files that hold one JSON array.

use super::rows::Unit;
use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

/// What a reader finds where a row should be.
pub(super) enum Found {
    /// A row.
    Row(Value),
    /// A line without a character that can be seen, and with rows after it.
    Blank,
    /// Something that is no row, and why.
    Malformed(String),
}

impl From<std::result::Result<Value, String>> for Found {
    fn from(result: std::result::Result<Value, String>) -> Self {
        match result {
            Ok(value) => Self::Row(value),
            Err(reason) => Self::Malformed(reason),
        }
    }
}

/// What a reader hands over: the line or row, from 1, and what is there. It stops reading when it is told to.
pub(super) type Sink<'a> = dyn FnMut(Unit, usize, Found) -> Result<ControlFlow<()>> + 'a;

/// Reads every row of a `.jsonl`, `.ndjson` or `.json` file, which may be gzipped.
pub(super) fn read(path: &Path, gzipped: bool, sink: &mut Sink) -> Result<()> {
    let file = File::open(path).map_err(|error| Error::io(path, "open", error))?;
    let mut reader: Box<dyn BufRead> = if gzipped {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    let start = reader.fill_buf().map_err(|error| failed(path, error))?;
    let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start);
    match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => array(path, reader, sink),
        _ => lines(path, reader, sink),
    }
}

/// Some editors put one at the head of a file. It is not part of the JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

fn lines(path: &Path, mut reader: Box<dyn BufRead>, sink: &mut Sink) -> Result<()> {
    let mut number = 0;
    let mut blank = Vec::new();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes);
        if read.map_err(|error| failed(path, error))? == 0 {
            return Ok(());
        }
        number += 1;
        let mut line = bytes.as_slice();
        if number == 1 {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.trim_ascii().is_empty() {
            // At the end of a file a blank line is nothing; between rows it may stand for one that is lost.
            blank.push(number);
            continue;
        }
        for number in blank.drain(..) {
            if sink(Unit::Line, number, Found::Blank)?.is_break() {
                return Ok(());
            }
        }
        if sink(Unit::Line, number, parse(line).into())?.is_break() {
            return Ok(());
        }
    }
}

fn parse(line: &[u8]) -> std::result::Result<Value, String> {
    // Without its line break, or an unfinished object would be blamed on column 0 of the next line.
    let text = std::str::from_utf8(line.trim_ascii_end())
        .map_err(|error| format!("not UTF-8 (byte {} of the line)", error.valid_up_to() + 1))?;
    serde_json::from_str(text).map_err(|error| {
        if let Some(reason) = no_number(text, error.column()) {
            return reason;
        }
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or_default();
        format!("malformed JSON at column {}: {words}", error.column())
    })
}

/// Python writes NaN and infinities into what it calls JSON. JSON has no such numbers, and a parser stops at their first
/// or second character, `column` from 1.
fn no_number(text: &str, column: usize) -> Option<String> {
    let from = text.get(column.saturating_sub(2)..)?;
    let from = from.trim_start_matches([' ', ':', ',', '[']);
    let names = ["NaN", "-Infinity", "Infinity"];
    let name = names.into_iter().find(|name| from.starts_with(name))?;
    let before = &text[..text.len() - from.len()];
    let key = before.rsplit_once("\":").or(before.rsplit_once("\" :"))?.0;
    let key = key.rsplit('"').next().unwrap_or_default();
    Some(format!("`{key}` is {name}, should be a finite number"))
}

fn array(path: &Path, mut reader: Box<dyn BufRead>, sink: &mut Sink) -> Result<()> {
    let mut bytes = Vec::new();
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| failed(path, error))?;
    let body = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    let rows: Vec<Value> = serde_json::from_slice(body).map_err(|error| {
        Error::data(format!(
            "{}:{}: malformed JSON array: {error}",
            path.display(),
            error.line()
        ))
        .hint("a file holds one JSON array, or one JSON object a line")
    })?;
    for (i, row) in rows.into_iter().enumerate() {
        if sink(Unit::Row, i + 1, Found::Row(row))?.is_break() {
            break;
        }
    }
    Ok(())
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::data(format!(
            "{}: the gzip stream ends too early",
            path.display()
        ))
        .hint("fetch or write the file again: it is cut off"),
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
            Error::data(format!("{}: not a gzip stream: {error}", path.display()))
                .hint("fetch the file again, or drop `.gz` from its name if it is plain text")
        }
        _ => Error::io(path, "read", error),
    }
}
