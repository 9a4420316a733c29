//! Comparison of actual rows with expected rows.

use std::collections::BTreeMap;

use serde_json::Value;

use super::rows::{Row, plain};

/// Result of a comparison. It succeeds if all lists are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Number of rows that are as expected.
    pub right: usize,
    /// Expected rows that do not exist.
    pub missing: Vec<String>,
    /// Duplicate and unexpected rows.
    pub doubled: Vec<String>,
    /// Rows with a wrong value, with the actual and the expected value.
    pub wrong: Vec<String>,
}

impl Comparison {
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.missing.is_empty() && self.doubled.is_empty() && self.wrong.is_empty()
    }

    /// Text for every difference.
    pub fn differences(&self) -> impl Iterator<Item = String> {
        let labelled =
            |label, list: &[String]| list.iter().map(move |row| format!("{label}  {row}")).collect::<Vec<_>>();
        [labelled("missing", &self.missing), labelled("doubled", &self.doubled), labelled("wrong  ", &self.wrong)]
            .into_iter()
            .flatten()
    }
}

/// Compares all rows with the expected ones, and finds unexpected rows.
pub(super) fn compare(expected: &[Row], actual: &[Row]) -> Comparison {
    let mut found: BTreeMap<(&str, String), Vec<&Row>> = BTreeMap::new();
    for row in actual {
        found.entry((row.table, row.key())).or_default().push(row);
    }
    let mut comparison = Comparison::default();
    for row in expected {
        let key = row.key();
        let name = format!("{} {key}", row.table);
        let mut candidates = found.remove(&(row.table, key)).unwrap_or_default();
        let Some(first) = candidates.pop() else {
            comparison.missing.push(name);
            continue;
        };
        match difference(row, first) {
            None => comparison.right += 1,
            Some(difference) => comparison.wrong.push(format!("{name}: {difference}")),
        }
        comparison.doubled.extend(candidates.iter().map(|_| name.clone()));
    }
    comparison
        .doubled
        .extend(found.into_iter().map(|((table, key), rows)| format!("{table} {key} ({}x, unexpected)", rows.len())));
    comparison
}

/// Columns that differ. A column without an expected value must be null.
fn difference(expected: &Row, actual: &Row) -> Option<String> {
    let columns =
        expected.columns.keys().chain(actual.columns.keys().filter(|column| !expected.columns.contains_key(*column)));
    let differing = columns.filter_map(|column| {
        let (must_be, is) = (value(expected, column), value(actual, column));
        (!same(must_be, is)).then(|| format!("{column} is {} and must be {}", plain(is), plain(must_be)))
    });
    let differing: Vec<String> = differing.collect();
    (!differing.is_empty()).then(|| differing.join("; "))
}

fn value<'a>(row: &'a Row, column: &str) -> &'a Value {
    row.columns.get(column).unwrap_or(&Value::Null)
}

/// `0` and `0.0` are equal amounts.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log(call: &str, columns: Value) -> Row {
        let mut row = Row::expected("call_logs", columns);
        row.columns.insert("vapi_call_id".to_owned(), call.into());
        row
    }

    #[test]
    fn spelling_is_no_difference() {
        let expected = [log("a", json!({"cost": 0, "ended_at": "2026-09-14T15:02:32.78Z"}))];
        let actual = [log("a", json!({"cost": 0.0, "ended_at": "2026-09-14T17:02:32.780+02:00", "summary": null}))];
        let comparison = compare(&expected, &actual);
        assert!(comparison.is_right() && comparison.right == 1, "{comparison:?}");
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let expected = ["missing", "doubled", "wrong", "filled"].map(|call| log(call, json!({"cost": 1})));
        let actual = [
            log("doubled", json!({"cost": 1})),
            log("doubled", json!({"cost": 1})),
            log("wrong", json!({"cost": 2})),
            log("filled", json!({"cost": 1, "summary": "from nowhere"})),
            log("unexpected", json!({})),
        ];
        let comparison = compare(&expected, &actual);
        assert_eq!(comparison.right, 1);
        assert_eq!(comparison.missing, ["call_logs missing"]);
        assert_eq!(comparison.doubled, ["call_logs doubled", "call_logs unexpected (1x, unexpected)"]);
        let [wrong, filled] = comparison.wrong.as_slice() else { panic!("{:?}", comparison.wrong) };
        assert!(wrong.ends_with("cost is 2 and must be 1"), "{wrong}");
        assert!(filled.ends_with("summary is from nowhere and must be null"), "{filled}");
    }
}
