-- One function per event: claim, effects and the org's viewers in one statement, so in one transaction and one round trip.
-- They raise when an effect fails, which takes the claim with it. The version in the name lets code of two releases run side
-- by side. All take the same parameters:
--   p_org_id       the org of the verified key; NULL for the platform's key, and the org is found here
--   p_key_version  version of the org's key
--   p_event_id     the idempotency key
--   p_event        the typed event (ringfence_vapi::Event)
--   p_received_at  when the webhook function received it, even if it was queued since then
--   p_failures     what failed before, if anything did (record_failed_operation)
-- the report's also p_links, what fetches the recordings that it names (queue_recordings),
-- and answer with one row:
--   outcome    applied, duplicate, revoked (the key no longer counted when the event came) or unresolved (org not known yet)
--   event_org  the org it belongs to; sequence: its place in the org's log; viewers: connections to push to

CREATE FUNCTION find_platform_org(p_call jsonb) RETURNS uuid[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(DISTINCT d.org_id), '{}')
    FROM (VALUES
        ('phone_number_id', p_call ->> 'phone_number_id'),
        ('phone_number', p_call ->> 'our_number'),
        ('assistant', p_call ->> 'assistant_id'),
        ('squad', p_call ->> 'squad_id')) AS named (kind, ref)
    JOIN platform_directory d USING (kind, ref)
$$;

CREATE FUNCTION route_platform_event_v1(
    p_event_id text, p_event jsonb, p_received_at timestamptz, OUT event_org uuid, OUT is_new boolean
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_call text := p_event #>> '{call,id}';
    v_orgs uuid[];
BEGIN
    is_new := false;
    SELECT org_id INTO event_org FROM call_routes WHERE vapi_call_id = v_call;
    IF FOUND THEN
        RETURN;
    END IF;

    v_orgs := find_platform_org(p_event -> 'call');
    IF cardinality(v_orgs) <> 1 THEN
        -- Registration takes this lock alone before it registers, so it either finds this event kept or is seen here.
        PERFORM pg_advisory_xact_lock_shared(hashtext('ringfence platform directory'));
        v_orgs := find_platform_org(p_event -> 'call');
    END IF;
    -- Two events of one call take turns from here on: one that is kept is seen by the one that makes the route, or sees it.
    PERFORM pg_advisory_xact_lock(hashtext('ringfence call route'), hashtext(v_call));
    SELECT org_id INTO event_org FROM call_routes WHERE vapi_call_id = v_call;
    IF FOUND THEN
        RETURN;
    END IF;
    IF cardinality(v_orgs) <> 1 THEN
        INSERT INTO unresolved_events (event_id, vapi_call_id, code, event, received_at)
            VALUES (p_event_id, v_call, CASE cardinality(v_orgs) WHEN 0 THEN 'RF5001' ELSE 'RF5002' END, p_event, p_received_at)
            ON CONFLICT (event_id) DO NOTHING;
        RETURN;
    END IF;

    -- The first event of a call that names an org decides for all of them.
    event_org := v_orgs[1];
    is_new := true;
    INSERT INTO call_routes (vapi_call_id, org_id) VALUES (v_call, event_org);
END
$$;
COMMENT ON FUNCTION route_platform_event_v1 IS
    'The org of a platform event: the call''s route, else the one org that registered the number, assistant or squad it '
    'names, which makes the route (is_new). None, or more than one: the event is kept in unresolved_events, and the org is NULL.';

CREATE FUNCTION take_unresolved_events_v1(p_vapi_call_id text) RETURNS SETOF unresolved_events
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    -- Nobody takes another org's events: the call must be routed to the org of this transaction.
    RETURN QUERY DELETE FROM unresolved_events u USING call_routes r
        WHERE u.vapi_call_id = p_vapi_call_id AND r.vapi_call_id = p_vapi_call_id
            AND r.org_id = nullif(current_setting('ringfence.org_id', true), '')::uuid
        RETURNING u.*;
END
$$;
COMMENT ON FUNCTION take_unresolved_events_v1 IS
    'Removes the kept events of a call that this transaction''s org is the route of, and hands them over to be applied.';

CREATE FUNCTION find_event_org_v1(p_event jsonb) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT coalesce(
        (SELECT org_id FROM call_routes WHERE vapi_call_id = p_event #>> '{call,id}'),
        (SELECT orgs[1] FROM find_platform_org(p_event -> 'call') AS orgs WHERE cardinality(orgs) = 1))
$$;
COMMENT ON FUNCTION find_event_org_v1 IS
    'The org of a platform event as route_platform_event_v1 would find it, without keeping or routing anything; NULL: unknown.';

CREATE FUNCTION take_claim(
    p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz, p_failures jsonb,
    OUT outcome text, OUT sequence bigint
) LANGUAGE plpgsql AS $$
BEGIN
    IF p_failures IS NOT NULL THEN
        PERFORM lock_event(p_event_id);
    END IF;
    -- The unique key decides. A second claimant waits here for the first and applies if that one aborts.
    INSERT INTO processed_webhook_events (org_id, event_id, event_type, vapi_call_id, message_time, event, received_at)
        VALUES (p_org_id, p_event_id, p_event ->> 'event_type', p_event #>> '{call,id}',
            (p_event ->> 'message_time')::timestamptz, p_event, p_received_at)
        ON CONFLICT (org_id, event_id) DO NOTHING
        RETURNING seq INTO sequence;
    outcome := CASE WHEN sequence IS NULL THEN 'duplicate' ELSE 'applied' END;
    -- What was erased is done with, as a duplicate is.
    IF outcome = 'applied' AND is_erased(p_org_id, p_event, p_received_at) THEN
        PERFORM delete_erased_claim(p_org_id, p_event_id);
        outcome := 'duplicate';
        sequence := NULL;
        RETURN;
    END IF;

    -- Applied now or before: its open failure is resolved in the same transaction.
    IF p_failures IS NOT NULL THEN
        PERFORM record_failed_operation(p_org_id, p_key_version, p_event_id, p_event, p_received_at, p_failures, 'resolved');
    ELSE
        UPDATE failed_operations SET state = 'resolved', resolved_at = now(), event = NULL
            WHERE org_id = p_org_id AND event_id = p_event_id AND state <> 'resolved';
    END IF;
END
$$;

CREATE FUNCTION apply_kept_events(p_org_id uuid, p_vapi_call_id text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_kept    unresolved_events;
    v_fresh   jsonb[] := '{}';
    v_deleted jsonb;
BEGIN
    -- All claims, then all effects: the one order of locks.
    FOR v_kept IN SELECT * FROM take_unresolved_events_v1(p_vapi_call_id) ORDER BY event_id LOOP
        IF (take_claim(p_org_id, NULL, v_kept.event_id, v_kept.event, v_kept.received_at, NULL)).outcome = 'applied' THEN
            v_fresh := v_fresh || v_kept.event;
            IF v_kept.event ->> 'event_type' = 'call.deleted' THEN
                v_deleted := v_kept.event;
            END IF;
        END IF;
    END LOOP;
    IF v_deleted IS NOT NULL THEN
        -- Which takes the claims of the others with it.
        PERFORM apply_effects(p_org_id, v_deleted);
        RETURN;
    END IF;
    FOR i IN 1 .. cardinality(v_fresh) LOOP
        PERFORM apply_effects(p_org_id, v_fresh[i]);
    END LOOP;
END
$$;
COMMENT ON FUNCTION apply_kept_events IS
    'Applies what was kept of a call before one of its events named its org. Part of the statement that makes the route.';

CREATE FUNCTION key_counts(p_org_id uuid, p_key_version integer, p_received_at timestamptz) RETURNS boolean
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM organization_keys k
        WHERE k.org_id = p_org_id AND k.version = p_key_version
            AND (k.valid_until IS NULL OR k.valid_until > p_received_at));
END
$$;
COMMENT ON FUNCTION key_counts IS 'Whether this version of the key of the transaction''s org counted when something was received with it.';

CREATE FUNCTION enter_sender(
    p_org_id uuid, p_key_version integer, p_call jsonb, p_received_at timestamptz, OUT outcome text, OUT event_org uuid
) LANGUAGE plpgsql AS $$
BEGIN
    event_org := coalesce(p_org_id, find_event_org_v1(jsonb_build_object('call', p_call)));
    IF event_org IS NULL THEN
        outcome := 'unresolved';
        RETURN;
    END IF;
    PERFORM enter_org(event_org);
    outcome := CASE WHEN p_org_id IS NULL OR key_counts(p_org_id, p_key_version, p_received_at) THEN 'known' ELSE 'revoked' END;
END
$$;
COMMENT ON FUNCTION enter_sender IS
    'Enters the org that a message without a claim is about. outcome: known; revoked (the key no longer counted when it came); '
    'unresolved (it came by the platform''s key and names no org).';

CREATE FUNCTION claim_event(
    p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz, p_failures jsonb,
    OUT outcome text, OUT event_org uuid, OUT sequence bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_is_new boolean := false;
BEGIN
    IF p_org_id IS NULL THEN
        SELECT r.* INTO event_org, v_is_new FROM route_platform_event_v1(p_event_id, p_event, p_received_at) r;
        IF event_org IS NULL THEN
            outcome := 'unresolved';
            RETURN;
        END IF;
        PERFORM enter_org(event_org);
    ELSE
        event_org := p_org_id;
        PERFORM enter_org(event_org);
        IF NOT key_counts(p_org_id, p_key_version, p_received_at) THEN
            outcome := 'revoked';
            RETURN;
        END IF;
    END IF;
    SELECT c.* INTO outcome, sequence
        FROM take_claim(event_org, p_key_version, p_event_id, p_event, p_received_at, p_failures) c;
    IF v_is_new THEN
        PERFORM apply_kept_events(event_org, p_event #>> '{call,id}');
        IF is_call_erased(event_org, p_event #>> '{call,id}') THEN
            -- Vapi had deleted it: this claim is gone with all the rest.
            outcome := 'duplicate';
            sequence := NULL;
        END IF;
    END IF;
END
$$;

CREATE FUNCTION active_viewers(p_org_id uuid) RETURNS text[] LANGUAGE sql STABLE AS $$
    -- Eleven tell that there are more than ten, for whom one message to the fan-out function is sent.
    SELECT coalesce(array_agg(v.connection_id), '{}')
    FROM (
        SELECT connection_id FROM live_connections
        WHERE org_id = p_org_id AND state = 'active' AND expires_at > now()
        LIMIT 11
    ) AS v
$$;

-- The effects of an event on its call. Each may run again at any time, and ends in the same rows: replay does.

CREATE FUNCTION fold_call(p_org_id uuid, p_event jsonb, p_links jsonb DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_call     text := p_event #>> '{call,id}';
    v_call_log uuid := lock_call(p_org_id, v_call);
BEGIN
    IF p_event ? 'recordings' THEN
        PERFORM queue_recordings(p_org_id, v_call_log, p_event, p_links);
    END IF;
    PERFORM merge_call(p_org_id, v_call, kept_call_facts(p_org_id, v_call));
END
$$;
COMMENT ON FUNCTION fold_call IS
    'Computes the rows of an event''s call from all of its kept status updates and reports, and queues the recordings that this one names.';

CREATE FUNCTION keep_transcript(p_org_id uuid, p_event jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_call     text := p_event #>> '{call,id}';
    v_call_log uuid;
    v_spoken   call_facts;
BEGIN
    -- Somebody speaks, so the call is in progress at least. Most transcripts find it so and need no lock.
    SELECT id INTO v_call_log FROM call_logs
        WHERE org_id = p_org_id AND vapi_call_id = v_call
            AND call_status_rank(status) >= call_status_rank('in-progress');
    IF v_call_log IS NULL THEN
        v_call_log := lock_call(p_org_id, v_call);
        v_spoken.status := 'in-progress';
        PERFORM merge_call(p_org_id, v_call, v_spoken);
    END IF;

    INSERT INTO call_transcripts (org_id, vapi_call_id, content_sha256, call_log_id, speaker, text, said_at, position)
        VALUES (p_org_id, v_call, decode(p_event ->> 'content_sha256', 'hex'), v_call_log, p_event ->> 'role',
            p_event ->> 'text', (p_event ->> 'message_time')::timestamptz, (p_event ->> 'position')::integer)
        ON CONFLICT (org_id, vapi_call_id, content_sha256) DO NOTHING;
END
$$;
COMMENT ON FUNCTION keep_transcript IS 'What somebody said is one row in call_transcripts.';

CREATE FUNCTION apply_effects(p_org_id uuid, p_event jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CASE p_event ->> 'kind'
        WHEN 'transcript' THEN PERFORM keep_transcript(p_org_id, p_event);
        WHEN 'call-started', 'call-ended', 'end-of-call-report' THEN PERFORM fold_call(p_org_id, p_event);
        WHEN 'call-event' THEN
            IF p_event ->> 'event_type' = 'call.deleted' THEN
                PERFORM erase_call_v1('vapi', p_org_id, p_event #>> '{call,id}', true);
            ELSIF p_event ? 'recordings' THEN
                PERFORM fold_call(p_org_id, p_event);
            END IF;
        WHEN 'operation-failed', 'recording-ready' THEN NULL; -- it is in the timeline, and that is all
    END CASE;
END
$$;
COMMENT ON FUNCTION apply_effects IS 'The effects of an event of any kind whose claim is held. An unknown kind is an error.';

CREATE FUNCTION apply_call_started_v1(
    p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz,
    p_failures jsonb DEFAULT NULL,
    OUT outcome text, OUT event_org uuid, OUT sequence bigint, OUT viewers text[]
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.* INTO outcome, event_org, sequence
        FROM claim_event(p_org_id, p_key_version, p_event_id, p_event, p_received_at, p_failures) c;
    IF outcome = 'applied' THEN
        PERFORM fold_call(event_org, p_event);
        viewers := active_viewers(event_org);
    END IF;
END
$$;
COMMENT ON FUNCTION apply_call_started_v1 IS 'status-update of any status but ended: the call exists and has come this far.';

CREATE FUNCTION apply_call_ended_v1(
    p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz,
    p_failures jsonb DEFAULT NULL,
    OUT outcome text, OUT event_org uuid, OUT sequence bigint, OUT viewers text[]
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.* INTO outcome, event_org, sequence
        FROM claim_event(p_org_id, p_key_version, p_event_id, p_event, p_received_at, p_failures) c;
    IF outcome = 'applied' THEN
        PERFORM fold_call(event_org, p_event);
        viewers := active_viewers(event_org);
    END IF;
END
$$;
COMMENT ON FUNCTION apply_call_ended_v1 IS 'status-update ended: the call is completed, and its lead was contacted.';

CREATE FUNCTION apply_end_of_call_report_v1(
    p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz,
    p_failures jsonb DEFAULT NULL, p_links jsonb DEFAULT NULL,
    OUT outcome text, OUT event_org uuid, OUT sequence bigint, OUT viewers text[]
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.* INTO outcome, event_org, sequence
        FROM claim_event(p_org_id, p_key_version, p_event_id, p_event, p_received_at, p_failures) c;
    IF outcome = 'applied' THEN
        PERFORM fold_call(event_org, p_event, p_links);
        viewers := active_viewers(event_org);
    END IF;
END
$$;
COMMENT ON FUNCTION apply_end_of_call_report_v1 IS
    'end-of-call-report: completes the call, fills in cost, times, reason, summary and transcript, and queues its recordings.';

CREATE FUNCTION apply_transcript_v1(
    p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz,
    p_failures jsonb DEFAULT NULL,
    OUT outcome text, OUT event_org uuid, OUT sequence bigint, OUT viewers text[]
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.* INTO outcome, event_org, sequence
        FROM claim_event(p_org_id, p_key_version, p_event_id, p_event, p_received_at, p_failures) c;
    IF outcome = 'applied' THEN
        PERFORM keep_transcript(event_org, p_event);
        viewers := active_viewers(event_org);
    END IF;
END
$$;
COMMENT ON FUNCTION apply_transcript_v1 IS 'A final transcript: one row in call_transcripts.';

CREATE FUNCTION apply_call_event_v1(
    p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz,
    p_failures jsonb DEFAULT NULL,
    OUT outcome text, OUT event_org uuid, OUT sequence bigint, OUT viewers text[]
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.* INTO outcome, event_org, sequence
        FROM claim_event(p_org_id, p_key_version, p_event_id, p_event, p_received_at, p_failures) c;
    IF outcome = 'applied' THEN
        PERFORM apply_effects(event_org, p_event);
        viewers := active_viewers(event_org);
    END IF;
END
$$;
COMMENT ON FUNCTION apply_call_event_v1 IS 'An event of the call''s timeline: the claim is all there is to keep, and recordings that can be fetched since.';

CREATE FUNCTION apply_unresolved_event_v1(p_id bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_kept  unresolved_events;
    v_claim record;
BEGIN
    SELECT * INTO v_kept FROM unresolved_events WHERE id = p_id;
    IF NOT FOUND THEN
        RETURN 'duplicate';
    END IF;
    SELECT * INTO v_claim FROM claim_event(NULL, NULL, v_kept.event_id, v_kept.event, v_kept.received_at, NULL);
    IF v_claim.outcome = 'applied' THEN
        PERFORM apply_effects(v_claim.event_org, v_kept.event);
    END IF;
    IF v_claim.outcome IN ('applied', 'duplicate') THEN
        DELETE FROM unresolved_events WHERE id = p_id;
    END IF;
    RETURN v_claim.outcome;
END
$$;
COMMENT ON FUNCTION apply_unresolved_event_v1 IS
    'Applies a kept platform event whose org is known by now and removes it from unresolved_events, in one transaction.';

DO $$
DECLARE
    v_function text;
BEGIN
    FOREACH v_function IN ARRAY ARRAY[
        'call_status_rank', 'higher_status', 'newer', 'latest_known', 'highest_status', 'find_agent', 'find_lead',
        'kept_facts', 'kept_call_facts', 'lock_call',
        'merge_call', 'route_platform_event_v1', 'take_unresolved_events_v1', 'find_event_org_v1', 'take_claim',
        'apply_kept_events', 'key_counts', 'enter_sender', 'claim_event', 'active_viewers', 'fold_call',
        'keep_transcript', 'apply_effects', 'apply_call_started_v1', 'apply_call_ended_v1', 'apply_transcript_v1',
        'apply_end_of_call_report_v1', 'apply_call_event_v1'
    ] LOOP
        EXECUTE format('GRANT EXECUTE ON ROUTINE %I TO ringfence_app, ringfence_ops', v_function);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION apply_unresolved_event_v1 TO ringfence_ops;

-- The router's functions belong to the router, whose policies let it see the directory. To take ownership it needs CREATE
-- on the schema, for this moment only.
GRANT CREATE ON SCHEMA public TO ringfence_router;
ALTER FUNCTION find_platform_org OWNER TO ringfence_router;
ALTER FUNCTION route_platform_event_v1 OWNER TO ringfence_router;
ALTER FUNCTION take_unresolved_events_v1 OWNER TO ringfence_router;
ALTER FUNCTION find_event_org_v1 OWNER TO ringfence_router;
REVOKE CREATE ON SCHEMA public FROM ringfence_router;
