//! Calls of the past: rows and claims that a database has before the load begins.
//!
//! A database of the benchmark is never empty. A plan that plpgsql made for an empty table is kept while the table grows.

use std::time::Instant;

use ringfence_vapi::OrgId;
use tokio_postgres::Client;

use super::site::Site;
use ringfence_harness::error::{Context, Result};
use ringfence_harness::local::progress;

/// Calls that each database of the benchmark begins with.
const FIRST_CALLS: i64 = 2_000;
/// Number of calls that one statement inserts.
const STEP: i64 = 50_000;

/// The other tenants.
const TENANTS: &str = "
    INSERT INTO organizations (id, name) SELECT md5('tenant-' || n)::uuid, 'Tenant ' || n FROM generate_series(1, 1000) AS n";
/// Calls $2 up to $3. They are older than those of the load: their ids are smaller, as ids of version 7 would be.
const CALLS_OF_STEP: &str = "
    CREATE TEMPORARY TABLE step AS SELECT n, md5('call-' || n)::uuid AS id,
        CASE WHEN n % 10 = 0 THEN md5('tenant-' || (1 + n / 10 % 1000))::uuid ELSE '{org}'::uuid END AS org_id,
        '019d6b00-' || lpad(to_hex(n / 65536), 4, '0') || '-7' || lpad(to_hex(n % 4096), 3, '0') || '-a178-'
            || substr(md5(n::text), 1, 12) AS call
        FROM generate_series({from}::bigint, {to}::bigint - 1) AS n;
    INSERT INTO call_logs (id, org_id, vapi_call_id, status, direction, from_number, to_number, started_at, ended_at,
            duration_seconds, ended_reason, outcome, summary, transcript)
        SELECT id, org_id, call, 'completed', 'inbound', '+15555550142', '+15555550100', now(), now(), 60, 'customer-ended-call',
            'customer-ended', repeat('The heater leaks. ', 5), repeat('AI: How can I help? ', 20) FROM step;
    INSERT INTO call_tracking (org_id, vapi_call_id, status, phone_number, answered)
        SELECT org_id, call, 'completed', '+15555550142', true FROM step;
    INSERT INTO calls (id, org_id, vapi_call_id, status) SELECT id, org_id, call, 'completed' FROM step;
    INSERT INTO processed_webhook_events (org_id, event_id, event_type, vapi_call_id, message_time, event, received_at)
        SELECT org_id, concat(type, ':', call, ':', sha256(concat(n, e)::bytea)), type, call, now(),
            jsonb_build_object('kind', kind, 'event_type', type, 'role', 'user', 'text', 'Yes, tomorrow at ten would suit me.',
                'message_time', now(), 'call', jsonb_build_object('id', call, 'type', 'inboundPhoneCall', 'direction', 'inbound',
                    'our_number', '+15555550100', 'customer_number', '+15555550142')), now()
        FROM step, LATERAL (SELECT e, CASE WHEN e < 3 THEN 'status-update' WHEN e = 9 THEN 'end-of-call-report' ELSE 'transcript' END,
            CASE WHEN e < 2 THEN 'call-started' WHEN e = 2 THEN 'call-ended' WHEN e = 9 THEN 'end-of-call-report' ELSE 'transcript' END
            FROM generate_series(0, 9) AS e) AS events (e, type, kind);
    DROP TABLE step;";

/// Makes the tenants and the first calls of a new database.
pub(super) async fn begin(client: &Client, org: OrgId) -> Result<()> {
    client.batch_execute(TENANTS).await.context("make tenants")?;
    insert(client, org, 0, FIRST_CALLS).await
}

/// Inserts further calls with ten claims each, with every index and constraint in place, and waits for the server's
/// background work.
pub(super) async fn fill(site: &Site<'_>, calls: i64) -> Result<()> {
    let began = Instant::now();
    let client = site.superuser().await?;
    insert(&client, site.org, FIRST_CALLS, FIRST_CALLS + calls).await?;
    client.batch_execute("CHECKPOINT").await.context("write the grown database")?;
    progress(&format!("Made {} claims in {:.0} s", calls * 10, began.elapsed().as_secs_f64()));
    Ok(())
}

async fn insert(client: &Client, org: OrgId, first: i64, end: i64) -> Result<()> {
    // All referenced rows are inserted here, so foreign keys need not be checked for each row.
    client.batch_execute("SET session_replication_role = replica").await.context("insert calls")?;
    for from in (first..end).step_by(usize::try_from(STEP).unwrap_or(1)) {
        let to = end.min(from + STEP);
        let statement = CALLS_OF_STEP
            .replace("{org}", &org.to_string())
            .replace("{from}", &from.to_string())
            .replace("{to}", &to.to_string());
        client.batch_execute(&statement).await.context("insert calls")?;
    }
    client.batch_execute("RESET session_replication_role").await.context("insert calls")?;
    // Alone: statements that are sent together are one transaction, in which VACUUM cannot run.
    client.batch_execute("VACUUM ANALYZE").await.context("vacuum the calls")
}
