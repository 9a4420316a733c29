//! The arguments that select events, the same for every verb that acts on some of them.

use jiff::Timestamp;
use ringfence_protocol::admin::Selection;
use ringfence_vapi::{FailureCode, OrgId};

/// Which events. What is left out selects all.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Selected {
    /// Of one org
    #[arg(long)]
    org: Option<OrgId>,
    /// Of one call, by Vapi's id
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// Of one type, as Vapi names it, such as end-of-call-report
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Received at this time or later, such as 2026-11-24T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Received before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Failed events by the code of their failure, such as RF2001
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<FailureCode>,
}

/// Whether something is done with the selected events, and how fast.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Execution {
    /// Do it, and do not only count the events
    #[arg(long)]
    pub(crate) run: bool,
    /// Events in a second, at most
    #[arg(long, value_name = "R", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rate: u32,
}

impl From<Selected> for Selection {
    fn from(selected: Selected) -> Self {
        let Selected { org, call, event_type, since, until, code } = selected;
        Self { org_id: org, call_id: call, event_type, since, until, code, event_id: None }
    }
}
