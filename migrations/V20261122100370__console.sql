-- Console pages. One statement per page enters the org, so row-level security applies, and returns JSON. A list reads a
-- bounded number of rows backwards along an index. If the filter matches few of them, the page is short and returns
-- where the next starts.

CREATE FUNCTION time_floor_uuid(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT encode(substring(int8send(floor(greatest(extract(epoch FROM p_at), 0) * 1000)::bigint) FROM 3) || '\x00000000000000000000'::bytea, 'hex')::uuid
$$;
COMMENT ON FUNCTION time_floor_uuid IS
    'Returns a UUID that sorts before every UUID that time_ordered_uuid makes at p_at or later.';

-- list_calls_v1 compares these ids with ids of call_logs. One transaction inserts all rows of a call, so both have the
-- same order.
CREATE INDEX call_tracking_org_phone_idx ON call_tracking (org_id, phone_number, id);
CREATE INDEX audit_log_org_idx ON audit_log (org_id, id);

CREATE FUNCTION list_calls_v1(p_org_id uuid, p_filter jsonb, p_before uuid, p_limit integer) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_depth  constant integer := 2000;
    v_number text := p_filter ->> 'number';
    v_call   text := p_filter ->> 'call_id';
    v_since  uuid := coalesce(time_floor_uuid((p_filter ->> 'since')::timestamptz), '00000000-0000-0000-0000-000000000000');
    v_until  uuid := coalesce(time_floor_uuid((p_filter ->> 'until')::timestamptz), 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    v_calls  text[];
    v_result jsonb;
BEGIN
    PERFORM enter_org(p_org_id);
    IF v_call IS NOT NULL THEN
        v_calls := ARRAY[v_call];
    ELSIF v_number IS NOT NULL THEN
        SELECT coalesce(array_agg(t.vapi_call_id), '{}') INTO v_calls FROM (
            SELECT c.vapi_call_id FROM call_tracking c
            WHERE c.org_id = p_org_id AND c.phone_number = v_number
                AND c.id < coalesce(p_before, v_until) AND c.id >= v_since
            ORDER BY c.id DESC LIMIT v_depth) AS t;
    END IF;
    WITH seen AS MATERIALIZED (
        -- v_calls disables one of the two branches. Each branch has its own index.
        (SELECT l.* FROM call_logs l
            WHERE v_calls IS NULL AND l.org_id = p_org_id AND l.id < coalesce(p_before, v_until) AND l.id >= v_since
            ORDER BY l.id DESC LIMIT v_depth)
        UNION ALL
        (SELECT l.* FROM call_logs l
            WHERE v_calls IS NOT NULL AND l.org_id = p_org_id AND l.vapi_call_id = ANY (v_calls)
                AND l.id < coalesce(p_before, v_until) AND l.id >= v_since
            ORDER BY l.id DESC LIMIT v_depth)
    ),
    chosen AS (
        SELECT s.* FROM seen s
        WHERE (p_filter ->> 'status' IS NULL OR s.status = p_filter ->> 'status')
            AND (p_filter ->> 'family' IS NULL OR s.outcome = p_filter ->> 'family')
            AND (p_filter -> 'is_open' IS NULL OR s.status <> 'completed')
        ORDER BY s.id DESC LIMIT p_limit
    )
    SELECT jsonb_build_object(
        'calls', coalesce((SELECT jsonb_agg(jsonb_build_object(
            'call_id', c.vapi_call_id, 'status', c.status, 'direction', c.direction, 'from_number', c.from_number,
            'to_number', c.to_number, 'started_at', c.started_at, 'created_at', c.created_at,
            'duration_seconds', c.duration_seconds, 'family', c.outcome, 'cost', c.cost,
            'is_recorded', c.recording_storage_path IS NOT NULL) ORDER BY c.id DESC) FROM chosen c), '[]'),
        'next', CASE
            WHEN (SELECT count(*) FROM chosen) = p_limit THEN (SELECT c.id FROM chosen c ORDER BY c.id LIMIT 1)
            WHEN (SELECT count(*) FROM seen) = v_depth OR cardinality(v_calls) = v_depth THEN (SELECT s.id FROM seen s ORDER BY s.id LIMIT 1) END)
    INTO v_result;
    RETURN v_result;
END
$$;
COMMENT ON FUNCTION list_calls_v1 IS
    'Lists the calls of an org, newest first. p_filter, each key optional: call_id, number (of the other party, '
    'E.164), status, family, since, until, is_open (the call has not ended). next: p_before of the next page, or '
    'NULL. The function reads at most 2 000 calls, so a page may be short or empty and still have a next page.';

CREATE FUNCTION show_call_v1(p_org_id uuid, p_vapi_call_id text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_call     call_logs;
    v_timeline jsonb;
BEGIN
    PERFORM enter_org(p_org_id);
    SELECT * INTO v_call FROM call_logs WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- The events of one call and type are one range of the index.
    SELECT coalesce(jsonb_agg(jsonb_build_object('event_id', e.event_id, 'event_type', e.event_type, 'kind', e.event ->> 'kind',
            'at', coalesce(e.message_time, e.received_at), 'received_at', e.received_at,
            'detail', concat_ws(' ', e.event ->> 'status', e.event ->> 'ended_reason', e.event ->> 'recording', e.event ->> 'code'),
            'debugging_artifacts', e.event #> '{details,debugging}')
            ORDER BY coalesce(e.message_time, e.received_at), e.seq), '[]')
        INTO v_timeline
        FROM unnest(array_remove(retained_event_types(), 'transcript')) AS t (event_type),
            LATERAL (SELECT p.* FROM processed_webhook_events p
                WHERE p.org_id = p_org_id AND p.event_id > t.event_type || ':' || p_vapi_call_id || ':'
                    AND p.event_id < t.event_type || ':' || p_vapi_call_id || ';'
                LIMIT 500) AS e;
    RETURN jsonb_build_object(
        'call', to_jsonb(v_call) - '{id,org_id,recording_url}'::text[],
        'agent', (SELECT a.name FROM agents a WHERE a.org_id = p_org_id AND a.id = v_call.agent_id),
        'lead', (SELECT jsonb_build_object('name', d.name, 'phone', d.phone, 'status', d.status)
            FROM leads d WHERE d.org_id = p_org_id AND d.id = v_call.lead_id),
        'transcript', (SELECT coalesce(jsonb_agg(jsonb_build_object('speaker', s.speaker, 'text', s.text, 'said_at', s.said_at)
                -- A report gives the order of its turns. Its times may be incomplete.
                ORDER BY CASE s.source WHEN 'report' THEN s.position END, s.said_at, s.position), '[]')
            FROM (SELECT * FROM call_transcripts x WHERE x.org_id = p_org_id AND x.vapi_call_id = p_vapi_call_id LIMIT 5000) AS s),
        'recordings', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', q.kind, 'state', q.state, 'bytes', q.bytes, 'code', q.code)
                ORDER BY q.kind), '[]')
            FROM recording_upload_queue q WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id),
        'timeline', v_timeline);
END
$$;
COMMENT ON FUNCTION show_call_v1 IS
    'Returns a call with its agent, lead, transcript, recordings and timeline. NULL: the org has no such call.';

CREATE FUNCTION list_failures_v1(
    p_org_id uuid, p_filter jsonb, p_before timestamptz, p_before_id text, p_limit integer
) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_result jsonb;
BEGIN
    PERFORM enter_org(p_org_id);
    WITH open AS MATERIALIZED (
        SELECT f.event_id, f.event_type, f.vapi_call_id, f.function, f.state, f.code, f.receives, f.first_failed_at, f.last_failed_at,
            f.event IS NULL AS is_event_removed
        FROM failed_operations f
        WHERE f.org_id = p_org_id AND f.state <> 'resolved'
        ORDER BY f.last_failed_at DESC LIMIT 10000
    ),
    chosen AS (
        SELECT o.* FROM open o
        WHERE (p_filter ->> 'code' IS NULL OR o.code = p_filter ->> 'code')
            AND (p_filter ->> 'function' IS NULL OR o.function = p_filter ->> 'function')
            AND (p_filter ->> 'state' IS NULL OR o.state = p_filter ->> 'state')
            AND (p_filter ->> 'call_id' IS NULL OR o.vapi_call_id = p_filter ->> 'call_id')
    ),
    page AS (
        SELECT c.* FROM chosen c WHERE p_before IS NULL OR (c.last_failed_at, c.event_id) < (p_before, p_before_id)
        ORDER BY c.last_failed_at DESC, c.event_id DESC LIMIT p_limit
    )
    SELECT jsonb_build_object(
        'groups', coalesce((SELECT jsonb_agg(to_jsonb(g) ORDER BY g.count DESC, g.code) FROM (
            SELECT o.code, o.function, o.state, count(*), min(o.first_failed_at) AS since, max(o.last_failed_at) AS latest
            FROM open o GROUP BY o.code, o.function, o.state) AS g), '[]'),
        'is_truncated', (SELECT count(*) FROM open) = 10000,
        'selected', (SELECT count(*) FROM chosen),
        -- A tool call has no dead letter to redrive. The dead letter of a removed event is gone as well, or soon.
        'dead', (SELECT count(*) FROM chosen c WHERE c.state = 'dead' AND c.function <> 'tool-calls' AND NOT c.is_event_removed),
        'failures', coalesce((SELECT jsonb_agg(to_jsonb(p) ORDER BY p.last_failed_at DESC, p.event_id DESC) FROM page p), '[]'),
        'has_more', (SELECT count(*) FROM page) = p_limit)
    INTO v_result;
    RETURN v_result;
END
$$;
COMMENT ON FUNCTION list_failures_v1 IS
    'Lists the open failed operations of an org. groups: counts of all of them. failures: those that match p_filter '
    '(code, function, state, call_id), newest first. Reads the newest 10 000; is_truncated: there may be more.';

CREATE FUNCTION mask_event(p_event jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- An allow-list, so that a field that is added later is hidden.
    SELECT coalesce(jsonb_object_agg(key, CASE
        WHEN key = ANY ('{kind,event_type,message_time,status,ended_reason,reason_family,started_at,ended_at,duration_seconds,cost,role,'
            'position,content_sha256,recordings,recording,tool,id,type,direction,created_at,assistant_id,squad_id,phone_number_id,is_test}'::text[])
            THEN value
        WHEN key = 'call' AND jsonb_typeof(value) = 'object' THEN mask_event(value)
        ELSE '"hidden"' END), '{}')
    FROM jsonb_each(p_event)
$$;
COMMENT ON FUNCTION mask_event IS 'Returns a typed event in which every field that may be personal is hidden.';

CREATE FUNCTION show_failure_v1(p_org_id uuid, p_event_id text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_failed failed_operations;
BEGIN
    PERFORM enter_org(p_org_id);
    SELECT * INTO v_failed FROM failed_operations WHERE org_id = p_org_id AND event_id = p_event_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_build_object(
        'failure', to_jsonb(v_failed) - '{org_id,event}'::text[],
        'event', mask_event(v_failed.event),
        'is_masked', true,
        'attempts', (SELECT coalesce(jsonb_agg(to_jsonb(a) - '{org_id,event_id}'::text[] ORDER BY a.failed_at), '[]')
            FROM (SELECT * FROM failed_attempts x WHERE x.org_id = p_org_id AND x.event_id = p_event_id ORDER BY x.failed_at LIMIT 500) AS a));
END
$$;
COMMENT ON FUNCTION show_failure_v1 IS
    'Returns a failed operation with its attempts and its event. The event is masked; unmask_failure_v1 returns all of it. '
    'Returns NULL if the org has no such failed operation.';

CREATE FUNCTION list_operations_v1(p_org_id uuid) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM enter_org(p_org_id);
    RETURN (SELECT coalesce(jsonb_agg(to_jsonb(o) ORDER BY o.created_at DESC, o.id), '[]') FROM (
        SELECT a.id, a.kind, a.org_id, a.actor, a.state, a.done, a.failed, a.remaining, a.created_at, a.updated_at, a.finished_at
        FROM admin_operations a WHERE a.org_id = p_org_id ORDER BY a.created_at DESC, a.id LIMIT 20) AS o);
END
$$;
COMMENT ON FUNCTION list_operations_v1 IS 'Returns the latest 20 redrives and replays of an org, newest first.';

CREATE FUNCTION list_audit_v1(p_org_id uuid, p_filter jsonb, p_before bigint, p_limit integer) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_result jsonb;
BEGIN
    -- ringfence_app cannot read audit_log. This function shows it the entries of one org.
    PERFORM enter_org(p_org_id);
    WITH seen AS MATERIALIZED (
        SELECT a.* FROM audit_log a WHERE a.org_id = p_org_id AND (p_before IS NULL OR a.id < p_before) ORDER BY a.id DESC LIMIT 5000
    ),
    chosen AS (
        SELECT s.id, s.at, s.actor, s.action, s.subject, s.detail FROM seen s
        WHERE (p_filter ->> 'actor' IS NULL OR s.actor = p_filter ->> 'actor')
            AND (p_filter ->> 'action' IS NULL OR s.action = p_filter ->> 'action')
        ORDER BY s.id DESC LIMIT p_limit
    )
    SELECT jsonb_build_object(
        'entries', coalesce((SELECT jsonb_agg(to_jsonb(c) ORDER BY c.id DESC) FROM chosen c), '[]'),
        'next', CASE
            WHEN (SELECT count(*) FROM chosen) = p_limit THEN (SELECT min(c.id) FROM chosen c)
            WHEN (SELECT count(*) FROM seen) = 5000 THEN (SELECT min(s.id) FROM seen s) END)
    INTO v_result;
    RETURN v_result;
END
$$;
COMMENT ON FUNCTION list_audit_v1 IS 'Lists the audit log of an org, newest first. p_filter: actor, action.';

CREATE FUNCTION list_organizations_v1(p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM audit(p_actor, 'operator.view', NULL, 'orgs');
    RETURN jsonb_build_object(
        'organizations', coalesce((SELECT jsonb_agg(jsonb_build_object('id', o.id, 'name', o.name, 'open_failures',
                -- The ORDER BY makes the server use the index on (org_id, last_failed_at).
                (SELECT count(*) FROM (SELECT FROM failed_operations f WHERE f.org_id = o.id AND f.state <> 'resolved'
                    ORDER BY f.last_failed_at LIMIT 1000) AS open))
                ORDER BY o.name, o.id) FROM organizations o), '[]'),
        'unresolved_events', (SELECT count(*) FROM (SELECT FROM unresolved_events LIMIT 10000) AS u),
        'queues', coalesce((SELECT jsonb_agg(jsonb_build_object('queue', s.queue, 'waiting', s.waiting, 'in_flight', s.in_flight, 'seen_at', s.seen_at,
                -- Only CloudWatch knows the age of a queue's oldest message. The oldest failed operation stands in for
                -- it.
                'oldest', (SELECT f.received_at FROM failed_operations f
                    WHERE f.state = CASE WHEN s.queue LIKE '%-dead-letters' THEN 'dead' ELSE 'retrying' END AND f.state <> 'resolved'
                        AND f.function = replace(s.queue, '-dead-letters', '')
                    ORDER BY f.received_at LIMIT 1)) ORDER BY s.queue) FROM queue_states s), '[]'));
END
$$;
COMMENT ON FUNCTION list_organizations_v1 IS
    'Lists, for operators, all orgs by name with the count of their open failed operations (at most 1 000 each), the '
    'count of unresolved events (at most 10 000) and the queues. Audited.';

CREATE FUNCTION record_view_v1(p_org_id uuid, p_actor text, p_subject text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM enter_org(p_org_id);
    IF NOT EXISTS (SELECT FROM organizations WHERE id = p_org_id) THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'operator.view', p_org_id, p_subject);
    RETURN true;
END
$$;
COMMENT ON FUNCTION record_view_v1 IS
    'Audits an operator''s access to a page of an org. Called before the page is shown. False: there is no such org.';

GRANT EXECUTE ON FUNCTION time_floor_uuid, list_calls_v1, show_call_v1, list_failures_v1, mask_event, show_failure_v1, list_operations_v1,
    list_audit_v1, list_organizations_v1, record_view_v1 TO ringfence_app;
GRANT EXECUTE ON FUNCTION time_floor_uuid, mask_event TO ringfence_ops;
GRANT CREATE ON SCHEMA public TO ringfence_ops;
ALTER FUNCTION list_audit_v1 OWNER TO ringfence_ops;
ALTER FUNCTION list_organizations_v1 OWNER TO ringfence_ops;
REVOKE CREATE ON SCHEMA public FROM ringfence_ops;
