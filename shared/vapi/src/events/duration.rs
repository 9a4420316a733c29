//! The duration of a call.

use jiff::Timestamp;

use crate::object::Object;

/// The largest value of SQL's `integer`.
const MAX_SECONDS: f64 = 2_147_483_647.0;

/// A report's duration in whole seconds, rounded half up.
///
/// The duration is not in Vapi's schema. Bodies have it in up to three units. `durationSeconds` is preferred: it is
/// exact enough and the least rounded. Without any of them, the duration is computed from start and end.
pub(super) fn read(message: &Object<'_>, started_at: Option<Timestamp>, ended_at: Option<Timestamp>) -> Option<i64> {
    message
        .amount("durationSeconds", MAX_SECONDS)
        .or_else(|| message.amount("durationMs", MAX_SECONDS * 1000.0).map(|ms| ms / 1000.0))
        .or_else(|| message.amount("durationMinutes", MAX_SECONDS / 60.0).map(|minutes| minutes * 60.0))
        .map(half_up)
        .or_else(|| between(started_at?, ended_at?))
}

#[expect(clippy::cast_possible_truncation, reason = "the amount is bounded")]
fn half_up(seconds: f64) -> i64 {
    (seconds + 0.5).floor() as i64
}

/// `None` if the call ended before it started.
fn between(started_at: Timestamp, ended_at: Timestamp) -> Option<i64> {
    let ms = ended_at.as_millisecond() - started_at.as_millisecond();
    (ms >= 0).then_some((ms + 500) / 1000)
}
