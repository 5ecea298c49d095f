//! The tries of the steps to come, made by a thread of their own while the steps before them are computed.

use super::plan::Plan;
use crate::objective::Example;
use crate::trie::{Sequence, Trie, pack};
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// Steps that lie ready; one more is in the making.
const AHEAD: usize = 2;

/// The rows of one optimiser step with their tries.
pub struct Step<'a> {
    /// Its rows.
    pub rows: Vec<&'a Example>,
    /// Runs of rows whose tries stay under the token budget, with their tries.
    pub batches: Vec<(Range<usize>, Trie)>,
}

/// Steps in their order. What a step holds is a function of the plan alone.
pub struct Feed<'scope, 'a> {
    steps: Receiver<Step<'a>>,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope, 'a> Feed<'scope, 'a> {
    /// Begins to make the steps of `plan` from `first` on, under `budget` tokens a micro-batch. The thread ends with
    /// the last step, or when the feed is dropped.
    pub fn start(
        scope: &'scope Scope<'scope, 'a>,
        examples: &'a [Example],
        plan: Plan,
        first: usize,
        budget: usize,
    ) -> Self {
        let (send, receive) = sync_channel(AHEAD);
        let thread = scope.spawn(move || {
            for step in first..plan.steps {
                let rows: Vec<&Example> = plan
                    .rows_of(step)
                    .into_iter()
                    .map(|i| &examples[i])
                    .collect();
                let batches = micro_batches(&rows, budget);
                if send.send(Step { rows, batches }).is_err() {
                    return;
                }
            }
        });
        Self {
            steps: receive,
            thread: Some(thread),
        }
    }

    /// The next step.
    ///
    /// # Panics
    /// As the thread did, if it panicked; or after the last step of the plan.
    pub fn next(&mut self) -> Step<'a> {
        if let Ok(step) = self.steps.recv() {
            return step;
        }
        match self.thread.take().map(ScopedJoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => panic!("no step is left in the plan"),
        }
    }
}

/// Runs of rows whose tries stay under `budget` tokens, with their tries. A row that is larger goes alone.
pub fn micro_batches(rows: &[&Example], budget: usize) -> Vec<(Range<usize>, Trie)> {
    let alone = |row: &&Example| Trie::new(&row.sequences).len();
    let sizes: Vec<usize> = rows.iter().map(alone).collect();
    let with_trie = |run: Range<usize>| {
        let sequences: Vec<Sequence> = rows[run.clone()]
            .iter()
            .flat_map(|e| e.sequences.clone())
            .collect();
        (run, Trie::new(&sequences))
    };
    pack(&sizes, budget).into_iter().map(with_trie).collect()
}
