-- Checks of a migrated database, in one query. Each row is one check; `ok` is false if it fails. Run it as a role that
-- sees all rows: the owner of the database, or SET ROLE ringfence_ops. `cargo ringfence doctor` runs it.
WITH tenant_tables (name) AS (
    VALUES ('organization_keys'), ('agents'), ('leads'), ('call_logs'), ('call_tracking'), ('calls'),
        ('call_transcripts'), ('recording_upload_queue'), ('processed_webhook_events'), ('failed_operations'),
        ('failed_attempts'), ('tools'), ('tool_executions'), ('vapi_credentials'), ('live_connections'), ('partial_gates'),
        ('rollup_cursors'), ('event_rollups'), ('call_rollups'), ('erasures'), ('orphaned_objects'), ('reconciliations'),
        ('admin_operations'), ('audit_log'), ('quarantined_messages'), ('unknown_fields')
),
isolated_tables (name) AS (
    SELECT name FROM tenant_tables
    UNION ALL VALUES ('organizations'), ('platform_directory'), ('call_routes'), ('unresolved_events'), ('queue_states')
),
named_constraints (table_name, name) AS (
    VALUES ('call_logs', 'call_logs_org_id_not_null'), ('call_tracking', 'call_tracking_org_id_not_null'),
        ('calls', 'calls_org_id_not_null'), ('recording_upload_queue', 'recording_upload_queue_org_id_not_null')
),
named_indexes (name, columns) AS (
    VALUES ('idx_processed_events_org_event', '{org_id,event_id}'::name[]),
        ('idx_call_logs_org_vapi_call_id', '{org_id,vapi_call_id}'),
        ('idx_call_tracking_org_vapi_call_id', '{org_id,vapi_call_id}')
),
call_functions (name, signature) AS (
    VALUES
        ('create_inbound_call_atomically', 'p_org_id uuid, p_vapi_call_id text, p_agent_id uuid, p_phone_number text, '
            'p_lead_id uuid, p_metadata jsonb'),
        ('update_call_completed_atomically', 'p_org_id uuid, p_vapi_call_id text, p_duration_seconds integer, '
            'p_call_tracking_id uuid'),
        ('update_call_with_recording_atomically', 'p_org_id uuid, p_vapi_call_id text, p_recording_url text, '
            'p_recording_storage_path text, p_transcript text, p_call_type text')
),
null_orgs (table_name, found) AS (
    SELECT 'call_logs', EXISTS (SELECT FROM call_logs WHERE org_id IS NULL)
    UNION ALL SELECT 'call_tracking', EXISTS (SELECT FROM call_tracking WHERE org_id IS NULL)
    UNION ALL SELECT 'calls', EXISTS (SELECT FROM calls WHERE org_id IS NULL)
    UNION ALL SELECT 'recording_upload_queue', EXISTS (SELECT FROM recording_upload_queue WHERE org_id IS NULL)
)
SELECT 'constraint ' || n.name AS "check", c.oid IS NOT NULL AND c.convalidated AS ok
FROM named_constraints n
LEFT JOIN pg_constraint c ON c.conname = n.name AND c.conrelid = to_regclass(n.table_name) AND c.contype = 'c'
UNION ALL
SELECT 'index ' || n.name, coalesce(i.indisunique AND i.indisvalid, false) AND n.columns IS NOT DISTINCT FROM
    (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = to_regclass(n.name))
FROM named_indexes n LEFT JOIN pg_index i ON i.indexrelid = to_regclass(n.name)
UNION ALL
SELECT 'no row with a NULL org_id in ' || table_name, NOT found FROM null_orgs
UNION ALL
SELECT 'row-level security forced on ' || f.name, coalesce(c.relrowsecurity AND c.relforcerowsecurity, false)
FROM isolated_tables f LEFT JOIN pg_class c ON c.oid = to_regclass(f.name)
UNION ALL
SELECT 'role ' || r.name || ' cannot bypass row-level security', coalesce(NOT p.rolsuper AND NOT p.rolbypassrls, false)
FROM (VALUES ('ringfence_app'), ('ringfence_router'), ('ringfence_ops'), ('ringfence_owner')) AS r (name)
LEFT JOIN pg_roles p ON p.rolname = r.name
UNION ALL
SELECT 'ringfence_app is a member of no other role',
    NOT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = 'ringfence_app')
UNION ALL
SELECT 'function ' || f.name, coalesce(pg_get_function_identity_arguments(p.oid) = f.signature, false)
FROM call_functions f LEFT JOIN pg_proc p ON p.proname = f.name AND p.pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'the SECURITY DEFINER functions are the listed ones, owned by ringfence_router or ringfence_ops, with a fixed search_path',
    coalesce(array_agg(p.proname::text ORDER BY p.proname) FILTER (WHERE o.rolname = 'ringfence_router')
            = '{find_connection_org_v1,find_event_org_v1,route_platform_event_v1,take_unresolved_events_v1}'
        AND array_agg(p.proname::text ORDER BY p.proname) FILTER (WHERE o.rolname = 'ringfence_ops')
            = '{clean_events_v1,clean_rows_v1,collect_metrics_v1,erase_call_v1,expire_transcripts_v1,'
                'find_expired_recordings_v1,find_missing_reports_v1,find_orgs_with_work_v1,find_orphaned_objects_v1,'
                'interrupt_expired_tool_calls_v1,list_audit_v1,list_organizations_v1,take_due_recordings_v1,take_reconciliations_v1}'
        AND bool_and(p.proconfig::text LIKE '%search_path%') AND bool_and(o.rolname IN ('ringfence_router', 'ringfence_ops')), false)
FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'PUBLIC cannot execute any function of Ringfence',
    NOT EXISTS (
        SELECT FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        WHERE o.rolname LIKE 'ringfence%' AND a.grantee = 0)
ORDER BY 1;
