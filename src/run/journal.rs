//! An append-only JSONL file of rows within a stage, one row per id.
//!
//! A stage that was killed opens its journal again, gets the rows that were written whole, and goes on
//! with the ids that are missing. Rows are written in the order of their ids' first appearance, so the
//! file of a resumed stage is that of an undisturbed one.

use super::lines::{LineWriter, numbered};
use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// A power cut loses at most this many rows; a killed process loses none.
const ROWS_PER_SYNC: usize = 64;

/// A row that says which it is.
pub trait Keyed {
    /// Unique within the journal, and the same in every run.
    fn id(&self) -> &str;
}

/// The writing end of a journal of `T`.
#[derive(Debug)]
pub struct Journal<T> {
    lines: LineWriter,
    path: PathBuf,
    ids: HashSet<String>,
    unsynced: usize,
    row: PhantomData<fn(&T)>,
}

impl<T: Keyed + Serialize + DeserializeOwned> Journal<T> {
    /// Opens or creates a journal and returns the rows that are already complete, in file order.
    ///
    /// A torn last line is cut off. A line before it that is no `T`, or an id that comes twice, is a
    /// data error: somebody else wrote to the file.
    pub fn open(path: &Path) -> Result<(Self, Vec<T>)> {
        let (lines, kept) = LineWriter::open(path)?;
        let mut journal = Self {
            lines,
            path: path.to_path_buf(),
            ids: HashSet::new(),
            unsynced: 0,
            row: PhantomData,
        };
        let mut rows = Vec::new();
        for (number, line) in numbered(&kept) {
            let broken = |fact: String| {
                Error::data(fact)
                    .at(format_args!("{}:{number}", path.display()))
                    .hint("delete the file: the stage writes it again")
            };
            let row: T = serde_json::from_slice(line).map_err(|e| broken(e.to_string()))?;
            if !journal.ids.insert(row.id().to_owned()) {
                return Err(broken(format!("the id `{}` comes twice", row.id())));
            }
            rows.push(row);
        }
        Ok((journal, rows))
    }

    /// Whether the row of this id is already written.
    pub fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// How many rows are written.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no row is written yet.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Writes one row. An id that is already there is refused (internal error); after a failed write,
    /// for example on a full disk, the file ends with the row before.
    pub fn append(&mut self, row: &T) -> Result<()> {
        let at = self.path.display();
        if self.contains(row.id()) {
            let fact = format!("the row `{}` was written twice", row.id());
            return Err(Error::internal(fact).at(at));
        }
        let line = serde_json::to_vec(row).map_err(|e| Error::internal(e.to_string()).at(at))?;
        self.lines.append(line)?;
        self.ids.insert(row.id().to_owned());
        self.unsynced += 1;
        if self.unsynced >= ROWS_PER_SYNC {
            self.unsynced = 0;
            self.lines.sync()?;
        }
        Ok(())
    }

    /// Waits until every row is on the disk. Call it before the stage is finished.
    pub fn finish(self) -> Result<()> {
        self.lines.sync()
    }
}

/// Writes rows that are known all at once: the file appears whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_rows<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    super::write_atomic_with(path, |out| {
        for row in rows {
            serde_json::to_writer(&mut *out, row)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
}

/// Reads the whole rows of a journal without touching the file, also while another process writes it.
pub fn read_rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let kept = super::lines::read_complete(path)?;
    numbered(&kept)
        .map(|(number, line)| {
            serde_json::from_slice(line).map_err(|e| {
                Error::data(e.to_string()).at(format_args!("{}:{number}", path.display()))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::fs;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Scored {
        id: String,
        text: String,
        reward: f64,
    }

    impl Keyed for Scored {
        fn id(&self) -> &str {
            &self.id
        }
    }

    fn row(n: usize) -> Scored {
        Scored {
            id: format!("p{n}"),
            text: format!("line {n}\nwith \"quotes\", é and 🙂"),
            reward: n as f64 / 3.0,
        }
    }

    fn write(path: &Path, rows: impl IntoIterator<Item = usize>) {
        let (mut journal, _) = Journal::open(path).unwrap();
        for n in rows {
            if !journal.contains(&row(n).id) {
                journal.append(&row(n)).unwrap();
            }
        }
        journal.finish().unwrap();
    }

    #[test]
    fn killed_at_any_byte_of_the_last_row_it_ends_with_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, undisturbed) = (dir.path().join("a.jsonl"), dir.path().join("b.jsonl"));
        write(&undisturbed, 0..4);
        let whole = fs::read(&undisturbed).unwrap();
        write(&path, 0..2);
        let two = fs::metadata(&path).unwrap().len() as usize;
        write(&path, 0..3);
        let three = fs::metadata(&path).unwrap().len() as usize;

        for cut in two..=three {
            fs::write(&path, &whole[..cut]).unwrap();
            let (_, rows) = Journal::<Scored>::open(&path).unwrap();
            let kept = if cut == three { 3 } else { 2 };
            assert_eq!(rows, (0..kept).map(row).collect::<Vec<_>>(), "cut at {cut}");
            write(&path, 0..4);
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn zeros_after_a_power_cut_are_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        write(&path, 0..2);
        let mut bytes = fs::read(&path).unwrap();
        for tail in [&b"\0\0\0\0"[..], b"\0\0\0\n"] {
            bytes.extend_from_slice(tail);
            fs::write(&path, &bytes).unwrap();
            assert_eq!(Journal::<Scored>::open(&path).unwrap().1.len(), 2);
            bytes.truncate(bytes.len() - tail.len());
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scores.jsonl");
        write(&path, 0..2);
        let text = fs::read_to_string(&path).unwrap();
        let broken = format!("{{\"id\": 3}}\n{text}");
        fs::write(&path, &broken).unwrap();
        let error = Journal::<Scored>::open(&path).unwrap_err();
        assert!(
            error.message.contains("scores.jsonl:1: "),
            "{}",
            error.message
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), broken, "nothing lost");
    }

    #[test]
    fn an_id_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&row(1)).unwrap();
        assert!(journal.append(&row(1)).is_err());
        assert_eq!(read_rows::<Scored>(&path).unwrap(), [row(1)]);
        let line = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{line}{line}")).unwrap();
        let error = Journal::<Scored>::open(&path).unwrap_err();
        assert!(error.message.contains(":2: the id `p1` comes twice"));
    }
}
