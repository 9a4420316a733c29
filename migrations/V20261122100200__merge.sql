-- The merge rules. A call's rows are the fold over the set of its retained events (retained_call_facts): any order of receipt
-- and any duplicates end in the same rows. An event that is newer than all others of its call is merged into the rows by
-- itself (merge_call), which ends in the same rows as the whole fold and does not read the others. Everything here raises on
-- failure; nothing here catches.
--
-- PostgreSQL plans the body of a function in LANGUAGE sql anew in each transaction unless it can inline it. Therefore only
-- expressions are LANGUAGE sql here; functions with statements are plpgsql, which keeps their plans.

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
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$ BEGIN RETURN p_new; END $$;
CREATE AGGREGATE latest_known(anyelement) (SFUNC = newer, STYPE = anyelement);
COMMENT ON AGGREGATE latest_known(anyelement) IS 'The last value that is not NULL, in the order of the input.';
CREATE FUNCTION higher_status_step(p_one text, p_other text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN RETURN higher_status(p_one, p_other); END $$;
CREATE AGGREGATE highest_status(text) (SFUNC = higher_status_step, STYPE = text);
COMMENT ON AGGREGATE highest_status(text) IS 'The status that ranks highest; of several, the last in the order of the input.';

CREATE TYPE call_facts AS (
    -- Under the names of the typed event and of its "call" (jsonb_populate_record).
    status               text,
    type                 text,
    direction            text,
    created_at           timestamptz,
    assistant_id         text,
    squad_id             text,
    phone_number_id      text,
    our_number           text,
    customer_number      text,
    metadata             jsonb,
    is_test              boolean,
    message_time         timestamptz,
    started_at           timestamptz,
    ended_at             timestamptz,
    duration_seconds     integer,
    ended_reason         text,
    reason_family        text,
    cost                 numeric,
    cost_breakdown       jsonb,
    summary              text,
    success_evaluation   text,
    structured_data      jsonb,
    structured_outputs   jsonb,
    transcript           text,
    recording_url        text,
    stereo_recording_url text,
    -- Of several events, of functions, or derived.
    agent_id               uuid,
    lead_id                uuid,
    answered               boolean,
    called_at              timestamptz,
    contacted_at           timestamptz,
    contacted_numbers      text[],
    recording_storage_path text,
    folded_until           timestamptz,
    folded_report          boolean,
    folded_parties         bigint
);
COMMENT ON TYPE call_facts IS
    'What is known of a call; NULL: unknown. contacted_numbers: all customers that events name, if there are several. '
    'folded_*: which events say so, as in call_logs; NULL: no event does.';

CREATE FUNCTION parties_hash(
    p_assistant_id text, p_squad_id text, p_phone_number_id text, p_our_number text, p_customer_number text, p_is_test boolean
) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hash_record_extended(ROW(p_assistant_id, p_squad_id, p_phone_number_id, p_our_number, p_customer_number,
        coalesce(p_is_test, false)), 0)
$$;
COMMENT ON FUNCTION parties_hash IS
    'Stands for who takes part in a call, and whether it is a test. An event that says the same as those before it leads to the '
    'same agent and lead, so neither is looked up again.';

CREATE FUNCTION find_agent(
    p_org_id uuid, p_assistant_id text, p_squad_id text, p_phone_number_id text, p_phone_number text
) RETURNS uuid LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF num_nonnulls(p_assistant_id, p_squad_id, p_phone_number_id, p_phone_number) = 0 THEN
        RETURN NULL;
    END IF;
    -- The assistant says most about who speaks; a number may be shared by several.
    RETURN (SELECT id FROM agents
        WHERE org_id = p_org_id
            AND (vapi_assistant_id = p_assistant_id OR vapi_squad_id = p_squad_id
                OR vapi_phone_number_id = p_phone_number_id OR phone_number = p_phone_number)
        ORDER BY (vapi_assistant_id = p_assistant_id) IS TRUE DESC, (vapi_squad_id = p_squad_id) IS TRUE DESC,
            (vapi_phone_number_id = p_phone_number_id) IS TRUE DESC, created_at, id
        LIMIT 1);
END
$$;

CREATE FUNCTION find_lead(p_org_id uuid, p_phone text) RETURNS uuid LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_phone IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT id FROM leads WHERE org_id = p_org_id AND phone = p_phone);
END
$$;

CREATE FUNCTION seconds_between(p_from timestamptz, p_until timestamptz) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN round(extract(epoch FROM greatest(p_until - p_from, interval '0')));
END
$$;

CREATE FUNCTION event_facts(p_event jsonb) RETURNS call_facts LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_facts     call_facts := jsonb_populate_record(jsonb_populate_record(NULL::call_facts, p_event), p_event -> 'call');
    v_is_report boolean    := p_event ->> 'kind' = 'end-of-call-report';
BEGIN
    v_facts.answered := coalesce(v_facts.status IN ('in-progress', 'forwarding') OR v_facts.started_at IS NOT NULL
        OR v_facts.duration_seconds > 0, false);
    v_facts.called_at := coalesce(v_facts.created_at, v_facts.message_time);
    IF v_is_report OR v_facts.status = 'ended' THEN
        v_facts.contacted_at := coalesce(v_facts.ended_at, v_facts.message_time);
    END IF;
    IF v_is_report THEN
        v_facts.status := 'completed';
    ELSIF v_facts.status = 'ended' THEN
        v_facts.status := 'completed';
        v_facts.ended_at := v_facts.message_time;
    ELSIF v_facts.status = 'in-progress' THEN
        v_facts.started_at := v_facts.message_time;
    END IF;
    v_facts.folded_until := coalesce(v_facts.message_time, '-infinity');
    v_facts.folded_report := v_is_report;
    v_facts.folded_parties := parties_hash(v_facts.assistant_id, v_facts.squad_id, v_facts.phone_number_id, v_facts.our_number,
        v_facts.customer_number, v_facts.is_test);
    RETURN v_facts;
END
$$;
COMMENT ON FUNCTION event_facts IS 'What one status update or report says of its call.';

CREATE FUNCTION retained_call_facts(p_org_id uuid, p_vapi_call_id text) RETURNS call_facts LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_facts      call_facts;
    v_said       call_facts[];
    v_is_several boolean;
    v_parties    bigint;
BEGIN
    -- In total order: what a report says weighs more than what status updates let guess; then the message's own time; then the
    -- event's key, which is a hash of its content. When the event was received plays no part.
    v_said := ARRAY(
        SELECT f
        FROM (
                -- Two ranges of the index, each asked for by itself: of one question for either, a plan that was made while the
                -- table was small reads all events of the org, and a connection keeps its plans. ';' follows ':'.
                SELECT s.* FROM processed_webhook_events s
                WHERE s.org_id = p_org_id
                    AND s.event_id > 'status-update:' || p_vapi_call_id || ':' AND s.event_id < 'status-update:' || p_vapi_call_id || ';'
                UNION ALL
                SELECT s.* FROM processed_webhook_events s
                WHERE s.org_id = p_org_id
                    AND s.event_id > 'end-of-call-report:' || p_vapi_call_id || ':'
                    AND s.event_id < 'end-of-call-report:' || p_vapi_call_id || ';'
            ) AS e,
            event_facts(e.event) AS f
        WHERE e.vapi_call_id = p_vapi_call_id
            -- Timeline events share the prefix of status updates and say nothing of the call's facts.
            AND e.event ->> 'kind' <> 'call-event'
        ORDER BY f.folded_report, f.folded_until, e.event_id);

    -- No aggregate here may have an ORDER BY of its own: from PostgreSQL 16 on it would order the input of all the others.
    SELECT
        highest_status(k.status),
        latest_known(k.type), latest_known(k.direction),
        latest_known(k.assistant_id), latest_known(k.squad_id), latest_known(k.phone_number_id),
        latest_known(k.our_number), latest_known(k.customer_number), min(k.customer_number) <> max(k.customer_number),
        latest_known(k.metadata), bool_or(k.is_test),
        bool_or(k.answered), min(k.called_at),
        -- A report knows these times; status updates let them be concluded from when they were sent.
        coalesce(latest_known(k.started_at) FILTER (WHERE k.folded_report), min(k.started_at) FILTER (WHERE NOT k.folded_report)),
        coalesce(latest_known(k.ended_at) FILTER (WHERE k.folded_report), min(k.ended_at) FILTER (WHERE NOT k.folded_report)),
        -- A lead's last contact only moves forward, so here the latest of all candidates counts.
        max(k.contacted_at),
        latest_known(k.duration_seconds),
        latest_known(k.ended_reason), latest_known(k.reason_family),
        latest_known(k.cost), latest_known(k.cost_breakdown),
        latest_known(k.summary), latest_known(k.success_evaluation),
        latest_known(k.structured_data), latest_known(k.structured_outputs), latest_known(k.transcript),
        latest_known(k.recording_url), latest_known(k.stereo_recording_url),
        coalesce(bool_or(k.folded_report), false),
        coalesce(max(k.folded_until) FILTER (WHERE k.folded_report), max(k.folded_until))
    INTO
        v_facts.status,
        v_facts.type, v_facts.direction,
        v_facts.assistant_id, v_facts.squad_id, v_facts.phone_number_id,
        v_facts.our_number, v_facts.customer_number, v_is_several,
        v_facts.metadata, v_facts.is_test,
        v_facts.answered, v_facts.called_at,
        v_facts.started_at,
        v_facts.ended_at,
        v_facts.contacted_at,
        v_facts.duration_seconds,
        v_facts.ended_reason, v_facts.reason_family,
        v_facts.cost, v_facts.cost_breakdown,
        v_facts.summary, v_facts.success_evaluation,
        v_facts.structured_data, v_facts.structured_outputs, v_facts.transcript,
        v_facts.recording_url, v_facts.stereo_recording_url,
        v_facts.folded_report,
        v_facts.folded_until
    FROM unnest(v_said) AS k;

    v_facts.folded_until := coalesce(v_facts.folded_until, '-infinity');
    v_parties := parties_hash(v_facts.assistant_id, v_facts.squad_id, v_facts.phone_number_id, v_facts.our_number,
        v_facts.customer_number, v_facts.is_test);
    v_facts.duration_seconds := coalesce(v_facts.duration_seconds, seconds_between(v_facts.started_at, v_facts.ended_at));
    v_facts.agent_id := find_agent(p_org_id, v_facts.assistant_id, v_facts.squad_id, v_facts.phone_number_id, v_facts.our_number);
    v_facts.lead_id := find_lead(p_org_id, v_facts.customer_number);
    -- The latest names may be of nobody known here while earlier ones were: a call handed over, say. A link that an earlier
    -- fold could find must be found by every later one, or the order of receipt would show.
    IF v_facts.agent_id IS NULL OR v_facts.lead_id IS NULL THEN
        SELECT coalesce(v_facts.agent_id, latest_known(
                find_agent(p_org_id, k.assistant_id, k.squad_id, k.phone_number_id, k.our_number))),
            coalesce(v_facts.lead_id, latest_known(find_lead(p_org_id, k.customer_number)))
        INTO v_facts.agent_id, v_facts.lead_id
        FROM unnest(v_said) AS k WHERE k.folded_parties <> v_parties;
    END IF;
    IF v_is_several THEN
        -- Each of these customers has a lead to be contacted, so every event folds them all (folded_parties unknown).
        v_facts.contacted_numbers := ARRAY(SELECT k.customer_number FROM unnest(v_said) AS k WHERE k.customer_number IS NOT NULL);
    ELSE
        v_facts.folded_parties := v_parties;
    END IF;
    RETURN v_facts;
END
$$;
COMMENT ON FUNCTION retained_call_facts IS
    'Folds the retained status updates and reports of a call, field by field, known over unknown. Read under the lock that '
    'lock_call takes, in a statement of its own, so that it sees every event committed before.';

CREATE FUNCTION insert_call(p_org_id uuid, p_vapi_call_id text, p_facts call_facts) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_call   call_logs;
    v_ours   text := CASE WHEN p_facts.direction IS NOT NULL THEN p_facts.our_number END;
    v_theirs text := CASE WHEN p_facts.direction IS NOT NULL THEN p_facts.customer_number END;
BEGIN
    INSERT INTO call_logs AS l (org_id, vapi_call_id, status, direction, from_number, to_number, started_at, ended_at,
            duration_seconds, ended_reason, outcome, summary, success_evaluation, structured_data, structured_outputs, cost,
            cost_breakdown, transcript, recording_url, agent_id, lead_id, metadata, folded_until, folded_report, folded_parties)
        VALUES (p_org_id, p_vapi_call_id, coalesce(p_facts.status, 'unknown'), p_facts.direction,
            CASE p_facts.direction WHEN 'outbound' THEN v_ours ELSE v_theirs END,
            CASE p_facts.direction WHEN 'outbound' THEN v_theirs ELSE v_ours END,
            p_facts.started_at, p_facts.ended_at,
            coalesce(p_facts.duration_seconds, seconds_between(p_facts.started_at, p_facts.ended_at)),
            p_facts.ended_reason, p_facts.reason_family, p_facts.summary, p_facts.success_evaluation, p_facts.structured_data,
            p_facts.structured_outputs, p_facts.cost, p_facts.cost_breakdown, p_facts.transcript,
            coalesce(p_facts.recording_url, p_facts.stereo_recording_url),
            find_agent(p_org_id, p_facts.assistant_id, p_facts.squad_id, p_facts.phone_number_id, p_facts.our_number),
            find_lead(p_org_id, p_facts.customer_number), p_facts.metadata,
            coalesce(p_facts.folded_until, '-infinity'), coalesce(p_facts.folded_report, false), p_facts.folded_parties)
        ON CONFLICT (org_id, vapi_call_id) DO NOTHING
        RETURNING l.* INTO v_call;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO call_tracking (org_id, vapi_call_id, status, phone_number, agent_id, lead_id, answered, called_at, started_at,
            ended_at, duration_seconds, metadata)
        SELECT p_org_id, p_vapi_call_id, v_call.status, p_facts.customer_number, v_call.agent_id, v_call.lead_id,
            coalesce(p_facts.answered, false), p_facts.called_at, v_call.started_at, v_call.ended_at, v_call.duration_seconds,
            v_call.metadata
        -- This transaction may have waited for the row of call_logs while the call was erased.
        WHERE NOT EXISTS (SELECT FROM erasures WHERE org_id = p_org_id AND tombstone = 'call:' || p_vapi_call_id);
    IF NOT FOUND THEN
        -- Its next attempt finds the tombstone before anything is written.
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'the call is erased';
    END IF;
    INSERT INTO calls (id, org_id, vapi_call_id, status, call_type, started_at, duration_seconds, reason_family, cost,
            recording_state)
        VALUES (v_call.id, p_org_id, p_vapi_call_id, v_call.status, p_facts.type, v_call.started_at, v_call.duration_seconds,
            v_call.outcome, v_call.cost, CASE WHEN v_call.recording_url IS NOT NULL THEN 'linked' ELSE 'none' END);
    IF v_call.status = 'completed' THEN
        PERFORM contact_leads(p_org_id, v_call, p_facts);
    END IF;
    RETURN v_call.id;
END
$$;
COMMENT ON FUNCTION insert_call IS
    'The three rows of a call that has none, and the lock on it until the end of the transaction; NULL: it has. p_facts NULL: '
    'nothing is known but that there is such a call.';

CREATE FUNCTION lock_call(p_org_id uuid, p_vapi_call_id text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_id uuid;
BEGIN
    -- One lock order everywhere: claim, call_logs, call_tracking, calls, transcripts, leads, recordings.
    SELECT id INTO v_id FROM call_logs WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id FOR NO KEY UPDATE;
    IF v_id IS NULL THEN
        v_id := insert_call(p_org_id, p_vapi_call_id, NULL);
        IF v_id IS NOT NULL THEN
            RETURN v_id;
        END IF;
        -- Another transaction has inserted it since.
        SELECT id INTO v_id FROM call_logs WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id FOR NO KEY UPDATE;
        IF v_id IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'the call is erased';
        END IF;
    END IF;
    -- Rows that were lost by other means: a replay brings them back.
    INSERT INTO call_tracking (org_id, vapi_call_id) SELECT p_org_id, p_vapi_call_id
        WHERE NOT EXISTS (SELECT FROM call_tracking WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id);
    INSERT INTO calls (id, org_id, vapi_call_id) SELECT v_id, p_org_id, p_vapi_call_id
        WHERE NOT EXISTS (SELECT FROM calls WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id);
    RETURN v_id;
END
$$;
COMMENT ON FUNCTION lock_call IS 'Makes sure that the call''s three rows exist, and locks the call until the end of the transaction.';

CREATE FUNCTION contact_leads(p_org_id uuid, p_call call_logs, p_facts call_facts) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_leads uuid[];
BEGIN
    -- Only facts that complete a call, or link it to its lead, say that the lead of a real call was contacted.
    IF p_call.lead_id IS NULL OR p_facts.is_test OR p_call.metadata @> '{"is_test_call": true}'
        OR p_facts.status IS DISTINCT FROM 'completed' AND p_facts.lead_id IS NULL
    THEN
        RETURN;
    END IF;
    -- If the call's events name several customers, each of them was contacted: a lead that was contacted stays so.
    v_leads := ARRAY[p_call.lead_id];
    IF p_facts.contacted_numbers IS NOT NULL THEN
        v_leads := v_leads || ARRAY(
            SELECT id FROM leads WHERE org_id = p_org_id AND phone = ANY (p_facts.contacted_numbers));
    END IF;
    -- Both columns only ever move up.
    UPDATE leads SET
        status = CASE status WHEN 'new' THEN 'contacted' ELSE status END,
        last_contacted_at = greatest(last_contacted_at, p_facts.contacted_at)
    WHERE org_id = p_org_id AND id = ANY (v_leads)
        AND (status = 'new' OR last_contacted_at IS DISTINCT FROM greatest(last_contacted_at, p_facts.contacted_at));
END
$$;

CREATE FUNCTION merge_call(p_org_id uuid, p_vapi_call_id text, p_facts call_facts, p_is_newest boolean DEFAULT false)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_call      call_logs;
    v_is_update boolean := p_is_newest AND NOT p_facts.folded_report;
    v_recording text    := coalesce(p_facts.recording_url, p_facts.stereo_recording_url);
    -- While it is not known who called whom, a guess could not be told from a fact later.
    v_ours      text    := CASE WHEN p_facts.direction IS NOT NULL THEN p_facts.our_number END;
    v_theirs    text    := CASE WHEN p_facts.direction IS NOT NULL THEN p_facts.customer_number END;
BEGIN
    UPDATE call_logs AS l SET
        status = higher_status(l.status, p_facts.status),
        direction = coalesce(p_facts.direction, l.direction),
        from_number = coalesce(CASE p_facts.direction WHEN 'outbound' THEN v_ours ELSE v_theirs END, l.from_number),
        to_number = coalesce(CASE p_facts.direction WHEN 'outbound' THEN v_theirs ELSE v_ours END, l.to_number),
        -- Of the times of status updates, the earliest; the newest update is the latest.
        started_at = CASE WHEN v_is_update THEN coalesce(l.started_at, p_facts.started_at)
            ELSE coalesce(p_facts.started_at, l.started_at) END,
        ended_at = CASE WHEN v_is_update THEN coalesce(l.ended_at, p_facts.ended_at)
            ELSE coalesce(p_facts.ended_at, l.ended_at) END,
        duration_seconds = coalesce(
            p_facts.duration_seconds,
            CASE WHEN v_is_update
                THEN seconds_between(coalesce(l.started_at, p_facts.started_at), coalesce(l.ended_at, p_facts.ended_at))
                WHEN p_is_newest
                THEN seconds_between(coalesce(p_facts.started_at, l.started_at), coalesce(p_facts.ended_at, l.ended_at)) END,
            l.duration_seconds),
        ended_reason = coalesce(p_facts.ended_reason, l.ended_reason),
        outcome = coalesce(p_facts.reason_family, l.outcome),
        summary = coalesce(p_facts.summary, l.summary),
        success_evaluation = coalesce(p_facts.success_evaluation, l.success_evaluation),
        structured_data = coalesce(p_facts.structured_data, l.structured_data),
        structured_outputs = coalesce(p_facts.structured_outputs, l.structured_outputs),
        cost = coalesce(p_facts.cost, l.cost),
        cost_breakdown = coalesce(p_facts.cost_breakdown, l.cost_breakdown),
        transcript = coalesce(p_facts.transcript, l.transcript),
        recording_url = coalesce(v_recording, l.recording_url),
        recording_storage_path = coalesce(p_facts.recording_storage_path, l.recording_storage_path),
        agent_id = coalesce(p_facts.agent_id, l.agent_id, CASE WHEN p_is_newest THEN find_agent(
            p_org_id, p_facts.assistant_id, p_facts.squad_id, p_facts.phone_number_id, p_facts.our_number) END),
        lead_id = coalesce(p_facts.lead_id, l.lead_id),
        metadata = coalesce(p_facts.metadata, l.metadata),
        -- Values that no event gave would be lost among those that newer events replace, so from then on all are folded.
        folded_until = CASE WHEN l.folded_until IS NOT NULL THEN p_facts.folded_until END,
        folded_report = coalesce(p_facts.folded_report, l.folded_report),
        folded_parties = CASE WHEN l.folded_until IS NOT NULL THEN p_facts.folded_parties END,
        updated_at = now()
    WHERE l.org_id = p_org_id AND l.vapi_call_id = p_vapi_call_id
        AND (NOT p_is_newest OR (
            (l.folded_report, l.folded_until) < (p_facts.folded_report, p_facts.folded_until)
            AND l.folded_parties = p_facts.folded_parties
            -- Of an earlier report the row does not say whether the duration was given or concluded from its times, and
            -- whether the recording's link is that of the stereo recording.
            AND (NOT l.folded_report OR p_facts.duration_seconds IS NOT NULL
                AND (p_facts.recording_url IS NOT NULL OR p_facts.stereo_recording_url IS NULL))
            -- The lead of a completed call that was added since has yet to be contacted for the events before.
            AND (l.lead_id IS NOT NULL OR find_lead(p_org_id, p_facts.customer_number) IS NULL)))
    RETURNING l.* INTO v_call;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    UPDATE call_tracking AS t SET
        status = v_call.status,
        phone_number = coalesce(p_facts.customer_number, t.phone_number),
        agent_id = v_call.agent_id,
        lead_id = v_call.lead_id,
        answered = t.answered OR coalesce(p_facts.answered, false),
        called_at = least(t.called_at, p_facts.called_at),
        started_at = v_call.started_at,
        ended_at = v_call.ended_at,
        duration_seconds = v_call.duration_seconds,
        metadata = v_call.metadata,
        updated_at = now()
    WHERE t.org_id = p_org_id AND t.vapi_call_id = p_vapi_call_id
        AND (t.status, t.phone_number, t.agent_id, t.lead_id, t.answered, t.called_at, t.started_at, t.ended_at,
                t.duration_seconds, t.metadata)
            IS DISTINCT FROM (v_call.status, coalesce(p_facts.customer_number, t.phone_number), v_call.agent_id, v_call.lead_id,
                t.answered OR coalesce(p_facts.answered, false), least(t.called_at, p_facts.called_at), v_call.started_at,
                v_call.ended_at, v_call.duration_seconds, v_call.metadata);

    UPDATE calls AS c SET
        status = v_call.status,
        call_type = coalesce(p_facts.type, c.call_type),
        started_at = v_call.started_at,
        duration_seconds = v_call.duration_seconds,
        reason_family = v_call.outcome,
        cost = v_call.cost,
        recording_state = CASE WHEN v_call.recording_storage_path IS NOT NULL THEN 'stored'
            WHEN c.recording_state = 'removed' THEN 'removed'
            WHEN v_call.recording_url IS NOT NULL THEN 'linked' ELSE 'none' END,
        recording_path = v_call.recording_storage_path,
        updated_at = now()
    WHERE c.org_id = p_org_id AND c.vapi_call_id = p_vapi_call_id
        AND ((c.status, c.call_type, c.started_at, c.duration_seconds, c.reason_family, c.cost, c.recording_path)
                IS DISTINCT FROM (v_call.status, coalesce(p_facts.type, c.call_type), v_call.started_at, v_call.duration_seconds,
                    v_call.outcome, v_call.cost, v_call.recording_storage_path)
            OR c.recording_state = 'none' AND v_call.recording_url IS NOT NULL);
    IF v_call.status = 'completed' THEN
        PERFORM contact_leads(p_org_id, v_call, p_facts);
    END IF;
    RETURN v_call.id;
END
$$;
COMMENT ON FUNCTION merge_call IS
    'Writes what is known of a call into its rows: a known value never gives way to an unknown one, the status only moves up. '
    'p_is_newest: p_facts are of one event, and are written only if it is newer than all events in the row and the result is '
    'that of folding all. Returns the id of the call, which stays locked; NULL: nothing was written.';
