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
CREATE AGGREGATE merged_objects(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb);
COMMENT ON AGGREGATE merged_objects(jsonb) IS
    'The union of JSON objects by key; of several values of a key, the last in the order of the input. Ignores NULL.';

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
    customer_name        text,
    customer_external_id text,
    campaign_id          text,
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
    costs                jsonb,
    summary              text,
    success_evaluation   text,
    structured_data      jsonb,
    structured_outputs   jsonb,
    destination          text,
    details              jsonb,
    transcript           text,
    conversation         jsonb,
    recording_url        text,
    stereo_recording_url text,
    -- Given by functions, or derived from one event or several.
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
    'The known facts about a call. NULL: unknown. structured_outputs and details are objects that are merged by key. '
    'contacted_numbers: the numbers of all customers that events name, if there are several. folded_*: the events that '
    'the facts come from, as in call_logs. NULL: no event.';

CREATE FUNCTION parties_hash(
    p_assistant_id text, p_squad_id text, p_phone_number_id text, p_our_number text, p_customer_number text, p_is_test boolean
) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hash_record_extended(ROW(p_assistant_id, p_squad_id, p_phone_number_id, p_our_number, p_customer_number,
        coalesce(p_is_test, false)), 0)
$$;
COMMENT ON FUNCTION parties_hash IS
    'A hash of the parties of a call and of whether it is a test. Events with the same hash have the same agent and '
    'lead, so neither is looked up again.';

CREATE FUNCTION find_agent(
    p_org_id uuid, p_assistant_id text, p_squad_id text, p_phone_number_id text, p_phone_number text
) RETURNS uuid LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF num_nonnulls(p_assistant_id, p_squad_id, p_phone_number_id, p_phone_number) = 0 THEN
        RETURN NULL;
    END IF;
    -- The assistant is the most specific. Several agents may share a number.
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
    RETURN CASE WHEN p_until >= p_from THEN round(extract(epoch FROM p_until - p_from)) END;
END
$$;
COMMENT ON FUNCTION seconds_between IS
    'The duration in whole seconds. NULL: one of the times is unknown, or the end is before the start.';

CREATE FUNCTION event_facts(p_event jsonb) RETURNS call_facts LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_facts     call_facts := jsonb_populate_record(jsonb_populate_record(NULL::call_facts, p_event), p_event -> 'call');
    v_is_report boolean    := p_event ->> 'kind' = 'end-of-call-report';
BEGIN
    v_facts.answered := CASE
        WHEN v_facts.status IN ('in-progress', 'forwarding') OR v_facts.started_at IS NOT NULL
            OR v_facts.duration_seconds > 0 THEN true
        WHEN v_facts.reason_family = 'not-reached' THEN false END;
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
COMMENT ON FUNCTION event_facts IS 'Returns the facts of one status update or report.';

CREATE FUNCTION retained_call_facts(p_org_id uuid, p_vapi_call_id text) RETURNS call_facts LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_facts      call_facts;
    v_said       call_facts[];
    v_is_several boolean;
    v_parties    bigint;
BEGIN
    -- The total order: reports after status updates, because they state what status updates only imply; then the time
    -- of the message; then the event key, which is a hash of the facts. The time of receipt has no influence.
    v_said := ARRAY(
        SELECT f
        FROM (
                -- Two ranges of the index, one query each. For one query with OR, a plan that was made while the table
                -- was small reads all events of the org, and a connection keeps its plans. ';' follows ':'.
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
            -- Some timeline events share the prefix of status updates. They have no facts for the rows.
            AND e.event ->> 'kind' <> 'call-event'
        ORDER BY f.folded_report, f.folded_until, e.event_id);

    -- No aggregate here may have an ORDER BY of its own: from PostgreSQL 16 on it would order the input of all the others.
    SELECT
        highest_status(k.status),
        latest_known(k.type), latest_known(k.direction),
        latest_known(k.assistant_id), latest_known(k.squad_id), latest_known(k.phone_number_id),
        latest_known(k.our_number), latest_known(k.customer_number), min(k.customer_number) <> max(k.customer_number),
        latest_known(k.customer_name), latest_known(k.customer_external_id), latest_known(k.campaign_id),
        latest_known(k.metadata), bool_or(k.is_test),
        bool_or(k.answered), min(k.called_at),
        -- A report states these times. For a status update, they are derived from the time of the message.
        coalesce(latest_known(k.started_at) FILTER (WHERE k.folded_report), min(k.started_at) FILTER (WHERE NOT k.folded_report)),
        coalesce(latest_known(k.ended_at) FILTER (WHERE k.folded_report), min(k.ended_at) FILTER (WHERE NOT k.folded_report)),
        -- A lead's last contact only moves forward, so the latest of all candidates is taken.
        max(k.contacted_at),
        latest_known(k.duration_seconds),
        latest_known(k.ended_reason), latest_known(k.reason_family),
        latest_known(k.cost), latest_known(k.cost_breakdown), latest_known(k.costs),
        latest_known(k.summary), latest_known(k.success_evaluation),
        latest_known(k.structured_data), merged_objects(k.structured_outputs),
        latest_known(k.destination), merged_objects(k.details),
        latest_known(k.transcript), latest_known(k.conversation),
        latest_known(k.recording_url), latest_known(k.stereo_recording_url),
        coalesce(bool_or(k.folded_report), false),
        coalesce(max(k.folded_until) FILTER (WHERE k.folded_report), max(k.folded_until))
    INTO
        v_facts.status,
        v_facts.type, v_facts.direction,
        v_facts.assistant_id, v_facts.squad_id, v_facts.phone_number_id,
        v_facts.our_number, v_facts.customer_number, v_is_several,
        v_facts.customer_name, v_facts.customer_external_id, v_facts.campaign_id,
        v_facts.metadata, v_facts.is_test,
        v_facts.answered, v_facts.called_at,
        v_facts.started_at,
        v_facts.ended_at,
        v_facts.contacted_at,
        v_facts.duration_seconds,
        v_facts.ended_reason, v_facts.reason_family,
        v_facts.cost, v_facts.cost_breakdown, v_facts.costs,
        v_facts.summary, v_facts.success_evaluation,
        v_facts.structured_data, v_facts.structured_outputs,
        v_facts.destination, v_facts.details,
        v_facts.transcript, v_facts.conversation,
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
    -- The latest parties may be unknown to the org while earlier ones are known, for example after a handover. Every
    -- fold must find a link that an earlier fold found, or the rows would depend on the order of receipt.
    IF v_facts.agent_id IS NULL OR v_facts.lead_id IS NULL THEN
        SELECT coalesce(v_facts.agent_id, latest_known(
                find_agent(p_org_id, k.assistant_id, k.squad_id, k.phone_number_id, k.our_number))),
            coalesce(v_facts.lead_id, latest_known(find_lead(p_org_id, k.customer_number)))
        INTO v_facts.agent_id, v_facts.lead_id
        FROM unnest(v_said) AS k WHERE k.folded_parties <> v_parties;
    END IF;
    IF v_is_several THEN
        -- Each of these customers may have a lead to mark as contacted, so every event folds all events, because
        -- folded_parties stays NULL.
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

CREATE FUNCTION store_conversation(p_call call_logs, p_conversation jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- Transcript events take precedence: they have every turn as it was said.
    IF EXISTS (SELECT FROM call_transcripts
        WHERE org_id = p_call.org_id AND vapi_call_id = p_call.vapi_call_id AND source = 'transcript')
    THEN
        RETURN;
    END IF;
    -- The turns of an earlier report that this one does not have.
    PERFORM delete_turns_of_reports(p_call.vapi_call_id, ARRAY(
        SELECT sha256(convert_to(t.turn::text, 'UTF8')) FROM jsonb_array_elements(p_conversation) AS t (turn)));
    INSERT INTO call_transcripts (org_id, vapi_call_id, content_sha256, call_log_id, speaker, text, said_at, position,
            tool_calls, source)
        SELECT p_call.org_id, p_call.vapi_call_id, sha256(convert_to(t.turn::text, 'UTF8')), p_call.id,
            t.turn ->> 'role',
            coalesce(t.turn ->> 'text', (
                SELECT string_agg(concat_ws(' ', c.call ->> 'name', c.call ->> 'arguments'), E'\n')
                FROM jsonb_array_elements(t.turn -> 'tool_calls') AS c (call))),
            (t.turn ->> 'said_at')::timestamptz, (t.turn ->> 'position')::integer, t.turn -> 'tool_calls', 'report'
        FROM jsonb_array_elements(p_conversation) AS t (turn)
        ON CONFLICT (org_id, vapi_call_id, content_sha256) DO NOTHING;
END
$$;
COMMENT ON FUNCTION store_conversation IS
    'Writes the conversation of a report (ringfence_vapi::events::Turn) as the turns of a call without transcript '
    'events. Called under locks that exclude store_transcript.';

CREATE FUNCTION insert_call(p_org_id uuid, p_vapi_call_id text, p_facts call_facts) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_call   call_logs;
    v_ours   text := CASE WHEN p_facts.direction IS NOT NULL THEN p_facts.our_number END;
    v_theirs text := CASE WHEN p_facts.direction IS NOT NULL THEN p_facts.customer_number END;
BEGIN
    INSERT INTO call_logs AS l (org_id, vapi_call_id, status, direction, from_number, to_number, started_at, ended_at,
            duration_seconds, ended_reason, outcome, summary, success_evaluation, structured_data, structured_outputs, cost,
            cost_breakdown, costs, transcript, recording_url, customer_name, customer_external_id, campaign_id, destination,
            details, agent_id, lead_id, metadata, folded_until, folded_report, folded_parties)
        VALUES (p_org_id, p_vapi_call_id, coalesce(p_facts.status, 'unknown'), p_facts.direction,
            CASE p_facts.direction WHEN 'outbound' THEN v_ours ELSE v_theirs END,
            CASE p_facts.direction WHEN 'outbound' THEN v_theirs ELSE v_ours END,
            p_facts.started_at, p_facts.ended_at,
            coalesce(p_facts.duration_seconds, seconds_between(p_facts.started_at, p_facts.ended_at)),
            p_facts.ended_reason, p_facts.reason_family, p_facts.summary, p_facts.success_evaluation, p_facts.structured_data,
            p_facts.structured_outputs, p_facts.cost, p_facts.cost_breakdown, p_facts.costs, p_facts.transcript,
            coalesce(p_facts.recording_url, p_facts.stereo_recording_url),
            p_facts.customer_name, p_facts.customer_external_id, p_facts.campaign_id, p_facts.destination,
            p_facts.details,
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
            p_facts.answered, p_facts.called_at, v_call.started_at, v_call.ended_at, v_call.duration_seconds,
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
    IF p_facts.conversation IS NOT NULL THEN
        PERFORM store_conversation(v_call, p_facts.conversation);
    END IF;
    IF v_call.status = 'completed' THEN
        PERFORM contact_leads(p_org_id, v_call, p_facts);
    END IF;
    RETURN v_call.id;
END
$$;
COMMENT ON FUNCTION insert_call IS
    'Inserts the three rows of a call that has none, and locks the call until the end of the transaction. Returns the '
    'id of the call. NULL: the call has rows already. p_facts NULL: nothing is known about the call but its id.';

CREATE FUNCTION lock_call(p_org_id uuid, p_vapi_call_id text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_id uuid;
BEGIN
    -- One lock order everywhere: claim, conversation, call_logs, call_tracking, calls, transcripts, leads, recordings.
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
    -- Inserts rows that were deleted by other means, so that a replay restores them.
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
    -- The lead was contacted if the call is no test and these facts complete it or link it to its lead.
    IF p_call.lead_id IS NULL OR p_facts.is_test OR p_call.metadata @> '{"is_test_call": true}'
        OR p_facts.status IS DISTINCT FROM 'completed' AND p_facts.lead_id IS NULL
    THEN
        RETURN;
    END IF;
    -- If the call's events name several customers, each of them was contacted, and a contacted lead stays contacted.
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
    -- Without the direction the numbers are not written, because a guess could not be told from a fact later.
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
        duration_seconds = CASE
            WHEN p_facts.duration_seconds IS NOT NULL THEN p_facts.duration_seconds
            -- No event in the row states a duration, so it is derived from the times, as above.
            WHEN v_is_update
                THEN seconds_between(coalesce(l.started_at, p_facts.started_at), coalesce(l.ended_at, p_facts.ended_at))
            WHEN p_is_newest
                THEN seconds_between(coalesce(p_facts.started_at, l.started_at), coalesce(p_facts.ended_at, l.ended_at))
            -- All events together have contradictory times. A duration that no event gave stays.
            WHEN l.folded_until IS NOT NULL AND num_nulls(p_facts.started_at, p_facts.ended_at) = 0 THEN NULL
            ELSE l.duration_seconds END,
        ended_reason = coalesce(p_facts.ended_reason, l.ended_reason),
        outcome = coalesce(p_facts.reason_family, l.outcome),
        summary = coalesce(p_facts.summary, l.summary),
        success_evaluation = coalesce(p_facts.success_evaluation, l.success_evaluation),
        structured_data = coalesce(p_facts.structured_data, l.structured_data),
        -- NULL || x is NULL.
        structured_outputs = coalesce(l.structured_outputs || p_facts.structured_outputs, p_facts.structured_outputs,
            l.structured_outputs),
        cost = coalesce(p_facts.cost, l.cost),
        cost_breakdown = coalesce(p_facts.cost_breakdown, l.cost_breakdown),
        costs = coalesce(p_facts.costs, l.costs),
        transcript = coalesce(p_facts.transcript, l.transcript),
        recording_url = coalesce(v_recording, l.recording_url),
        recording_storage_path = coalesce(p_facts.recording_storage_path, l.recording_storage_path),
        customer_name = coalesce(p_facts.customer_name, l.customer_name),
        customer_external_id = coalesce(p_facts.customer_external_id, l.customer_external_id),
        campaign_id = coalesce(p_facts.campaign_id, l.campaign_id),
        destination = coalesce(p_facts.destination, l.destination),
        details = coalesce(l.details || p_facts.details, p_facts.details, l.details),
        agent_id = coalesce(p_facts.agent_id, l.agent_id, CASE WHEN p_is_newest THEN find_agent(
            p_org_id, p_facts.assistant_id, p_facts.squad_id, p_facts.phone_number_id, p_facts.our_number) END),
        lead_id = coalesce(p_facts.lead_id, l.lead_id),
        metadata = coalesce(p_facts.metadata, l.metadata),
        -- Once the row has a value that no event gave, every event folds all events, because a newer event could
        -- otherwise replace such a value.
        folded_until = CASE WHEN l.folded_until IS NOT NULL THEN p_facts.folded_until END,
        folded_report = coalesce(p_facts.folded_report, l.folded_report),
        folded_parties = CASE WHEN l.folded_until IS NOT NULL THEN p_facts.folded_parties END,
        updated_at = now()
    WHERE l.org_id = p_org_id AND l.vapi_call_id = p_vapi_call_id
        AND (NOT p_is_newest OR (
            (l.folded_report, l.folded_until) < (p_facts.folded_report, p_facts.folded_until)
            AND l.folded_parties = p_facts.folded_parties
            -- The row does not record whether an earlier report stated the duration or its times, and whether the link
            -- is that of the stereo recording.
            AND (NOT l.folded_report OR p_facts.duration_seconds IS NOT NULL
                AND (p_facts.recording_url IS NOT NULL OR p_facts.stereo_recording_url IS NULL))
            -- A lead that was added since the call was completed is not marked as contacted yet.
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
        answered = coalesce(t.answered OR p_facts.answered, t.answered, p_facts.answered),
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
                coalesce(t.answered OR p_facts.answered, t.answered, p_facts.answered),
                least(t.called_at, p_facts.called_at), v_call.started_at,
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
    IF p_facts.conversation IS NOT NULL THEN
        PERFORM store_conversation(v_call, p_facts.conversation);
    END IF;
    IF v_call.status = 'completed' THEN
        PERFORM contact_leads(p_org_id, v_call, p_facts);
    END IF;
    RETURN v_call.id;
END
$$;
COMMENT ON FUNCTION merge_call IS
    'Merges facts into the rows of a call: an unknown value never replaces a known one, and the status only moves up. '
    'p_is_newest: p_facts are of one event, and are merged only if it is newer than all events in the row and the result '
    'equals the fold of all events. Returns the id of the call, which stays locked. NULL: nothing was written.';
