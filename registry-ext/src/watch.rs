//! Events, for callers who show progress. The library itself prints nothing.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A step of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A task starts; it will advance by `total` bytes, or by more if it has to start again.
    Started {
        /// Names the task until it is finished.
        task: &'e str,
        /// In bytes.
        total: u64,
    },
    /// A task got further.
    Advanced {
        /// The task.
        task: &'e str,
        /// By how much.
        bytes: u64,
    },
    /// A task is over, whatever its outcome.
    Finished {
        /// The task.
        task: &'e str,
    },
    /// Something went wrong that does not stop the work.
    Warning(&'e str),
}

/// Is told what is going on, from any thread.
#[derive(Clone)]
pub struct Watch {
    see: Arc<dyn Fn(Event<'_>) + Send + Sync>,
    /// The warnings that are given once.
    told: Arc<Mutex<HashSet<String>>>,
}

/// Most warnings that are remembered. More of them are given each time.
const MAX_TOLD: usize = 1024;

impl Watch {
    /// Calls `see` for each event.
    pub fn new(see: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        Self { see: Arc::new(see), told: Arc::default() }
    }

    /// Looks away.
    pub fn nothing() -> Self {
        Self::new(|_| ())
    }

    pub(crate) fn warn(&self, text: &str) {
        (self.see)(Event::Warning(text));
    }

    /// Gives a warning, unless it or a clone of it gave the same one so before.
    pub(crate) fn warn_once(&self, text: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !told.contains(text);
        if is_new && told.len() < MAX_TOLD {
            told.insert(text.to_owned());
        }
        drop(told);
        if is_new {
            self.warn(text);
        }
    }

    pub(crate) fn start(&self, task: String, total: u64) -> Task {
        (self.see)(Event::Started { task: &task, total });
        Task { watch: self.clone(), task }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Watch")
    }
}

/// A task that is going on. It is finished when it is dropped.
#[derive(Debug)]
pub(crate) struct Task {
    watch: Watch,
    task: String,
}

impl Task {
    pub(crate) fn advance(&self, bytes: u64) {
        (self.watch.see)(Event::Advanced { task: &self.task, bytes });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        (self.watch.see)(Event::Finished { task: &self.task });
    }
}
