//! Events, for callers who show progress. The library itself prints nothing.

use std::fmt;
use std::sync::Arc;

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
pub struct Watch(Arc<dyn Fn(Event<'_>) + Send + Sync>);

impl Watch {
    /// Calls `see` for each event.
    pub fn new(see: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(see))
    }

    /// Looks away.
    pub fn nothing() -> Self {
        Self::new(|_| ())
    }

    pub(crate) fn warn(&self, text: &str) {
        (self.0)(Event::Warning(text));
    }

    pub(crate) fn start(&self, task: String, total: u64) -> Task {
        (self.0)(Event::Started { task: &task, total });
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
        (self.watch.0)(Event::Advanced { task: &self.task, bytes });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        (self.watch.0)(Event::Finished { task: &self.task });
    }
}
