//! Results: tables in Markdown, and the same as JSON.

use std::fmt;
use std::path::Path;

use ringfence_cli::table::Table as Cells;
use serde::Serialize;

use ringfence_harness::error::Result;
use ringfence_harness::local::json_file;

/// All results.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    tables: Vec<Table>,
    goals: Vec<Goal>,
}

/// Figures of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    title: String,
    #[serde(flatten)]
    cells: Cells,
}

/// A figure and its limit.
#[derive(Debug, Serialize)]
struct Goal {
    name: String,
    value: f64,
    limit: Limit,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Met,
    Missed,
    /// The figure depends on the speed or the size of a binary, and the binaries are not optimised.
    ReleaseOnly,
}

/// Limit of a figure.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    fn verdict(self, value: f64) -> Verdict {
        let is_met = match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        };
        if is_met { Verdict::Met } else { Verdict::Missed }
    }
}

impl Table {
    pub(super) fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), cells: Cells::new(columns.iter().copied()) }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.cells.row(cells);
    }
}

impl Report {
    pub(super) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Adds a figure with its limit. It depends on the speed or the size of a binary of this workspace.
    pub(super) fn goal(&mut self, name: impl Into<String>, value: f64, limit: Limit) {
        let verdict = if cfg!(debug_assertions) { Verdict::ReleaseOnly } else { limit.verdict(value) };
        self.goals.push(Goal { name: name.into(), value, limit, verdict });
    }

    /// Adds a figure of `PostgreSQL` alone, or one that is counted: it is the same without optimised binaries.
    pub(super) fn database_goal(&mut self, name: impl Into<String>, value: f64, limit: Limit) {
        self.goals.push(Goal { name: name.into(), value, limit, verdict: limit.verdict(value) });
    }

    /// Writes all results as JSON.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        json_file::write(path, self)
    }

    fn goals(&self) -> Table {
        let mut table = Table::new("Goals", &["goal", "limit", "measured", ""]);
        for goal in &self.goals {
            let limit = match goal.limit {
                Limit::AtLeast(limit) => format!("at least {limit}"),
                Limit::AtMost(limit) => format!("at most {limit}"),
            };
            let verdict = match goal.verdict {
                Verdict::Met => "met",
                Verdict::Missed => "missed",
                Verdict::ReleaseOnly => "release only",
            };
            table.row([goal.name.clone(), limit, number(goal.value), verdict.to_owned()]);
        }
        table
    }
}

/// A number with three significant digits.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Median of the values. NaN if there are none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 0.5)
}

/// Value below which a share of the values lie.
pub(super) fn percentile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "there are few values")]
    let place = (values.len().saturating_sub(1)) as f64 * share;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is an index")]
    values.get(place.round() as usize).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "### {}\n\n{}", self.title, self.cells.markdown())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in self.tables.iter().chain([&self.goals()]) {
            writeln!(f, "{table}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((percentile([4.0, 1.0, 2.0, 3.0], 1.0) - 4.0).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_table_is_markdown_and_a_goal_is_met_or_missed() {
        let mut report = Report::default();
        report.database_goal("round trips", 1.0, Limit::AtMost(1.0));
        report.database_goal("ratio", 0.5, Limit::AtLeast(0.9));
        let text = report.to_string();
        assert!(text.contains("| round trips | at most 1    | 1.00     | met    |"), "{text}");
        assert!(text.contains("| ratio       | at least 0.9 | 0.500    | missed |"), "{text}");
    }
    /// The tests are built without optimisation, as the short form of the benchmark is.
    #[test]
    fn without_optimisation_no_goal_of_a_binary_is_met_or_missed() {
        let mut report = Report::default();
        report.goal("zip, MB", 25.0, Limit::AtMost(4.0));
        assert_eq!(report.to_string().contains("release only"), cfg!(debug_assertions));
    }
}
