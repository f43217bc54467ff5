//! Progress: bars where somebody is looking, a line every few seconds where a log is kept.

mod log;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use delta_format::escape;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::Log;

use crate::Text;

/// A bar with a known total.
const BAR: &str = "{prefix} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
/// A bar without one.
const SPINNER: &str = "{spinner} {prefix} {bytes} {bytes_per_sec} {elapsed}";
/// The time after which a bar is drawn although nothing advances, so that its clock goes on.
const TICK: Duration = Duration::from_millis(200);

/// The bars of a command, on stderr. They are drawn if stderr is a terminal; if it is not, a line is
/// written every few seconds that tells how far each of them is.
#[derive(Debug, Clone)]
pub struct Progress {
    bars: MultiProgress,
    /// True if bars are drawn.
    is_drawn: bool,
    /// The log that lines are written to where no bars are drawn.
    log: Option<Arc<Log>>,
}

impl Progress {
    /// Progress on stderr: bars on a terminal, lines elsewhere. Nothing is shown if `quiet`, which a
    /// command also sets for output that a program reads (`--json`).
    #[expect(clippy::disallowed_methods, reason = "nothing is written here")]
    pub fn new(quiet: bool) -> Self {
        if quiet {
            return Self::hidden();
        }
        if !io::stderr().is_terminal() {
            return Self { log: Some(Log::new()), ..Self::hidden() };
        }
        Self { bars: MultiProgress::new(), is_drawn: true, log: None }
    }

    /// Progress that is never shown.
    pub fn hidden() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Self { bars, is_drawn: false, log: None }
    }

    /// Tells whether nothing is ever shown, neither bars nor lines.
    pub const fn is_hidden(&self) -> bool {
        !self.is_drawn && self.log.is_none()
    }

    /// Writes a line to stderr, above the bars if some are drawn.
    pub fn line(&self, text: &str) {
        self.above(|| Text::of(text).print_to_stderr());
    }

    /// Takes the bars off the terminal while `write` runs. A line that is written among them is
    /// drawn over.
    fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bars.suspend(write)
    }

    /// Adds a bar that counts bytes; `total` is how many there will be, `None` if that is not known.
    ///
    /// # Panics
    /// Never: the templates are constants that the tests render.
    pub fn bytes(&self, label: impl Into<String>, total: impl Into<Option<u64>>) -> Bar {
        let (bar, template) = match total.into() {
            Some(total) => (ProgressBar::new(total), BAR),
            None => (ProgressBar::no_length(), SPINNER),
        };
        let style = ProgressStyle::with_template(template).expect("a constant template is valid");
        let bar = self.bars.add(bar.with_style(style).with_prefix(escape(&label.into()).to_string()));
        if self.is_drawn {
            bar.enable_steady_tick(TICK);
        }
        if let Some(log) = &self.log {
            log.add(bar.clone());
        }
        Bar { bar, log: self.log.clone() }
    }
}

/// One bar. Clones draw and advance the same one, from any thread.
#[derive(Debug, Clone)]
pub struct Bar {
    bar: ProgressBar,
    log: Option<Arc<Log>>,
}

impl Bar {
    /// Counts `bytes` more.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
        if let Some(log) = &self.log {
            log.tick();
        }
    }

    /// Bytes counted so far.
    pub fn position(&self) -> u64 {
        self.bar.position()
    }

    /// Removes the bar from the terminal, and from the lines.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, TermLike};

    use super::*;

    #[test]
    fn counts_from_any_thread() {
        fn shared<T: Clone + Send + Sync>(value: T) -> T {
            value
        }
        let progress = Progress::hidden();
        let bar = shared(progress.bytes("apply", 100));
        let clone = bar.clone();
        std::thread::spawn(move || clone.advance(40)).join().unwrap();
        bar.advance(2);
        assert_eq!(bar.position(), 42);
        bar.finish();
        let unknown = progress.bytes(String::from("read"), None);
        unknown.advance(1);
        unknown.finish();
    }

    /// A terminal as the bars see it.
    fn screen() -> (InMemoryTerm, Progress) {
        let term = InMemoryTerm::new(10, 60);
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        (term, Progress { bars: MultiProgress::with_draw_target(target), is_drawn: true, log: None })
    }

    #[test]
    fn a_line_stands_above_the_bars() {
        let (term, progress) = screen();
        let bars = [progress.bytes("one", 100), progress.bytes("two", 100)];
        bars.iter().for_each(|bar| bar.bar.tick());
        progress.above(|| {
            assert_eq!(term.contents(), "", "no bar is in the way");
            term.write_line("warning: something").unwrap();
        });
        // The bars come back with their clock.
        while !term.contents().contains("one [") {
            std::thread::sleep(TICK);
        }
        assert!(term.contents().starts_with("warning: something\n"), "{}", term.contents());
        bars.iter().for_each(Bar::finish);
        assert_eq!(term.contents().trim_end(), "warning: something");
        // Also where there are none.
        assert_eq!(Progress::hidden().above(|| 1), 1);
    }

    #[test]
    fn quiet_is_hidden() {
        assert!(Progress::new(true).is_hidden());
    }
}
