-- Recordings. Vapi's links expire after half an hour, so Ringfence copies each recording to the bucket. The transaction
-- that applies an event inserts a row into recording_upload_queue for each recording that the event names. A queue
-- message then starts the upload, and a lease decides which consumer uploads. Lock order: the row of the call, if it is
-- needed, before the row of the recording.

CREATE FUNCTION queue_recordings(p_org_id uuid, p_call_log_id uuid, p_event jsonb, p_links jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recording_upload_queue AS q (org_id, vapi_call_id, call_log_id, kind, link, link_expires_at)
        SELECT p_org_id, p_event #>> '{call,id}', p_call_log_id, r.kind, l.link, l.expires_at
        FROM jsonb_array_elements_text(p_event -> 'recordings') AS r (kind)
        LEFT JOIN jsonb_to_recordset(p_links) AS l (kind text, link text, expires_at timestamptz) USING (kind)
        ORDER BY r.kind
        ON CONFLICT (org_id, vapi_call_id, kind) DO UPDATE SET
            -- A later report has links that expire later. The holder of the current lease loses it, so that a failure
            -- with the old link is not recorded. A recording that was given up is due again, even if its queue message
            -- is lost.
            link = excluded.link, link_expires_at = excluded.link_expires_at,
            state = 'pending', next_attempt_at = clock_timestamp(), claimed_by = NULL, lease_until = NULL
            WHERE q.state IN ('pending', 'dead') AND excluded.link IS NOT NULL
                AND (excluded.link_expires_at > now()) IS NOT FALSE
                AND (q.link IS NULL OR q.link_expires_at IS NULL OR q.link_expires_at < now() OR excluded.link_expires_at > q.link_expires_at);
END
$$;
COMMENT ON FUNCTION queue_recordings IS
    'Queues the recordings that an event names, once per call and kind. p_links: [{"kind", "link" (sealed), '
    '"expires_at"}], or NULL.';

CREATE FUNCTION claim_recording_v1(
    p_org_id uuid, p_vapi_call_id text, p_kind text, p_lease_holder uuid, p_lease_seconds integer,
    OUT outcome text, OUT wait_seconds integer, OUT attempt integer, OUT link text, OUT link_expires_at timestamptz,
    OUT api_key text, OUT queued_at timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
    v_row recording_upload_queue;
BEGIN
    PERFORM enter_org(p_org_id);
    SELECT * INTO v_row FROM recording_upload_queue q
        WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.kind = p_kind FOR UPDATE;
    IF NOT FOUND OR v_row.state IN ('stored', 'removed') THEN
        outcome := 'done';
        RETURN;
    END IF;
    IF v_row.lease_until > clock_timestamp() AND v_row.claimed_by <> p_lease_holder THEN
        outcome := 'busy';
        wait_seconds := ceil(extract(epoch FROM v_row.lease_until - clock_timestamp()));
        RETURN;
    END IF;
    -- The state may be dead: then its dead letter was redriven.
    UPDATE recording_upload_queue q SET state = 'pending', claimed_by = p_lease_holder,
            attempts = q.attempts + CASE WHEN q.claimed_by = p_lease_holder THEN 0 ELSE 1 END,
            lease_until = clock_timestamp() + make_interval(secs => p_lease_seconds),
            next_attempt_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
        WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.kind = p_kind
        RETURNING q.attempts, q.link, q.link_expires_at, q.created_at
        INTO attempt, claim_recording_v1.link, claim_recording_v1.link_expires_at, queued_at;
    SELECT c.api_key INTO claim_recording_v1.api_key FROM vapi_credentials c WHERE c.org_id = p_org_id;
    outcome := 'claimed';
END
$$;
COMMENT ON FUNCTION claim_recording_v1 IS
    'Grants p_lease_holder the lease on a recording. outcome: claimed; busy (another lease ends in wait_seconds); '
    'done (the recording is stored or removed, or was not queued). An expired lease is taken over.';

CREATE FUNCTION finish_recording_v1(
    p_org_id uuid, p_vapi_call_id text, p_kind text, p_storage_key text, p_content_type text, p_bytes bigint, p_sha256 bytea,
    OUT outcome text, OUT event_id text, OUT sequence bigint, OUT at timestamptz, OUT event jsonb, OUT viewers text[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_row  recording_upload_queue;
    v_path text;
BEGIN
    PERFORM enter_org(p_org_id);
    -- lock_call inserts the rows of a call that has none. It must not do so for an erased call.
    IF NOT EXISTS (SELECT FROM recording_upload_queue q
            WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.kind = p_kind) THEN
        outcome := 'removed';
        RETURN;
    END IF;
    PERFORM lock_call(p_org_id, p_vapi_call_id);
    SELECT * INTO v_row FROM recording_upload_queue q
        WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.kind = p_kind FOR UPDATE;
    IF NOT FOUND OR v_row.state IN ('stored', 'removed') THEN
        outcome := CASE v_row.state WHEN 'stored' THEN 'already-stored' ELSE 'removed' END;
        RETURN;
    END IF;
    UPDATE recording_upload_queue SET state = 'stored', stored_at = now(), storage_key = p_storage_key,
            content_type = p_content_type, bytes = p_bytes, sha256 = p_sha256,
            link = NULL, link_expires_at = NULL, claimed_by = NULL, lease_until = NULL, code = NULL
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id AND kind = p_kind;
    UPDATE failed_operations f SET state = 'resolved', resolved_at = now(), event = NULL
        WHERE f.org_id = p_org_id AND f.event_id = recording_id(p_vapi_call_id, p_kind) AND f.state <> 'resolved';
    -- The kind decides which recording the call's rows name, so the order of the uploads does not matter.
    SELECT q.storage_key INTO v_path FROM recording_upload_queue q
        WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.state = 'stored'
        ORDER BY array_position('{mono,stereo,video}', q.kind) LIMIT 1;
    UPDATE call_logs SET recording_storage_path = v_path, updated_at = now()
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id AND recording_storage_path IS DISTINCT FROM v_path;
    UPDATE calls SET recording_state = 'stored', recording_path = v_path, updated_at = now()
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id
            AND (recording_state, recording_path) IS DISTINCT FROM ('stored', v_path);

    event_id := 'recording-ready:' || p_vapi_call_id || ':' || p_kind;
    event := jsonb_build_object('kind', 'recording-ready', 'event_type', 'recording-ready', 'recording', p_kind,
        'bytes', p_bytes, 'call', jsonb_build_object('id', p_vapi_call_id));
    at := now();
    INSERT INTO processed_webhook_events AS e (org_id, event_id, event_type, vapi_call_id, message_time, event, received_at)
        VALUES (p_org_id, finish_recording_v1.event_id, 'recording-ready', p_vapi_call_id, finish_recording_v1.at, finish_recording_v1.event,
            finish_recording_v1.at)
        ON CONFLICT (org_id, event_id) DO NOTHING
        RETURNING e.seq INTO sequence;
    viewers := active_viewers(p_org_id);
    outcome := 'stored';
END
$$;
COMMENT ON FUNCTION finish_recording_v1 IS
    'Records that a recording is in the bucket: updates its row and the call''s rows, and appends recording-ready to '
    'the org''s log (event_id, sequence, at, event, and viewers, the connections to push it to). The caller needs no '
    'lease. outcome: stored; already-stored (nothing changes); removed (the caller must delete the object).';

CREATE FUNCTION recording_object(p_org_id uuid, p_vapi_call_id text, p_kind text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT p_org_id || '/' || p_vapi_call_id || '/' || p_kind
$$;
COMMENT ON FUNCTION recording_object IS
    'The key of a recording''s object, the same as ringfence_protocol::Recording::object_key returns.';

CREATE FUNCTION recording_id(p_vapi_call_id text, p_kind text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'recording:' || p_vapi_call_id || ':' || p_kind
$$;
COMMENT ON FUNCTION recording_id IS 'The event_id of a recording in failed_operations.';

CREATE FUNCTION fail_recording_v1(
    p_org_id uuid, p_vapi_call_id text, p_kind text, p_lease_holder uuid, p_code text, p_retry_seconds integer, p_receives integer,
    OUT event_org uuid, OUT event_id text, OUT sequence bigint, OUT at timestamptz, OUT event jsonb, OUT viewers text[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_row recording_upload_queue;
BEGIN
    PERFORM enter_org(p_org_id);
    UPDATE recording_upload_queue q SET code = p_code, claimed_by = NULL, lease_until = NULL,
            state = CASE WHEN p_retry_seconds IS NULL THEN 'dead' ELSE 'pending' END,
            next_attempt_at = clock_timestamp() + make_interval(secs => coalesce(p_retry_seconds, 0))
        WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.kind = p_kind
            AND q.state = 'pending' AND q.claimed_by = p_lease_holder
        RETURNING * INTO v_row;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT r.* INTO event_org, event_id, sequence, at, event, viewers
    FROM record_failure_v1(p_org_id, NULL, recording_id(p_vapi_call_id, p_kind),
        jsonb_build_object('kind', 'recording', 'event_type', 'recording', 'recording', p_kind,
            'call', jsonb_build_object('id', p_vapi_call_id)),
        v_row.created_at,
        jsonb_build_object('function', 'recording-upload', 'receives', p_receives, 'attempts', jsonb_build_array(
            jsonb_build_object('failed_at', clock_timestamp(), 'function', 'recording-upload', 'code', p_code))),
        CASE WHEN p_retry_seconds IS NULL THEN 'dead' ELSE 'retrying' END) r;
END
$$;
COMMENT ON FUNCTION fail_recording_v1 IS
    'Records that an attempt of p_lease_holder failed. The next attempt is due after p_retry_seconds. NULL: the '
    'recording is given up. Does nothing if p_lease_holder has lost the lease. Returns the columns of '
    'record_failure_v1.';

CREATE FUNCTION find_recording_v1(
    p_org_id uuid, p_actor text, p_vapi_call_id text, p_kind text,
    OUT storage_key text, OUT content_type text, OUT bytes bigint, OUT sha256 bytea
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM enter_org(p_org_id);
    SELECT q.storage_key, q.content_type, q.bytes, q.sha256
        INTO find_recording_v1.storage_key, find_recording_v1.content_type, find_recording_v1.bytes, find_recording_v1.sha256
        FROM recording_upload_queue q
        WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.kind = p_kind AND q.state = 'stored'
            AND q.storage_key = recording_object(p_org_id, p_vapi_call_id, p_kind);
    IF FOUND THEN
        PERFORM audit(p_actor, 'recording.play', p_org_id, recording_id(p_vapi_call_id, p_kind));
    END IF;
END
$$;
COMMENT ON FUNCTION find_recording_v1 IS
    'Returns where a stored recording is, for playback, and audits the playback. All NULL: the org has no such '
    'recording, or its row names an object that is not its own.';

-- Maintenance finds its work over all orgs with these two functions. They return ids and storage keys of at most a
-- thousand recordings, and change at most next_attempt_at. Maintenance then processes each recording under tenant
-- isolation.

CREATE FUNCTION take_due_recordings_v1(p_limit integer, p_run boolean) RETURNS TABLE (org_id uuid, vapi_call_id text, kind text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- Within two minutes of the due time the queue message may still arrive.
    IF NOT p_run THEN
        RETURN QUERY SELECT q.org_id, q.vapi_call_id, q.kind FROM recording_upload_queue q
            WHERE q.state = 'pending' AND q.next_attempt_at < now() - interval '2 minutes'
            ORDER BY q.next_attempt_at LIMIT least(p_limit, 1000);
        RETURN;
    END IF;
    RETURN QUERY UPDATE recording_upload_queue u SET next_attempt_at = now() + interval '5 minutes'
        WHERE (u.org_id, u.vapi_call_id, u.kind) IN (
            SELECT q.org_id, q.vapi_call_id, q.kind FROM recording_upload_queue q
            WHERE q.state = 'pending' AND q.next_attempt_at < now() - interval '2 minutes'
            ORDER BY q.next_attempt_at LIMIT least(p_limit, 1000) FOR UPDATE SKIP LOCKED)
        RETURNING u.org_id, u.vapi_call_id, u.kind;
END
$$;
COMMENT ON FUNCTION take_due_recordings_v1 IS
    'Returns recordings that are overdue because their queue message was lost. The caller must send the message '
    'again; for five minutes no other caller gets the same rows. p_run false: a dry run, which changes nothing.';

CREATE FUNCTION find_expired_recordings_v1(p_limit integer) RETURNS TABLE (org_id uuid, vapi_call_id text, kind text, storage_key text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT e.org_id, e.vapi_call_id, e.kind, e.storage_key
        -- In random order: an org whose objects cannot be deleted must not hide the others.
        FROM (SELECT * FROM organizations ORDER BY random()) AS o, LATERAL (
            SELECT q.* FROM recording_upload_queue q
            WHERE q.org_id = o.id AND q.state = 'stored'
                AND q.stored_at < now() - make_interval(days => o.recording_retention_days)
            ORDER BY q.stored_at LIMIT least(p_limit, 1000)
        ) AS e
        WHERE o.recording_retention_days IS NOT NULL
        LIMIT least(p_limit, 1000);
END
$$;
COMMENT ON FUNCTION find_expired_recordings_v1 IS
    'Returns stored recordings that are older than the retention of their org.';

CREATE FUNCTION remove_recording_v1(p_org_id uuid, p_vapi_call_id text, p_kind text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_key  text;
    v_next text;
BEGIN
    PERFORM enter_org(p_org_id);
    IF NOT EXISTS (SELECT FROM recording_upload_queue q
            WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.kind = p_kind) THEN
        RETURN false;
    END IF;
    PERFORM lock_call(p_org_id, p_vapi_call_id);
    SELECT q.storage_key INTO v_key FROM recording_upload_queue q
        WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.kind = p_kind AND q.state = 'stored' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE recording_upload_queue SET state = 'removed', storage_key = NULL
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id AND kind = p_kind;
    SELECT q.storage_key INTO v_next FROM recording_upload_queue q
        WHERE q.org_id = p_org_id AND q.vapi_call_id = p_vapi_call_id AND q.state = 'stored'
        ORDER BY array_position('{mono,stereo,video}', q.kind) LIMIT 1;
    -- These updates may replace a known value by NULL. merge_call would not.
    UPDATE call_logs SET recording_storage_path = v_next, updated_at = now()
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id AND recording_storage_path = v_key;
    UPDATE calls SET recording_path = v_next, updated_at = now(),
            recording_state = CASE WHEN v_next IS NULL THEN 'removed' ELSE 'stored' END
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id AND recording_path = v_key;
    RETURN true;
END
$$;
COMMENT ON FUNCTION remove_recording_v1 IS
    'Records that the object of a recording was deleted. No row refers to it any more, and no event queues it again. '
    'False: the recording was not stored.';

GRANT EXECUTE ON FUNCTION queue_recordings, recording_id, recording_object TO ringfence_app, ringfence_ops;
GRANT EXECUTE ON FUNCTION claim_recording_v1, finish_recording_v1, fail_recording_v1, find_recording_v1, take_due_recordings_v1,
    find_expired_recordings_v1, remove_recording_v1 TO ringfence_app;
GRANT CREATE ON SCHEMA public TO ringfence_ops;
ALTER FUNCTION take_due_recordings_v1 OWNER TO ringfence_ops;
ALTER FUNCTION find_expired_recordings_v1 OWNER TO ringfence_ops;
REVOKE CREATE ON SCHEMA public FROM ringfence_ops;
