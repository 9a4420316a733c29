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
-- ringfence_app holds UPDATE by column only: with UPDATE or DELETE on a table it could lock the table against all orgs.
app_privileges (table_name, of_table, of_columns) AS (
    VALUES ('organizations', '{}'::text[], '{SELECT}'::text[]), ('organization_keys', '{SELECT}', '{}'), ('agents', '{SELECT}', '{}'),
        ('leads', '{SELECT}', '{UPDATE}'), ('tools', '{SELECT}', '{}'), ('vapi_credentials', '{SELECT}', '{}'),
        ('call_logs', '{INSERT,SELECT}', '{UPDATE}'), ('call_tracking', '{INSERT,SELECT}', '{UPDATE}'),
        ('calls', '{INSERT,SELECT}', '{UPDATE}'), ('call_transcripts', '{INSERT,SELECT}', '{}'),
        ('recording_upload_queue', '{INSERT,SELECT}', '{UPDATE}'), ('processed_webhook_events', '{INSERT,SELECT}', '{}'),
        ('failed_operations', '{INSERT,SELECT}', '{UPDATE}'), ('failed_attempts', '{INSERT,SELECT}', '{}'),
        ('tool_executions', '{INSERT,SELECT}', '{UPDATE}'), ('live_connections', '{INSERT,SELECT}', '{UPDATE}'),
        ('partial_gates', '{INSERT,SELECT}', '{UPDATE}'), ('rollup_cursors', '{INSERT,SELECT}', '{UPDATE}'),
        ('event_rollups', '{INSERT,SELECT}', '{UPDATE}'), ('call_rollups', '{INSERT,SELECT}', '{}'), ('erasures', '{SELECT}', '{}'),
        ('orphaned_objects', '{SELECT}', '{UPDATE}'), ('reconciliations', '{SELECT}', '{UPDATE}'),
        ('admin_operations', '{SELECT}', '{}'), ('audit_log', '{INSERT}', '{}'),
        ('quarantined_messages', '{INSERT}', '{SELECT}'), ('unknown_fields', '{INSERT,SELECT}', '{UPDATE}')
),
granted_privileges (table_name, of_table, of_columns) AS (
    SELECT c.relname::text,
        ARRAY(SELECT DISTINCT x.privilege_type FROM aclexplode(c.relacl) x
            WHERE x.grantee IN (0::oid, to_regrole('ringfence_app')::oid) ORDER BY 1),
        ARRAY(SELECT DISTINCT x.privilege_type FROM pg_attribute a, aclexplode(a.attacl) x
            WHERE a.attrelid = c.oid AND x.grantee IN (0::oid, to_regrole('ringfence_app')::oid) ORDER BY 1)
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
),
-- The policies that apply to ringfence_app, each as one text.
app_policies (table_name, policies) AS (
    SELECT c.relname::text, string_agg(concat_ws(' ', p.polname, CASE WHEN NOT p.polpermissive THEN 'restrictive' END, p.polcmd,
        'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)), '; ' ORDER BY p.polname)
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE c.relnamespace = 'public'::regnamespace AND p.polroles && ARRAY[0::oid, to_regrole('ringfence_app')::oid]
    GROUP BY c.relname
),
expected_policies (table_name, policies) AS (
    SELECT t.name, CASE t.name WHEN 'organizations' THEN 'org_isolation * using (id = ' || e.org || ') check'
        WHEN 'audit_log' THEN 'org_isolation a using check (org_id = ' || e.org || ')'
        ELSE 'org_isolation * using (org_id = ' || e.org || ') check (org_id = ' || e.org || ')' END
    FROM (SELECT name FROM tenant_tables UNION ALL VALUES ('organizations')) AS t,
        (VALUES ('(NULLIF(current_setting(''ringfence.org_id''::text, true), ''''::text))::uuid')) AS e (org)
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
SELECT 'policies of ringfence_app on ' || coalesce(e.table_name, a.table_name), e.policies IS NOT DISTINCT FROM a.policies
FROM expected_policies e FULL JOIN app_policies a USING (table_name)
UNION ALL
SELECT 'privileges of ringfence_app on ' || coalesce(e.table_name, g.table_name),
    coalesce(e.of_table, '{}') = coalesce(g.of_table, '{}') AND coalesce(e.of_columns, '{}') = coalesce(g.of_columns, '{}')
FROM app_privileges e FULL JOIN granted_privileges g USING (table_name)
WHERE e.table_name IS NOT NULL OR g.of_table <> '{}' OR g.of_columns <> '{}'
UNION ALL
SELECT 'ringfence_app cannot change the org of a row',
    NOT EXISTS (SELECT FROM pg_attribute a, aclexplode(a.attacl) x
        WHERE a.attname = 'org_id' AND x.privilege_type = 'UPDATE' AND x.grantee IN (0::oid, to_regrole('ringfence_app')::oid))
UNION ALL
SELECT 'ringfence_app cannot create tables',
    NOT has_schema_privilege('ringfence_app', 'public', 'CREATE')
        AND NOT has_database_privilege('ringfence_app', current_database(), 'CREATE, TEMPORARY')
UNION ALL
-- Only a superuser can revoke it, so on a managed server this check passes always (docs/SECURITY.md, limitations).
SELECT 'ringfence_app cannot create large objects',
    NOT has_function_privilege('ringfence_app', 'lo_create(oid)', 'EXECUTE')
        AND NOT has_function_privilege('ringfence_app', 'lo_creat(integer)', 'EXECUTE')
        AND NOT has_function_privilege('ringfence_app', 'lo_from_bytea(oid, bytea)', 'EXECUTE')
    OR NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user)
UNION ALL
SELECT 'ringfence_app owns nothing',
    NOT EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = to_regrole('ringfence_app')
        AND d.deptype = 'o' AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
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
            = '{clean_events_v1,clean_rows_v1,collect_metrics_v1,delete_call_rollups,delete_connections,delete_orphaned_object,'
                'delete_partial_gates,delete_turns_of_reports,erase_call_v1,expire_transcripts_v1,'
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
