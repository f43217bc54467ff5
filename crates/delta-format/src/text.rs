//! Text from outside, as it may be shown.

use std::fmt;

/// Shows `text` on one line: every character that a terminal or a page would obey instead of print is
/// written as its number.
///
/// These are control characters (line ends and the start of escape sequences among them), characters
/// that turn or hide the text around them (Unicode's directional and invisible ones), and those that have
/// no meaning. Text that was escaped once is not changed by a second time.
pub fn escape(text: &str) -> impl fmt::Display + '_ {
    Escaped(text.as_bytes())
}

/// Shows any path as [`escape`] shows text, and every byte that is not UTF-8 as its number.
pub fn escape_path(path: &[u8]) -> impl fmt::Display + '_ {
    Escaped(path)
}

/// Tells whether `character` may be shown as it is.
pub fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    // The standard library knows which characters have a picture of their own. It would also escape a
    // combining mark at the start of a text, hence the letter before it.
    let mut bytes = [b'x', 0, 0, 0, 0];
    let size = 1 + character.encode_utf8(&mut bytes[1..]).len();
    std::str::from_utf8(&bytes[..size]).is_ok_and(|text| text.escape_debug().count() == 2)
}

struct Escaped<'t>(&'t [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some((at, character)) = rest.char_indices().find(|(_, found)| !is_printable(*found)) {
                out.write_str(&rest[..at])?;
                write!(out, "{}", character.escape_default())?;
                rest = &rest[at + character.len_utf8()..];
            }
            out.write_str(rest)?;
            for byte in chunk.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_as_a_number() {
        for (given, shown) in [
            ("\u{1b}]0;owned\u{7}\u{1b}[2J", "\\u{1b}]0;owned\\u{7}\\u{1b}[2J"),
            ("one\r\ntwo\ttabs\u{7f}", "one\\r\\ntwo\\ttabs\\u{7f}"),
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            ("exe.\u{202e}gpj", "exe.\\u{202e}gpj"),
            ("\u{2066}\u{2069}\u{61c}", "\\u{2066}\\u{2069}\\u{61c}"),
            ("a\u{200b}b\u{feff}\u{ad}\u{2028}", "a\\u{200b}b\\u{feff}\\u{ad}\\u{2028}"),
            ("\u{e0041}\u{fff9}\u{180e}", "\\u{e0041}\\u{fff9}\\u{180e}"),
        ] {
            assert_eq!(escape(given).to_string(), shown);
            assert_eq!(escape(shown).to_string(), shown, "a second time changes nothing");
        }
    }

    #[test]
    fn text_of_any_language_is_shown_as_it_is() {
        for text in ["plain \\n \"quoted\" 'it'", "größe ⅔", "e\u{301}", "日本語", "العربية", "🐧"]
        {
            assert_eq!(escape(text).to_string(), text);
        }
        assert_eq!(escape_path(b"a\xff\n\xe2\x80").to_string(), "a\\xff\\n\\xe2\\x80");
    }
}
