//! Arguments that select events, common to several verbs.

use jiff::Timestamp;
use ringfence_protocol::admin::Selection;
use ringfence_vapi::{FailureCode, OrgId};

/// Selection of events. An omitted argument does not restrict it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Selected {
    /// Only events of this org
    #[arg(long)]
    org: Option<OrgId>,
    /// Only events of this call, by Vapi's id
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// Only events of this type, as Vapi names it, such as end-of-call-report
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events received at or after this time, such as 2026-11-24T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only events received before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only failed events with this failure code, such as RF2001
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<FailureCode>,
}

/// Whether the action runs on the selected events, and its rate.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Execution {
    /// Run the action; without it, only count the events
    #[arg(long)]
    pub(crate) run: bool,
    /// Maximum number of events per second
    #[arg(long, value_name = "R", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rate: u32,
}

impl From<Selected> for Selection {
    fn from(selected: Selected) -> Self {
        let Selected { org, call, event_type, since, until, code } = selected;
        Self { org_id: org, call_id: call, event_type, since, until, code, event_id: None }
    }
}
