//! What can go wrong, for whom, and what to type next.
//!
//! Every error states the fact, the reason and a command. Four kinds decide the exit code: a user's
//! mistake is 2, data, device and internal failures are 1, and an interrupted run is 130.

use std::fmt;
use std::path::Path;

/// Whose move it is after the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command or the recipe asks for something that cannot be.
    User,
    /// A file holds something other than it should.
    Data,
    /// A device is missing, lost, or out of memory.
    Device,
    /// duel itself, or the machine under it (a full disk, a failed write).
    Internal,
    /// The user pressed ^C; everything up to here is saved.
    Interrupted,
}

/// An error with the fact, where known the place, and a hint that says what to do.
#[derive(Debug, Clone)]
pub struct Error {
    /// Decides the exit code.
    pub kind: Kind,
    /// The fact and its reason, without a trailing full stop.
    pub message: String,
    /// What to type or change next.
    pub hint: Option<String>,
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A mistake in the command or recipe (exit code 2).
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message)
    }

    /// A file that does not hold what it should (exit code 1).
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(Kind::Data, message)
    }

    /// A device that is missing, lost or too small (exit code 1).
    pub fn device(message: impl Into<String>) -> Self {
        Self::new(Kind::Device, message)
    }

    /// A failure of duel or of the machine under it (exit code 1).
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// A run that the user stopped (exit code 130).
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self::new(Kind::Interrupted, message)
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts a place in front of the message: `"{place}: {message}"`.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// An operating-system error about a file: names the file, the operation and the mend.
    pub fn io(path: &Path, doing: &str, error: std::io::Error) -> Self {
        let fact = format!("cannot {doing} {}: {error}", path.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::user(fact).hint("check the path"),
            std::io::ErrorKind::StorageFull
            | std::io::ErrorKind::QuotaExceeded
            | std::io::ErrorKind::FileTooLarge => Self::internal(fact)
                .hint("free some disk space (or raise the limit of the system), then run the same command again: it continues"),
            std::io::ErrorKind::PermissionDenied => {
                Self::user(fact).hint("check the permissions of the file and its folder")
            }
            _ => Self::internal(fact),
        }
    }

    /// The process's exit code: 1, 2 or 130.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::User => 2,
            Kind::Data | Kind::Device | Kind::Internal => 1,
            Kind::Interrupted => 130,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
