//! The statuses of calls.

/// The status of a call in its rows, from the lowest rank to the highest, as the SQL function `call_status_rank` ranks them. A call's
/// status only moves up.
///
/// These are the values of `ServerMessageStatusUpdate.status`, with `completed` for a call that Vapi reports as `ended` and `unknown`
/// for a call whose status no message gave. Vapi adds statuses: a new one has the rank of `unknown`.
pub const STATUSES: [&str; 7] = ["unknown", "scheduled", "queued", "ringing", "in-progress", "forwarding", "completed"];
