-- Drift: messages of types and fields of names that the running version does not know. A message is stored sealed, because
-- nobody knows what it contains, and is applied by a later version (replay). Of fields only the names are counted.

CREATE FUNCTION lock_quarantine(p_org_id uuid, p_is_erasure boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_is_erasure THEN
        PERFORM pg_advisory_xact_lock(hashtext('ringfence quarantine'), hashtext(p_org_id::text));
    ELSE
        PERFORM pg_advisory_xact_lock_shared(hashtext('ringfence quarantine'), hashtext(p_org_id::text));
    END IF;
END
$$;
COMMENT ON FUNCTION lock_quarantine IS
    'An erasure waits for the messages that are being stored and deletes them; a message that waits for an erasure then '
    'finds its tombstone.';

CREATE FUNCTION quarantine_message_v1(
    p_org_id uuid, p_key_version integer, p_id text, p_message_type text, p_facts jsonb, p_sealed text, p_received_at timestamptz
) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM enter_org(p_org_id);
    IF p_key_version IS NOT NULL AND NOT is_key_valid(p_org_id, p_key_version, p_received_at) THEN
        RETURN 'revoked';
    END IF;
    PERFORM lock_quarantine(p_org_id, false);
    IF is_erased(p_org_id, p_facts, p_received_at) THEN
        RETURN 'erased';
    END IF;
    IF (SELECT count(*) FROM (SELECT q.event_id FROM quarantined_messages q WHERE q.org_id = p_org_id LIMIT 1000) AS q) >= 1000 THEN
        RETURN 'full';
    END IF;
    INSERT INTO quarantined_messages (org_id, event_id, event_type, vapi_call_id, number_tombstones, key_version, sealed, received_at)
        VALUES (p_org_id, p_id, p_message_type, p_facts #>> '{call,id}',
            ARRAY(SELECT jsonb_array_elements_text(p_facts #> '{call,number_tombstones}')), p_key_version, p_sealed, p_received_at)
        ON CONFLICT (org_id, event_id) DO NOTHING;
    RETURN CASE WHEN FOUND THEN 'retained' ELSE 'duplicate' END;
END
$$;
COMMENT ON FUNCTION quarantine_message_v1 IS
    'Stores a sealed message of an unknown type. p_id: SHA-256 of the body. p_key_version: NULL for the platform''s key. '
    'p_facts: call and message_time, as in an event. Result: retained, duplicate, full (1 000 messages of the org are '
    'stored), erased (a tombstone covers its call or number) or revoked.';

CREATE FUNCTION count_unknown_fields_v1(
    p_org_id uuid, p_key_version integer, p_call jsonb, p_fields jsonb, p_received_at timestamptz
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_sender record;
    v_hour   timestamptz := date_trunc('hour', p_received_at, 'UTC');
BEGIN
    SELECT s.* INTO v_sender FROM enter_sender(p_org_id, p_key_version, p_call, p_received_at) s;
    IF v_sender.outcome <> 'known' THEN
        RETURN false;
    END IF;
    -- The order prevents a deadlock of two environments.
    INSERT INTO unknown_fields AS u (org_id, hour, message_type, field, messages)
        SELECT v_sender.event_org, v_hour, f.message_type, f.field, f.messages
        FROM jsonb_to_recordset(p_fields) AS f (message_type text, field text, messages bigint)
        WHERE EXISTS (SELECT FROM unknown_fields k WHERE k.org_id = v_sender.event_org AND k.hour = v_hour
                AND k.message_type = f.message_type AND k.field = f.field)
            OR (SELECT count(*) FROM unknown_fields k WHERE k.org_id = v_sender.event_org AND k.hour = v_hour) < 200
        ORDER BY f.message_type COLLATE "C", f.field COLLATE "C"
        ON CONFLICT (org_id, hour, message_type, field) DO UPDATE SET messages = u.messages + excluded.messages;
    RETURN true;
END
$$;
COMMENT ON FUNCTION count_unknown_fields_v1 IS
    'Adds to the counts of field names that the running version does not know, [{message_type, field, messages}]. An org has '
    'about 200 names per hour; more are not counted. False: the org is not known, or the key was revoked.';

CREATE FUNCTION show_drift_v1(p_org_id uuid) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM enter_org(p_org_id);
    RETURN jsonb_build_object(
        'types', (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.messages DESC, t.message_type), '[]') FROM (
            SELECT q.event_type AS message_type, count(*) AS messages, min(q.received_at) AS first, max(q.received_at) AS latest
            FROM quarantined_messages q WHERE q.org_id = p_org_id
            GROUP BY q.event_type ORDER BY count(*) DESC, q.event_type LIMIT 200) AS t),
        'fields', (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.messages DESC, t.message_type, t.field), '[]') FROM (
            SELECT u.message_type, u.field, sum(u.messages)::bigint AS messages, min(u.hour) AS first, max(u.hour) AS latest
            FROM unknown_fields u WHERE u.org_id = p_org_id
            GROUP BY u.message_type, u.field ORDER BY sum(u.messages) DESC, u.message_type, u.field LIMIT 200) AS t));
END
$$;
COMMENT ON FUNCTION show_drift_v1 IS
    'Returns the types of an org''s quarantined messages and its unknown field names, each with its count and times, at most '
    '200 of each.';

CREATE FUNCTION summarise_drift_v1() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'types', (SELECT coalesce(jsonb_agg(jsonb_build_array(t.event_type, t.messages) ORDER BY t.messages DESC, t.event_type), '[]') FROM (
            SELECT q.event_type, count(*) AS messages FROM quarantined_messages q
            GROUP BY q.event_type ORDER BY count(*) DESC, q.event_type LIMIT 50) AS t),
        'fields', (SELECT coalesce(jsonb_agg(jsonb_build_array(t.field, t.messages) ORDER BY t.messages DESC, t.field), '[]') FROM (
            SELECT u.message_type || ' ' || u.field AS field, sum(u.messages)::bigint AS messages FROM unknown_fields u
            GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 50) AS t))
$$;
COMMENT ON FUNCTION summarise_drift_v1 IS 'Returns unknown types and field names of all orgs with their counts, at most 50 of each.';

CREATE FUNCTION apply_quarantined_v1(p_org_id uuid, p_id text, p_key text, p_event jsonb, p_links jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_message quarantined_messages;
    v_claim   claim;
BEGIN
    PERFORM enter_org(p_org_id);
    SELECT * INTO v_message FROM quarantined_messages WHERE org_id = p_org_id AND event_id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF p_event IS NOT NULL THEN
        v_claim := take_claim(p_org_id, v_message.key_version IS NULL, v_message.key_version, p_key, p_event, v_message.received_at, NULL);
        IF v_claim.outcome = 'applied' THEN
            PERFORM apply_effects(p_org_id, p_event, p_links);
        ELSIF v_claim.outcome = 'revoked' THEN
            RETURN false;
        END IF;
    END IF;
    DELETE FROM quarantined_messages WHERE org_id = p_org_id AND event_id = p_id;
    RETURN true;
END
$$;
COMMENT ON FUNCTION apply_quarantined_v1 IS
    'Applies a quarantined message that the running version can read, and removes it: claim and effects in one transaction. '
    'p_event: NULL if its type is known and not stored. False: it is gone, or its key was revoked before it was received.';

CREATE FUNCTION erase_quarantined_of_number_v1(p_org_id uuid, p_tombstones text[], p_cut_off timestamptz, p_run boolean)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_messages bigint;
BEGIN
    PERFORM enter_org(p_org_id);
    IF p_run THEN
        PERFORM lock_quarantine(p_org_id, true);
        DELETE FROM quarantined_messages
            WHERE org_id = p_org_id AND number_tombstones && p_tombstones AND received_at < p_cut_off;
        GET DIAGNOSTICS v_messages = ROW_COUNT;
        RETURN v_messages;
    END IF;
    RETURN (SELECT count(*) FROM quarantined_messages
        WHERE org_id = p_org_id AND number_tombstones && p_tombstones AND received_at < p_cut_off);
END
$$;
COMMENT ON FUNCTION erase_quarantined_of_number_v1 IS
    'Deletes the quarantined messages with a number that were received before p_cut_off, and returns their count. '
    'p_tombstones: the keyed hashes of the number. p_run false: a dry run. Called after the tombstones are inserted.';

GRANT EXECUTE ON FUNCTION lock_quarantine TO ringfence_app, ringfence_ops;
GRANT EXECUTE ON FUNCTION quarantine_message_v1, count_unknown_fields_v1, show_drift_v1 TO ringfence_app;
GRANT EXECUTE ON FUNCTION summarise_drift_v1, apply_quarantined_v1, erase_quarantined_of_number_v1 TO ringfence_ops;
