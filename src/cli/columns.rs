//! Text in columns, for people. Pure.

use std::io::IsTerminal;

/// Whether what is printed to standard output may have colours: a terminal, and `NO_COLOR` is not set.
pub(super) fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A word in a column.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    dim: bool,
}

impl Cell {
    /// A word that steps back behind the others, where there are colours.
    pub(super) fn dim(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            dim: true,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            dim: false,
        }
    }
}

/// The rows below each other, each column as wide as its widest word, two spaces between them.
pub(super) fn columns(rows: &[Vec<Cell>], colour: bool) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.text.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count).filter_map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let space = " ".repeat(width - cell.text.chars().count() + 2);
            if cell.dim && colour {
                line.push_str(&format!("\x1b[2m{}\x1b[0m{space}", cell.text));
            } else {
                line.push_str(&format!("{}{space}", cell.text));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_word() {
        let rows = [
            vec!["a".into(), "°C".into(), "x".into()],
            vec![Cell::dim("long"), "1".into()],
        ];
        assert_eq!(columns(&rows, false), "a     °C  x\nlong  1\n");
        assert_eq!(columns(&rows[1..], true), "\x1b[2mlong\x1b[0m  1\n");
    }
}
