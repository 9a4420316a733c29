-- Erasure deletes the data of a call, or of all calls with a phone number, and leaves a tombstone in erasures: the
-- call's id, or a keyed hash of the number (ringfence_identity::numbers). An event or a tool call that arrives later and
-- matches a tombstone is dropped.
--
-- A transaction that finds no tombstone may commit after the erasure has deleted what it found. Each writer is excluded
-- in one of two ways: it needs the row of call_logs, which erase_call_v1 locks; or it takes the lock below before it
-- looks for a tombstone.

CREATE FUNCTION lock_against_erasure(p_org_id uuid, p_vapi_call_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtext('ringfence erasure'), hashtext(p_org_id || ':' || p_vapi_call_id));
END
$$;
COMMENT ON FUNCTION lock_against_erasure IS
    'Waits until no erasure of the call is in progress, and keeps one from starting until the end of the transaction. A '
    'statement of its own: only the next one sees the tombstone of an erasure that it waited for.';

CREATE FUNCTION is_call_erased(p_org_id uuid, p_vapi_call_id text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM erasures e WHERE e.org_id = p_org_id AND e.tombstone = 'call:' || p_vapi_call_id);
END
$$;
COMMENT ON FUNCTION is_call_erased IS 'Returns whether a call has a tombstone.';

CREATE FUNCTION event_tombstones(p_event jsonb) RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    v_numbers    jsonb  := p_event #> '{call,number_tombstones}';
    v_tombstones text[] := ARRAY['call:' || (p_event #>> '{call,id}')];
BEGIN
    FOR i IN 0 .. coalesce(jsonb_array_length(v_numbers), 0) - 1 LOOP
        v_tombstones := v_tombstones || ('number:' || (v_numbers ->> i));
    END LOOP;
    RETURN v_tombstones;
END
$$;
COMMENT ON FUNCTION event_tombstones IS
    'Returns the tombstones that may apply to an event: of its call, and of the number of the other party.';

CREATE FUNCTION latest_call_start(p_event jsonb, p_received_at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least((p_event #>> '{call,created_at}')::timestamptz, (p_event ->> 'message_time')::timestamptz, p_received_at)
$$;
COMMENT ON FUNCTION latest_call_start IS 'Returns the latest time at which the call of an event can have begun.';

CREATE FUNCTION is_erased(p_org_id uuid, p_event jsonb, p_received_at timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM erasures e
        WHERE e.org_id = p_org_id AND e.tombstone = ANY (event_tombstones(p_event))
            -- The tombstone of a number applies to calls that began before the erasure. Later calls with the number are
            -- stored.
            AND (e.cut_off IS NULL OR e.cut_off > latest_call_start(p_event, p_received_at)));
END
$$;
COMMENT ON FUNCTION is_erased IS 'Returns whether a tombstone of the call or of its number applies to an event.';

CREATE FUNCTION is_conversation_erased(
    p_org_id uuid, p_conversation jsonb, p_number_tombstones text[], p_received_at timestamptz
) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_tombstones text[] := ARRAY['call:' || (p_conversation ->> 'id'), 'chat:' || (p_conversation ->> 'chat_id'),
        'chat:' || (p_conversation ->> 'session_id')];
    v_start      timestamptz := least((p_conversation ->> 'created_at')::timestamptz, p_received_at);
BEGIN
    FOR i IN 1 .. coalesce(cardinality(p_number_tombstones), 0) LOOP
        v_tombstones := v_tombstones || ('number:' || p_number_tombstones[i]);
    END LOOP;
    RETURN EXISTS (SELECT FROM erasures e
        WHERE e.org_id = p_org_id AND e.tombstone = ANY (v_tombstones) AND (e.cut_off IS NULL OR e.cut_off > v_start));
END
$$;
COMMENT ON FUNCTION is_conversation_erased IS
    'Returns whether a tombstone applies to the call, chat or session of an interactive message: {"id" (of the call), '
    '"chat_id", "session_id", "created_at"}, or to its number.';

CREATE FUNCTION is_event_erased_v1(p_org_id uuid, p_event jsonb, p_received_at timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_org uuid := coalesce(p_org_id, find_event_org_v1(p_event));
BEGIN
    RETURN v_org IS NOT NULL AND is_erased(enter_org(v_org), p_event, p_received_at);
END
$$;
COMMENT ON FUNCTION is_event_erased_v1 IS
    'Returns whether an event is erased. p_org_id NULL: the event came to the platform URL. False if its org is unknown.';

CREATE FUNCTION erased_tool_result() RETURNS json LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '{"error": "This call was erased."}'::json
$$;
COMMENT ON FUNCTION erased_tool_result IS 'Returns the result of a tool call whose call is erased.';

CREATE FUNCTION may_concern_org(p_org_id uuid, p_event jsonb) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_route uuid := (SELECT r.org_id FROM call_routes r WHERE r.vapi_call_id = p_event #>> '{call,id}');
    v_orgs  uuid[];
BEGIN
    IF v_route IS NOT NULL THEN
        RETURN v_route = p_org_id;
    END IF;
    v_orgs := find_platform_org(p_event -> 'call');
    RETURN cardinality(v_orgs) = 0 OR p_org_id = ANY (v_orgs);
END
$$;
COMMENT ON FUNCTION may_concern_org IS
    'Returns whether an event from the platform URL belongs to an org or may do so: its org is unknown, or ambiguous '
    'with this org among the candidates.';

CREATE FUNCTION route_erased_call_v1(p_org_id uuid, p_vapi_call_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- As in route_platform_event_v1: an event of the call that is being retained is seen by the erasure, or sees the route.
    PERFORM pg_advisory_xact_lock(hashtext('ringfence call route'), hashtext(p_vapi_call_id));
    INSERT INTO call_routes (vapi_call_id, org_id) VALUES (p_vapi_call_id, p_org_id) ON CONFLICT (vapi_call_id) DO NOTHING;
END
$$;
COMMENT ON FUNCTION route_erased_call_v1 IS
    'Routes a call from the platform URL whose org is unknown to the org that erases it. A redelivery then finds the '
    'tombstone of that org instead of being retained as an unresolved event.';

CREATE FUNCTION retained_event_types() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '{status-update,transcript,end-of-call-report,call.artifact.upload,call.deleted,call.delete.failed,assistant.started,hang,
        user-interrupted,transfer-update,language-change-detected,operation-failed,recording-ready}'::text[]
$$;
COMMENT ON FUNCTION retained_event_types IS
    'Returns all types of retained events: those of ringfence_vapi::EventType, and those of Ringfence itself. The '
    'events of a call are one range of event_id per type.';

CREATE FUNCTION erase_call_v1(p_actor text, p_org_id uuid, p_vapi_call_id text, p_run boolean) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_call   call_logs;
    v_found  jsonb;
    v_ranges text[];
BEGIN
    PERFORM enter_org(p_org_id);
    IF p_run THEN
        PERFORM pg_advisory_xact_lock(hashtext('ringfence erasure'), hashtext(p_org_id || ':' || p_vapi_call_id));
    END IF;
    -- No index leads from a call to its events. The prefix {type}:{call}: of the event key finds them.
    v_ranges := retained_event_types() || '{recording,tool-calls}'::text[];
    SELECT * INTO v_call FROM call_logs WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    v_found := jsonb_build_object(
        'events', (SELECT count(*) FROM unnest(v_ranges) AS t (name), LATERAL (SELECT FROM processed_webhook_events e
            WHERE e.org_id = p_org_id AND e.event_id > t.name || ':' || p_vapi_call_id || ':' AND e.event_id < t.name || ':' || p_vapi_call_id || ';') AS e),
        'transcripts', (SELECT count(*) FROM call_transcripts s WHERE s.org_id = p_org_id AND s.vapi_call_id = p_vapi_call_id),
        'recordings', (SELECT count(*) FROM recording_upload_queue q WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id),
        'failures', (SELECT count(*) FROM unnest(v_ranges) AS t (name), LATERAL (SELECT FROM failed_operations f
            WHERE f.org_id = p_org_id AND f.event_id > t.name || ':' || p_vapi_call_id || ':' AND f.event_id < t.name || ':' || p_vapi_call_id || ';') AS f),
        'tool_calls', (SELECT count(*) FROM tool_executions x WHERE x.org_id = p_org_id
            AND x.result::jsonb IS DISTINCT FROM erased_tool_result()::jsonb
            AND x.execution_id > 'tool-calls:' || p_vapi_call_id || ':' AND x.execution_id < 'tool-calls:' || p_vapi_call_id || ';'),
        'unresolved', (SELECT count(*) FROM unresolved_events u WHERE u.vapi_call_id = p_vapi_call_id AND (
            SELECT r.org_id FROM call_routes r WHERE r.vapi_call_id = p_vapi_call_id) IS NOT DISTINCT FROM p_org_id),
        'quarantined', (SELECT count(*) FROM quarantined_messages m WHERE m.org_id = p_org_id AND m.vapi_call_id = p_vapi_call_id));
    v_found := v_found || jsonb_build_object('calls', CASE
        WHEN v_call.id IS NOT NULL OR EXISTS (SELECT FROM jsonb_each(v_found) AS f WHERE f.value <> '0') THEN 1 ELSE 0 END);
    IF NOT p_run THEN
        RETURN v_found;
    END IF;

    INSERT INTO erasures (org_id, tombstone) VALUES (p_org_id, 'call:' || p_vapi_call_id) ON CONFLICT (org_id, tombstone) DO NOTHING;
    -- Another transaction may be applying the first event of the call, and its rows are not visible yet. The insert of the
    -- same row waits for that transaction, or makes it wait.
    INSERT INTO call_logs (org_id, vapi_call_id) VALUES (p_org_id, p_vapi_call_id) ON CONFLICT (org_id, vapi_call_id) DO NOTHING;
    -- FOR UPDATE excludes every other writer of the call. A transaction that waits for this row then finds the
    -- tombstone (insert_call), and an INSERT that references the row violates its foreign key.
    PERFORM FROM call_logs WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id FOR UPDATE;
    -- Also the objects that no row names yet: an upload may be in progress.
    INSERT INTO orphaned_objects (org_id, storage_key)
        SELECT p_org_id, q.storage_key FROM recording_upload_queue q
            WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.storage_key IS NOT NULL
        UNION SELECT p_org_id, recording_object(p_org_id, p_vapi_call_id, q.kind) FROM recording_upload_queue q
            WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id
        ON CONFLICT (org_id, storage_key) DO UPDATE SET created_at = now(), first_deleted_at = NULL;
    -- The executions stay, because a redelivery would otherwise execute the tool calls again. Their results are
    -- replaced. The lock on these rows excludes interrupt_tool_call, so failed operations are deleted afterwards.
    UPDATE tool_executions x SET state = 'done', result = erased_tool_result(), code = NULL, number_tombstones = NULL,
            finished_at = coalesce(x.finished_at, now())
        WHERE x.org_id = p_org_id AND x.execution_id > 'tool-calls:' || p_vapi_call_id || ':' AND x.execution_id < 'tool-calls:' || p_vapi_call_id || ';';
    DELETE FROM processed_webhook_events e USING unnest(v_ranges) AS t (name)
        WHERE e.org_id = p_org_id AND e.event_id > t.name || ':' || p_vapi_call_id || ':' AND e.event_id < t.name || ':' || p_vapi_call_id || ';';
    DELETE FROM failed_attempts f USING unnest(v_ranges) AS t (name)
        WHERE f.org_id = p_org_id AND f.event_id > t.name || ':' || p_vapi_call_id || ':' AND f.event_id < t.name || ':' || p_vapi_call_id || ';';
    DELETE FROM failed_operations f USING unnest(v_ranges) AS t (name)
        WHERE f.org_id = p_org_id AND f.event_id > t.name || ':' || p_vapi_call_id || ':' AND f.event_id < t.name || ':' || p_vapi_call_id || ';';
    DELETE FROM unresolved_events u WHERE u.vapi_call_id = p_vapi_call_id AND (
        SELECT r.org_id FROM call_routes r WHERE r.vapi_call_id = p_vapi_call_id) IS NOT DISTINCT FROM p_org_id;
    PERFORM lock_quarantine(p_org_id, true);
    DELETE FROM quarantined_messages m WHERE m.org_id = p_org_id AND m.vapi_call_id = p_vapi_call_id;
    DELETE FROM call_tracking WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM calls WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM call_transcripts WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM recording_upload_queue WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM reconciliations WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM partial_gates WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    DELETE FROM call_logs WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    IF v_call.id IS NOT NULL THEN
        PERFORM rebuild_call_rollups(p_org_id, ARRAY[uuid_hour(v_call.id)]);
    END IF;
    PERFORM audit(p_actor, 'erase.call', p_org_id, p_vapi_call_id, v_found);
    RETURN v_found;
END
$$;
COMMENT ON FUNCTION erase_call_v1 IS
    'Erases a call of an org: its rows, events, failed operations and the results of its tool calls. Maintenance '
    'deletes the objects of its recordings. The tombstone drops all later events of the call. Returns counts of what '
    'was found, which are audited. p_run false: a dry run, which only returns the counts. Idempotent.';

CREATE FUNCTION erase_chat_v1(p_actor text, p_org_id uuid, p_chat_id text, p_run boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM enter_org(p_org_id);
    IF NOT p_run THEN
        RETURN (SELECT count(*) FROM tool_executions x WHERE x.org_id = p_org_id AND p_chat_id IN (x.chat_id, x.session_id)
            AND x.result::jsonb IS DISTINCT FROM erased_tool_result()::jsonb);
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ringfence erasure'), hashtext(p_org_id || ':' || p_chat_id));
    INSERT INTO erasures (org_id, tombstone) VALUES (p_org_id, 'chat:' || p_chat_id) ON CONFLICT (org_id, tombstone) DO NOTHING;
    UPDATE tool_executions x SET state = 'done', result = erased_tool_result(), code = NULL, number_tombstones = NULL,
            finished_at = coalesce(x.finished_at, now())
        WHERE x.org_id = p_org_id AND p_chat_id IN (x.chat_id, x.session_id) AND x.result::jsonb IS DISTINCT FROM erased_tool_result()::jsonb;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    PERFORM audit(p_actor, 'erase.chat', p_org_id, p_chat_id, jsonb_build_object('tool_calls', v_count));
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION erase_chat_v1 IS
    'Erases a chat or session of an org: the results of its tool calls. The tombstone refuses its later tool calls. '
    'Returns the count of tool calls, which is audited. p_run false: a dry run, which only counts. Idempotent.';

CREATE FUNCTION find_chats_of_number_v1(p_org_id uuid, p_tombstones text[], p_cut_off timestamptz) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT DISTINCT coalesce(x.chat_id, x.session_id) FROM tool_executions x
    WHERE x.org_id = p_org_id AND x.vapi_call_id IS NULL AND x.number_tombstones && p_tombstones AND x.created_at < p_cut_off
        AND coalesce(x.chat_id, x.session_id) IS NOT NULL
$$;
COMMENT ON FUNCTION find_chats_of_number_v1 IS
    'Returns the ids of the chats, or of the sessions without a chat, in which a number''s tool calls were executed before '
    'p_cut_off. p_tombstones: the keyed hashes of the number.';

CREATE FUNCTION add_number_tombstones_v1(p_actor text, p_org_id uuid, p_tombstones text[], p_cut_off timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO erasures AS e (org_id, tombstone, cut_off) SELECT p_org_id, 'number:' || t, p_cut_off FROM unnest(p_tombstones) AS t
        ON CONFLICT (org_id, tombstone) DO UPDATE SET cut_off = greatest(e.cut_off, excluded.cut_off);
    PERFORM audit(p_actor, 'erase.number', p_org_id, p_tombstones[1], jsonb_build_object('cut_off', p_cut_off));
END
$$;
COMMENT ON FUNCTION add_number_tombstones_v1 IS
    'Inserts the tombstones of a number for all calls that began before p_cut_off. p_tombstones: the keyed hashes of '
    'the number, one per master key. The caller then erases the known calls one by one.';

CREATE FUNCTION compact_number(p_number text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(regexp_replace(p_number, '[^A-Za-z0-9]', '', 'g'))
$$;
COMMENT ON FUNCTION compact_number IS 'Returns the letters and digits of a number as Vapi wrote it, in lower case.';

CREATE FUNCTION find_numbers_v1(p_org_id uuid, p_patterns text[], p_tombstones text[], p_cut_off timestamptz)
RETURNS TABLE (vapi_call_id text, number text) LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT DISTINCT t.vapi_call_id, t.number FROM (
        SELECT c.vapi_call_id, c.phone_number FROM call_tracking c
            WHERE c.org_id = p_org_id AND least(c.called_at, c.created_at) < p_cut_off
        UNION ALL SELECT l.vapi_call_id, CASE l.direction WHEN 'outbound' THEN l.to_number ELSE l.from_number END FROM call_logs l
            WHERE l.org_id = p_org_id AND least(l.started_at, l.created_at) < p_cut_off
        -- A call may have had another number before, and events without effects on rows name numbers, too.
        UNION ALL SELECT e.vapi_call_id, e.event #>> '{call,customer_number}' FROM processed_webhook_events e
            WHERE e.org_id = p_org_id AND latest_call_start(e.event, e.received_at) < p_cut_off
        UNION ALL SELECT f.vapi_call_id, f.event #>> '{call,customer_number}' FROM failed_operations f
            WHERE f.org_id = p_org_id AND latest_call_start(f.event, f.received_at) < p_cut_off
        UNION ALL SELECT u.vapi_call_id, u.event #>> '{call,customer_number}' FROM unresolved_events u
            WHERE latest_call_start(u.event, u.received_at) < p_cut_off AND may_concern_org(p_org_id, u.event)
    ) AS t (vapi_call_id, number)
    WHERE compact_number(t.number) LIKE ANY (p_patterns);
    -- These store only hashes of numbers.
    RETURN QUERY SELECT x.vapi_call_id, NULL FROM tool_executions x
        WHERE x.org_id = p_org_id AND x.number_tombstones && p_tombstones AND x.created_at < p_cut_off AND x.vapi_call_id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION find_numbers_v1 IS
    'Returns the calls that began before p_cut_off, with the numbers of the other party in their rows and in their '
    'events, if compact_number of the number is LIKE one of p_patterns; and with NULL the calls for which only a hash of '
    'the number is stored, one of p_tombstones. Reads all calls and retained events of the org.';

CREATE FUNCTION erase_lead_v1(p_org_id uuid, p_numbers text[], p_run boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_leads uuid[] := ARRAY(SELECT id FROM leads WHERE org_id = p_org_id AND phone = ANY (p_numbers));
BEGIN
    IF p_run AND cardinality(v_leads) > 0 THEN
        -- create_inbound_call_atomically may have linked the lead to calls with another number.
        UPDATE call_logs SET lead_id = NULL WHERE org_id = p_org_id AND lead_id = ANY (v_leads);
        UPDATE call_tracking SET lead_id = NULL WHERE org_id = p_org_id AND lead_id = ANY (v_leads);
        DELETE FROM leads WHERE org_id = p_org_id AND id = ANY (v_leads);
    END IF;
    RETURN cardinality(v_leads);
END
$$;
COMMENT ON FUNCTION erase_lead_v1 IS
    'Deletes the lead with one of the numbers (E.164) and returns the count. Called after the calls are erased. p_run '
    'false: a dry run.';

-- The objects of erased calls. An upload that was in progress during the erasure may create the object again, so
-- maintenance deletes each object twice: at once (first_deleted_at), and a day after that.

CREATE FUNCTION find_orphaned_objects_v1(p_limit integer) RETURNS TABLE (org_id uuid, storage_key text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT o.org_id, o.storage_key FROM orphaned_objects o 
        WHERE o.first_deleted_at IS NULL OR o.first_deleted_at < now() - interval '1 day'
        ORDER BY o.created_at LIMIT least(p_limit, 1000)
$$;
COMMENT ON FUNCTION find_orphaned_objects_v1 IS
    'Returns objects of erased calls that maintenance must delete: at once, and again after a day.';

CREATE FUNCTION record_orphan_removal_v1(p_org_id uuid, p_storage_key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM enter_org(p_org_id);
    IF delete_orphaned_object(p_storage_key) THEN
        RETURN true;
    END IF;
    UPDATE orphaned_objects SET first_deleted_at = now()
        WHERE org_id = p_org_id AND storage_key = p_storage_key AND first_deleted_at IS NULL;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION record_orphan_removal_v1 IS
    'Records that an object of an erased call was deleted from the bucket. False: another caller has recorded it.';

GRANT EXECUTE ON FUNCTION lock_against_erasure, is_call_erased, event_tombstones, latest_call_start, is_erased, is_conversation_erased, erased_tool_result,
    retained_event_types, erase_call_v1 TO ringfence_app, ringfence_ops;
GRANT EXECUTE ON FUNCTION is_event_erased_v1, find_orphaned_objects_v1, record_orphan_removal_v1 TO ringfence_app;
GRANT EXECUTE ON FUNCTION may_concern_org, route_erased_call_v1, erase_chat_v1, find_chats_of_number_v1, add_number_tombstones_v1,
    compact_number, find_numbers_v1, erase_lead_v1
    TO ringfence_ops;
GRANT CREATE ON SCHEMA public TO ringfence_ops;
ALTER FUNCTION erase_call_v1 OWNER TO ringfence_ops;
ALTER FUNCTION find_orphaned_objects_v1 OWNER TO ringfence_ops;
REVOKE CREATE ON SCHEMA public FROM ringfence_ops;
