//! Printed rows.

use ringfence_cli::table::Table;
use serde_json::Value;

use super::rows::{self, Row, TABLES, plain};

/// Claims are internal and not printed.
const NOT_SHOWN: &str = "processed_webhook_events";
/// Columns with the same value in every row of a call.
const REPEATED: [&str; 2] = ["vapi_call_id", "record_of"];
const MAX_WIDTH: usize = 90;

/// Rows as text, one table after another: a single row as a list of its columns, several rows as a table. Null values
/// are omitted.
#[must_use]
pub fn tables(rows: &[Row]) -> String {
    let mut text = String::new();
    for rows::Table { name, .. } in TABLES.iter().filter(|table| table.name != NOT_SHOWN) {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.table == *name).collect();
        text.push_str(&table(name, &rows));
    }
    text
}

fn table(name: &str, rows: &[&Row]) -> String {
    let mut columns: Vec<&str> = rows.iter().flat_map(|row| row.columns.keys()).map(String::as_str).collect();
    columns.sort_unstable();
    columns.dedup();
    columns.retain(|column| !REPEATED.contains(column) && rows.iter().any(|row| !row.columns[*column].is_null()));
    let values = |column: &&str| rows.iter().map(|row| cell(&row.columns[*column])).collect::<Vec<_>>();
    let grid: Vec<(&str, Vec<String>)> = columns.iter().map(|column| (*column, values(column))).collect();

    let body = if rows.len() == 1 { list(&grid) } else { side_by_side(&grid, rows.len()) };
    let count = if rows.len() == 1 { "1 row".to_owned() } else { format!("{} rows", rows.len()) };
    format!("  {name} ({count})\n{body}\n")
}

fn list(grid: &[(&str, Vec<String>)]) -> String {
    let width = grid.iter().map(|(column, _)| column.len()).max().unwrap_or_default();
    let line = |(column, cells): &(&str, Vec<String>)| format!("    {column:width$}  {}", cells.join(" "));
    lines(grid.iter().map(line))
}

fn side_by_side(grid: &[(&str, Vec<String>)], rows: usize) -> String {
    let mut table = Table::new(grid.iter().map(|(column, _)| *column));
    for row in 0..rows {
        table.row(grid.iter().map(|(_, cells)| cells[row].as_str()));
    }
    lines(table.to_string().lines().map(|line| format!("    {line}")))
}

/// Lines, each with a line break.
fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// A value on one line, truncated if it is long.
fn cell(value: &Value) -> String {
    let text = if value.is_null() { String::new() } else { plain(value).replace('\n', " / ") };
    if text.chars().count() <= MAX_WIDTH {
        return text;
    }
    text.chars().take(MAX_WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_row_is_a_list_and_several_are_a_table() {
        let log = json!({"vapi_call_id": "c", "status": "completed", "cost": 0.037, "summary": null});
        let said = |speaker, text| {
            Row::expected("call_transcripts", json!({"vapi_call_id": "c", "speaker": speaker, "text": text}))
        };
        let rows = [Row::expected("call_logs", log), said("assistant", "Hello?"), said("user", "Hi.")];
        let text = tables(&rows);
        assert!(text.starts_with("  call_logs (1 row)\n    cost    0.037\n    status  completed\n\n"), "{text}");
        assert!(
            text.contains(
                "  call_transcripts (2 rows)\n    speaker    text\n    assistant  Hello?\n    user       Hi.\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_long_value_is_one_line_and_cut() {
        let text = cell(&json!(format!("one\ntwo {}", "x".repeat(200))));
        assert_eq!(text.chars().count(), MAX_WIDTH);
        assert!(text.starts_with("one / two") && text.ends_with('…'));
    }
}
