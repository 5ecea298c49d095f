//! A model behind an endpoint that is asked whatever a benchmark asks.

use super::{Endpoint, Silent};
use crate::error::{Kind, Result};
use crate::recipe::RemoteJudge as Table;

/// Hands questions on as they stand, and watches that the replies say something.
pub struct Examiner {
    endpoint: Endpoint,
    silent: Silent,
}

impl Examiner {
    /// From a table of a recipe, of which `ask`, `rounds` and `template` do not matter.
    ///
    /// # Errors
    /// A key that is not in the environment.
    pub fn new(table: &Table) -> Result<Self> {
        Ok(Self {
            endpoint: Endpoint::new(table)?,
            silent: Silent::default(),
        })
    }

    /// The same with its replies kept elsewhere.
    #[cfg(test)]
    pub fn keeping_in(self, cache: &std::path::Path) -> Self {
        Self {
            endpoint: self.endpoint.keeping_in(cache),
            ..self
        }
    }

    /// The replies to `questions`, in their order. `wanted` names what those have that `says` accepts, and what becomes of the
    /// others.
    ///
    /// # Errors
    /// An endpoint that refuses or does not answer, replies most of which say nothing, ^C.
    pub fn replies(
        &mut self,
        questions: &[String],
        says: fn(&str) -> bool,
        wanted: &str,
    ) -> Result<Vec<String>> {
        let replies = self.endpoint.ask(questions, says)?;
        let heard = self.silent.hear(&replies, says, wanted);
        heard.map_err(|error| match error.kind {
            Kind::Data => error.hint(
                "raise --reply-tokens if it was cut off, or take a judge that keeps to a form",
            ),
            _ => error,
        })?;
        Ok(replies)
    }
}
