-- Failed operations. The consumer of a retry queue records failed attempts (record_failure_v1), and so does the
-- statement that finally applies the event (take_claim). The queue message carries the failed attempts until one of the
-- two records them, so attempts that failed while the database was unavailable are recorded late and not lost.
--
-- p_failures is {"function", "receives", "attempts": [{"failed_at", "function", "code", "sqlstate", "constraint"}]}
-- with at least one attempt. "function" is the function whose retry queue holds the event, and "receives" the message's
-- receive count.

CREATE FUNCTION record_failed_operation(
    p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz, p_failures jsonb,
    p_state text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO failed_operations AS f (org_id, event_id, event_type, vapi_call_id, function, state, code, receives,
            key_version, received_at, event, first_failed_at, last_failed_at, resolved_at)
        SELECT p_org_id, p_event_id, p_event ->> 'event_type', p_event #>> '{call,id}', p_failures ->> 'function', p_state,
            (array_agg(a.code ORDER BY a.failed_at DESC))[1], (p_failures ->> 'receives')::integer,
            p_key_version, p_received_at, CASE WHEN p_state <> 'resolved' THEN p_event END,
            min(a.failed_at), max(a.failed_at), CASE WHEN p_state = 'resolved' THEN now() END
        FROM jsonb_to_recordset(p_failures -> 'attempts') AS a (failed_at timestamptz, code text)
        ON CONFLICT (org_id, event_id) DO UPDATE SET
            -- resolved is final: the event is applied, and failures of late deliveries do not matter. Otherwise the
            -- latest attempt decides the state, so the order in which attempts are recorded does not matter.
            state = CASE WHEN 'resolved' IN (f.state, excluded.state) THEN 'resolved'
                WHEN excluded.last_failed_at >= f.last_failed_at THEN excluded.state ELSE f.state END,
            resolved_at = coalesce(f.resolved_at, excluded.resolved_at),
            event = CASE WHEN f.state <> 'resolved' THEN excluded.event END,
            code = CASE WHEN excluded.last_failed_at >= f.last_failed_at THEN excluded.code ELSE f.code END,
            receives = greatest(f.receives, excluded.receives),
            first_failed_at = least(f.first_failed_at, excluded.first_failed_at),
            last_failed_at = greatest(f.last_failed_at, excluded.last_failed_at);
    INSERT INTO failed_attempts (org_id, event_id, failed_at, function, code, sqlstate, constraint_name)
        SELECT p_org_id, p_event_id, a.failed_at, a.function, a.code, a.sqlstate, a."constraint"
        FROM jsonb_to_recordset(p_failures -> 'attempts')
            AS a (failed_at timestamptz, function text, code text, sqlstate text, "constraint" text)
        ON CONFLICT (org_id, event_id, failed_at, function) DO NOTHING;
END
$$;
COMMENT ON FUNCTION record_failed_operation IS
    'Inserts or updates the failed operation of an event, and inserts its attempts. Idempotent. Lock order: after the '
    'event''s claim and before the rows of its call.';

CREATE FUNCTION lock_event(p_event_id text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(p_event_id, 0))
$$;
COMMENT ON FUNCTION lock_event IS
    'Serialises record_failure_v1 and the statement that applies an event which failed before, so that each sees the '
    'row of the other. Lock order: before the claim.';

CREATE FUNCTION record_failure_v1(
    p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz, p_failures jsonb,
    p_state text, OUT event_org uuid, OUT event_id text, OUT sequence bigint, OUT at timestamptz, OUT event jsonb,
    OUT viewers text[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_call   text := p_event #>> '{call,id}';
    v_before text;
    v_after  failed_operations;
BEGIN
    event_org := coalesce(p_org_id, find_event_org_v1(p_event));
    IF event_org IS NULL THEN
        RETURN;
    END IF;
    PERFORM enter_org(event_org);
    -- Another delivery may have applied the event since, or may be applying it now. take_claim takes the same lock.
    PERFORM lock_event(p_event_id);
    PERFORM lock_against_erasure(event_org, v_call);
    IF is_erased(event_org, p_event, p_received_at) THEN
        -- The next delivery finds the tombstone and ends.
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM processed_webhook_events e WHERE e.org_id = event_org AND e.event_id = p_event_id) THEN
        PERFORM record_failed_operation(event_org, p_key_version, p_event_id, p_event, p_received_at, p_failures, 'resolved');
        RETURN;
    END IF;
    SELECT f.state INTO v_before FROM failed_operations f WHERE f.org_id = event_org AND f.event_id = p_event_id;
    PERFORM record_failed_operation(event_org, p_key_version, p_event_id, p_event, p_received_at, p_failures, p_state);

    -- Viewers get a frame for each change of the state, not for each attempt.
    SELECT * INTO v_after FROM failed_operations f WHERE f.org_id = event_org AND f.event_id = p_event_id;
    IF v_after.state IS DISTINCT FROM v_before AND v_after.state <> 'resolved' THEN
        event_id := 'operation-failed:' || v_call || ':' || gen_random_uuid();
        at := v_after.last_failed_at;
        event := jsonb_build_object('kind', 'operation-failed', 'event_type', v_after.event_type, 'code', v_after.code,
            'state', v_after.state, 'call', jsonb_build_object('id', v_call));
        INSERT INTO processed_webhook_events AS e (org_id, event_id, event_type, vapi_call_id, message_time, event, received_at)
            VALUES (event_org, record_failure_v1.event_id, 'operation-failed', v_call, record_failure_v1.at,
                record_failure_v1.event, now())
            RETURNING e.seq INTO sequence;
        viewers := active_viewers(event_org);
    END IF;
END
$$;
COMMENT ON FUNCTION record_failure_v1 IS
    'Records the failed attempts of an event. p_state: retrying (the event stays on its retry queue) or dead (the '
    'consumer moves it to the dead-letter queue). event_org: the org of the event. NULL: it arrived at the platform '
    'URL and its org is unknown; nothing is recorded. If the state changes, an event operation-failed is appended to '
    'the org''s log: event_id, sequence, at, event, and viewers, the connections to push it to.';

GRANT EXECUTE ON FUNCTION record_failed_operation, lock_event, record_failure_v1 TO ringfence_app, ringfence_ops;
