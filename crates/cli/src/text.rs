//! Text for people and programs, and the only ways by which it gets to a terminal.
//!
//! Names in layers, answers of registries and words of other programs come from outside. They may hold
//! escape sequences, line ends and characters that turn the text around them, so each line is escaped as
//! a whole before it is printed: nothing from outside moves the cursor or looks like a line of its own.

use std::fmt::{self, Display};
use std::io::{self, Write};

use delta_format::{escape, is_printable};
use serde::Serialize;

use crate::Output;

/// Lines that are ready to be printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// No line.
    pub const fn new() -> Self {
        Self(String::new())
    }

    /// Text of one line.
    pub fn of(line: impl Display) -> Self {
        let mut text = Self::new();
        text.line(line);
        text
    }

    /// Adds a line. A line end in it is escaped like everything else that is not printable; spaces at
    /// its end are left out.
    pub fn line(&mut self, line: impl Display) {
        self.0 += escape(&line.to_string()).to_string().trim_end();
        self.0.push('\n');
    }

    /// Adds the lines of another text.
    pub fn append(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// Prints the text to stdout.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn print(&self) -> io::Result<()> {
        Output::stdout()?.write_all(self.0.as_bytes())
    }

    /// Prints the text to stderr. If stderr is gone, nobody is left to be told.
    #[expect(clippy::disallowed_methods, reason = "this is the way by which all text gets there")]
    pub fn print_to_stderr(&self) {
        let _ = io::stderr().write_all(self.0.as_bytes());
    }

    /// A value as indented JSON. Characters that are not printable are escaped as JSON escapes them, so
    /// that it can be looked at in a terminal and means the same.
    ///
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn json(value: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self(escape_json(&serde_json::to_string_pretty(value)?) + "\n"))
    }

    /// A value as JSON on one line, otherwise as [`json`](Self::json).
    ///
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn json_line(value: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self(escape_json(&serde_json::to_string(value)?) + "\n"))
    }
}

impl Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Prints a warning of `program` to stderr, on one line.
pub fn warn(program: &str, text: impl Display) {
    warning(program, text).print_to_stderr();
}

/// The line of a warning.
pub(crate) fn warning(program: &str, text: impl Display) -> Text {
    Text::of(format_args!("{program}: warning: {text}"))
}

/// Prints the lines of a log to stderr: each write is one line.
#[derive(Debug, Clone, Copy)]
pub struct LogWriter {
    /// True if the lines are JSON, in which characters are escaped in another way.
    pub is_json: bool,
}

impl LogWriter {
    fn line(self, line: &str) -> Text {
        match self.is_json {
            true => Text(escape_json(line.trim_end()) + "\n"),
            false => Text::of(line.trim_end()),
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(&String::from_utf8_lossy(line)).print_to_stderr();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Outside of strings, JSON has no characters but printable ones and line ends.
fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\n' || is_printable(character) {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped += &format!("\\u{unit:04x}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line() {
        let mut text = Text::of("first  ");
        text.line("evil\u{1b}[2J\ntool: error: fake\u{202e}");
        assert_eq!(text.to_string(), "first\nevil\\u{1b}[2J\\ntool: error: fake\\u{202e}\n");
    }

    #[test]
    fn a_line_of_a_log_stays_a_line() {
        let line = |is_json, text: &str| LogWriter { is_json }.line(text).to_string();
        assert_eq!(line(false, "a\nb\u{1b}[2J\u{202e}\n"), "a\\nb\\u{1b}[2J\\u{202e}\n");
        assert_eq!(line(true, "{\"a\":\"\u{202e}\"}\n"), "{\"a\":\"\\u202e\"}\n");
    }

    #[test]
    fn json_means_the_same_and_is_printable() {
        let value = ["\u{9b}31m\u{202e}\u{e0041}\n\u{1b}", "größe"];
        let text = Text::json(&value).unwrap().to_string();
        assert!(text.chars().all(|character| character == '\n' || is_printable(character)), "{text}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), value);
        assert!(text.contains("größe") && text.lines().count() == 4, "{text}");
        assert_eq!(Text::json_line(&value).unwrap().to_string().lines().count(), 1);
    }
}
