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

/// The most items of `costs` that are stored. A call has a handful.
const MAX_ITEMS: usize = 100;
/// The most numbers of an item of `costs`, of a breakdown or of a turn that are stored. Each has about ten.
const MAX_NUMBERS: usize = 32;
/// The most digits of a stored number, written without an exponent.
const MAX_DIGITS: usize = 24;

/// An item of `costs` (`TransportCost`, `TranscriberCost`, `ModelCost`, `VoiceCost`, `VapiCost` and others).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// `type`: `model`, `voice` and others.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub cost_type: Option<String>,
    /// `VapiCost.subType`, or `AnalysisCost.analysisType`.
    #[serde(rename = "subType", default, skip_serializing_if = "Option::is_none")]
    pub sub_type: Option<String>,
    /// The provider of the transport, transcriber, model or voice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The name of the transcriber, model or voice at its provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `cost` in US dollars, and the counts of minutes, tokens and characters, by Vapi's names.
    pub amounts: BTreeMap<String, Number>,
}

/// `cost`, or the breakdown's total, or the sum of `costs`. The cost of the embedded call is not read: it is 0 since
/// the call's creation.
pub(super) fn total(message: &Object<'_>) -> Option<f64> {
    let total = || message.object("costBreakdown").amount("costBreakdown.total", MAX_AMOUNT);
    message.amount("cost", MAX_AMOUNT).or_else(total).or_else(|| sum(message))
}

/// The sum of `costs`. `None` if an item has no cost, because the total is unknown then.
fn sum(message: &Object<'_>) -> Option<f64> {
    /// The sum of decimal fractions in binary has errors after these digits.
    const SCALE: f64 = 1e9;
    let costs = message.objects("costs").filter(|costs| !costs.is_empty())?;
    let sum: f64 = costs.iter().map(|cost| cost.amount("costs.cost", MAX_AMOUNT)).sum::<Option<f64>>()?;
    Some((sum * SCALE).round() / SCALE).filter(|sum| *sum <= MAX_AMOUNT)
}

impl Cost {
    /// The first items of `costs`.
    pub(super) fn read_all(message: &Object<'_>) -> Vec<Self> {
        let costs = message.objects("costs").unwrap_or_default();
        costs.iter().take(MAX_ITEMS).map(Self::read).collect()
    }

    fn read(cost: &Object<'_>) -> Self {
        let services = ["costs.transcriber", "costs.model", "costs.voice"].map(|path| cost.object(path));
        let of_service = |path: &'static str| services.iter().find_map(|service| service.id(path));
        Self {
            cost_type: cost.token("costs.type"),
            sub_type: cost.token("costs.subType").or_else(|| cost.token("costs.analysisType")),
            provider: cost.id("costs.provider").or_else(|| of_service("costs.model.provider")),
            model: of_service("costs.model.model").or_else(|| of_service("costs.voice.voiceId")),
            amounts: numbers(cost),
        }
    }

    pub(super) fn feed(costs: &[Self], fingerprint: &mut Fingerprint) {
        for (index, Self { cost_type, sub_type, provider, model, amounts }) in (0..).zip(costs) {
            fingerprint
                .integer("cost", Some(index))
                .text("cost.type", cost_type.as_deref())
                .text("cost.sub_type", sub_type.as_deref())
                .text("cost.provider", provider.as_deref())
                .text("cost.model", model.as_deref());
            for (name, number) in amounts {
                fingerprint.text("cost.amount", Some(name)).exact_number("amount", Some(number));
            }
        }
    }
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
                fingerprint.text(section, Some(name)).exact_number("amount", Some(number));
            }
        }
    }
}

/// The first numeric fields whose names are at most `MAX_NAME` bytes long.
pub(super) fn numbers(object: &Object<'_>) -> BTreeMap<String, Number> {
    const MAX_NAME: usize = 64;
    let named = object.fields().filter(|(name, _)| name.len() <= MAX_NAME);
    let numbers: BTreeMap<_, _> = named.filter_map(|(name, raw)| Some((name.to_owned(), amount(raw)?))).collect();
    numbers.into_iter().take(MAX_NUMBERS).collect()
}

/// A plausible number, with all digits: `1830`, not `1830.0`.
fn amount(raw: &RawValue) -> Option<Number> {
    let plausible = json::number(raw.get()).is_some_and(|number| (0.0..=MAX_AMOUNT).contains(&number));
    if plausible { json::exact_number(raw.get(), MAX_DIGITS) } else { None }
}
