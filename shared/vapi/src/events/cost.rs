//! The cost of a call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;

use crate::fingerprint::Fingerprint;
use crate::json;
use crate::object::Object;

/// A bound far above any call's cost in US dollars and any token count. A larger value is an error.
const MAX_AMOUNT: f64 = 1e9;

/// Vapi's `CostBreakdown`: US dollars by part, and counts of tokens and characters.
///
/// Vapi adds parts, so each is stored by its name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostBreakdown {
    /// `CostBreakdown.analysisCostBreakdown`.
    #[serde(rename = "analysisCostBreakdown", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub analysis: BTreeMap<String, Number>,
    /// The other parts.
    #[serde(flatten)]
    pub parts: BTreeMap<String, Number>,
}

/// `cost`, or the breakdown's total. The cost of the embedded call is not read: it is 0 since the call's creation.
pub(super) fn total(message: &Object<'_>) -> Option<f64> {
    let total = || message.object("costBreakdown").amount("costBreakdown.total", MAX_AMOUNT);
    message.amount("cost", MAX_AMOUNT).or_else(total)
}

impl CostBreakdown {
    /// `None` if the breakdown has no number.
    pub(super) fn read(message: &Object<'_>) -> Option<Self> {
        let breakdown = message.object("costBreakdown");
        let analysis = breakdown.object("costBreakdown.analysisCostBreakdown");
        let mut parts = numbers(&breakdown);
        // This name is reserved for the section. A number under it would make a queued event unreadable.
        parts.remove("analysisCostBreakdown");
        let read = Self { analysis: numbers(&analysis), parts };
        (read != Self::default()).then_some(read)
    }

    pub(super) fn feed(&self, fingerprint: &mut Fingerprint) {
        let Self { analysis, parts } = self;
        for (section, numbers) in [("cost_breakdown", parts), ("cost_breakdown.analysis", analysis)] {
            for (name, number) in numbers {
                fingerprint.text(section, Some(name)).text("amount", Some(&number.to_string()));
            }
        }
    }
}

/// The numeric fields whose names are at most `MAX_NAME` bytes long.
pub(super) fn numbers(object: &Object<'_>) -> BTreeMap<String, Number> {
    const MAX_NAME: usize = 64;
    let named = object.fields().filter(|(name, _)| name.len() <= MAX_NAME);
    named.filter_map(|(name, raw)| Some((name.to_owned(), amount(raw)?))).collect()
}

/// A plausible number. An integer stays an integer: `1830`, not `1830.0`.
fn amount(raw: &RawValue) -> Option<Number> {
    let plausible = json::number(raw.get()).is_some_and(|number| (0.0..=MAX_AMOUNT).contains(&number));
    if plausible { serde_json::from_str(raw.get()).ok() } else { None }
}
