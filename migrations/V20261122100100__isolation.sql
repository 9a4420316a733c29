-- Tenant isolation. Row-level security is forced on every tenant table, so it also applies to the owner. ringfence_app,
-- the role of the Lambda functions, sees only the rows of the org that enter_org has set for the transaction. If no org
-- is set, it sees no rows.

CREATE FUNCTION enter_org(p_org_id uuid) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_entered text := current_setting('ringfence.org_id', true);
BEGIN
    IF p_org_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'p_org_id is NULL';
    END IF;
    -- If an earlier transaction of the session has set it, current_setting returns '' instead of NULL.
    IF v_entered <> '' AND v_entered <> p_org_id::text THEN
        RAISE EXCEPTION USING ERRCODE = 'RF006', MESSAGE = 'the transaction has already entered another org';
    END IF;
    -- An assignment is evaluated without a statement of its own; PERFORM would be one.
    v_entered := set_config('ringfence.org_id', p_org_id::text, true);
    RETURN p_org_id;
END
$$;
COMMENT ON FUNCTION enter_org IS
    'Sets the org of this transaction, which row-level security enforces, and returns it. Raises RF006 if the transaction has '
    'another org.';

DO $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY[
        'organization_keys', 'agents', 'leads', 'call_logs', 'call_tracking', 'calls', 'call_transcripts',
        'recording_upload_queue', 'processed_webhook_events', 'failed_operations', 'failed_attempts', 'tools', 'tool_executions',
        'vapi_credentials', 'live_connections', 'partial_gates', 'rollup_cursors', 'event_rollups', 'call_rollups', 'erasures', 'orphaned_objects', 'reconciliations', 'admin_operations', 'queue_states', 'audit_log', 'platform_directory', 'call_routes', 'unresolved_events', 'organizations',
        'quarantined_messages', 'unknown_fields'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', v_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', v_table);
        -- A migration may have to fill a column, and administration works across orgs. Neither role serves webhooks.
        EXECUTE format('CREATE POLICY owner_migrates ON %I TO ringfence_owner USING (true) WITH CHECK (true)', v_table);
        EXECUTE format('CREATE POLICY ops_administers ON %I TO ringfence_ops USING (true) WITH CHECK (true)', v_table);
        EXECUTE format('GRANT SELECT ON %I TO ringfence_ops', v_table);
    END LOOP;

    -- Every statement of the functions also compares org_id with p_org_id, so the planner compares the setting with p_org_id once
    -- per statement, and every index leads with org_id. A sub-select would be an init plan for each table of each statement, which
    -- costs a tenth of the time of a webhook.
    FOREACH v_table IN ARRAY ARRAY[
        'organization_keys', 'agents', 'leads', 'call_logs', 'call_tracking', 'calls', 'call_transcripts',
        'recording_upload_queue', 'processed_webhook_events', 'failed_operations', 'failed_attempts', 'tools', 'tool_executions',
        'vapi_credentials', 'live_connections', 'partial_gates', 'rollup_cursors', 'event_rollups', 'call_rollups',
        'erasures', 'orphaned_objects', 'reconciliations', 'admin_operations', 'quarantined_messages', 'unknown_fields'
    ] LOOP
        EXECUTE format(
            'CREATE POLICY org_isolation ON %I TO ringfence_app
                 USING (org_id = nullif(current_setting(''ringfence.org_id'', true), '''')::uuid)
                 WITH CHECK (org_id = nullif(current_setting(''ringfence.org_id'', true), '''')::uuid)',
            v_table);
    END LOOP;

    FOREACH v_table IN ARRAY ARRAY['platform_directory', 'call_routes', 'unresolved_events', 'live_connections'] LOOP
        EXECUTE format('CREATE POLICY router_routes ON %I TO ringfence_router USING (true) WITH CHECK (true)', v_table);
    END LOOP;
END
$$;
-- The functions insert the audit entries of what they do for an actor. They do not read the audit log.
CREATE POLICY org_isolation ON audit_log FOR INSERT TO ringfence_app
    WITH CHECK (org_id = nullif(current_setting('ringfence.org_id', true), '')::uuid);
CREATE POLICY org_isolation ON organizations TO ringfence_app
    USING (id = nullif(current_setting('ringfence.org_id', true), '')::uuid);

-- ringfence_app gets the privileges that the functions use. It cannot change a claim. It gets UPDATE by column and no DELETE:
-- with UPDATE or DELETE on a table it could lock the table against all orgs (LOCK TABLE). The functions below delete for it.
GRANT SELECT ON organization_keys, agents, tools, vapi_credentials TO ringfence_app;
GRANT SELECT, INSERT ON recording_upload_queue TO ringfence_app;
GRANT INSERT ON audit_log TO ringfence_app;
GRANT SELECT (id, log_start) ON organizations TO ringfence_app;
GRANT SELECT, INSERT, UPDATE (state, covered_before, expires_at) ON live_connections TO ringfence_app;
GRANT SELECT, INSERT, UPDATE (passed_at) ON partial_gates TO ringfence_app;
GRANT SELECT ON erasures, admin_operations TO ringfence_app;
GRANT SELECT, UPDATE (state, code, next_attempt_at, finished_at) ON reconciliations TO ringfence_app;
GRANT SELECT, UPDATE (first_deleted_at) ON orphaned_objects TO ringfence_app;
GRANT SELECT, INSERT, UPDATE (xact, seq) ON rollup_cursors TO ringfence_app;
GRANT SELECT, INSERT, UPDATE (events, lowest, highest, exact) ON event_rollups TO ringfence_app;
GRANT SELECT, INSERT ON call_rollups TO ringfence_app;
GRANT SELECT, UPDATE (status, last_contacted_at) ON leads TO ringfence_app;
GRANT SELECT, INSERT ON call_logs, call_tracking, calls TO ringfence_app;
GRANT SELECT, INSERT, UPDATE (state, attempt, claimed_by, lease_until, result, code, finished_at) ON tool_executions TO ringfence_app;
GRANT SELECT, INSERT ON call_transcripts, processed_webhook_events, failed_attempts TO ringfence_app;
GRANT SELECT, INSERT ON failed_operations TO ringfence_app;
DO $$
DECLARE
    v_table regclass;
BEGIN
    -- All columns but those of the key: no row changes its org or its call.
    FOREACH v_table IN ARRAY '{call_logs,call_tracking,calls,recording_upload_queue,failed_operations}'::regclass[] LOOP
        EXECUTE (SELECT format('GRANT UPDATE (%s) ON %s TO ringfence_app', string_agg(quote_ident(a.attname), ', '), v_table)
            FROM pg_attribute a WHERE a.attrelid = v_table AND a.attnum > 0 AND NOT a.attisdropped
                AND a.attname NOT IN ('id', 'org_id', 'vapi_call_id', 'event_id', 'kind', 'created_at'));
    END LOOP;
END
$$;

-- Deletions of ringfence_app. The functions run with the rights of ringfence_ops, which sees all orgs, so each names the org
-- that the transaction has entered.
CREATE FUNCTION entered_org() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('ringfence.org_id', true), '')::uuid
$$;
COMMENT ON FUNCTION entered_org IS 'Returns the org of this transaction. NULL: it has none.';

-- Only turns that were copied from a report, because transcript events take precedence over them.
CREATE FUNCTION delete_turns_of_reports(p_vapi_call_id text, p_kept bytea[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    DELETE FROM call_transcripts
        WHERE org_id = entered_org() AND vapi_call_id = p_vapi_call_id AND source = 'report' AND content_sha256 <> ALL (p_kept)
$$;
COMMENT ON FUNCTION delete_turns_of_reports IS
    'Deletes the turns of a call of this org that were copied from a report, except p_kept (content_sha256).';

CREATE FUNCTION delete_connections(p_connection_ids text[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_count integer;
BEGIN
    DELETE FROM live_connections WHERE org_id = entered_org() AND connection_id = ANY (p_connection_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION delete_connections IS 'Deletes connections of viewers of this org, and returns how many it deleted.';

CREATE FUNCTION delete_partial_gates(p_vapi_call_ids text[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    DELETE FROM partial_gates WHERE org_id = entered_org() AND vapi_call_id = ANY (p_vapi_call_ids)
$$;
COMMENT ON FUNCTION delete_partial_gates IS 'Deletes the times of the last partial transcripts of calls of this org.';

CREATE FUNCTION delete_call_rollups(p_period text, p_since timestamptz) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    DELETE FROM call_rollups WHERE org_id = entered_org() AND since = p_since AND period = p_period
$$;
COMMENT ON FUNCTION delete_call_rollups IS 'Deletes the counts of an hour or a day of this org.';

CREATE FUNCTION delete_orphaned_object(p_storage_key text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    -- A run that overlaps another one must not count as the second deletion.
    DELETE FROM orphaned_objects
        WHERE org_id = entered_org() AND storage_key = p_storage_key AND first_deleted_at < now() - interval '1 day';
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION delete_orphaned_object IS
    'Deletes the row of an object of this org that was deleted a day before. False: there is no such row.';

-- ringfence_app cannot read what it has sealed.
GRANT SELECT (org_id, event_id, event_type, received_at), INSERT ON quarantined_messages TO ringfence_app;
GRANT SELECT, INSERT, UPDATE (messages) ON unknown_fields TO ringfence_app;

GRANT SELECT ON platform_directory TO ringfence_router;
GRANT SELECT, INSERT ON call_routes TO ringfence_router;
GRANT SELECT, INSERT, DELETE ON unresolved_events TO ringfence_router;
GRANT SELECT (connection_id, org_id) ON live_connections TO ringfence_router;

GRANT INSERT ON organizations, organization_keys, agents, leads, tools, vapi_credentials, platform_directory, audit_log,
    recording_upload_queue, call_logs, call_tracking, calls, call_transcripts, processed_webhook_events, failed_operations, failed_attempts
    TO ringfence_ops;
GRANT UPDATE ON organization_keys, agents, leads, tools, vapi_credentials, recording_upload_queue, call_logs, call_tracking, calls,
    failed_operations TO ringfence_ops;
GRANT UPDATE (recording_retention_days, transcript_retention_days, transcripts_expired_before, event_retention_days, log_start,
    is_zero_retention, reconciled_before)
    ON organizations TO ringfence_ops;
-- FOR UPDATE needs the privilege.
GRANT UPDATE ON quarantined_messages, unknown_fields TO ringfence_ops;
GRANT UPDATE ON tool_executions, processed_webhook_events, live_connections, partial_gates, call_routes, unresolved_events TO ringfence_ops;
GRANT INSERT, UPDATE ON erasures, orphaned_objects, queue_states, reconciliations, admin_operations TO ringfence_ops;
GRANT INSERT ON call_rollups, call_routes TO ringfence_ops;
GRANT DELETE ON call_routes, unresolved_events, tools, vapi_credentials, processed_webhook_events, failed_operations, failed_attempts, call_logs, call_tracking,
    calls, call_transcripts, recording_upload_queue, orphaned_objects, partial_gates, live_connections, tool_executions, leads, call_rollups, reconciliations, admin_operations, quarantined_messages, unknown_fields TO ringfence_ops;

-- Otherwise PostgreSQL would let PUBLIC execute every function that a later migration creates.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION enter_org, entered_org, refuse_change, time_ordered_uuid, log_position, delete_turns_of_reports, delete_connections,
    delete_partial_gates, delete_call_rollups, delete_orphaned_object FROM PUBLIC;
GRANT EXECUTE ON FUNCTION enter_org, entered_org, time_ordered_uuid, log_position, delete_turns_of_reports, delete_connections, delete_partial_gates,
    delete_call_rollups, delete_orphaned_object TO ringfence_app, ringfence_ops;
GRANT CREATE ON SCHEMA public TO ringfence_ops;
ALTER FUNCTION delete_turns_of_reports OWNER TO ringfence_ops;
ALTER FUNCTION delete_connections OWNER TO ringfence_ops;
ALTER FUNCTION delete_partial_gates OWNER TO ringfence_ops;
ALTER FUNCTION delete_call_rollups OWNER TO ringfence_ops;
ALTER FUNCTION delete_orphaned_object OWNER TO ringfence_ops;
REVOKE CREATE ON SCHEMA public FROM ringfence_ops;
