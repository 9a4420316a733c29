-- Live: viewers over WebSocket, and the log that they read. A push is a hint, the log is the truth: what a viewer missed, for
-- whatever reason, it has after it resumed.

CREATE FUNCTION find_connection_org_v1(p_connection_id text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT org_id FROM live_connections WHERE connection_id = p_connection_id
$$;
COMMENT ON FUNCTION find_connection_org_v1 IS 'The org whose token opened a connection; NULL: there is no such connection.';

CREATE FUNCTION open_viewer_v1(p_org_id uuid, p_connection_id text, p_expires_at timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM enter_org(p_org_id);
    -- Those whose end nobody told.
    DELETE FROM live_connections WHERE connection_id IN (
        SELECT connection_id FROM live_connections WHERE org_id = p_org_id AND expires_at < now()
        LIMIT 100 FOR UPDATE SKIP LOCKED);
    -- Asked once more, since its answer was lost, it is the same viewer still.
    INSERT INTO live_connections AS c (connection_id, org_id, expires_at) VALUES (p_connection_id, p_org_id, p_expires_at)
        ON CONFLICT (connection_id) DO UPDATE SET expires_at = excluded.expires_at
            WHERE c.org_id = excluded.org_id AND c.state = 'pending';
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION open_viewer_v1 IS
    'A viewer of an org, pending until its first message. False: the connection is there already, another org''s or active.';

CREATE FUNCTION close_viewers_v1(p_org_id uuid, p_connection_ids text[]) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_org   uuid := coalesce(p_org_id, find_connection_org_v1(p_connection_ids[1]));
    v_count integer;
BEGIN
    IF v_org IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM enter_org(v_org);
    DELETE FROM live_connections WHERE org_id = v_org AND connection_id = ANY (p_connection_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION close_viewers_v1 IS
    'Forgets connections that are gone. p_org_id NULL: the org of the first of them. The answer is how many there were.';

CREATE FUNCTION slim_event(p_event jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- One character more than a frame shows, so that it can tell that there is more.
    SELECT (p_event - '{transcript,structured_data,structured_outputs,cost_breakdown}'::text[]) #- '{call,metadata}'
        || coalesce((SELECT jsonb_object_agg(key, left(value #>> '{}', 4001)) FROM jsonb_each(p_event)
            WHERE key IN ('text', 'summary')), '{}')
$$;
COMMENT ON FUNCTION slim_event IS 'A typed event without what no frame shows of it.';

CREATE FUNCTION resume_viewer_v1(
    p_connection_id text, p_floor text, p_xact text, p_seq bigint, p_limit integer,
    OUT outcome text, OUT floor text, OUT entries jsonb, OUT is_last boolean
) LANGUAGE plpgsql AS $$
DECLARE
    v_org      uuid := find_connection_org_v1(p_connection_id);
    v_floor    xid8 := p_floor::xid8;
    v_start    xid8;
    v_snapshot pg_snapshot;
BEGIN
    IF v_org IS NULL THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    PERFORM enter_org(v_org);
    -- Taken before the log is read: every transaction before its xmin is over, and what it wrote is seen below.
    v_snapshot := pg_current_snapshot();
    floor := pg_snapshot_xmin(v_snapshot)::text;
    SELECT log_start INTO v_start FROM organizations WHERE id = v_org;
    IF least(v_floor, p_xact::xid8) < v_start OR v_floor > pg_snapshot_xmax(v_snapshot) THEN
        outcome := 'reset';
        v_floor := NULL;
    ELSE
        outcome := 'resumed';
    END IF;

    -- In the middle of a sweep (p_xact) not everything before the floor has been read.
    UPDATE live_connections SET state = 'active',
            covered_before = greatest(covered_before, CASE WHEN p_xact IS NULL THEN v_floor END)
        WHERE connection_id = p_connection_id AND org_id = v_org AND expires_at > now();
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    END IF;

    entries := '[]';
    is_last := true;
    IF v_floor IS NOT NULL THEN
        SELECT coalesce(jsonb_agg(e.entry ORDER BY e.xact, e.seq), '[]'), count(*) < p_limit INTO entries, is_last
        FROM (
            SELECT xact, seq, jsonb_build_object('xact', xact::text, 'seq', seq,
                'at', coalesce(message_time, received_at), 'event', slim_event(event)) AS entry
            FROM processed_webhook_events
            WHERE org_id = v_org AND (xact, seq) > (coalesce(p_xact::xid8, v_floor), coalesce(p_seq, 0))
            ORDER BY xact, seq
            LIMIT p_limit
        ) AS e;
    END IF;
END
$$;
COMMENT ON FUNCTION resume_viewer_v1 IS
    'Makes a viewer active and reads the log of its org from a cursor on: events of transactions from p_floor on, behind '
    '(p_xact, p_seq) where a page before ended there. outcome: resumed; reset (the log does not reach back that far, or '
    'never was that long); unknown (no such connection, or expired). floor: where a later sweep must start in order to '
    'miss nothing that was still being written now. Rows in flight are why it is a transaction and not a sequence.';

CREATE FUNCTION find_broadcast_v1(
    p_org_id uuid, p_event_id text, p_connection_ids text[],
    OUT sequence bigint, OUT at timestamptz, OUT event jsonb, OUT viewers text[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_xact xid8;
BEGIN
    PERFORM enter_org(p_org_id);
    viewers := '{}';
    IF p_event_id IS NOT NULL THEN
        SELECT e.seq, coalesce(e.message_time, e.received_at), slim_event(e.event), e.xact INTO sequence, at, event, v_xact
            FROM processed_webhook_events e WHERE e.org_id = p_org_id AND e.event_id = p_event_id;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    SELECT coalesce(array_agg(c.connection_id), '{}') INTO viewers FROM live_connections c
        WHERE c.org_id = p_org_id AND c.state = 'active' AND c.expires_at > now()
            AND (v_xact IS NULL OR c.covered_before <= v_xact)
            AND (p_connection_ids IS NULL OR c.connection_id = ANY (p_connection_ids));
END
$$;
COMMENT ON FUNCTION find_broadcast_v1 IS
    'An event of the log and who is still to be told of it: of the given connections (NULL: of all) those that watch the org '
    'and have not resumed beyond it. Without such an event everything is empty. p_event_id NULL: who watches the org.';

CREATE FUNCTION pass_partial_v1(
    p_org_id uuid, p_key_version integer, p_call jsonb, p_received_at timestamptz, OUT event_org uuid, OUT viewers text[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_call    text := p_call ->> 'id';
    v_count   integer;
    v_outcome text;
BEGIN
    viewers := '{}';
    SELECT s.* INTO v_outcome, event_org FROM enter_sender(p_org_id, p_key_version, p_call, p_received_at) s;
    IF v_outcome <> 'known' THEN
        RETURN;
    END IF;
    -- Most orgs have no viewer at most times, and then nothing is written.
    viewers := active_viewers(event_org);
    IF cardinality(viewers) = 0 THEN
        RETURN;
    END IF;

    UPDATE partial_gates SET passed_at = clock_timestamp()
        WHERE org_id = event_org AND vapi_call_id = (
            SELECT g.vapi_call_id FROM partial_gates g
            WHERE g.org_id = event_org AND g.vapi_call_id = v_call AND g.passed_at < clock_timestamp() - interval '250 ms'
            FOR UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        INSERT INTO partial_gates (org_id, vapi_call_id, passed_at) VALUES (event_org, v_call, clock_timestamp())
            ON CONFLICT (org_id, vapi_call_id) DO NOTHING;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        IF v_count = 0 THEN
            viewers := '{}';
            RETURN;
        END IF;
        -- Once a call: those of calls that are long over.
        DELETE FROM partial_gates WHERE (org_id, vapi_call_id) IN (
            SELECT g.org_id, g.vapi_call_id FROM partial_gates g
            WHERE g.org_id = event_org AND g.passed_at < clock_timestamp() - interval '1 day'
            LIMIT 100 FOR UPDATE SKIP LOCKED);
    END IF;
END
$$;
COMMENT ON FUNCTION pass_partial_v1 IS
    'Who is to see a partial transcript: the viewers of its call''s org, four times a second and call at most; else nobody. '
    'p_call: the typed call of the message.';

GRANT EXECUTE ON FUNCTION open_viewer_v1, close_viewers_v1, resume_viewer_v1, find_broadcast_v1, pass_partial_v1, slim_event,
    find_connection_org_v1 TO ringfence_app;
GRANT CREATE ON SCHEMA public TO ringfence_router;
ALTER FUNCTION find_connection_org_v1 OWNER TO ringfence_router;
REVOKE CREATE ON SCHEMA public FROM ringfence_router;
