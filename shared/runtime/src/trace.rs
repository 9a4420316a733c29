//! The trace id that all log lines of one webhook share, from the request through the queue to the last attempt: the root of the trace
//! that Lambda started for the request, or a random id.

use ringfence_protocol::Delivery;
use uuid::Uuid;

/// The delivery with the trace of the current invocation.
#[must_use]
pub fn traced(delivery: Delivery) -> Delivery {
    Delivery { trace_id: Some(current()), ..delivery }
}

fn current() -> String {
    // The runtime sets it before each invocation: `Root=1-...;Parent=...;Sampled=0`.
    std::env::var("_X_AMZN_TRACE_ID")
        .ok()
        .and_then(|header| root(&header))
        .unwrap_or_else(|| Uuid::new_v4().to_string())
}

fn root(header: &str) -> Option<String> {
    let root = header.split(';').find_map(|part| part.trim().strip_prefix("Root="))?;
    let is_id = (1..=64).contains(&root.len()) && root.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_id.then(|| root.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_trace() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        assert_eq!(root(header).as_deref(), Some("1-5759e988-bd862e3fe1be46a994272793"));
        assert_eq!(root("Self=1-2"), None);
        assert_eq!(root("Root=somebody's +15555550142"), None);
        assert_ne!(current(), current());
    }
}
