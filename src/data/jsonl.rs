//! Lines of JSON, plain or gzipped; and files that hold one JSON array.

use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

/// What a reader hands over: the line (or the number in an array) from 1, and the value or why there is none.
/// It stops reading when it is told to.
pub(super) type Sink<'a> =
    dyn FnMut(usize, std::result::Result<Value, String>) -> Result<ControlFlow<()>> + 'a;

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
            // A blank line is how a hand or an editor parts rows, not a missing one; it counts as a line.
            continue;
        }
        if sink(number, parse(line))?.is_break() {
            return Ok(());
        }
    }
}

fn parse(line: &[u8]) -> std::result::Result<Value, String> {
    // Without its line break, or an unfinished object would be blamed on column 0 of the next line.
    let text = std::str::from_utf8(line.trim_ascii_end())
        .map_err(|error| format!("not UTF-8 (byte {} of the line)", error.valid_up_to() + 1))?;
    serde_json::from_str(text).map_err(|error| {
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or_default();
        format!("malformed JSON at column {}: {words}", error.column())
    })
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
        if sink(i + 1, Ok(row))?.is_break() {
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
