-- Erasure: what is known of a call, or of everybody's calls with a number, leaves every place, and a mark stays, which says what was erased
-- without saying it: a call's id, or a keyed hash of a number (ringfence_edge::keys). Whatever comes later and is marked dies there.

CREATE FUNCTION is_call_erased(p_org_id uuid, p_vapi_call_id text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM erasures e WHERE e.org_id = p_org_id AND e.mark = 'call:' || p_vapi_call_id);
END
$$;
COMMENT ON FUNCTION is_call_erased IS 'Whether a call was erased: nothing of it is to be kept any more.';

CREATE FUNCTION erasure_marks(p_event jsonb) RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    v_numbers jsonb  := p_event #> '{call,number_marks}';
    v_marks   text[] := ARRAY['call:' || (p_event #>> '{call,id}')];
BEGIN
    FOR i IN 0 .. coalesce(jsonb_array_length(v_numbers), 0) - 1 LOOP
        v_marks := v_marks || ('number:' || (v_numbers ->> i));
    END LOOP;
    RETURN v_marks;
END
$$;
COMMENT ON FUNCTION erasure_marks IS 'The marks under which an event may be erased: of its call, and of the other party''s number.';

CREATE FUNCTION latest_beginning(p_event jsonb, p_received_at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least((p_event #>> '{call,created_at}')::timestamptz, (p_event ->> 'message_time')::timestamptz, p_received_at)
$$;
COMMENT ON FUNCTION latest_beginning IS 'The call of an event began by then.';

CREATE FUNCTION is_erased(p_org_id uuid, p_event jsonb, p_received_at timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM erasures e
        WHERE e.org_id = p_org_id AND e.mark = ANY (erasure_marks(p_event))
            -- Of a number, the calls that began before it was erased. Whoever calls again later is not forgotten again.
            AND (e.cut_off IS NULL OR e.cut_off > latest_beginning(p_event, p_received_at)));
END
$$;
COMMENT ON FUNCTION is_erased IS 'Whether an event is of a call that was erased, or of a number that was, from the time before.';

CREATE FUNCTION kept_event_types() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '{status-update,transcript,end-of-call-report,call.artifact.upload,call.deleted,call.delete.failed,assistant.started,hang,
        user-interrupted,transfer-update,language-change-detected,operation-failed,recording-ready}'::text[]
$$;
COMMENT ON FUNCTION kept_event_types IS
    'All types of kept events (ringfence_vapi::EventType, and ours): the events of a call are a range of event_id for each of them.';

CREATE FUNCTION erase_call_v1(p_actor text, p_org_id uuid, p_vapi_call_id text, p_run boolean) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_call   call_logs;
    v_found  jsonb;
    v_ranges text[];
    v_kept   processed_webhook_events;
BEGIN
    PERFORM enter_org(p_org_id);
    -- Whose events can be told by their key only, since no index leads from a call to them.
    v_ranges := kept_event_types() || '{recording,tool-calls}'::text[];
    SELECT * INTO v_call FROM call_logs WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    v_found := jsonb_build_object(
        'calls', CASE WHEN v_call.id IS NULL THEN 0 ELSE 1 END,
        'events', (SELECT count(*) FROM unnest(v_ranges) AS t (name), LATERAL (SELECT FROM processed_webhook_events e
            WHERE e.org_id = p_org_id AND e.event_id > t.name || ':' || p_vapi_call_id || ':' AND e.event_id < t.name || ':' || p_vapi_call_id || ';') AS e),
        'transcripts', (SELECT count(*) FROM call_transcripts s WHERE s.org_id = p_org_id AND s.vapi_call_id = p_vapi_call_id),
        'recordings', (SELECT count(*) FROM recording_upload_queue q WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id),
        'failures', (SELECT count(*) FROM unnest(v_ranges) AS t (name), LATERAL (SELECT FROM failed_operations f
            WHERE f.org_id = p_org_id AND f.event_id > t.name || ':' || p_vapi_call_id || ':' AND f.event_id < t.name || ':' || p_vapi_call_id || ';') AS f),
        'tool_calls', (SELECT count(*) FROM tool_executions x WHERE x.org_id = p_org_id
            AND x.execution_id > 'tool-calls:' || p_vapi_call_id || ':' AND x.execution_id < 'tool-calls:' || p_vapi_call_id || ';'),
        'unresolved', (SELECT count(*) FROM unresolved_events u WHERE u.vapi_call_id = p_vapi_call_id AND (
            SELECT r.org_id FROM call_routes r WHERE r.vapi_call_id = p_vapi_call_id) IS NOT DISTINCT FROM p_org_id));
    IF NOT p_run THEN
        RETURN v_found;
    END IF;

    INSERT INTO erasures (org_id, mark) VALUES (p_org_id, 'call:' || p_vapi_call_id) ON CONFLICT (org_id, mark) DO NOTHING;
    -- The first event of the call may be on its way in another transaction, whose rows are not seen yet: inserting the same row
    -- waits for that transaction, or makes it wait.
    INSERT INTO call_logs (org_id, vapi_call_id) VALUES (p_org_id, p_vapi_call_id) ON CONFLICT (org_id, vapi_call_id) DO NOTHING;
    -- Alone from here on: a transaction that waits for this row finds it gone and the mark there (insert_call), and a row that refers
    -- to it is refused.
    PERFORM FROM call_logs WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id FOR UPDATE;
    -- The objects by their names, whatever is known of them: a recording may be on its way.
    INSERT INTO orphaned_objects (org_id, storage_key)
        SELECT p_org_id, q.storage_key FROM recording_upload_queue q
            WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.storage_key IS NOT NULL
        UNION SELECT p_org_id, recording_object(p_org_id, p_vapi_call_id, q.kind) FROM recording_upload_queue q
            WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id
        ON CONFLICT (org_id, storage_key) DO UPDATE SET created_at = now();
    DELETE FROM processed_webhook_events e USING unnest(v_ranges) AS t (name)
        WHERE e.org_id = p_org_id AND e.event_id > t.name || ':' || p_vapi_call_id || ':' AND e.event_id < t.name || ':' || p_vapi_call_id || ';';
    DELETE FROM failed_attempts f USING unnest(v_ranges) AS t (name)
        WHERE f.org_id = p_org_id AND f.event_id > t.name || ':' || p_vapi_call_id || ':' AND f.event_id < t.name || ':' || p_vapi_call_id || ';';
    DELETE FROM failed_operations f USING unnest(v_ranges) AS t (name)
        WHERE f.org_id = p_org_id AND f.event_id > t.name || ':' || p_vapi_call_id || ':' AND f.event_id < t.name || ':' || p_vapi_call_id || ';';
    DELETE FROM unresolved_events u WHERE u.vapi_call_id = p_vapi_call_id AND (
        SELECT r.org_id FROM call_routes r WHERE r.vapi_call_id = p_vapi_call_id) IS NOT DISTINCT FROM p_org_id;
    -- That it was executed stays, or a redelivery would execute it again; what was answered goes.
    UPDATE tool_executions x SET state = 'done', result = '{"error": "This call was erased."}', finished_at = coalesce(x.finished_at, now())
        WHERE x.org_id = p_org_id AND x.execution_id > 'tool-calls:' || p_vapi_call_id || ':' AND x.execution_id < 'tool-calls:' || p_vapi_call_id || ';';
    DELETE FROM call_tracking WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM calls WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM call_transcripts WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM recording_upload_queue WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM reconciliations WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM partial_gates WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM call_logs WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    IF v_call.id IS NOT NULL THEN
        PERFORM count_hours(p_org_id, ARRAY[uuid_hour(v_call.id)]);
    END IF;
    PERFORM audit(p_actor, 'erase.call', p_org_id, p_vapi_call_id, v_found);
    RETURN v_found;
END
$$;
COMMENT ON FUNCTION erase_call_v1 IS
    'Erases a call of an org: its rows, events, failures and what its tools answered; its recordings'' objects are removed by maintenance. The mark '
    'keeps it from coming back. Answers with what there was, which is audited: ids and counts only. p_run false: only the answer. Run again, it finds nothing.';

CREATE FUNCTION mark_number_v1(p_actor text, p_org_id uuid, p_marks text[], p_cut_off timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO erasures AS e (org_id, mark, cut_off) SELECT p_org_id, 'number:' || m, p_cut_off FROM unnest(p_marks) AS m
        ON CONFLICT (org_id, mark) DO UPDATE SET cut_off = greatest(e.cut_off, excluded.cut_off);
    PERFORM audit(p_actor, 'erase.number', p_org_id, p_marks[1], jsonb_build_object('cut_off', p_cut_off));
END
$$;
COMMENT ON FUNCTION mark_number_v1 IS
    'Marks a number as erased, by its keyed hashes, for all calls that began before p_cut_off. The calls that are known are erased one by one after it.';

CREATE FUNCTION find_calls_of_number_v1(p_org_id uuid, p_number text, p_marks text[], p_cut_off timestamptz) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(DISTINCT t.vapi_call_id), '{}') FROM (
        SELECT c.vapi_call_id FROM call_tracking c
            WHERE c.org_id = p_org_id AND c.phone_number = p_number AND least(c.called_at, c.created_at) < p_cut_off
        -- What never became rows.
        UNION ALL SELECT f.vapi_call_id FROM failed_operations f
            WHERE f.org_id = p_org_id AND f.state <> 'resolved' AND f.event #> '{call,number_marks}' ?| p_marks
    ) AS t
$$;
COMMENT ON FUNCTION find_calls_of_number_v1 IS 'The calls of an org with a number that began before p_cut_off.';

CREATE FUNCTION erase_lead_v1(p_org_id uuid, p_number text, p_run boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_leads bigint;
BEGIN
    SELECT count(*) INTO v_leads FROM leads WHERE org_id = p_org_id AND phone = p_number;
    IF p_run AND v_leads > 0 THEN
        -- Calls with somebody else's number may lead to it, when they were told so.
        UPDATE call_logs SET lead_id = NULL WHERE org_id = p_org_id AND lead_id IN (SELECT id FROM leads WHERE org_id = p_org_id AND phone = p_number);
        UPDATE call_tracking SET lead_id = NULL WHERE org_id = p_org_id AND lead_id IN (SELECT id FROM leads WHERE org_id = p_org_id AND phone = p_number);
        DELETE FROM leads WHERE org_id = p_org_id AND phone = p_number;
    END IF;
    RETURN v_leads;
END
$$;
COMMENT ON FUNCTION erase_lead_v1 IS 'Erases the lead with a number, after its calls. Answers with how many there were.';

-- The objects of erased calls. A recording that was on its way when its call was erased may arrive once more, so a name is seen to for a day.

CREATE FUNCTION find_orphaned_objects_v1(p_limit integer) RETURNS TABLE (org_id uuid, storage_key text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT o.org_id, o.storage_key FROM orphaned_objects o WHERE o.seen_to_at IS NULL OR o.created_at < now() - interval '1 day'
        ORDER BY o.created_at LIMIT least(p_limit, 1000)
$$;
COMMENT ON FUNCTION find_orphaned_objects_v1 IS 'Objects of erased calls that have to go: at once, and once more after a day.';

CREATE FUNCTION note_orphan_removed_v1(p_org_id uuid, p_storage_key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM enter_org(p_org_id);
    DELETE FROM orphaned_objects WHERE org_id = p_org_id AND storage_key = p_storage_key AND seen_to_at IS NOT NULL;
    IF NOT FOUND THEN
        UPDATE orphaned_objects SET seen_to_at = now() WHERE org_id = p_org_id AND storage_key = p_storage_key;
    END IF;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION note_orphan_removed_v1 IS 'An object of an erased call is gone from the bucket. False: somebody else said so.';

GRANT EXECUTE ON FUNCTION is_call_erased, erasure_marks, latest_beginning, is_erased, kept_event_types, erase_call_v1 TO ringfence_app, ringfence_ops;
GRANT EXECUTE ON FUNCTION find_orphaned_objects_v1, note_orphan_removed_v1 TO ringfence_app;
GRANT EXECUTE ON FUNCTION mark_number_v1, find_calls_of_number_v1, erase_lead_v1 TO ringfence_ops;
GRANT CREATE ON SCHEMA public TO ringfence_ops;
ALTER FUNCTION erase_call_v1 OWNER TO ringfence_ops;
ALTER FUNCTION find_orphaned_objects_v1 OWNER TO ringfence_ops;
REVOKE CREATE ON SCHEMA public FROM ringfence_ops;
