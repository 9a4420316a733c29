//! docs/COST.md: its counts are those of the template and of the code.

use ringfence_runtime::metrics::{Measure, Metric};
use serde_json::Value;
use strum::IntoEnumIterator as _;

use crate::template::{schedules, template};

const COST: &str = include_str!("../../docs/COST.md");

/// Rows of a table, by their first cell: quantity and USD.
fn row(item: &str) -> (&'static str, f64) {
    let row = COST.lines().find(|line| line.starts_with(&format!("| {item} |"))).unwrap_or_else(|| panic!("{item}"));
    let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
    (cells[2], cells[3].parse().unwrap_or_else(|_| panic!("{row}")))
}

/// The number at the beginning of a quantity: "126 000 runs" is 126000.
fn number(quantity: &str) -> u32 {
    let digits: String = quantity.chars().take_while(|c| c.is_ascii_digit() || *c == ' ').collect();
    digits.replace(' ', "").parse().unwrap_or_else(|_| panic!("{quantity}"))
}

#[track_caller]
fn assert_price(usd: f64, expected: f64) {
    assert!((usd - expected).abs() < 0.006, "{usd} instead of {expected}");
}

/// C4, E12: alarms, metrics, scheduled runs and polled queues are those of the stack, and the sums are right.
#[test]
fn the_counts_are_those_of_the_template() {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let count = |kind: &str| -> u32 {
        resources.values().filter(|resource| resource["Type"] == kind).count().try_into().unwrap()
    };

    let (quantity, usd) = row("Alarms");
    let alarms = count("AWS::CloudWatch::Alarm");
    assert_eq!(number(quantity), alarms);
    assert_price(usd, f64::from(alarms) * 0.10);

    let (quantity, usd) = row("Metrics");
    let published: u32 = (Metric::iter().count() + Measure::iter().count()).try_into().unwrap();
    let metrics = published + count("AWS::Logs::MetricFilter");
    assert_eq!(number(quantity), metrics);
    assert_price(usd, f64::from(metrics) * 0.30);

    let (quantity, _) = row("Dashboard");
    assert_eq!(number(quantity), count("AWS::CloudWatch::Dashboard"));

    let (quantity, usd) = row("Scheduled jobs");
    let minutes = 30 * 24 * 60;
    let functions = ["MaintenanceFunction", "AdminFunction"];
    let intervals: Vec<_> = functions.iter().flat_map(|function| schedules(&template, function)).collect();
    assert_eq!(u32::try_from(intervals.len()), Ok(count("AWS::Events::Rule")));
    let runs: u32 = intervals.iter().map(|every| minutes / every).sum();
    assert_eq!(number(quantity), runs);
    assert_price(usd, f64::from(runs) * (0.2e-6 + 0.05 * 0.25 * 0.000_013_333_4));

    let (quantity, usd) = row("Lambda's polling of idle queues");
    let queues = count("AWS::Lambda::EventSourceMapping");
    assert_eq!(number(quantity), queues);
    // Five pollers, which wait for 20 seconds each.
    let requests = queues * 5 * minutes * 3;
    assert_price(usd, f64::from(requests) * 0.4e-6);

    // The access log is written for each request, and the sum contains it.
    assert!(resources["HttpStage"]["Properties"]["AccessLogSettings"] != Value::Null);
    let sum: f64 = COST
        .split("## Cost per million webhooks")
        .nth(1)
        .unwrap()
        .lines()
        .take_while(|line| !line.starts_with("| **Sum"))
        .filter_map(|line| line.trim_matches('|').rsplit('|').next()?.trim().parse::<f64>().ok())
        .sum();
    let stated = COST.lines().find(|line| line.starts_with("| **Sum")).unwrap();
    assert!(stated.contains(&format!("**{sum:.2}**")), "{sum} instead of {stated}");
}
