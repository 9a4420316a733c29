-- Erasure deletes the data of a call, or of all calls with a phone number, and leaves a tombstone in erasures: the
-- call's id, or a keyed hash of the number (ringfence_identity::numbers). An event that arrives later and matches a
-- tombstone is dropped.

CREATE FUNCTION is_call_erased(p_org_id uuid, p_vapi_call_id text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM erasures e WHERE e.org_id = p_org_id AND e.mark = 'call:' || p_vapi_call_id);
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

CREATE FUNCTION latest_beginning(p_event jsonb, p_received_at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least((p_event #>> '{call,created_at}')::timestamptz, (p_event ->> 'message_time')::timestamptz, p_received_at)
$$;
COMMENT ON FUNCTION latest_beginning IS 'Returns a time by which the call of an event had begun.';

CREATE FUNCTION is_erased(p_org_id uuid, p_event jsonb, p_received_at timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM erasures e
        WHERE e.org_id = p_org_id AND e.mark = ANY (event_tombstones(p_event))
            -- The tombstone of a number applies to calls that began before the erasure. Later calls with the number are
            -- stored.
            AND (e.cut_off IS NULL OR e.cut_off > latest_beginning(p_event, p_received_at)));
END
$$;
COMMENT ON FUNCTION is_erased IS 'Returns whether a tombstone of the call or of its number applies to an event.';

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
    -- No index leads from a call to its events. The prefix {type}:{call}: of the event key finds them.
    v_ranges := retained_event_types() || '{recording,tool-calls}'::text[];
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
            SELECT r.org_id FROM call_routes r WHERE r.vapi_call_id = p_vapi_call_id) IS NOT DISTINCT FROM p_org_id),
        'quarantined', (SELECT count(*) FROM quarantined_messages m WHERE m.org_id = p_org_id AND m.vapi_call_id = p_vapi_call_id));
    IF NOT p_run THEN
        RETURN v_found;
    END IF;

    INSERT INTO erasures (org_id, mark) VALUES (p_org_id, 'call:' || p_vapi_call_id) ON CONFLICT (org_id, mark) DO NOTHING;
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
        ON CONFLICT (org_id, storage_key) DO UPDATE SET created_at = now();
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
    -- The executions stay, because a redelivery would otherwise execute the tool calls again. Their results are
    -- replaced.
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

CREATE FUNCTION add_number_tombstones_v1(p_actor text, p_org_id uuid, p_tombstones text[], p_cut_off timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO erasures AS e (org_id, mark, cut_off) SELECT p_org_id, 'number:' || t, p_cut_off FROM unnest(p_tombstones) AS t
        ON CONFLICT (org_id, mark) DO UPDATE SET cut_off = greatest(e.cut_off, excluded.cut_off);
    PERFORM audit(p_actor, 'erase.number', p_org_id, p_tombstones[1], jsonb_build_object('cut_off', p_cut_off));
END
$$;
COMMENT ON FUNCTION add_number_tombstones_v1 IS
    'Inserts the tombstones of a number for all calls that began before p_cut_off. p_tombstones: the keyed hashes of '
    'the number, one per master key. The caller then erases the known calls one by one.';

CREATE FUNCTION find_calls_of_number_v1(p_org_id uuid, p_number text, p_tombstones text[], p_cut_off timestamptz) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(DISTINCT t.vapi_call_id), '{}') FROM (
        SELECT c.vapi_call_id FROM call_tracking c
            WHERE c.org_id = p_org_id AND c.phone_number = p_number AND least(c.called_at, c.created_at) < p_cut_off
        -- Calls whose events failed may have no rows.
        UNION ALL SELECT f.vapi_call_id FROM failed_operations f
            WHERE f.org_id = p_org_id AND f.state <> 'resolved' AND f.event #> '{call,number_tombstones}' ?| p_tombstones
    ) AS t
$$;
COMMENT ON FUNCTION find_calls_of_number_v1 IS
    'Returns the ids of the calls with a number that began before p_cut_off. p_tombstones: the keyed hashes of the '
    'number.';

CREATE FUNCTION erase_lead_v1(p_org_id uuid, p_number text, p_run boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_leads bigint;
BEGIN
    SELECT count(*) INTO v_leads FROM leads WHERE org_id = p_org_id AND phone = p_number;
    IF p_run AND v_leads > 0 THEN
        -- create_inbound_call_atomically may have linked the lead to calls with another number.
        UPDATE call_logs SET lead_id = NULL WHERE org_id = p_org_id AND lead_id IN (SELECT id FROM leads WHERE org_id = p_org_id AND phone = p_number);
        UPDATE call_tracking SET lead_id = NULL WHERE org_id = p_org_id AND lead_id IN (SELECT id FROM leads WHERE org_id = p_org_id AND phone = p_number);
        DELETE FROM leads WHERE org_id = p_org_id AND phone = p_number;
    END IF;
    RETURN v_leads;
END
$$;
COMMENT ON FUNCTION erase_lead_v1 IS
    'Deletes the lead with a number and returns the count. Called after the calls are erased. p_run false: a dry run.';

-- The objects of erased calls. An upload that was in progress during the erasure may create the object again, so
-- maintenance deletes each object twice: at once, and after a day. seen_to_at is the time of the first deletion.

CREATE FUNCTION find_orphaned_objects_v1(p_limit integer) RETURNS TABLE (org_id uuid, storage_key text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT o.org_id, o.storage_key FROM orphaned_objects o WHERE o.seen_to_at IS NULL OR o.created_at < now() - interval '1 day'
        ORDER BY o.created_at LIMIT least(p_limit, 1000)
$$;
COMMENT ON FUNCTION find_orphaned_objects_v1 IS
    'Returns objects of erased calls that maintenance must delete: at once, and again after a day.';

CREATE FUNCTION record_orphan_removal_v1(p_org_id uuid, p_storage_key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM enter_org(p_org_id);
    DELETE FROM orphaned_objects WHERE org_id = p_org_id AND storage_key = p_storage_key AND seen_to_at IS NOT NULL;
    IF NOT FOUND THEN
        UPDATE orphaned_objects SET seen_to_at = now() WHERE org_id = p_org_id AND storage_key = p_storage_key;
    END IF;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION record_orphan_removal_v1 IS
    'Records that an object of an erased call was deleted from the bucket. False: the object is not listed any more.';

GRANT EXECUTE ON FUNCTION is_call_erased, event_tombstones, latest_beginning, is_erased, retained_event_types, erase_call_v1 TO ringfence_app, ringfence_ops;
GRANT EXECUTE ON FUNCTION find_orphaned_objects_v1, record_orphan_removal_v1 TO ringfence_app;
GRANT EXECUTE ON FUNCTION add_number_tombstones_v1, find_calls_of_number_v1, erase_lead_v1 TO ringfence_ops;
GRANT CREATE ON SCHEMA public TO ringfence_ops;
ALTER FUNCTION erase_call_v1 OWNER TO ringfence_ops;
ALTER FUNCTION find_orphaned_objects_v1 OWNER TO ringfence_ops;
REVOKE CREATE ON SCHEMA public FROM ringfence_ops;
