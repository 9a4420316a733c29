//! Tables with rows of a call, and actual or expected rows as plain values.

use jiff::Timestamp;
use ringfence_vapi::OrgId;
use serde_json::{Map, Value};
use tokio_postgres::Client;

use ringfence_harness::error::{Context, Result};

/// The columns of a table that depend on the call: without surrogate ids and times of receipt.
#[derive(Debug)]
pub(crate) struct Table {
    pub name: &'static str,
    /// Columns that identify a row.
    pub(super) key: &'static [&'static str],
    /// Query that returns rows as JSON: `$1` is the org, `$2` the calls' ids, `$3` the other parties' numbers.
    query: &'static str,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub table: &'static str,
    pub columns: Map<String, Value>,
}

/// All tables, in the order in which they are printed.
///
/// `record_of` is the call of the `call_logs` row that the row references by its key.
pub(crate) const TABLES: [Table; 7] = [
    Table {
        name: "call_logs",
        key: &["vapi_call_id"],
        query: "SELECT to_jsonb(t) - '{id,org_id,created_at,updated_at,folded_until,folded_report,folded_parties}'::text[]
                || jsonb_build_object('recording_storage_path', replace(recording_storage_path, org_id || '/', ''))
            FROM call_logs t WHERE org_id = $1 AND vapi_call_id = ANY ($2) AND $3::text[] IS NOT NULL",
    },
    Table {
        name: "call_tracking",
        key: &["vapi_call_id"],
        query: "SELECT to_jsonb(t) - '{id,org_id,created_at,updated_at}'::text[] FROM call_tracking t
            WHERE org_id = $1 AND vapi_call_id = ANY ($2) AND $3::text[] IS NOT NULL",
    },
    Table {
        name: "calls",
        key: &["vapi_call_id"],
        query: "SELECT to_jsonb(t) - '{id,org_id,created_at,updated_at}'::text[]
                || jsonb_build_object('recording_path', replace(recording_path, org_id || '/', ''),
                    'record_of', (SELECT vapi_call_id FROM call_logs l WHERE l.org_id = $1 AND l.id = t.id))
            FROM calls t WHERE org_id = $1 AND vapi_call_id = ANY ($2) AND $3::text[] IS NOT NULL",
    },
    Table {
        name: "call_transcripts",
        key: &["vapi_call_id", "said_at"],
        query: "SELECT to_jsonb(t) - '{org_id,content_sha256,call_log_id,created_at}'::text[] || jsonb_build_object(
                'record_of', (SELECT vapi_call_id FROM call_logs l WHERE l.org_id = $1 AND l.id = t.call_log_id))
            FROM call_transcripts t WHERE org_id = $1 AND vapi_call_id = ANY ($2) AND $3::text[] IS NOT NULL
            ORDER BY vapi_call_id, said_at",
    },
    Table {
        name: "recording_upload_queue",
        key: &["vapi_call_id", "kind"],
        query: "SELECT jsonb_build_object('vapi_call_id', vapi_call_id, 'kind', kind, 'state', state, 'link', link, 'code', code,
                'storage_key', replace(storage_key, org_id || '/', ''), 'content_type', content_type, 'bytes', bytes,
                'record_of', (SELECT vapi_call_id FROM call_logs l WHERE l.org_id = $1 AND l.id = t.call_log_id))
            FROM recording_upload_queue t WHERE org_id = $1 AND vapi_call_id = ANY ($2) AND $3::text[] IS NOT NULL",
    },
    Table {
        name: "processed_webhook_events",
        key: &["vapi_call_id", "event_type", "message_time"],
        query: "SELECT jsonb_build_object('vapi_call_id', vapi_call_id, 'event_type', event_type,
                'message_time', message_time, 'status', event -> 'status', 'text', event -> 'text')
            FROM processed_webhook_events
            WHERE org_id = $1 AND vapi_call_id = ANY ($2) AND $3::text[] IS NOT NULL
                AND event_type NOT IN ('operation-failed', 'recording-ready') ORDER BY message_time",
    },
    Table {
        name: "leads",
        key: &["phone"],
        query: "SELECT jsonb_build_object('phone', phone, 'id', id, 'status', status, 'last_contacted_at', last_contacted_at)
            FROM leads WHERE org_id = $1 AND $2::text[] IS NOT NULL AND phone = ANY ($3) ORDER BY phone",
    },
];

/// All rows of these calls and of the leads with these numbers.
pub(super) async fn read(client: &Client, org: OrgId, calls: &[&str], phones: &[&str]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for Table { name, query, .. } in &TABLES {
        let found = client.query(*query, &[org.as_uuid(), &calls, &phones]).await;
        for row in found.context(format_args!("read {name}"))? {
            let columns: Value = row.try_get(0).context(format_args!("read {name}"))?;
            rows.extend(Row::read(name, columns));
        }
    }
    Ok(rows)
}

/// Number of applied events and stored recordings of the calls.
pub(super) async fn count_done(client: &Client, org: OrgId, calls: &[&str]) -> Result<usize> {
    const QUERY: &str = "SELECT count(*) FROM processed_webhook_events
        WHERE org_id = $1 AND vapi_call_id = ANY ($2) AND event_type <> 'operation-failed'";
    let row = client.query_one(QUERY, &[org.as_uuid(), &calls]).await.context("count the applied events")?;
    let count: i64 = row.try_get(0).context("count the applied events")?;
    Ok(usize::try_from(count).unwrap_or_default())
}

impl Row {
    fn read(table: &'static str, columns: Value) -> Option<Self> {
        let Value::Object(columns) = columns else { return None };
        Some(Self { table, columns: columns.into_iter().map(one_spelling).collect() })
    }

    /// An expected row.
    pub(super) fn expected(table: &'static str, columns: Value) -> Self {
        Self::read(table, columns).unwrap_or(Self { table, columns: Map::new() })
    }

    /// Call of the row. `None` for a lead.
    pub(super) fn call(&self) -> Option<&str> {
        self.columns.get("vapi_call_id")?.as_str()
    }

    /// Text that identifies the row.
    pub(super) fn key(&self) -> String {
        let table = TABLES.iter().find(|table| table.name == self.table);
        let columns = table.map(|table| table.key).unwrap_or_default();
        columns.iter().map(|column| plain(&self.columns[*column])).collect::<Vec<_>>().join(" ")
    }
}

/// Normalises times, which `PostgreSQL` formats differently.
fn one_spelling((column, value): (String, Value)) -> (String, Value) {
    let is_time = column.ends_with("_at") || column == "message_time";
    let time = value.as_str().filter(|_| is_time).and_then(|text| text.parse::<Timestamp>().ok());
    let value = time.map_or(value, |time| time.to_string().into());
    (column, value)
}

/// A value without JSON's quotes.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
