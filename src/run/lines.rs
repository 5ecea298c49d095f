//! A text file that grows line by line and survives a kill at any byte.
//!
//! The law: whatever the file ends with after a crash, opening it again keeps exactly the lines that
//! were written whole. Journals and metrics stand on this.

use super::atomic::create_folder;
use crate::error::{Error, Result};
use serde::de::IgnoredAny;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The writing end. Every line goes to the operating system at once: a killed process loses none.
#[derive(Debug)]
pub(super) struct LineWriter {
    file: File,
    path: PathBuf,
    len: u64,
}

impl LineWriter {
    /// Opens or creates the file, cuts a torn last line, and returns the whole lines before it.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<u8>)> {
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        let kept = read_complete(path)?;
        let len = kept.len() as u64;
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path);
        let file = opened.map_err(|e| Error::io(path, "open", e))?;
        let mut writer = Self {
            file,
            path: path.to_path_buf(),
            len,
        };
        writer
            .cut()
            .map_err(|e| Error::io(path, "cut the torn last line of", e))?;
        Ok((writer, kept))
    }

    /// Writes one line. After a failure (a full disk) the file ends as if it had not been tried.
    pub(super) fn append(&mut self, mut line: Vec<u8>) -> Result<()> {
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // Best effort: a torn line that stays is cut at the next opening.
            let _ = self.cut();
            return Err(Error::io(&self.path, "write", error));
        }
        self.len += line.len() as u64;
        Ok(())
    }

    /// Waits until all lines are on the disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|e| Error::io(&self.path, "write", e))
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.file.seek(SeekFrom::Start(self.len)).map(|_| ())
    }
}

/// The whole lines of a file; a file that is not there has none.
pub(super) fn read_complete(path: &Path) -> Result<Vec<u8>> {
    match fs::read(path) {
        Ok(mut bytes) => {
            bytes.truncate(complete(&bytes));
            Ok(bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(path, "read", error)),
    }
}

/// How many bytes are whole lines. A last line that has its newline but is no JSON counts as torn:
/// a power cut can leave a block of zeros there.
fn complete(bytes: &[u8]) -> usize {
    let newline_before = |end: usize| bytes[..end].iter().rposition(|b| *b == b'\n');
    let Some(end) = newline_before(bytes.len()) else {
        return 0;
    };
    let start = newline_before(end).map_or(0, |at| at + 1);
    match serde_json::from_slice::<IgnoredAny>(&bytes[start..end]) {
        Ok(_) => end + 1,
        Err(_) => start,
    }
}

/// The lines of a buffer that [`read_complete`] returned, numbered from 1.
pub(super) fn numbered(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bytes
        .split_inclusive(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}
