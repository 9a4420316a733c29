-- Maintenance over all orgs. Each function processes at most p_limit rows and returns how many; the caller repeats it
-- until it returns 0. SKIP LOCKED lets two callers run at the same time without waiting for each other. p_run false: a
-- dry run, which only counts. The work of one org, or of one kind of rows, is a statement of its own, so that its failure
-- stops no other.

CREATE FUNCTION find_orgs_with_work_v1(p_job text, p_limit integer) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF p_job = 'clean-claims' THEN
        -- The oldest events are at the start of the org's log, and the index has its order. Newer events are not read.
        RETURN QUERY SELECT o.id FROM organizations o, LATERAL (
                SELECT e.processed_at FROM processed_webhook_events e WHERE e.org_id = o.id ORDER BY e.xact, e.seq LIMIT 1) AS first
            WHERE first.processed_at < now() - make_interval(days => o.event_retention_days)
            ORDER BY random() LIMIT p_limit;
    ELSIF p_job = 'expire-transcripts' THEN
        RETURN QUERY SELECT o.id FROM organizations o
            WHERE o.transcript_retention_days IS NOT NULL AND EXISTS (
                SELECT FROM call_logs l WHERE l.org_id = o.id AND l.id > o.transcripts_expired_before
                    AND l.id < time_floor_uuid(now() - make_interval(days => o.transcript_retention_days)))
            ORDER BY random() LIMIT p_limit;
    ELSIF p_job = 'expire-leases' THEN
        RETURN QUERY SELECT t.org_id FROM (SELECT DISTINCT x.org_id FROM tool_executions x
                WHERE x.state = 'running' AND x.lease_until < now() - interval '1 minute') AS t
            ORDER BY random() LIMIT p_limit;
    ELSIF p_job = 'reconcile' THEN
        RETURN QUERY SELECT o.id FROM organizations o
            WHERE NOT o.is_zero_retention AND EXISTS (
                SELECT FROM call_logs l WHERE l.org_id = o.id AND l.id < time_floor_uuid(now() - interval '1 hour')
                    AND l.id > greatest(o.reconciled_before, time_floor_uuid(now() - interval '14 days')))
            ORDER BY random() LIMIT p_limit;
    ELSIF p_job = 'roll-up' THEN
        RETURN QUERY SELECT o.id FROM organizations o LEFT JOIN rollup_cursors c ON c.org_id = o.id
            WHERE EXISTS (
                SELECT FROM processed_webhook_events e
                WHERE e.org_id = o.id AND (e.xact, e.seq) > (coalesce(c.xact, '0'), coalesce(c.seq, 0))
                    AND e.xact < pg_snapshot_xmin(pg_current_snapshot()))
            ORDER BY random() LIMIT p_limit;
    END IF;
END
$$;
COMMENT ON FUNCTION find_orgs_with_work_v1 IS
    'Returns the orgs for which a job has work, at most p_limit, in random order: orgs whose work fails cannot hide the '
    'others.';

CREATE FUNCTION clean_events_v1(p_org_id uuid, p_limit integer, p_run boolean) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_before timestamptz;
    v_rows   tid[];
    v_newest xid8;
BEGIN
    SELECT now() - make_interval(days => o.event_retention_days) INTO v_before FROM organizations o WHERE o.id = p_org_id;
    SELECT array_agg(f.ctid), max(f.xact) INTO v_rows, v_newest FROM (
        SELECT e.ctid, e.xact, e.processed_at FROM processed_webhook_events e
        WHERE e.org_id = p_org_id ORDER BY e.xact, e.seq LIMIT p_limit FOR UPDATE SKIP LOCKED) AS f
        WHERE f.processed_at < v_before;
    IF p_run AND v_rows IS NOT NULL THEN
        -- A viewer with an older cursor gets a reset.
        UPDATE organizations SET log_start = greatest(log_start, (v_newest::text::numeric + 1)::text::xid8) WHERE id = p_org_id;
        DELETE FROM processed_webhook_events WHERE ctid = ANY (v_rows);
    END IF;
    RETURN coalesce(cardinality(v_rows), 0);
END
$$;
COMMENT ON FUNCTION clean_events_v1 IS
    'Deletes the oldest retained events of one org after its retention, and with them claims, timeline and the source '
    'of a replay. A redelivery after that is applied again and changes nothing, because each effect has its own '
    'unique key.';

CREATE FUNCTION clean_rows_v1(p_kind text, p_limit integer, p_run boolean) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_rows   tid[];
    v_events text[];
    v_orgs   uuid[];
BEGIN
    IF p_kind = 'connections' THEN
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT c.ctid FROM live_connections c
            WHERE c.expires_at < now() - interval '1 hour' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
        IF p_run THEN DELETE FROM live_connections WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'partial gates' THEN
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT g.ctid FROM partial_gates g
            WHERE g.passed_at < now() - interval '1 day' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
        IF p_run THEN DELETE FROM partial_gates WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'removed recordings' THEN
        -- As long as the report of a removed recording may be replayed, the row must stay: without it the replay would
        -- queue the recording again.
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT q.ctid FROM recording_upload_queue q JOIN organizations o ON o.id = q.org_id
            WHERE q.state = 'removed' AND q.created_at < now() - make_interval(days => greatest(90, o.event_retention_days + 1))
            LIMIT p_limit FOR UPDATE OF q SKIP LOCKED) AS t;
        IF p_run THEN DELETE FROM recording_upload_queue WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'tool calls' THEN
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT x.ctid FROM tool_executions x
            WHERE x.state = 'done' AND x.finished_at < now() - interval '30 days' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
        IF p_run THEN DELETE FROM tool_executions WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'reconciliations' THEN
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT r.ctid FROM reconciliations r
            WHERE r.state <> 'open' AND r.finished_at < now() - interval '90 days' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
        IF p_run THEN DELETE FROM reconciliations WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'operations' THEN
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT a.ctid FROM admin_operations a
            WHERE a.state <> 'running' AND a.finished_at < now() - interval '90 days' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
        IF p_run THEN DELETE FROM admin_operations WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'routes' THEN
        -- An event that arrives even later finds its org in the platform directory, as the first event of the call did.
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT r.ctid FROM call_routes r
            WHERE r.created_at < now() - interval '90 days' ORDER BY r.created_at LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
        IF p_run THEN DELETE FROM call_routes WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'unresolved events' THEN
        -- They hold personal data, so they are deleted although no agent was registered for them in 90 days of alarms. Ids
        -- are ordered by time.
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT u.ctid, u.created_at FROM unresolved_events u
            ORDER BY u.id LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t WHERE t.created_at < now() - interval '90 days';
        IF p_run THEN DELETE FROM unresolved_events WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'quarantined messages' THEN
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT m.ctid FROM quarantined_messages m
            WHERE m.received_at < now() - interval '14 days' ORDER BY m.received_at LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
        IF p_run THEN DELETE FROM quarantined_messages WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'unknown fields' THEN
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT u.ctid FROM unknown_fields u
            WHERE u.hour < now() - interval '14 days' ORDER BY u.hour LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
        IF p_run THEN DELETE FROM unknown_fields WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'events of failures' THEN
        -- They hold personal data, so they are removed although they were not applied. Their dead letters are gone by
        -- then, or soon after. Code and times stay. The event of a recording has ids only.
        SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT f.ctid FROM failed_operations f JOIN organizations o ON o.id = f.org_id
            WHERE f.state <> 'resolved' AND f.event IS NOT NULL AND f.function <> 'recording-upload'
                AND f.received_at < now() - make_interval(days => o.event_retention_days)
            LIMIT p_limit FOR UPDATE OF f SKIP LOCKED) AS t;
        IF p_run THEN UPDATE failed_operations SET event = NULL WHERE ctid = ANY (v_rows); END IF;
    ELSIF p_kind = 'resolved failures' THEN
        -- event_rollups keeps the counts of failures.
        SELECT array_agg(t.ctid), array_agg(t.org_id), array_agg(t.event_id) INTO v_rows, v_orgs, v_events FROM (
            SELECT f.ctid, f.org_id, f.event_id FROM failed_operations f
            WHERE f.state = 'resolved' AND f.resolved_at < now() - interval '90 days' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
        IF p_run THEN
            DELETE FROM failed_attempts a USING unnest(v_orgs, v_events) AS t (org_id, event_id) WHERE a.org_id = t.org_id AND a.event_id = t.event_id;
            DELETE FROM failed_operations WHERE ctid = ANY (v_rows);
        END IF;
    END IF;
    RETURN coalesce(cardinality(v_rows), 0);
END
$$;
COMMENT ON FUNCTION clean_rows_v1 IS
    'Deletes rows of one kind, or the events in them, after their retention, at most p_limit. Returns their count.';

CREATE FUNCTION interrupt_expired_tool_calls_v1(p_org_id uuid, p_limit integer, p_run boolean) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_execution tool_executions;
    v_count     integer := 0;
BEGIN
    FOR v_execution IN
        SELECT x.* FROM tool_executions x
        WHERE x.org_id = p_org_id AND x.state = 'running' AND x.lease_until < now() - interval '1 minute'
        ORDER BY x.execution_id LIMIT p_limit FOR UPDATE SKIP LOCKED
    LOOP
        v_count := v_count + 1;
        IF p_run THEN
            PERFORM interrupt_tool_call(NULL, v_execution, v_execution.created_at);
        END IF;
    END LOOP;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION interrupt_expired_tool_calls_v1 IS
    'Ends tool calls of one org whose lease ended a minute ago without a result and that Vapi did not deliver again. Each '
    'becomes a failed operation (RF7008). Returns their count.';

CREATE FUNCTION expire_transcripts_v1(p_org_id uuid, p_limit integer, p_run boolean) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_until uuid;
    v_from  uuid;
    v_calls uuid[];
    v_names text[];
BEGIN
    -- Ids are ordered by time, so the calls before a day are a range, and one cursor per org records the progress.
    SELECT time_floor_uuid(now() - make_interval(days => o.transcript_retention_days)), o.transcripts_expired_before INTO v_until, v_from
        FROM organizations o WHERE o.id = p_org_id AND o.transcript_retention_days IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT array_agg(l.id ORDER BY l.id), array_agg(l.vapi_call_id ORDER BY l.id) INTO v_calls, v_names FROM (
        SELECT l.id, l.vapi_call_id FROM call_logs l WHERE l.org_id = p_org_id AND l.id > v_from AND l.id < v_until
        ORDER BY l.id LIMIT p_limit) AS l;
    IF NOT p_run OR v_calls IS NULL THEN
        RETURN coalesce(cardinality(v_calls), 0);
    END IF;
    UPDATE organizations SET transcripts_expired_before = v_calls[cardinality(v_calls)] WHERE id = p_org_id;
    DELETE FROM processed_webhook_events e USING unnest(v_names) AS t (name)
        WHERE e.org_id = p_org_id AND e.event_id > 'transcript:' || t.name || ':' AND e.event_id < 'transcript:' || t.name || ';';
    -- Otherwise a replay would restore the texts.
    UPDATE processed_webhook_events e SET event = e.event - '{transcript,conversation,summary}'::text[] FROM unnest(v_names) AS t (name)
        WHERE e.org_id = p_org_id AND e.event_id > 'end-of-call-report:' || t.name || ':' AND e.event_id < 'end-of-call-report:' || t.name || ';';
    UPDATE call_logs SET transcript = NULL, summary = NULL WHERE org_id = p_org_id AND id = ANY (v_calls) AND num_nonnulls(transcript, summary) > 0;
    DELETE FROM call_transcripts s USING unnest(v_names) AS t (name) WHERE s.org_id = p_org_id AND s.vapi_call_id = t.name;
    RETURN cardinality(v_calls);
END
$$;
COMMENT ON FUNCTION expire_transcripts_v1 IS
    'Deletes the transcripts and summaries of one org''s calls after its retention of transcripts, of at most p_limit '
    'calls. Returns the count of calls.';

CREATE FUNCTION collect_metrics_v1(p_queues jsonb) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO queue_states AS s (queue, waiting, in_flight, seen_at)
        SELECT q.queue, q.waiting, q.in_flight, now() FROM jsonb_to_recordset(p_queues) AS q (queue text, waiting bigint, in_flight bigint)
        ON CONFLICT (queue) DO UPDATE SET waiting = excluded.waiting, in_flight = excluded.in_flight, seen_at = excluded.seen_at;
    RETURN jsonb_build_object(
        'unresolved_events', (SELECT count(*) FROM (SELECT FROM unresolved_events LIMIT 10000) AS u),
        'oldest_retry_seconds', (SELECT coalesce(extract(epoch FROM now() - min(f.received_at))::bigint, 0)
            FROM failed_operations f WHERE f.state = 'retrying'),
        'recording_links_expiring', (SELECT count(*) FROM (
            SELECT FROM recording_upload_queue q WHERE q.state = 'pending' AND q.link_expires_at < now() + interval '10 minutes'
                AND q.link_expires_at > now() - interval '1 hour' LIMIT 1000) AS q),
        -- Orgs that had calls on at least five days between nine days and one day ago, and none since.
        'silent_orgs', (SELECT coalesce(jsonb_agg(o.id), '[]') FROM organizations o WHERE EXISTS (
                SELECT FROM call_rollups r WHERE r.org_id = o.id AND r.agent_id = '00000000-0000-0000-0000-000000000000'
                    AND r.period = 'day' AND r.measure = 'family' AND r.since >= now() - interval '9 days' AND r.since < now() - interval '1 day'
                HAVING count(DISTINCT r.since) >= 5)
            AND NOT EXISTS (
                SELECT FROM call_rollups r WHERE r.org_id = o.id AND r.agent_id = '00000000-0000-0000-0000-000000000000'
                    AND r.period = 'hour' AND r.measure = 'family' AND r.since >= now() - interval '1 day')));
END
$$;
COMMENT ON FUNCTION collect_metrics_v1 IS
    'Stores the depth of the queues, [{queue, waiting, in_flight}], for the console, and returns the gauges of the '
    'alarms.';

GRANT EXECUTE ON FUNCTION find_orgs_with_work_v1, clean_events_v1, clean_rows_v1, interrupt_expired_tool_calls_v1, expire_transcripts_v1, collect_metrics_v1 TO ringfence_app;
GRANT EXECUTE ON FUNCTION interrupt_tool_call TO ringfence_ops;
GRANT CREATE ON SCHEMA public TO ringfence_ops;
ALTER FUNCTION find_orgs_with_work_v1 OWNER TO ringfence_ops;
ALTER FUNCTION clean_events_v1 OWNER TO ringfence_ops;
ALTER FUNCTION clean_rows_v1 OWNER TO ringfence_ops;
ALTER FUNCTION interrupt_expired_tool_calls_v1 OWNER TO ringfence_ops;
ALTER FUNCTION expire_transcripts_v1 OWNER TO ringfence_ops;
ALTER FUNCTION collect_metrics_v1 OWNER TO ringfence_ops;
REVOKE CREATE ON SCHEMA public FROM ringfence_ops;
