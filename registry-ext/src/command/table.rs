//! Tables for people.

use std::fmt::Write as _;

use cli::Text;
use delta_format::escape;

/// Rows under a head; numbers stand right, which is where they are compared. Cells are escaped when they
/// come in, so that columns line up with what is shown.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A column whose name starts with `>` stands right.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let right = columns.iter().map(|column| column.starts_with('>')).collect();
        let head = columns.iter().map(|column| column.trim_start_matches('>').to_owned()).collect();
        Self { rows: vec![head], right }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| escape(cell).to_string()).collect());
    }

    /// The table, a line for each row.
    pub(crate) fn text(&self) -> Text {
        let mut text = Text::new();
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                // A String takes everything.
                let _ =
                    if *right { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
            }
            text.line(line);
        }
        text
    }
}

/// A share in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1}%", 100.0 * part as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["name", ">bytes"]);
        table.row(vec!["a".into(), "12345".into()]);
        table.row(vec!["longer".into(), "1".into()]);
        assert_eq!(table.text().to_string(), "name    bytes\na       12345\nlonger      1\n");
        table.row(vec!["a\nb".into(), "\u{1b}".into()]);
        assert!(table.text().to_string().ends_with("\na\\nb    \\u{1b}\n"), "no cell ends its row");
        assert_eq!(percent(1, 3), "33.3%");
        assert_eq!(percent(1, 0), "100.0%");
    }
}
