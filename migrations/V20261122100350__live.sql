-- Live view: viewers over WebSocket, and the org's log. A push may be lost. A viewer that resumes reads every event
-- that it missed from the log.

CREATE FUNCTION find_connection_org_v1(p_connection_id text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT org_id FROM live_connections WHERE connection_id = p_connection_id
$$;
COMMENT ON FUNCTION find_connection_org_v1 IS
    'Returns the org whose token opened a connection. NULL: there is no such connection.';

CREATE FUNCTION open_viewer_v1(
    p_org_id uuid, p_connection_id text, p_expires_at timestamptz, p_token_sha256 bytea, p_token_limit integer, p_org_limit integer
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_of_token bigint;
    v_of_org   bigint;
BEGIN
    PERFORM enter_org(p_org_id);
    -- Concurrent connections of one org are counted one after another.
    PERFORM pg_advisory_xact_lock(hashtext('ringfence viewers'), hashtext(p_org_id::text));
    -- API Gateway does not always report a disconnect, so expired connections are deleted here too.
    PERFORM delete_connections(ARRAY(
        SELECT connection_id FROM live_connections WHERE org_id = p_org_id AND expires_at < now()
        LIMIT 100 FOR UPDATE SKIP LOCKED));
    SELECT count(*) FILTER (WHERE c.token_sha256 = p_token_sha256), count(*) INTO v_of_token, v_of_org
        FROM live_connections c
        WHERE c.org_id = p_org_id AND c.expires_at > now() AND c.connection_id <> p_connection_id;
    IF v_of_token >= p_token_limit OR v_of_org >= p_org_limit THEN
        RETURN 'full';
    END IF;
    -- A retry, after the answer to the first attempt was lost, finds its own row. It is the same viewer.
    INSERT INTO live_connections AS c (connection_id, org_id, token_sha256, expires_at)
        VALUES (p_connection_id, p_org_id, p_token_sha256, p_expires_at)
        ON CONFLICT (connection_id) DO UPDATE SET expires_at = excluded.expires_at
            WHERE c.org_id = excluded.org_id AND c.state = 'pending';
    RETURN CASE WHEN FOUND THEN 'opened' ELSE 'taken' END;
END
$$;
COMMENT ON FUNCTION open_viewer_v1 IS
    'Inserts a viewer of an org, pending until its first message. Returns opened; taken (the connection belongs to another '
    'org or is active already); or full (the token has p_token_limit connections, or the org p_org_limit).';

CREATE FUNCTION close_viewers_v1(p_org_id uuid, p_connection_ids text[]) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_org uuid := coalesce(p_org_id, find_connection_org_v1(p_connection_ids[1]));
BEGIN
    IF v_org IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM enter_org(v_org);
    RETURN delete_connections(p_connection_ids);
END
$$;
COMMENT ON FUNCTION close_viewers_v1 IS
    'Deletes closed connections and returns how many it deleted. p_org_id NULL: the org of the first connection.';

CREATE FUNCTION frame_event(p_event jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- A frame shows 4 000 characters. One more lets the caller detect that the text was cut.
    SELECT (p_event - '{transcript,conversation,structured_data,structured_outputs,details,cost_breakdown,costs}'::text[])
            #- '{call,metadata}'
        || coalesce((SELECT jsonb_object_agg(key, left(value #>> '{}', 4001)) FROM jsonb_each(p_event)
            WHERE key IN ('text', 'summary')), '{}')
$$;
COMMENT ON FUNCTION frame_event IS 'Returns a typed event with only the fields that a frame shows.';

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
    -- The snapshot is taken before the log is read. Every transaction before its xmin has ended, so the query below
    -- sees its rows.
    v_snapshot := pg_current_snapshot();
    floor := pg_snapshot_xmin(v_snapshot)::text;
    SELECT log_start INTO v_start FROM organizations WHERE id = v_org;
    IF least(v_floor, p_xact::xid8) < v_start OR v_floor > pg_snapshot_xmax(v_snapshot) THEN
        outcome := 'reset';
        v_floor := NULL;
    ELSE
        outcome := 'resumed';
    END IF;

    -- Within a sweep (p_xact is not NULL) the viewer has not yet read all events before the floor.
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
                'at', coalesce(message_time, received_at), 'event', frame_event(event)) AS entry
            FROM processed_webhook_events
            WHERE org_id = v_org AND (xact, seq) > (coalesce(p_xact::xid8, v_floor), coalesce(p_seq, 0))
            ORDER BY xact, seq
            LIMIT p_limit
        ) AS e;
    END IF;
END
$$;
COMMENT ON FUNCTION resume_viewer_v1 IS
    'Makes a viewer active and returns a page of its org''s log. A sweep reads all events of transactions from '
    'p_floor on; its further pages start after (p_xact, p_seq). outcome: resumed; reset (the cursor is older than the '
    'log or newer than its end); unknown (the connection does not exist or has expired). floor: the p_floor of the '
    'next sweep, which then misses no event of a transaction that is in progress now. A sequence number could not '
    'serve as floor, because rows do not commit in its order.';

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
        SELECT e.seq, coalesce(e.message_time, e.received_at), frame_event(e.event), e.xact INTO sequence, at, event, v_xact
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
    'Returns an event of the org''s log and the viewers that still need it: those of p_connection_ids (NULL: all '
    'viewers of the org) that have not read it from the log. No such event: NULL columns and no viewers. p_event_id '
    'NULL: returns only the viewers of the org.';

CREATE FUNCTION throttle_partial_v1(
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
    -- Most orgs have no viewer most of the time. Nothing is written for them.
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
        -- The first partial transcript of each call deletes gates of calls that ended long ago.
        PERFORM delete_partial_gates(ARRAY(
            SELECT g.vapi_call_id FROM partial_gates g
            WHERE g.org_id = event_org AND g.passed_at < clock_timestamp() - interval '1 day'
            LIMIT 100 FOR UPDATE SKIP LOCKED));
    END IF;
END
$$;
COMMENT ON FUNCTION throttle_partial_v1 IS
    'Returns the viewers to push a partial transcript to: those of the org, at most four times per second and call. '
    'p_call: the typed call of the message.';

GRANT EXECUTE ON FUNCTION open_viewer_v1, close_viewers_v1, resume_viewer_v1, find_broadcast_v1, throttle_partial_v1, frame_event,
    find_connection_org_v1 TO ringfence_app;
GRANT CREATE ON SCHEMA public TO ringfence_router;
ALTER FUNCTION find_connection_org_v1 OWNER TO ringfence_router;
REVOKE CREATE ON SCHEMA public FROM ringfence_router;
