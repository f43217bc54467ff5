//! Progress as lines, where nobody looks at a terminal: in the log of a pipeline.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar};

use crate::Text;

/// Time between two lines: a log shows that the work goes on, and is not filled with it.
const INTERVAL: Duration = Duration::from_secs(5);

/// The bars that are going on, and when a line was last written about them.
#[derive(Debug)]
pub(super) struct Log {
    state: Mutex<State>,
    interval: Duration,
}

#[derive(Debug)]
struct State {
    bars: Vec<ProgressBar>,
    last: Instant,
}

impl Log {
    pub(super) fn new() -> Arc<Self> {
        Self::every(INTERVAL)
    }

    fn every(interval: Duration) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { bars: Vec::new(), last: Instant::now() }), interval })
    }

    /// Adds a bar to those that the lines tell of.
    pub(super) fn add(&self, bar: ProgressBar) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).bars.push(bar);
    }

    /// Writes a line to stderr if the last one is old enough. Bars call it whenever they advance.
    pub(super) fn tick(&self) {
        if let Some(line) = self.due() {
            Text::of(&line).print_to_stderr();
        }
    }

    /// The line that is to be written now, if one is.
    fn due(&self) -> Option<String> {
        // While another thread writes the line, nobody has to wait to find out.
        let mut state = self.state.try_lock().ok()?;
        if state.last.elapsed() < self.interval {
            return None;
        }
        state.last = Instant::now();
        state.bars.retain(|bar| !bar.is_finished());
        let mut line = String::new();
        for bar in &state.bars {
            if !line.is_empty() {
                line.push_str("; ");
            }
            describe(bar, &mut line);
        }
        (!line.is_empty()).then_some(line)
    }
}

/// Appends `LABEL: 45%, 34.20 MiB of 76.00 MiB, 12 s`.
fn describe(bar: &ProgressBar, line: &mut String) {
    let (position, seconds) = (bar.position(), bar.elapsed().as_secs());
    let done = HumanBytes(position);
    // A String takes everything.
    let _ = match bar.length().filter(|length| *length > 0) {
        Some(length) => {
            let share = u128::from(position.min(length)) * 100 / u128::from(length);
            write!(line, "{}: {share}%, {done} of {}, {seconds} s", bar.prefix(), HumanBytes(length))
        }
        None => write!(line, "{}: {done}, {seconds} s", bar.prefix()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &'static str, length: u64) -> ProgressBar {
        let bar = ProgressBar::hidden().with_prefix(label);
        bar.set_length(length);
        bar
    }

    #[test]
    fn a_line_tells_of_every_bar_that_goes_on() {
        let log = Log::every(Duration::ZERO);
        assert_eq!(log.due(), None, "nothing goes on yet");
        let bars = [bar("read", 1 << 20), bar("diff", 4 << 20)];
        bars.iter().for_each(|bar| log.add(bar.clone()));
        bars[1].inc(1 << 20);
        let line = log.due().unwrap();
        assert_eq!(line, "read: 0%, 0 B of 1.00 MiB, 0 s; diff: 25%, 1.00 MiB of 4.00 MiB, 0 s");
        bars[0].finish_and_clear();
        assert_eq!(log.due().unwrap(), "diff: 25%, 1.00 MiB of 4.00 MiB, 0 s");
        bars[1].finish_and_clear();
        assert_eq!(log.due(), None, "all are over");
    }

    #[test]
    fn lines_keep_their_distance() {
        let log = Log::every(Duration::from_secs(3600));
        log.add(bar("diff", 100));
        assert_eq!(log.due(), None);
    }
}
