-- A stored event is applied by one statement: claim, effects and the org's viewers in one transaction and one round trip.
-- The statement raises when an effect fails, which takes the claim with it. The version in the name of its function lets code of
-- two releases run side by side.
--
-- One function calls another by assignment, not in FROM: a FunctionScan would be a statement of its own.

CREATE FUNCTION find_platform_org(p_call jsonb) RETURNS uuid[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT d.org_id
        FROM (VALUES
            ('phone_number_id', p_call ->> 'phone_number_id'),
            ('phone_number', p_call ->> 'our_number'),
            ('assistant', p_call ->> 'assistant_id'),
            ('squad', p_call ->> 'squad_id')) AS named (kind, ref)
        JOIN platform_directory d USING (kind, ref));
END
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
        -- Registration takes this lock alone before it registers, so it either finds this event retained or is seen here.
        PERFORM pg_advisory_xact_lock_shared(hashtext('ringfence platform directory'));
        v_orgs := find_platform_org(p_event -> 'call');
    END IF;
    -- Two events of one call take turns from here on: one that is retained is seen by the one that makes the route, or sees it.
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
    'names, which makes the route (is_new). None, or more than one: the event is retained in unresolved_events, and the org is NULL.';

CREATE FUNCTION take_unresolved_events_v1(p_vapi_call_id text) RETURNS SETOF unresolved_events
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    -- Returns no events of another org: the call must be routed to the org of this transaction.
    RETURN QUERY DELETE FROM unresolved_events u USING call_routes r
        WHERE u.vapi_call_id = p_vapi_call_id AND r.vapi_call_id = p_vapi_call_id
            AND r.org_id = nullif(current_setting('ringfence.org_id', true), '')::uuid
        RETURNING u.*;
END
$$;
COMMENT ON FUNCTION take_unresolved_events_v1 IS
    'Removes the unresolved events of a call that this transaction''s org is the route of, and returns them to be applied.';

CREATE FUNCTION find_event_org_v1(p_event jsonb) RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org  uuid := (SELECT org_id FROM call_routes WHERE vapi_call_id = p_event #>> '{call,id}');
    v_orgs uuid[];
BEGIN
    IF v_org IS NULL THEN
        v_orgs := find_platform_org(p_event -> 'call');
        v_org := CASE WHEN cardinality(v_orgs) = 1 THEN v_orgs[1] END;
    END IF;
    RETURN v_org;
END
$$;
COMMENT ON FUNCTION find_event_org_v1 IS
    'The org of a platform event as route_platform_event_v1 would find it, without retaining or routing anything; NULL: unknown.';

CREATE FUNCTION is_key_valid(p_org_id uuid, p_key_version integer, p_received_at timestamptz) RETURNS boolean
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM organization_keys k
        WHERE k.org_id = p_org_id AND k.version = p_key_version
            AND (k.valid_until IS NULL OR k.valid_until > p_received_at));
END
$$;
COMMENT ON FUNCTION is_key_valid IS 'Whether this version of the key of the transaction''s org was valid when something was received with it.';

CREATE TYPE claim AS (outcome text, event_org uuid, sequence bigint, is_first boolean);
COMMENT ON TYPE claim IS 'is_first: no row of the event''s call was seen, so its rows are probably to be inserted.';

CREATE FUNCTION take_claim(
    p_org_id uuid, p_is_platform boolean, p_key_version integer, p_key text, p_event jsonb, p_received_at timestamptz,
    p_failures jsonb
) RETURNS claim LANGUAGE plpgsql AS $$
DECLARE
    v_claim   claim;
    v_call    text := p_event #>> '{call,id}';
    v_is_open boolean;
BEGIN
    IF p_failures IS NOT NULL THEN
        PERFORM lock_event(p_key);
    END IF;
    v_claim.event_org := p_org_id;
    -- The unique key decides. A second claimant waits here for the first and applies if that one aborts.
    INSERT INTO processed_webhook_events AS e (org_id, event_id, event_type, vapi_call_id, message_time, event, received_at)
        SELECT p_org_id, p_key, p_event ->> 'event_type', v_call, (p_event ->> 'message_time')::timestamptz,
            p_event, p_received_at
        -- is_key_valid and is_erased, inside this statement and the next.
        WHERE (p_is_platform OR EXISTS (
                SELECT FROM organization_keys k
                WHERE k.org_id = p_org_id AND k.version = p_key_version
                    AND (k.valid_until IS NULL OR k.valid_until > p_received_at)))
            AND NOT EXISTS (
                SELECT FROM erasures r
                WHERE r.org_id = p_org_id AND r.tombstone = ANY (event_tombstones(p_event))
                    AND (r.cut_off IS NULL OR r.cut_off > latest_call_start(p_event, p_received_at)))
        ON CONFLICT (org_id, event_id) DO NOTHING
        RETURNING e.seq,
            EXISTS (SELECT FROM failed_operations f WHERE f.org_id = p_org_id AND f.event_id = p_key AND f.state <> 'resolved'),
            NOT EXISTS (SELECT FROM call_logs l WHERE l.org_id = p_org_id AND l.vapi_call_id = v_call)
        INTO v_claim.sequence, v_is_open, v_claim.is_first;
    IF v_claim.sequence IS NOT NULL THEN
        v_claim.outcome := 'applied';
    ELSE
        SELECT CASE WHEN p_is_platform OR EXISTS (
                SELECT FROM organization_keys k
                WHERE k.org_id = p_org_id AND k.version = p_key_version
                    AND (k.valid_until IS NULL OR k.valid_until > p_received_at))
                THEN 'duplicate' ELSE 'revoked' END,
            EXISTS (
                SELECT FROM failed_operations f WHERE f.org_id = p_org_id AND f.event_id = p_key AND f.state <> 'resolved')
            INTO v_claim.outcome, v_is_open;
        -- An erased event is acknowledged as a duplicate is, and nothing of it is written down.
        IF v_claim.outcome = 'revoked' OR (v_is_open OR p_failures IS NOT NULL) AND is_erased(p_org_id, p_event, p_received_at) THEN
            RETURN v_claim;
        END IF;
    END IF;

    -- Applied now or before: its failures are resolved, in the transaction that applies it.
    IF p_failures IS NOT NULL THEN
        PERFORM record_failed_operation(p_org_id, p_key_version, p_key, p_event, p_received_at, p_failures, 'resolved');
    ELSIF v_is_open THEN
        UPDATE failed_operations SET state = 'resolved', resolved_at = now(), event = NULL
            WHERE org_id = p_org_id AND event_id = p_key AND state <> 'resolved';
    END IF;
    RETURN v_claim;
END
$$;
COMMENT ON FUNCTION take_claim IS
    'Claims an event in the org of the transaction. outcome: applied, duplicate, or revoked (the key was no longer valid when the '
    'event was received). p_is_platform: it came by the platform''s key, which has no versions.';

CREATE FUNCTION apply_unresolved_events(p_org_id uuid, p_vapi_call_id text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_unresolved unresolved_events;
    v_claim      claim;
    v_fresh      jsonb[] := '{}';
    v_deleted    jsonb;
BEGIN
    -- All claims, then all effects: the one order of locks.
    FOR v_unresolved IN SELECT * FROM take_unresolved_events_v1(p_vapi_call_id) ORDER BY event_id LOOP
        v_claim := take_claim(p_org_id, true, NULL, v_unresolved.event_id, v_unresolved.event, v_unresolved.received_at, NULL);
        IF v_claim.outcome = 'applied' THEN
            v_fresh := v_fresh || v_unresolved.event;
            IF v_unresolved.event ->> 'event_type' = 'call.deleted' THEN
                v_deleted := v_unresolved.event;
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
COMMENT ON FUNCTION apply_unresolved_events IS
    'Applies the events of a call that came before one of its events named its org. Part of the statement that makes the route.';

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
    outcome := CASE WHEN p_org_id IS NULL OR is_key_valid(p_org_id, p_key_version, p_received_at) THEN 'known' ELSE 'revoked' END;
END
$$;
COMMENT ON FUNCTION enter_sender IS
    'Enters the org that a message without a claim is about. outcome: known; revoked (the key was no longer valid when it came); '
    'unresolved (it came by the platform''s key and names no org).';

CREATE FUNCTION claim_event(
    p_org_id uuid, p_key_version integer, p_key text, p_event jsonb, p_received_at timestamptz, p_failures jsonb
) RETURNS claim LANGUAGE plpgsql AS $$
DECLARE
    v_claim claim;
    v_route record;
BEGIN
    IF p_org_id IS NOT NULL THEN
        RETURN take_claim(enter_org(p_org_id), false, p_key_version, p_key, p_event, p_received_at, p_failures);
    END IF;
    v_route := route_platform_event_v1(p_key, p_event, p_received_at);
    IF v_route.event_org IS NULL THEN
        v_claim.outcome := 'unresolved';
        RETURN v_claim;
    END IF;
    v_claim := take_claim(enter_org(v_route.event_org), true, NULL, p_key, p_event, p_received_at, p_failures);
    IF v_route.is_new THEN
        PERFORM apply_unresolved_events(v_route.event_org, p_event #>> '{call,id}');
        IF is_call_erased(v_route.event_org, p_event #>> '{call,id}') THEN
            -- Vapi had deleted it: this claim is gone with all the rest.
            v_claim.outcome := 'duplicate';
            v_claim.sequence := NULL;
        END IF;
    END IF;
    RETURN v_claim;
END
$$;
COMMENT ON FUNCTION claim_event IS
    'Finds and enters the org of an event, and claims the event there. outcome: as of take_claim, or unresolved (no org known yet).';

CREATE FUNCTION active_viewers(p_org_id uuid) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- The eleventh shows that there are more than ten. The function broadcast-retry then pushes to all of them.
    RETURN ARRAY(
        SELECT connection_id FROM live_connections
        WHERE org_id = p_org_id AND state = 'active' AND expires_at > now()
        LIMIT 11);
END
$$;

-- The effects of an event on its call. Each is idempotent: a replay applies it again and ends in the same rows.

CREATE FUNCTION fold_call(p_org_id uuid, p_event jsonb, p_links jsonb, p_is_first boolean, p_is_replay boolean)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_call text := p_event #>> '{call,id}';
    v_id   uuid;
BEGIN
    IF p_event ? 'conversation' THEN
        -- Waits for transcripts that are being stored (store_transcript), so that store_conversation sees their rows.
        PERFORM pg_advisory_xact_lock(hashtext('ringfence conversation'), hashtext(v_call));
    END IF;
    IF p_is_first THEN
        v_id := insert_call(p_org_id, v_call, event_facts(p_event));
    ELSIF NOT p_is_replay THEN
        v_id := merge_call(p_org_id, v_call, event_facts(p_event), true);
    END IF;
    IF v_id IS NULL THEN
        -- The event is neither the first nor the newest of its call, or this is a replay.
        v_id := lock_call(p_org_id, v_call);
        v_id := merge_call(p_org_id, v_call, retained_call_facts(p_org_id, v_call));
    END IF;
    IF p_event ? 'recordings' THEN
        PERFORM queue_recordings(p_org_id, v_id, p_event, p_links);
    END IF;
    RETURN v_id;
END
$$;
COMMENT ON FUNCTION fold_call IS
    'Folds a status update or a report into the rows of its call, and queues the recordings that it names. Returns the '
    'call''s id.';

CREATE FUNCTION begin_call(p_org_id uuid, p_vapi_call_id text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_facts call_facts;
BEGIN
    v_facts.status := 'in-progress';
    IF insert_call(p_org_id, p_vapi_call_id, v_facts) IS NOT NULL THEN
        RETURN;
    END IF;
    UPDATE call_logs SET status = v_facts.status, updated_at = now()
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id
            AND call_status_rank(status) < call_status_rank(v_facts.status);
    IF NOT FOUND THEN
        IF is_call_erased(p_org_id, p_vapi_call_id) THEN
            RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'the call is erased';
        END IF;
        RETURN;
    END IF;
    UPDATE call_tracking SET status = v_facts.status, updated_at = now()
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    UPDATE calls SET status = v_facts.status, updated_at = now()
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
END
$$;
COMMENT ON FUNCTION begin_call IS
    'A transcript proves that its call is at least in progress. Inserts the rows of the call, or raises their status.';

CREATE FUNCTION store_transcript(p_org_id uuid, p_event jsonb) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_call       text := p_event #>> '{call,id}';
    v_id         uuid;
    v_has_report boolean;
BEGIN
    -- Most transcripts arrive while their call is in progress and need no lock on its row. The advisory lock excludes a
    -- report with a conversation (fold_call); if there is one, this statement waits for the row of the call below.
    IF pg_try_advisory_xact_lock_shared(hashtext('ringfence conversation'), hashtext(v_call)) THEN
        INSERT INTO call_transcripts (org_id, vapi_call_id, content_sha256, call_log_id, speaker, text, said_at, position)
            SELECT p_org_id, v_call, decode(p_event ->> 'content_sha256', 'hex'), l.id, p_event ->> 'role',
                p_event ->> 'text', (p_event ->> 'message_time')::timestamptz, (p_event ->> 'position')::integer
            FROM call_logs l
            WHERE l.org_id = p_org_id AND l.vapi_call_id = v_call
                AND call_status_rank(l.status) >= call_status_rank('in-progress') AND NOT l.folded_report
                AND p_event ->> 'text' <> ''
            ON CONFLICT (org_id, vapi_call_id, content_sha256) DO NOTHING
            RETURNING call_log_id INTO v_id;
        IF FOUND THEN
            RETURN v_id;
        END IF;
    END IF;

    -- The call is not known to be in progress yet, or has its report; or the row exists; or nothing was said.
    PERFORM begin_call(p_org_id, v_call);
    IF p_event ->> 'text' = '' THEN
        RETURN NULL;
    END IF;
    SELECT id, folded_report INTO v_id, v_has_report FROM call_logs
        WHERE org_id = p_org_id AND vapi_call_id = v_call FOR NO KEY UPDATE;
    IF v_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'the call is erased';
    END IF;
    INSERT INTO call_transcripts (org_id, vapi_call_id, content_sha256, call_log_id, speaker, text, said_at, position)
        VALUES (p_org_id, v_call, decode(p_event ->> 'content_sha256', 'hex'), v_id, p_event ->> 'role',
            p_event ->> 'text', (p_event ->> 'message_time')::timestamptz, (p_event ->> 'position')::integer)
        ON CONFLICT (org_id, vapi_call_id, content_sha256) DO NOTHING
        RETURNING call_log_id INTO v_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF v_has_report THEN
        -- Transcript events take precedence over the conversation of a report.
        PERFORM delete_turns_of_reports(v_call, '{}');
    END IF;
    RETURN v_id;
END
$$;
COMMENT ON FUNCTION store_transcript IS
    'Inserts the row of a transcript into call_transcripts. A transcript without words has no row, but begins its '
    'call. Returns the call''s id. NULL: no row was inserted.';

CREATE FUNCTION apply_effects(
    p_org_id uuid, p_event jsonb, p_links jsonb DEFAULT NULL, p_is_first boolean DEFAULT false, p_is_replay boolean DEFAULT false
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_call text := p_event #>> '{call,id}';
    v_id   uuid;
BEGIN
    CASE p_event ->> 'kind'
        WHEN 'transcript' THEN v_id := store_transcript(p_org_id, p_event);
        WHEN 'call-started', 'call-ended', 'end-of-call-report' THEN
            v_id := fold_call(p_org_id, p_event, p_links, p_is_first, p_is_replay);
        WHEN 'call-event' THEN
            IF p_event ->> 'event_type' = 'call.deleted' THEN
                PERFORM erase_call_v1('vapi', p_org_id, v_call, true);
                RETURN NULL;
            END IF;
            -- Timeline events need no row of the call, so an erasure in progress may have missed this claim.
            PERFORM lock_against_erasure(p_org_id, v_call);
            IF is_call_erased(p_org_id, v_call) THEN
                RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'the call is erased';
            END IF;
            IF p_event ? 'recordings' THEN
                v_id := lock_call(p_org_id, v_call);
                PERFORM queue_recordings(p_org_id, v_id, p_event, p_links);
            END IF;
        WHEN 'operation-failed', 'recording-ready' THEN NULL; -- only in the timeline
    END CASE;
    RETURN v_id;
END
$$;
COMMENT ON FUNCTION apply_effects IS
    'Applies the effects of a claimed event of any kind. An unknown kind is an error. p_links: the links to the recordings '
    'that a report names (queue_recordings). p_is_first: as in claim. p_is_replay: folds all retained events of the call. '
    'Returns the call''s id if its rows were written.';

CREATE FUNCTION apply_event_v1(
    p_org_id uuid, p_key_version integer, p_key text, p_event jsonb, p_received_at timestamptz,
    p_failures jsonb DEFAULT NULL, p_links jsonb DEFAULT NULL,
    OUT outcome text, OUT event_org uuid, OUT sequence bigint, OUT viewers text[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_claim claim := claim_event(p_org_id, p_key_version, p_key, p_event, p_received_at, p_failures);
    v_call  uuid;
BEGIN
    outcome := v_claim.outcome;
    event_org := v_claim.event_org;
    sequence := v_claim.sequence;
    IF outcome = 'applied' THEN
        v_call := apply_effects(event_org, p_event, p_links, v_claim.is_first);
        -- As late as possible: a viewer that connects meanwhile finds the event when it reads the log once more.
        viewers := active_viewers(event_org);
    END IF;
END
$$;
COMMENT ON FUNCTION apply_event_v1 IS
'Applies a stored event of any kind.
p_org_id: the org of the verified key; NULL: it came by the platform''s key, and the org is found here.
p_key_version: version of the org''s key. p_key: the event key. p_event: the typed event (ringfence_vapi::Event).
p_received_at: when the webhook function received it, also if it waited in a queue since. p_failures: what failed before, if
anything did (record_failed_operation). p_links: what fetches the recordings that it names (queue_recordings).
outcome: applied, duplicate, revoked (the key was no longer valid when the event came) or unresolved (org not known yet).
event_org: the org it belongs to. sequence: its place in the org''s log. viewers: connections to push it to.';

CREATE FUNCTION apply_unresolved_event_v1(p_id bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_unresolved unresolved_events;
    v_claim      claim;
BEGIN
    SELECT * INTO v_unresolved FROM unresolved_events WHERE id = p_id;
    IF NOT FOUND THEN
        RETURN 'duplicate';
    END IF;
    v_claim := claim_event(NULL, NULL, v_unresolved.event_id, v_unresolved.event, v_unresolved.received_at, NULL);
    IF v_claim.outcome = 'applied' THEN
        PERFORM apply_effects(v_claim.event_org, v_unresolved.event);
    END IF;
    IF v_claim.outcome IN ('applied', 'duplicate') THEN
        DELETE FROM unresolved_events WHERE id = p_id;
    END IF;
    RETURN v_claim.outcome;
END
$$;
COMMENT ON FUNCTION apply_unresolved_event_v1 IS
    'Applies an unresolved platform event whose org is known by now and removes it from unresolved_events, in one transaction.';

DO $$
DECLARE
    v_function text;
BEGIN
    FOREACH v_function IN ARRAY ARRAY[
        'call_status_rank', 'higher_status', 'newer', 'latest_known', 'higher_status_step', 'highest_status',
        'merged_objects', 'parties_hash',
        'find_agent', 'find_lead', 'seconds_between', 'event_facts', 'retained_call_facts', 'insert_call', 'lock_call',
        'contact_leads', 'store_conversation', 'merge_call', 'route_platform_event_v1', 'take_unresolved_events_v1',
        'find_event_org_v1', 'is_key_valid',
        'take_claim', 'apply_unresolved_events', 'enter_sender', 'claim_event', 'active_viewers', 'fold_call', 'begin_call',
        'store_transcript', 'apply_effects', 'apply_event_v1'
    ] LOOP
        EXECUTE format('GRANT EXECUTE ON ROUTINE %I TO ringfence_app, ringfence_ops', v_function);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION apply_unresolved_event_v1, find_platform_org TO ringfence_ops;

-- The router's functions belong to the router, whose policies let it see the directory. To take ownership it needs CREATE
-- on the schema, for this moment only.
GRANT CREATE ON SCHEMA public TO ringfence_router;
ALTER FUNCTION find_platform_org OWNER TO ringfence_router;
ALTER FUNCTION route_platform_event_v1 OWNER TO ringfence_router;
ALTER FUNCTION take_unresolved_events_v1 OWNER TO ringfence_router;
ALTER FUNCTION find_event_org_v1 OWNER TO ringfence_router;
REVOKE CREATE ON SCHEMA public FROM ringfence_router;
