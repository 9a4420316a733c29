//! The statuses of calls.

/// The statuses of a call in its rows, from the lowest rank to the highest, as in the SQL function `call_status_rank`.
/// The rank of a call's status never decreases.
///
/// The values are those of `ServerMessageStatusUpdate.status`, plus `completed` for a call that Vapi reports as
/// `ended`, and `unknown` for a call without a status in any message. Vapi adds statuses: a new one has the rank of
/// `unknown`.
pub const STATUSES: [&str; 7] = ["unknown", "scheduled", "queued", "ringing", "in-progress", "forwarding", "completed"];
