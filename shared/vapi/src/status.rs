//! The ranking of call statuses: a call's status only ever moves up.

/// The rank of a status of `ServerMessageStatusUpdate.status`, or of `completed`, the final status in rows.
///
/// Statuses arrive in any order, so a row takes a status only if its rank is higher than the one it has. Vapi adds
/// statuses: an unknown one ranks below all known ones and never overwrites any. The SQL function `call_status_rank` is
/// its twin.
#[must_use]
pub fn rank(status: &str) -> i16 {
    match status {
        "scheduled" => 10,
        "queued" => 20,
        "ringing" => 30,
        "in-progress" => 40,
        "forwarding" => 50,
        "ended" | "completed" => 100,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn a_call_climbs_to_its_end() {
        let life = ["scheduled", "queued", "ringing", "in-progress", "forwarding", "ended"];
        assert!(life.is_sorted_by_key(|status| rank(status)));
        assert_eq!(rank("completed"), rank("ended"));
    }

    #[test]
    fn an_unknown_status_is_below_all_known_ones() {
        for status in ["", "Ringing", "not-found", "paused"] {
            assert!(rank(status) < rank("scheduled"), "{status}");
        }
    }
}
