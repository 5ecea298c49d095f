//! One process writes a run directory at a time.

use super::layout::Layout;
use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::time::Duration;

/// The lock; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct RunLock {
    _file: File,
}

/// [`is_held`] takes the lock for a moment, which must not look like another run.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

impl RunLock {
    /// Takes the lock and writes this process's id into the file.
    ///
    /// # Errors
    ///
    /// A user error that names the process that holds it.
    pub(super) fn take(layout: &Layout) -> Result<Self> {
        let path = layout.lock();
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let mut file = opened.map_err(|e| Error::io(&path, "open", e))?;
        // Windows gives nobody a lock twice, not even its holder.
        let mut locked = file.try_lock();
        for _ in 1..TRIES {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(PAUSE);
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(layout)),
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(&path, "lock", error)
                    .hint("choose an output folder on a disk that knows file locks"));
            }
        }
        file.set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(|e| Error::io(&path, "write", e))?;
        Ok(Self { _file: file })
    }
}

/// Whether a process, this one included, holds the run.
pub(super) fn is_held(layout: &Layout) -> bool {
    let Ok(file) = File::open(layout.lock()) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn held(layout: &Layout) -> Error {
    // On Windows a locked file cannot be read: then the process stays unnamed.
    let holder = match fs::read_to_string(layout.lock()) {
        Ok(pid) if !pid.is_empty() => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    let fact = format!("{holder} is working in {}", layout.root().display());
    Error::user(fact)
        .hint("wait for it or stop it, or give this run a name of its own with --set name=NAME")
}
