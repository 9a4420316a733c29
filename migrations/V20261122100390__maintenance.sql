-- What maintenance removes and looks for over all orgs. Each function does a bounded piece, in an order in which two at once do not wait for
-- each other, and says how much it was: whoever calls it does so until there is no more. p_run false: only what there would be to do, up to p_limit.

CREATE FUNCTION clean_events_v1(p_limit integer, p_run boolean) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org     uuid;
    v_before  timestamptz;
    v_rows    tid[];
    v_newest  xid8;
BEGIN
    -- The log of an org is read from its beginning, which its index has in order: what is old stands there, and the rest is not looked at.
    SELECT o.id, now() - make_interval(days => o.event_retention_days) INTO v_org, v_before
        FROM organizations o, LATERAL (
            SELECT e.processed_at FROM processed_webhook_events e WHERE e.org_id = o.id ORDER BY e.xact, e.seq LIMIT 1) AS first
        WHERE first.processed_at < now() - make_interval(days => o.event_retention_days)
        ORDER BY random() LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT array_agg(f.ctid), max(f.xact) INTO v_rows, v_newest FROM (
        SELECT e.ctid, e.xact, e.processed_at FROM processed_webhook_events e
        WHERE e.org_id = v_org ORDER BY e.xact, e.seq LIMIT p_limit FOR UPDATE SKIP LOCKED) AS f
        WHERE f.processed_at < v_before;
    IF p_run AND v_rows IS NOT NULL THEN
        -- Viewers that are further behind begin anew.
        UPDATE organizations SET log_start = greatest(log_start, (v_newest::text::numeric + 1)::text::xid8) WHERE id = v_org;
        DELETE FROM processed_webhook_events WHERE ctid = ANY (v_rows);
    END IF;
    RETURN coalesce(cardinality(v_rows), 0);
END
$$;
COMMENT ON FUNCTION clean_events_v1 IS
    'Removes the oldest events of an org that keeps them for too long: idempotency claims, timeline and source of replay in one. Every effect has '
    'a key of its own, so that an event that comes again after this is no second one.';

CREATE FUNCTION clean_rows_v1(p_limit integer, p_run boolean) RETURNS TABLE (what text, done bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_rows   tid[];
    v_events text[];
    v_orgs   uuid[];
BEGIN
    what := 'connections';
    SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT c.ctid FROM live_connections c
        WHERE c.expires_at < now() - interval '1 hour' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
    IF p_run THEN DELETE FROM live_connections WHERE ctid = ANY (v_rows); END IF;
    done := coalesce(cardinality(v_rows), 0);
    RETURN NEXT;

    what := 'partial gates';
    SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT g.ctid FROM partial_gates g
        WHERE g.passed_at < now() - interval '1 day' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
    IF p_run THEN DELETE FROM partial_gates WHERE ctid = ANY (v_rows); END IF;
    done := coalesce(cardinality(v_rows), 0);
    RETURN NEXT;

    -- Not while the report that names one may be replayed, which would ask for it again.
    what := 'removed recordings';
    SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT q.ctid FROM recording_upload_queue q JOIN organizations o ON o.id = q.org_id
        WHERE q.state = 'removed' AND q.created_at < now() - make_interval(days => greatest(90, o.event_retention_days + 1))
        LIMIT p_limit FOR UPDATE OF q SKIP LOCKED) AS t;
    IF p_run THEN DELETE FROM recording_upload_queue WHERE ctid = ANY (v_rows); END IF;
    done := coalesce(cardinality(v_rows), 0);
    RETURN NEXT;

    what := 'tool calls';
    SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT x.ctid FROM tool_executions x
        WHERE x.state = 'done' AND x.finished_at < now() - interval '30 days' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
    IF p_run THEN DELETE FROM tool_executions WHERE ctid = ANY (v_rows); END IF;
    done := coalesce(cardinality(v_rows), 0);
    RETURN NEXT;

    what := 'reconciliations';
    SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT r.ctid FROM reconciliations r
        WHERE r.state <> 'open' AND r.finished_at < now() - interval '90 days' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
    IF p_run THEN DELETE FROM reconciliations WHERE ctid = ANY (v_rows); END IF;
    done := coalesce(cardinality(v_rows), 0);
    RETURN NEXT;

    -- A call's events come within its hours; one that comes after this names its org by itself, as the first did.
    what := 'routes';
    SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT r.ctid FROM call_routes r
        WHERE r.created_at < now() - interval '90 days' ORDER BY r.created_at LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
    IF p_run THEN DELETE FROM call_routes WHERE ctid = ANY (v_rows); END IF;
    done := coalesce(cardinality(v_rows), 0);
    RETURN NEXT;

    -- Nobody has registered what they name in 90 days of alarm, and they are people's data. Ids are in the order of time.
    what := 'unresolved events';
    SELECT array_agg(t.ctid) INTO v_rows FROM (SELECT u.ctid, u.created_at FROM unresolved_events u
        ORDER BY u.id LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t WHERE t.created_at < now() - interval '90 days';
    IF p_run THEN DELETE FROM unresolved_events WHERE ctid = ANY (v_rows); END IF;
    done := coalesce(cardinality(v_rows), 0);
    RETURN NEXT;

    -- What was mended. How many there were stays in event_rollups.
    what := 'resolved failures';
    SELECT array_agg(t.ctid), array_agg(t.org_id), array_agg(t.event_id) INTO v_rows, v_orgs, v_events FROM (
        SELECT f.ctid, f.org_id, f.event_id FROM failed_operations f
        WHERE f.state = 'resolved' AND f.resolved_at < now() - interval '90 days' LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
    IF p_run THEN
        DELETE FROM failed_attempts a USING unnest(v_orgs, v_events) AS t (org_id, event_id) WHERE a.org_id = t.org_id AND a.event_id = t.event_id;
        DELETE FROM failed_operations WHERE ctid = ANY (v_rows);
    END IF;
    done := coalesce(cardinality(v_rows), 0);
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION clean_rows_v1 IS 'Removes what is over and of no use any more, at most p_limit rows of each kind.';

CREATE FUNCTION settle_leases_v1(p_limit integer, p_run boolean) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_execution tool_executions;
    v_count     integer := 0;
BEGIN
    FOR v_execution IN
        SELECT x.* FROM tool_executions x WHERE x.state = 'running' AND x.lease_until < now() - interval '1 minute'
        ORDER BY x.org_id, x.execution_id LIMIT p_limit FOR UPDATE SKIP LOCKED
    LOOP
        v_count := v_count + 1;
        IF p_run THEN
            -- tool-calls:call:id of the tool call
            PERFORM interrupt_tool_call(NULL, jsonb_build_object('id', split_part(v_execution.execution_id, ':', 2)), v_execution, v_execution.created_at);
        END IF;
    END LOOP;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION settle_leases_v1 IS 'Tool calls whose function died, and that Vapi did not ask for again: each becomes a failed operation (RF7008).';

CREATE FUNCTION expire_transcripts_v1(p_limit integer, p_run boolean) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org   uuid;
    v_until uuid;
    v_from  uuid;
    v_calls uuid[];
    v_names text[];
BEGIN
    -- Ids are in the order of time, so the calls of an org before a day are a range, which is gone through once.
    SELECT o.id, time_floor_uuid(now() - make_interval(days => o.transcript_retention_days)), o.transcripts_expired_before INTO v_org, v_until, v_from
        FROM organizations o
        WHERE o.transcript_retention_days IS NOT NULL AND EXISTS (
            SELECT FROM call_logs l WHERE l.org_id = o.id AND l.id > o.transcripts_expired_before
                AND l.id < time_floor_uuid(now() - make_interval(days => o.transcript_retention_days)))
        ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT array_agg(l.id ORDER BY l.id), array_agg(l.vapi_call_id ORDER BY l.id) INTO v_calls, v_names FROM (
        SELECT l.id, l.vapi_call_id FROM call_logs l WHERE l.org_id = v_org AND l.id > v_from AND l.id < v_until
        ORDER BY l.id LIMIT p_limit) AS l;
    IF NOT p_run OR v_calls IS NULL THEN
        RETURN coalesce(cardinality(v_calls), 0);
    END IF;
    UPDATE organizations SET transcripts_expired_before = v_calls[cardinality(v_calls)] WHERE id = v_org;
    DELETE FROM processed_webhook_events e USING unnest(v_names) AS t (name)
        WHERE e.org_id = v_org AND e.event_id > 'transcript:' || t.name || ':' AND e.event_id < 'transcript:' || t.name || ';';
    -- Or a replay would bring it back.
    UPDATE processed_webhook_events e SET event = e.event - '{transcript,summary}'::text[] FROM unnest(v_names) AS t (name)
        WHERE e.org_id = v_org AND e.event_id > 'end-of-call-report:' || t.name || ':' AND e.event_id < 'end-of-call-report:' || t.name || ';';
    UPDATE call_logs SET transcript = NULL, summary = NULL WHERE org_id = v_org AND id = ANY (v_calls) AND num_nonnulls(transcript, summary) > 0;
    DELETE FROM call_transcripts s USING unnest(v_names) AS t (name) WHERE s.org_id = v_org AND s.vapi_call_id = t.name;
    RETURN cardinality(v_calls);
END
$$;
COMMENT ON FUNCTION expire_transcripts_v1 IS
    'Removes what was said, and its summary, of an org''s calls that are older than it keeps transcripts: of p_limit calls at a time.';

CREATE FUNCTION watch_v1(p_queues jsonb) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO queue_states AS s (queue, waiting, in_flight, seen_at)
        SELECT q.queue, q.waiting, q.in_flight, now() FROM jsonb_to_recordset(p_queues) AS q (queue text, waiting bigint, in_flight bigint)
        ON CONFLICT (queue) DO UPDATE SET waiting = excluded.waiting, in_flight = excluded.in_flight, seen_at = excluded.seen_at;
    RETURN jsonb_build_object(
        'unresolved_events', (SELECT count(*) FROM (SELECT FROM unresolved_events LIMIT 10000) AS u),
        'oldest_retry_seconds', (SELECT coalesce(extract(epoch FROM now() - min(f.received_at))::bigint, 0)
            FROM failed_operations f WHERE f.state = 'retrying'),
        'recording_links_dying', (SELECT count(*) FROM (
            SELECT FROM recording_upload_queue q WHERE q.state = 'pending' AND q.link_expires_at < now() + interval '10 minutes'
                AND q.link_expires_at > now() - interval '1 hour' LIMIT 1000) AS q),
        -- An org that had calls on most days, and none for a day.
        'silent_orgs', (SELECT coalesce(jsonb_agg(o.id), '[]') FROM organizations o WHERE EXISTS (
                SELECT FROM call_rollups r WHERE r.org_id = o.id AND r.agent_id = '00000000-0000-0000-0000-000000000000'
                    AND r.period = 'day' AND r.measure = 'family' AND r.since >= now() - interval '9 days' AND r.since < now() - interval '1 day'
                HAVING count(DISTINCT r.since) >= 5)
            AND NOT EXISTS (
                SELECT FROM call_rollups r WHERE r.org_id = o.id AND r.agent_id = '00000000-0000-0000-0000-000000000000'
                    AND r.period = 'hour' AND r.measure = 'family' AND r.since >= now() - interval '1 day')));
END
$$;
COMMENT ON FUNCTION watch_v1 IS
    'Keeps how much waits in the queues ([{queue, waiting, in_flight}]) for who looks at the console, and tells what alarms are made of.';

GRANT EXECUTE ON FUNCTION clean_events_v1, clean_rows_v1, settle_leases_v1, expire_transcripts_v1, watch_v1 TO ringfence_app;
GRANT EXECUTE ON FUNCTION interrupt_tool_call TO ringfence_ops;
GRANT CREATE ON SCHEMA public TO ringfence_ops;
ALTER FUNCTION clean_events_v1 OWNER TO ringfence_ops;
ALTER FUNCTION clean_rows_v1 OWNER TO ringfence_ops;
ALTER FUNCTION settle_leases_v1 OWNER TO ringfence_ops;
ALTER FUNCTION expire_transcripts_v1 OWNER TO ringfence_ops;
ALTER FUNCTION watch_v1 OWNER TO ringfence_ops;
REVOKE CREATE ON SCHEMA public FROM ringfence_ops;
