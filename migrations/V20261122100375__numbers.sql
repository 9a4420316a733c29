-- Rollups for the Numbers page: counts per hour and per day, so that the page of a month reads thousands of rows and
-- not millions of calls. The job roll-up follows the log of each org. Retained events do not change, so each is added
-- once, in the transaction that moves the org's cursor. Rows of calls do change, so the whole hour of each call that an
-- event concerns is counted again.

CREATE FUNCTION uuid_hour(p_id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT date_trunc('hour', to_timestamp(('x' || substr(replace(p_id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0), 'UTC')
$$;
COMMENT ON FUNCTION uuid_hour IS 'Returns the hour (UTC) in which time_ordered_uuid made p_id.';

CREATE FUNCTION rollup_bucket(p_value numeric) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- Each upper bound is 1.02 times the lower bound, so the middle of a bucket differs from its values by at most 1 %.
    SELECT CASE WHEN p_value > 0 THEN floor(ln(p_value::double precision) / ln(1.02::double precision))::integer ELSE -9999 END::text
$$;
COMMENT ON FUNCTION rollup_bucket IS
    'Returns the histogram bucket of a value. All values of zero or less share bucket -9999. NULL: the value is unknown.';

CREATE FUNCTION max_exact_values() RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 1000 $$;
COMMENT ON FUNCTION max_exact_values IS 'Returns up to how many values percentiles are exact.';

CREATE AGGREGATE all_values(numeric[]) (SFUNC = array_cat, STYPE = numeric[]);
COMMENT ON AGGREGATE all_values(numeric[]) IS 'The elements of all arrays. Skips NULL.';

CREATE TYPE rollup_part AS (bucket integer, value_count bigint, lowest numeric, highest numeric, exact numeric[]);
COMMENT ON TYPE rollup_part IS 'The values of a bucket in one row of a rollup.';

CREATE FUNCTION rollup_percentiles(p_parts rollup_part[]) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    v_count  numeric   := (SELECT sum(p.value_count) FROM unnest(p_parts) AS p);
    v_values numeric[];
BEGIN
    IF v_count <= max_exact_values() THEN
        v_values := ARRAY(SELECT v FROM unnest(p_parts) AS p, unnest(p.exact) AS v ORDER BY v);
        RETURN (SELECT jsonb_object_agg('p' || p, v_values[ceil(v_count * p / 100)::integer]) FROM unnest('{50,90,99}'::integer[]) AS p);
    END IF;
    RETURN (
        WITH histogram AS (
            SELECT h.bucket, h.lowest, h.highest, sum(h.value_count) OVER (ORDER BY h.bucket) AS cumulative
            FROM (SELECT p.bucket, min(p.lowest) AS lowest, max(p.highest) AS highest, sum(p.value_count) AS value_count
                FROM unnest(p_parts) AS p GROUP BY p.bucket) AS h
        )
        SELECT jsonb_object_agg('p' || p, (
            SELECT least(greatest(CASE h.bucket WHEN -9999 THEN 0 ELSE (1.02::double precision ^ (h.bucket + 0.5))::numeric END,
                    h.lowest), h.highest)
            FROM histogram h WHERE h.cumulative * 100 >= v_count * p ORDER BY h.bucket LIMIT 1))
        FROM unnest('{50,90,99}'::integer[]) AS p);
END
$$;
COMMENT ON FUNCTION rollup_percentiles IS
    'Returns {p50, p90, p99} by nearest rank: the smallest value that at least so many percent of the values do not '
    'exceed. Exact up to max_exact_values; above, the middle of the value''s bucket, at least the lowest and at most the '
    'highest value in it. Each is NULL if there are no values.';

CREATE FUNCTION rebuild_call_rollups(p_org_id uuid, p_hours timestamptz[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_since timestamptz;
BEGIN
    -- Serialises the callers per org. Two that count the same hour would insert the same keys.
    PERFORM pg_advisory_xact_lock(hashtext('ringfence rollups'), hashtext(p_org_id::text));
    -- A loop, because each hour is then a range of the index. For a join with the hours the server reads all calls of
    -- the org.
    FOREACH v_since IN ARRAY p_hours LOOP
        PERFORM delete_call_rollups('hour', v_since);
        INSERT INTO call_rollups (org_id, agent_id, period, measure, since, is_connected, bucket, calls, total, lowest, highest, exact)
            SELECT p_org_id, a.agent_id, 'hour', m.measure, v_since, l.started_at IS NOT NULL, m.bucket, count(*), sum(m.value),
                min(m.value), max(m.value),
                CASE WHEN sum(count(m.value)) OVER (PARTITION BY a.agent_id, m.measure, l.started_at IS NOT NULL) <= max_exact_values()
                    THEN array_agg(m.value) FILTER (WHERE m.value IS NOT NULL) END
            FROM call_logs l,
                -- Each call counts for all agents together (the nil UUID), and for its own agent.
                LATERAL (VALUES ('00000000-0000-0000-0000-000000000000'::uuid), (l.agent_id)) AS a (agent_id),
                LATERAL (VALUES
                    ('family', coalesce(l.outcome, CASE l.status WHEN 'completed' THEN 'unknown' ELSE 'open' END), NULL::numeric),
                    ('duration', rollup_bucket(l.duration_seconds), l.duration_seconds),
                    ('cost', rollup_bucket(l.cost), l.cost)) AS m (measure, bucket, value)
            WHERE l.org_id = p_org_id AND l.id >= time_floor_uuid(v_since) AND l.id < time_floor_uuid(v_since + interval '1 hour')
                AND a.agent_id IS NOT NULL AND m.bucket IS NOT NULL
            GROUP BY a.agent_id, m.measure, l.started_at IS NOT NULL, m.bucket;
    END LOOP;
    FOR v_since IN SELECT DISTINCT date_trunc('day', h, 'UTC') FROM unnest(p_hours) AS h LOOP
        PERFORM delete_call_rollups('day', v_since);
        INSERT INTO call_rollups (org_id, agent_id, period, measure, since, is_connected, bucket, calls, total, lowest, highest, exact)
            SELECT p_org_id, r.agent_id, 'day', r.measure, v_since, r.is_connected, r.bucket, sum(r.calls), sum(r.total),
                min(r.lowest), max(r.highest),
                CASE WHEN sum(sum(r.calls)) OVER (PARTITION BY r.agent_id, r.measure, r.is_connected) <= max_exact_values() THEN all_values(r.exact) END
            FROM call_rollups r
            WHERE r.org_id = p_org_id AND r.period = 'hour' AND r.since >= v_since AND r.since < v_since + interval '1 day'
            GROUP BY r.agent_id, r.measure, r.is_connected, r.bucket;
    END LOOP;
END
$$;
COMMENT ON FUNCTION rebuild_call_rollups IS
    'Replaces the call_rollups of some hours, and of the days of these hours. An hour has the calls whose first event '
    'arrived in it. The deletion of a call must call it too.';

CREATE FUNCTION roll_up_v1(p_org_id uuid, p_limit integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_cursor rollup_cursors;
    v_events integer;
    v_xact   xid8;
    v_seq    bigint;
    v_calls  text[];
    v_since  timestamptz[];
BEGIN
    PERFORM enter_org(p_org_id);
    INSERT INTO rollup_cursors (org_id) VALUES (p_org_id) ON CONFLICT (org_id) DO NOTHING;
    SELECT * INTO v_cursor FROM rollup_cursors WHERE org_id = p_org_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        -- Another caller is counting this org.
        RETURN 0;
    END IF;
    WITH batch AS MATERIALIZED (
        SELECT e.* FROM processed_webhook_events e
        WHERE e.org_id = p_org_id AND (e.xact, e.seq) > (v_cursor.xact, v_cursor.seq)
            -- Events of transactions that may still be in progress are left for the next batch, so none is skipped.
            AND e.xact < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY e.xact, e.seq LIMIT p_limit
    ),
    measured AS (
        SELECT p.period, date_trunc(p.period, b.received_at, 'UTC') AS since, m.measure, coalesce(m.bucket, rollup_bucket(m.value)) AS bucket, m.value
        FROM batch b, (VALUES ('hour'), ('day')) AS p (period),
            -- Only events that arrived as webhooks have latencies: delivery_ms is from the time of Vapi's message to
            -- its receipt by the webhook function, and apply_ms from there to the transaction that applies it, including
            -- the wait in queues. A time before the start is a difference between two clocks and counts as 0.
            LATERAL (SELECT extract(epoch FROM b.received_at - b.message_time) * 1000 AS delivery_ms,
                extract(epoch FROM b.processed_at - b.received_at) * 1000 AS apply_ms
                WHERE b.event_type NOT IN ('operation-failed', 'recording-ready')) AS l,
            LATERAL (VALUES
                ('delivery_ms', NULL, CASE WHEN l.delivery_ms < 0 THEN 0 ELSE l.delivery_ms END),
                ('apply_ms', NULL, CASE WHEN l.apply_ms < 0 THEN 0 ELSE l.apply_ms END)) AS m (measure, bucket, value)
        WHERE m.value IS NOT NULL
        UNION ALL
        SELECT p.period, date_trunc(p.period, b.received_at, 'UTC'), m.measure, m.bucket, NULL
        FROM batch b, (VALUES ('hour'), ('day')) AS p (period), LATERAL (VALUES
            ('type', b.event_type),
            ('failure', CASE b.event_type WHEN 'operation-failed' THEN b.event ->> 'code' END)) AS m (measure, bucket)
        WHERE m.bucket IS NOT NULL
    ),
    added AS (
        INSERT INTO event_rollups AS r (org_id, period, measure, since, bucket, events, lowest, highest, exact)
            SELECT p_org_id, m.period, m.measure, m.since, m.bucket, count(*), min(m.value), max(m.value),
                array_agg(m.value) FILTER (WHERE m.value IS NOT NULL)
            FROM measured m GROUP BY m.period, m.measure, m.since, m.bucket
            ON CONFLICT (org_id, period, measure, since, bucket) DO UPDATE SET events = r.events + excluded.events,
                lowest = least(r.lowest, excluded.lowest), highest = greatest(r.highest, excluded.highest),
                -- NULL || an array is the array.
                exact = CASE WHEN r.exact IS NOT NULL THEN r.exact || excluded.exact END
    )
    SELECT count(*), (array_agg(b.xact ORDER BY b.xact DESC, b.seq DESC))[1], (array_agg(b.seq ORDER BY b.xact DESC, b.seq DESC))[1],
            array_agg(DISTINCT b.vapi_call_id),
            array_agg(DISTINCT date_trunc('hour', b.received_at, 'UTC')) || array_agg(DISTINCT date_trunc('day', b.received_at, 'UTC'))
        INTO v_events, v_xact, v_seq, v_calls, v_since FROM batch b;
    IF v_events > 0 THEN
        -- Percentiles of more values are not exact, so these are of no use any more.
        UPDATE event_rollups r SET exact = NULL
            WHERE r.org_id = p_org_id AND r.period = ANY ('{hour,day}') AND r.measure = ANY ('{delivery_ms,apply_ms}')
                AND r.since = ANY (v_since) AND r.exact IS NOT NULL
                AND max_exact_values() < (SELECT sum(s.events) FROM event_rollups s
                    WHERE s.org_id = p_org_id AND s.period = r.period AND s.measure = r.measure AND s.since = r.since);
        UPDATE rollup_cursors SET xact = v_xact, seq = v_seq WHERE org_id = p_org_id;
        PERFORM rebuild_call_rollups(p_org_id, ARRAY(
            SELECT DISTINCT uuid_hour(l.id) FROM call_logs l WHERE l.org_id = p_org_id AND l.vapi_call_id = ANY (v_calls)));
    END IF;
    RETURN v_events;
END
$$;
COMMENT ON FUNCTION roll_up_v1 IS
    'Counts the next events of an org''s log, at most p_limit, and rebuilds the hours of their calls. Returns the '
    'count of events.';

CREATE FUNCTION show_numbers_v1(p_org_id uuid, p_agent_id uuid, p_since timestamptz, p_until timestamptz, p_period text) RETURNS jsonb
-- How much of the index is read depends on the parameters, so each execution needs its own plan (roles.sql sets generic
-- plans).
LANGUAGE plpgsql STABLE SET plan_cache_mode = 'force_custom_plan' AS $$
DECLARE
    v_all    constant uuid := '00000000-0000-0000-0000-000000000000';
    v_since  timestamptz := date_trunc(p_period, p_since, 'UTC');
    v_result jsonb;
BEGIN
    PERFORM enter_org(p_org_id);
    WITH counted AS MATERIALIZED (
        SELECT r.* FROM call_rollups r
        WHERE r.org_id = p_org_id AND r.agent_id = coalesce(p_agent_id, v_all) AND r.period = p_period
            AND r.measure = ANY ('{family,duration,cost}') AND r.since >= v_since AND r.since < p_until
    ),
    -- group_name is all (all calls) or connected (answered calls).
    distributions AS (
        SELECT c.measure, g.group_name,
            rollup_percentiles(array_agg(ROW(c.bucket::integer, c.calls, c.lowest, c.highest, c.exact)::rollup_part))
            || jsonb_build_object('calls', sum(c.calls), 'total', sum(c.total)) AS numbers
        FROM counted c, LATERAL (VALUES ('all'), (CASE WHEN c.is_connected THEN 'connected' END)) AS g (group_name)
        WHERE c.measure <> 'family' AND g.group_name IS NOT NULL
        GROUP BY c.measure, g.group_name
    ),
    events AS MATERIALIZED (
        SELECT e.* FROM event_rollups e
        WHERE e.org_id = p_org_id AND e.period = p_period AND e.measure = ANY ('{type,failure,delivery_ms,apply_ms}')
            AND e.since >= v_since AND e.since < p_until
    )
    SELECT jsonb_build_object(
        'hours', (SELECT coalesce(jsonb_agg(jsonb_build_object('hour', h.hour, 'calls', coalesce(c.calls, 0), 'connected', coalesce(c.connected, 0),
                'failures', coalesce(f.failures, 0)) ORDER BY h.hour), '[]')
            FROM generate_series(v_since, p_until - interval '1 microsecond', interval '1 hour') AS h (hour)
            LEFT JOIN (SELECT r.since AS hour, sum(r.calls) AS calls, sum(r.calls) FILTER (WHERE r.is_connected) AS connected
                FROM call_rollups r
                WHERE r.org_id = p_org_id AND r.agent_id = coalesce(p_agent_id, v_all) AND r.period = 'hour' AND r.measure = 'family'
                    AND r.since >= v_since AND r.since < p_until GROUP BY r.since) AS c USING (hour)
            LEFT JOIN (SELECT e.since AS hour, sum(e.events) AS failures FROM event_rollups e
                WHERE e.org_id = p_org_id AND e.period = 'hour' AND e.measure = 'failure' AND e.since >= v_since AND e.since < p_until
                GROUP BY e.since) AS f USING (hour)),
        'families', (SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.calls DESC, f.family), '[]') FROM (
            SELECT c.bucket AS family, sum(c.calls) AS calls, coalesce(sum(c.calls) FILTER (WHERE c.is_connected), 0) AS connected
            FROM counted c WHERE c.measure = 'family' GROUP BY c.bucket) AS f),
        'durations', (SELECT coalesce(jsonb_object_agg(d.group_name, d.numbers), '{}') FROM distributions d WHERE d.measure = 'duration'),
        'costs', (SELECT coalesce(jsonb_object_agg(d.group_name, d.numbers), '{}') FROM distributions d WHERE d.measure = 'cost'),
        'latencies', (SELECT coalesce(jsonb_object_agg(l.measure, l.numbers), '{}') FROM (
            SELECT e.measure, rollup_percentiles(array_agg(ROW(e.bucket::integer, e.events, e.lowest, e.highest, e.exact)::rollup_part))
                || jsonb_build_object('calls', sum(e.events), 'total', NULL) AS numbers
            FROM events e WHERE e.measure IN ('delivery_ms', 'apply_ms') GROUP BY e.measure) AS l),
        'types', (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.events DESC, t.name), '[]') FROM (
            SELECT e.bucket AS name, sum(e.events) AS events FROM events e WHERE e.measure = 'type' GROUP BY e.bucket) AS t),
        'failures', (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.events DESC, t.name), '[]') FROM (
            SELECT e.bucket AS name, sum(e.events) AS events FROM events e WHERE e.measure = 'failure' GROUP BY e.bucket) AS t),
        'agents', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'name', a.name, 'calls', c.calls, 'connected', c.connected)
                ORDER BY c.calls DESC NULLS LAST, a.name, a.id), '[]')
            FROM (SELECT * FROM agents g WHERE g.org_id = p_org_id ORDER BY g.name, g.id LIMIT 200) AS a, LATERAL (
                SELECT sum(r.calls) AS calls, coalesce(sum(r.calls) FILTER (WHERE r.is_connected), 0) AS connected FROM call_rollups r
                WHERE r.org_id = p_org_id AND r.agent_id = a.id AND r.period = p_period AND r.measure = 'family'
                    AND r.since >= v_since AND r.since < p_until) AS c))
    INTO v_result;
    RETURN v_result;
END
$$;
COMMENT ON FUNCTION show_numbers_v1 IS
    'Returns the Numbers page of an org, for one agent or (NULL) for all calls. The range starts at the hour or day '
    '(p_period) of p_since and ends before p_until. The chart is always hourly; all other figures read the rollups of '
    'p_period. Percentiles are those of rollup_percentiles; calls and events without a value are left out.';

GRANT EXECUTE ON FUNCTION uuid_hour, rollup_bucket, max_exact_values, all_values(numeric[]), rollup_percentiles, rebuild_call_rollups
    TO ringfence_app, ringfence_ops;
GRANT EXECUTE ON FUNCTION roll_up_v1, show_numbers_v1 TO ringfence_app;
