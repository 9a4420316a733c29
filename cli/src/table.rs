//! Tables for the terminal.

use std::fmt;

use serde::Serialize;

/// Rows of text under headings. Columns are separated by two spaces.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<C: Into<String>>(columns: impl IntoIterator<Item = C>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    #[must_use]
    pub fn markdown(&self) -> String {
        let rule = (0..self.columns.len()).map(|column| "-".repeat(self.width(column))).collect();
        let rows = [&self.columns, &rule].into_iter().chain(&self.rows);
        rows.flat_map(|row| ["| ".to_owned(), self.padded(row).join(" | "), " |\n".to_owned()]).collect()
    }

    fn padded(&self, row: &[String]) -> Vec<String> {
        row.iter().enumerate().map(|(column, cell)| format!("{cell:width$}", width = self.width(column))).collect()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().chain([&self.columns]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in [&self.columns].into_iter().chain(&self.rows) {
            writeln!(f, "{}", self.padded(row).join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_wide_as_its_longest_cell() {
        let mut table = Table::new(["id", "name"]);
        table.row(["1", "Acme Plumbing"]);
        table.row(["1000", "B"]);
        assert_eq!(table.to_string(), "id    name\n1     Acme Plumbing\n1000  B\n");
        assert!(table.markdown().starts_with("| id   | name          |\n| ---- | ------------- |\n"));
    }
}
