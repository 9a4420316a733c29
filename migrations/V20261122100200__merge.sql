-- The merge rules. A call's rows are a function of the set of its kept events: whatever order they came in, whatever came
-- twice, the fold over the set is the same. Everything here raises on failure; nothing here catches.

CREATE FUNCTION call_status_rank(p_status text) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE p_status
        WHEN 'scheduled' THEN 10
        WHEN 'queued' THEN 20
        WHEN 'ringing' THEN 30
        WHEN 'in-progress' THEN 40
        WHEN 'forwarding' THEN 50
        WHEN 'ended' THEN 100
        WHEN 'completed' THEN 100
        ELSE 0
    END::smallint
$$;
COMMENT ON FUNCTION call_status_rank IS
    'A status only moves up this ranking. Statuses that Vapi may add rank lowest until they are given a place. '
    'The same order as ringfence_vapi::status::STATUSES; a test compares them.';

CREATE FUNCTION higher_status(p_one text, p_other text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN call_status_rank(p_other) >= call_status_rank(p_one) THEN coalesce(p_other, p_one) ELSE p_one END
$$;

-- The last known value of an ordered set. Strict: an unknown value (NULL) never replaces a known one.
CREATE FUNCTION newer(p_old anyelement, p_new anyelement) RETURNS anyelement
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT p_new $$;
CREATE AGGREGATE latest_known(anyelement) (SFUNC = newer, STYPE = anyelement);
COMMENT ON AGGREGATE latest_known(anyelement) IS 'The last value that is not NULL, in the order of the input.';
CREATE AGGREGATE highest_status(text) (SFUNC = higher_status, STYPE = text);
COMMENT ON AGGREGATE highest_status(text) IS 'The status that ranks highest; of several, the last in the order of the input.';

-- What is known of a call. NULL: unknown.
CREATE TYPE call_facts AS (
    status             text,
    call_type          text,
    direction          text,
    agent_id           uuid,
    lead_id            uuid,
    our_number         text,
    customer_number    text,
    answered           boolean,
    called_at          timestamptz,
    started_at         timestamptz,
    ended_at           timestamptz,
    contacted_at       timestamptz,
    contacted_numbers  text[],
    duration_seconds   integer,
    ended_reason       text,
    reason_family      text,
    cost               numeric,
    cost_breakdown     jsonb,
    summary            text,
    success_evaluation text,
    structured_data    jsonb,
    structured_outputs jsonb,
    transcript         text,
    recording_url      text,
    recording_path     text,
    metadata           jsonb,
    is_test            boolean
);

CREATE FUNCTION find_agent(
    p_org_id uuid, p_assistant_id text, p_squad_id text, p_phone_number_id text, p_phone_number text
) RETURNS uuid LANGUAGE sql STABLE AS $$
    -- The assistant says most about who speaks; a number may be shared by several.
    SELECT id FROM agents
    WHERE org_id = p_org_id
        AND (vapi_assistant_id = p_assistant_id OR vapi_squad_id = p_squad_id
            OR vapi_phone_number_id = p_phone_number_id OR phone_number = p_phone_number)
    ORDER BY (vapi_assistant_id = p_assistant_id) IS TRUE DESC, (vapi_squad_id = p_squad_id) IS TRUE DESC,
        (vapi_phone_number_id = p_phone_number_id) IS TRUE DESC, created_at, id
    LIMIT 1
$$;

CREATE FUNCTION find_lead(p_org_id uuid, p_phone text) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT id FROM leads WHERE org_id = p_org_id AND phone = p_phone
$$;

CREATE FUNCTION kept_facts(p_org_id uuid, p_vapi_call_id text) RETURNS TABLE (
    event_id text, message_time timestamptz, is_report boolean, row_status text, status text,
    type text, direction text, our_number text, customer_number text, created_at timestamptz,
    assistant_id text, squad_id text, phone_number_id text, metadata jsonb, is_test boolean,
    started_at timestamptz, ended_at timestamptz, duration_seconds integer, ended_reason text, reason_family text,
    cost numeric, cost_breakdown jsonb, summary text, success_evaluation text, structured_data jsonb,
    structured_outputs jsonb, transcript text, recording_url text, stereo_recording_url text
) LANGUAGE sql STABLE AS $$
    -- In total order: what a report says weighs more than what status updates let guess; then the message's own time;
    -- then the event's key, which is a hash of its content. When the event was received plays no part. jsonb_to_record
    -- unpacks each event once; picking field by field would decompress a large report once per field.
    SELECT e.event_id, e.message_time, e.event_type = 'end-of-call-report' AS is_report,
        CASE WHEN e.event_type = 'end-of-call-report' OR r.status = 'ended' THEN 'completed' ELSE r.status END, r.status,
        c.type, c.direction, c.our_number, c.customer_number, c.created_at,
        c.assistant_id, c.squad_id, c.phone_number_id, c.metadata, c.is_test,
        r.started_at, r.ended_at, r.duration_seconds, r.ended_reason, r.reason_family,
        r.cost, r.cost_breakdown, r.summary, r.success_evaluation, r.structured_data,
        r.structured_outputs, r.transcript, r.recording_url, r.stereo_recording_url
    FROM (
            -- Two ranges of the index, each asked for by itself: of one question for either, a plan that was made while the
            -- table was small reads all events of the org, and a connection keeps its plans.
            SELECT s.* FROM processed_webhook_events s
            WHERE s.org_id = p_org_id
                AND s.event_id > 'status-update:' || p_vapi_call_id || ':' AND s.event_id < 'status-update:' || p_vapi_call_id || ';'
            UNION ALL
            SELECT s.* FROM processed_webhook_events s
            WHERE s.org_id = p_org_id
                AND s.event_id > 'end-of-call-report:' || p_vapi_call_id || ':'
                AND s.event_id < 'end-of-call-report:' || p_vapi_call_id || ';'
        ) AS e,
        jsonb_to_record(e.event) AS r (
            call jsonb, status text, started_at timestamptz, ended_at timestamptz, duration_seconds integer,
            ended_reason text, reason_family text, cost numeric, cost_breakdown jsonb, summary text,
            success_evaluation text, structured_data jsonb, structured_outputs jsonb, transcript text,
            recording_url text, stereo_recording_url text),
        jsonb_to_record(r.call) AS c (
            type text, direction text, our_number text, customer_number text, created_at timestamptz,
            assistant_id text, squad_id text, phone_number_id text, metadata jsonb, is_test boolean)
    -- ';' follows ':': each pair is the range of the index that holds this call's events of one type.
    WHERE e.vapi_call_id = p_vapi_call_id
        -- Timeline events share the prefix of status updates and say nothing of the call's facts.
        AND e.event ->> 'kind' <> 'call-event'
    ORDER BY is_report, e.message_time NULLS FIRST, e.event_id
$$;
COMMENT ON FUNCTION kept_facts IS 'What each kept status update and report of a call says, the weightiest last.';

CREATE FUNCTION kept_call_facts(p_org_id uuid, p_vapi_call_id text) RETURNS call_facts LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_facts     call_facts;
    v_assistant text;
    v_squad     text;
    v_number_id text;
    v_differ    boolean;
BEGIN
    -- No aggregate here may have an ORDER BY of its own: from PostgreSQL 16 on it would order the input of all the others.
    SELECT
        highest_status(k.row_status),
        latest_known(k.type), latest_known(k.direction),
        latest_known(k.our_number), latest_known(k.customer_number),
        bool_or(k.status IN ('in-progress', 'forwarding') OR k.started_at IS NOT NULL OR k.duration_seconds > 0),
        min(coalesce(k.created_at, k.message_time)),
        coalesce(latest_known(k.started_at), min(k.message_time) FILTER (WHERE k.status = 'in-progress')),
        coalesce(latest_known(k.ended_at), min(k.message_time) FILTER (WHERE k.status = 'ended')),
        -- A lead's last contact only moves forward, so here the latest of all candidates counts.
        max(coalesce(k.ended_at, k.message_time)) FILTER (WHERE k.row_status = 'completed'),
        array_agg(k.customer_number) FILTER (WHERE k.customer_number IS NOT NULL),
        latest_known(k.duration_seconds),
        latest_known(k.ended_reason), latest_known(k.reason_family),
        latest_known(k.cost), latest_known(k.cost_breakdown),
        latest_known(k.summary), latest_known(k.success_evaluation),
        latest_known(k.structured_data), latest_known(k.structured_outputs), latest_known(k.transcript),
        coalesce(latest_known(k.recording_url), latest_known(k.stereo_recording_url)),
        latest_known(k.metadata), bool_or(k.is_test),
        latest_known(k.assistant_id), latest_known(k.squad_id), latest_known(k.phone_number_id),
        min(k.parties) <> max(k.parties)
    INTO
        v_facts.status, v_facts.call_type, v_facts.direction, v_facts.our_number, v_facts.customer_number,
        v_facts.answered, v_facts.called_at, v_facts.started_at, v_facts.ended_at, v_facts.contacted_at,
        v_facts.contacted_numbers, v_facts.duration_seconds, v_facts.ended_reason, v_facts.reason_family, v_facts.cost,
        v_facts.cost_breakdown, v_facts.summary, v_facts.success_evaluation, v_facts.structured_data,
        v_facts.structured_outputs, v_facts.transcript, v_facts.recording_url, v_facts.metadata, v_facts.is_test,
        v_assistant, v_squad, v_number_id, v_differ
    FROM (
        SELECT *, concat_ws('|', f.assistant_id, f.squad_id, f.phone_number_id, f.our_number, f.customer_number) AS parties
        FROM kept_facts(p_org_id, p_vapi_call_id) AS f
    ) AS k;

    v_facts.duration_seconds := coalesce(v_facts.duration_seconds,
        round(extract(epoch FROM greatest(v_facts.ended_at - v_facts.started_at, interval '0')))::integer);
    v_facts.agent_id := find_agent(p_org_id, v_assistant, v_squad, v_number_id, v_facts.our_number);
    v_facts.lead_id := find_lead(p_org_id, v_facts.customer_number);
    -- The latest names may be of nobody known here while earlier ones were: a call handed over, say. A link that an earlier
    -- fold could find must be found by every later one, or the order of receipt would show.
    IF v_differ AND (v_facts.agent_id IS NULL OR v_facts.lead_id IS NULL) THEN
        SELECT coalesce(v_facts.agent_id, latest_known(
                find_agent(p_org_id, k.assistant_id, k.squad_id, k.phone_number_id, k.our_number))),
            coalesce(v_facts.lead_id, latest_known(find_lead(p_org_id, k.customer_number)))
        INTO v_facts.agent_id, v_facts.lead_id
        FROM kept_facts(p_org_id, p_vapi_call_id) AS k;
    END IF;
    RETURN v_facts;
END
$$;
COMMENT ON FUNCTION kept_call_facts IS
    'Folds the kept status updates and reports of a call, field by field, known over unknown. Read under the lock that '
    'lock_call takes, in a statement of its own, so that it sees every event committed before.';

CREATE FUNCTION lock_call(p_org_id uuid, p_vapi_call_id text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_id uuid;
BEGIN
    -- One lock order everywhere: claim, call_logs, call_tracking, calls, transcripts, leads.
    INSERT INTO call_logs (org_id, vapi_call_id) VALUES (p_org_id, p_vapi_call_id)
        ON CONFLICT (org_id, vapi_call_id) DO NOTHING;
    SELECT id INTO v_id FROM call_logs
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id FOR NO KEY UPDATE;
    -- Whoever waited here while the call was erased tries again, and finds it so before anything is written.
    IF NOT FOUND OR is_call_erased(p_org_id, p_vapi_call_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'the call is erased';
    END IF;
    INSERT INTO call_tracking (org_id, vapi_call_id) VALUES (p_org_id, p_vapi_call_id)
        ON CONFLICT (org_id, vapi_call_id) DO NOTHING;
    INSERT INTO calls (id, org_id, vapi_call_id) VALUES (v_id, p_org_id, p_vapi_call_id)
        ON CONFLICT (org_id, vapi_call_id) DO NOTHING;
    RETURN v_id;
END
$$;
COMMENT ON FUNCTION lock_call IS 'Makes sure that the call''s three rows exist, and locks the call until the end of the transaction.';

CREATE FUNCTION merge_call(p_org_id uuid, p_vapi_call_id text, p_facts call_facts) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_call call_logs;
    v_from text := CASE p_facts.direction WHEN 'outbound' THEN p_facts.our_number ELSE p_facts.customer_number END;
    v_to   text := CASE p_facts.direction WHEN 'outbound' THEN p_facts.customer_number ELSE p_facts.our_number END;
BEGIN
    IF p_facts.direction IS NULL THEN
        -- Who called whom is not known yet; a guess now could not be told from a fact later.
        v_from := NULL;
        v_to := NULL;
    END IF;
    UPDATE call_logs SET
        status = higher_status(status, p_facts.status),
        direction = coalesce(p_facts.direction, direction),
        from_number = coalesce(v_from, from_number),
        to_number = coalesce(v_to, to_number),
        started_at = coalesce(p_facts.started_at, started_at),
        ended_at = coalesce(p_facts.ended_at, ended_at),
        duration_seconds = coalesce(p_facts.duration_seconds, duration_seconds),
        ended_reason = coalesce(p_facts.ended_reason, ended_reason),
        outcome = coalesce(p_facts.reason_family, outcome),
        summary = coalesce(p_facts.summary, summary),
        success_evaluation = coalesce(p_facts.success_evaluation, success_evaluation),
        structured_data = coalesce(p_facts.structured_data, structured_data),
        structured_outputs = coalesce(p_facts.structured_outputs, structured_outputs),
        cost = coalesce(p_facts.cost, cost),
        cost_breakdown = coalesce(p_facts.cost_breakdown, cost_breakdown),
        transcript = coalesce(p_facts.transcript, transcript),
        recording_url = coalesce(p_facts.recording_url, recording_url),
        recording_storage_path = coalesce(p_facts.recording_path, recording_storage_path),
        agent_id = coalesce(p_facts.agent_id, agent_id),
        lead_id = coalesce(p_facts.lead_id, lead_id),
        metadata = coalesce(p_facts.metadata, metadata),
        updated_at = now()
    WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id
    RETURNING * INTO STRICT v_call;

    UPDATE call_tracking SET
        status = v_call.status,
        phone_number = coalesce(p_facts.customer_number, phone_number),
        agent_id = v_call.agent_id,
        lead_id = v_call.lead_id,
        answered = answered OR coalesce(p_facts.answered, false),
        called_at = least(called_at, p_facts.called_at),
        started_at = v_call.started_at,
        ended_at = v_call.ended_at,
        duration_seconds = v_call.duration_seconds,
        metadata = v_call.metadata,
        updated_at = now()
    WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;

    UPDATE calls SET
        status = v_call.status,
        call_type = coalesce(p_facts.call_type, call_type),
        started_at = v_call.started_at,
        duration_seconds = v_call.duration_seconds,
        reason_family = v_call.outcome,
        cost = v_call.cost,
        recording_state = CASE WHEN v_call.recording_storage_path IS NOT NULL THEN 'stored'
            WHEN recording_state = 'removed' THEN 'removed'
            WHEN v_call.recording_url IS NOT NULL THEN 'linked' ELSE 'none' END,
        recording_path = v_call.recording_storage_path,
        updated_at = now()
    WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;

    -- The lead of a real call that ended was contacted: should its events name several, each of them, since what was contacted
    -- stays so. Both columns only ever move up.
    IF v_call.status = 'completed' AND v_call.lead_id IS NOT NULL AND p_facts.is_test IS NOT TRUE
        AND NOT coalesce(v_call.metadata @> '{"is_test_call": true}', false)
    THEN
        UPDATE leads SET
            status = CASE status WHEN 'new' THEN 'contacted' ELSE status END,
            last_contacted_at = greatest(last_contacted_at, p_facts.contacted_at)
        WHERE org_id = p_org_id AND (id = v_call.lead_id OR phone = ANY (p_facts.contacted_numbers))
            AND (status = 'new' OR last_contacted_at IS DISTINCT FROM greatest(last_contacted_at, p_facts.contacted_at));
    END IF;
END
$$;
COMMENT ON FUNCTION merge_call IS
    'Writes what is known of a call into its rows: a known value never gives way to an unknown one, the status only moves up.';
