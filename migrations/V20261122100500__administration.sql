-- Administration: orgs, keys, agents, leads, tools, redrive and replay. A change and its audit entry commit together.
-- Only ringfence_ops executes these functions, except audit: the functions that serve webhooks cannot.

CREATE FUNCTION audit(p_actor text, p_action text, p_org_id uuid, p_subject text, p_detail jsonb DEFAULT '{}') RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO audit_log (actor, action, org_id, subject, detail) VALUES (p_actor, p_action, p_org_id, p_subject, p_detail)
$$;

CREATE FUNCTION create_organization_v1(p_actor text, p_name text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_org uuid;
BEGIN
    INSERT INTO organizations (name) VALUES (p_name) RETURNING id INTO v_org;
    INSERT INTO organization_keys (org_id, version) VALUES (v_org, 1);
    PERFORM audit(p_actor, 'organization.create', v_org, v_org::text);
    RETURN v_org;
END
$$;
COMMENT ON FUNCTION create_organization_v1 IS 'Creates an org with version 1 of its key. Returns its id.';

CREATE FUNCTION rotate_organization_key_v1(p_actor text, p_org_id uuid, p_overlap interval) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    v_version integer;
BEGIN
    -- Every org has at least one key, so the row locks serialise concurrent rotations.
    PERFORM FROM organization_keys WHERE org_id = p_org_id ORDER BY version FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE organization_keys SET valid_until = least(valid_until, now() + p_overlap) WHERE org_id = p_org_id;
    INSERT INTO organization_keys (org_id, version)
        SELECT p_org_id, max(version) + 1 FROM organization_keys WHERE org_id = p_org_id
        RETURNING version INTO v_version;
    PERFORM audit(p_actor, 'organization.rotate_key', p_org_id, 'version ' || v_version,
        jsonb_build_object('overlap_seconds', extract(epoch FROM p_overlap)::bigint));
    RETURN v_version;
END
$$;
COMMENT ON FUNCTION rotate_organization_key_v1 IS
    'Creates and returns the next key version. Earlier versions stay valid for p_overlap. NULL: no such org.';

CREATE FUNCTION add_agent_v1(
    p_actor text, p_org_id uuid, p_name text, p_role text, p_assistant_id text, p_squad_id text, p_phone_number_id text,
    p_phone_number text, p_is_default boolean, p_configuration jsonb
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_agent uuid;
    v_taken boolean;
BEGIN
    -- Excludes route_platform_event_v1 while it retains an unresolved event: that event either sees this agent, or the
    -- caller finds the event and applies it after this transaction.
    PERFORM pg_advisory_xact_lock(hashtext('ringfence platform directory'));
    IF p_is_default THEN
        UPDATE agents SET is_default = false WHERE org_id = p_org_id AND is_default;
    END IF;
    INSERT INTO agents (org_id, name, role, vapi_assistant_id, vapi_squad_id, vapi_phone_number_id, phone_number, is_default,
            configuration)
        VALUES (p_org_id, p_name, p_role, p_assistant_id, p_squad_id, p_phone_number_id, p_phone_number, p_is_default,
            p_configuration)
        RETURNING id INTO v_agent;

    -- One org may register an id for several agents. Two orgs may not register the same id.
    INSERT INTO platform_directory (kind, ref, org_id)
        SELECT kind, ref, p_org_id
        FROM (VALUES ('phone_number_id', p_phone_number_id), ('phone_number', p_phone_number),
            ('assistant', p_assistant_id), ('squad', p_squad_id)) AS named (kind, ref)
        WHERE ref IS NOT NULL
        ON CONFLICT (kind, ref) DO NOTHING;
    SELECT bool_or(d.org_id <> p_org_id) INTO v_taken
        FROM (VALUES ('phone_number_id', p_phone_number_id), ('phone_number', p_phone_number),
            ('assistant', p_assistant_id), ('squad', p_squad_id)) AS named (kind, ref)
        JOIN platform_directory d USING (kind, ref);
    IF v_taken THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', CONSTRAINT = 'platform_directory_pkey',
            MESSAGE = 'another org has registered one of these ids';
    END IF;

    PERFORM audit(p_actor, 'agent.add', p_org_id, v_agent::text);
    RETURN v_agent;
END
$$;
COMMENT ON FUNCTION add_agent_v1 IS
    'Creates an agent and registers its ids in the platform directory. Returns its id. Raises a violation of '
    'platform_directory_pkey if another org has registered one of the ids.';

CREATE FUNCTION configure_agent_v1(
    p_actor text, p_org_id uuid, p_agent_id uuid, p_is_default boolean, p_configuration jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM agents WHERE org_id = p_org_id AND id = p_agent_id) THEN
        RETURN false;
    END IF;
    IF p_is_default THEN
        UPDATE agents SET is_default = false WHERE org_id = p_org_id AND is_default AND id <> p_agent_id;
    END IF;
    UPDATE agents SET is_default = coalesce(p_is_default, is_default), configuration = coalesce(p_configuration, configuration)
        WHERE org_id = p_org_id AND id = p_agent_id;
    PERFORM audit(p_actor, 'agent.configure', p_org_id, p_agent_id::text,
        jsonb_build_object('is_default', p_is_default, 'configuration', p_configuration IS NOT NULL));
    RETURN true;
END
$$;
COMMENT ON FUNCTION configure_agent_v1 IS
    'Sets whether an agent is the default of its org, and its configuration. NULL keeps the stored value. False: no '
    'such agent.';

CREATE FUNCTION add_lead_v1(p_actor text, p_org_id uuid, p_phone text, p_name text, p_metadata jsonb) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    v_lead uuid;
BEGIN
    INSERT INTO leads (org_id, phone, name, metadata) VALUES (p_org_id, p_phone, p_name, p_metadata) RETURNING id INTO v_lead;
    PERFORM audit(p_actor, 'lead.add', p_org_id, v_lead::text);
    RETURN v_lead;
END
$$;
COMMENT ON FUNCTION add_lead_v1 IS 'Creates a lead and returns its id. p_phone (E.164) is unique within the org.';

CREATE FUNCTION change_lead_v1(p_actor text, p_org_id uuid, p_phone text, p_name text, p_metadata jsonb) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    v_lead uuid;
BEGIN
    UPDATE leads SET name = coalesce(p_name, name), metadata = coalesce(p_metadata, metadata)
        WHERE org_id = p_org_id AND phone = p_phone
        RETURNING id INTO v_lead;
    IF FOUND THEN
        PERFORM audit(p_actor, 'lead.change', p_org_id, v_lead::text);
    END IF;
    RETURN v_lead;
END
$$;
COMMENT ON FUNCTION change_lead_v1 IS
    'Sets name and metadata of the lead with a phone number. NULL keeps the stored value. Returns the lead''s id, or '
    'NULL: no such lead.';

CREATE FUNCTION set_tool_v1(
    p_actor text, p_org_id uuid, p_kind text, p_name text, p_endpoint text, p_timeout_seconds integer, p_is_idempotent boolean
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tools (org_id, kind, name, endpoint, timeout_seconds, is_idempotent)
        VALUES (p_org_id, p_kind, p_name, p_endpoint, p_timeout_seconds, p_is_idempotent)
        ON CONFLICT (org_id, kind, name) DO UPDATE SET endpoint = excluded.endpoint,
            timeout_seconds = excluded.timeout_seconds, is_idempotent = excluded.is_idempotent;
    -- The endpoint is not audited, because its URL may contain a token.
    PERFORM audit(p_actor, 'tool.set', p_org_id, p_kind || ' ' || p_name,
        jsonb_build_object('timeout_seconds', p_timeout_seconds, 'is_idempotent', p_is_idempotent));
END
$$;
COMMENT ON FUNCTION set_tool_v1 IS
    'Registers the endpoint of a tool or of a type of interactive message, or replaces the one of the same kind and '
    'name.';

CREATE FUNCTION remove_tool_v1(p_actor text, p_org_id uuid, p_kind text, p_name text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM tools WHERE org_id = p_org_id AND kind = p_kind AND name = p_name;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'tool.remove', p_org_id, p_kind || ' ' || p_name);
    RETURN true;
END
$$;
COMMENT ON FUNCTION remove_tool_v1 IS 'Deletes a tool. Its executions stay. False: no such tool.';

CREATE FUNCTION record_tool_secret_view_v1(p_actor text, p_org_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM organizations WHERE id = p_org_id) THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'tool.secret', p_org_id, p_org_id::text);
    RETURN true;
END
$$;
COMMENT ON FUNCTION record_tool_secret_view_v1 IS
    'Audits that an actor sees the secret that signs requests to the org''s endpoints. The secret is derived and not '
    'stored. False: no such org.';

CREATE FUNCTION record_token_mint_v1(p_actor text, p_purpose text, p_org_id uuid, p_seconds bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF p_org_id IS NOT NULL AND NOT EXISTS (SELECT FROM organizations WHERE id = p_org_id) THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'token.mint', p_org_id, coalesce(p_org_id::text, 'operator'),
        jsonb_build_object('purpose', p_purpose, 'seconds', p_seconds));
    RETURN true;
END
$$;
COMMENT ON FUNCTION record_token_mint_v1 IS
    'Audits that an actor mints a token for an org, or (NULL) for an operator. The token is not stored. False: no '
    'such org.';

CREATE FUNCTION set_vapi_key_v1(p_actor text, p_org_id uuid, p_sealed_key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM organizations WHERE id = p_org_id) THEN
        RETURN false;
    END IF;
    IF p_sealed_key IS NULL THEN
        DELETE FROM vapi_credentials WHERE org_id = p_org_id;
    ELSE
        INSERT INTO vapi_credentials (org_id, api_key) VALUES (p_org_id, p_sealed_key)
            ON CONFLICT (org_id) DO UPDATE SET api_key = excluded.api_key, created_at = now();
        -- Reconciliations that failed for want of an API key (RF9001) are due again.
        UPDATE reconciliations SET state = 'open', finished_at = NULL, next_attempt_at = now()
            WHERE org_id = p_org_id AND (code = 'RF9001' OR state = 'open');
    END IF;
    PERFORM audit(p_actor, CASE WHEN p_sealed_key IS NULL THEN 'vapi_key.remove' ELSE 'vapi_key.set' END, p_org_id, p_org_id::text);
    RETURN true;
END
$$;
COMMENT ON FUNCTION set_vapi_key_v1 IS
    'Stores the sealed API key of an org at Vapi, or replaces it. p_sealed_key NULL: deletes it. False: no such org.';

CREATE FUNCTION set_zero_retention_v1(p_actor text, p_org_id uuid, p_is_zero boolean) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE organizations SET is_zero_retention = p_is_zero WHERE id = p_org_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'zero_retention.set', p_org_id, p_org_id::text, jsonb_build_object('is_zero_retention', p_is_zero));
    RETURN true;
END
$$;
COMMENT ON FUNCTION set_zero_retention_v1 IS
    'Sets whether Vapi stores no data of the org''s calls, which excludes the org from reconciliation. False: no such '
    'org.';

CREATE FUNCTION set_retention_v1(p_actor text, p_org_id uuid, p_data_kind text, p_days integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    CASE p_data_kind
        WHEN 'recordings' THEN UPDATE organizations SET recording_retention_days = p_days WHERE id = p_org_id;
        WHEN 'transcripts' THEN UPDATE organizations SET transcript_retention_days = p_days WHERE id = p_org_id;
        WHEN 'events' THEN UPDATE organizations SET event_retention_days = p_days WHERE id = p_org_id;
    END CASE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'retention.set', p_org_id, p_data_kind, jsonb_build_object('days', p_days));
    RETURN true;
END
$$;
COMMENT ON FUNCTION set_retention_v1 IS
    'Sets after how many days maintenance deletes the recordings, transcripts or events (p_data_kind) of an org. '
    'NULL: never, except that events need a value. False: no such org.';

CREATE FUNCTION find_resolvable_events_v1(p_agent uuid, p_after bigint, p_limit integer) RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    WITH named AS MATERIALIZED (
        SELECT n.kind, n.ref FROM agents a, LATERAL (VALUES ('phone_number_id', a.vapi_phone_number_id), ('phone_number', a.phone_number),
            ('assistant', a.vapi_assistant_id), ('squad', a.vapi_squad_id)) AS n (kind, ref) WHERE a.id = p_agent
        UNION ALL
        SELECT d.kind, d.ref FROM platform_directory d WHERE p_agent IS NULL AND d.created_at > now() - interval '1 hour'
    )
    SELECT u.id FROM (
        SELECT e.id FROM named n JOIN unresolved_events e ON e.event #>> '{call,assistant_id}' = n.ref WHERE n.kind = 'assistant'
        UNION SELECT e.id FROM named n JOIN unresolved_events e ON e.event #>> '{call,squad_id}' = n.ref WHERE n.kind = 'squad'
        UNION SELECT e.id FROM named n JOIN unresolved_events e ON e.event #>> '{call,phone_number_id}' = n.ref WHERE n.kind = 'phone_number_id'
        UNION SELECT e.id FROM named n JOIN unresolved_events e ON e.event #>> '{call,our_number}' = n.ref WHERE n.kind = 'phone_number'
        -- An event that failed when another event of its call made the route.
        UNION SELECT e.id FROM unresolved_events e JOIN call_routes r ON r.vapi_call_id = e.vapi_call_id WHERE p_agent IS NOT NULL
    ) AS u WHERE u.id > p_after ORDER BY u.id LIMIT p_limit
$$;
COMMENT ON FUNCTION find_resolvable_events_v1 IS
    'Returns the next unresolved events, after p_after, that name an id of an agent or whose call has a route. p_agent NULL: '
    'that name an id that was registered within the last hour.';

-- Redrive, settle and replay. Each event is processed in a transaction of its own.

CREATE FUNCTION mark_redriven_v1(
    p_actor text, p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz,
    p_failures jsonb
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_against_erasure(p_org_id, p_event #>> '{call,id}');
    -- The failed operation has no row yet if the database was unavailable at every attempt. An applied event needs
    -- none.
    IF p_failures IS NOT NULL AND NOT is_erased(p_org_id, p_event, p_received_at)
        AND NOT EXISTS (SELECT FROM failed_operations WHERE org_id = p_org_id AND event_id = p_event_id)
        AND NOT EXISTS (SELECT FROM processed_webhook_events WHERE org_id = p_org_id AND event_id = p_event_id)
    THEN
        PERFORM record_failed_operation(p_org_id, p_key_version, p_event_id, p_event, p_received_at, p_failures, 'dead');
    END IF;
    UPDATE failed_operations SET state = 'redriven'
        WHERE org_id = p_org_id AND event_id = p_event_id AND state <> 'resolved';
    PERFORM audit(p_actor, 'event.redrive', p_org_id, p_event_id);
END
$$;
COMMENT ON FUNCTION mark_redriven_v1 IS
    'Records and audits that an event is moved from its dead-letter queue to its retry queue. Called before the '
    'message is sent.';

CREATE FUNCTION unmark_redriven_v1(p_actor text, p_org_id uuid, p_event_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE failed_operations SET state = 'dead'
        WHERE org_id = p_org_id AND event_id = p_event_id AND state = 'redriven';
    PERFORM audit(p_actor, 'event.redrive_failed', p_org_id, p_event_id);
END
$$;
COMMENT ON FUNCTION unmark_redriven_v1 IS
    'Records that the retry queue did not accept the event, so its message stays in the dead-letter queue.';

CREATE FUNCTION settle_tool_call_v1(p_actor text, p_org_id uuid, p_event_id text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE failed_operations SET state = 'resolved', resolved_at = now(), event = NULL
        WHERE org_id = p_org_id AND event_id = p_event_id AND function = 'tool-calls' AND state <> 'resolved';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'tool_call.settle', p_org_id, p_event_id);
    RETURN true;
END
$$;
COMMENT ON FUNCTION settle_tool_call_v1 IS
    'Resolves the failed operation of an interrupted tool call (RF7008) after a person has found out its result. '
    'False: no such open tool call. The failed operation of an event is resolved only by applying the event.';

CREATE FUNCTION replay_event_v1(p_org_id uuid, p_event_id text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_event jsonb;
BEGIN
    PERFORM enter_org(p_org_id);
    SELECT event INTO v_event FROM processed_webhook_events
        WHERE org_id = p_org_id AND event_id = p_event_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM apply_effects(p_org_id, v_event, p_is_replay => true);
    RETURN true;
END
$$;
COMMENT ON FUNCTION replay_event_v1 IS
    'Applies the effects of a retained event again. Makes no new claim and no new entry in the org''s log. The rows '
    'of a call are a fold over its retained events, so a replay computes the same rows. False: no such event.';

CREATE FUNCTION replay_failed_operation_v1(p_org_id uuid, p_event_id text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_failed failed_operations;
    v_claim  claim;
BEGIN
    PERFORM enter_org(p_org_id);
    SELECT * INTO v_failed FROM failed_operations
        WHERE org_id = p_org_id AND event_id = p_event_id AND state <> 'resolved'
            AND function NOT IN ('tool-calls', 'recording-upload') AND event IS NOT NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- claim_event checks the same conditions as for a webhook. An event whose key version was revoked before its
    -- receipt is rejected. An event from the platform URL (no key version) creates its call route; if the route names
    -- another org by now, enter_org raises.
    v_claim := claim_event(CASE WHEN v_failed.key_version IS NOT NULL THEN p_org_id END,
        v_failed.key_version, p_event_id, v_failed.event, v_failed.received_at, NULL);
    IF v_claim.outcome = 'applied' THEN
        PERFORM apply_effects(p_org_id, v_failed.event);
    END IF;
    RETURN v_claim.outcome IN ('applied', 'duplicate');
END
$$;
COMMENT ON FUNCTION replay_failed_operation_v1 IS
    'Applies a failed event from its row: claim and effects in one transaction. Its message stays in the dead-letter '
    'queue, and is a duplicate when it is redriven. False: no such event, it is already resolved or was removed '
    'after its retention, its key was revoked, or its org is unresolved.';

CREATE FUNCTION unmask_failure_v1(p_actor text, p_org_id uuid, p_event_id text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_event jsonb;
BEGIN
    SELECT event INTO v_event FROM failed_operations WHERE org_id = p_org_id AND event_id = p_event_id;
    IF v_event IS NOT NULL THEN
        PERFORM audit(p_actor, 'failure.unmask', p_org_id, p_event_id);
    END IF;
    RETURN v_event;
END
$$;
COMMENT ON FUNCTION unmask_failure_v1 IS
    'Returns the event of a failed operation with its personal data, and audits that. NULL: no such event, or it was '
    'applied or removed after its retention.';

-- Operations. The holder of the lease works on an operation and is the only one whose changes are accepted: an invocation that
-- stalls for longer than its lease finds that another one has taken over, and stops.

CREATE FUNCTION start_operation_v1(
    p_actor text, p_id uuid, p_kind text, p_org_id uuid, p_parameters jsonb, p_remaining bigint, p_holder uuid, p_lease interval
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO admin_operations (id, kind, org_id, actor, parameters, remaining, lease_holder, lease_until)
        VALUES (p_id, p_kind, p_org_id, p_actor, p_parameters, p_remaining, p_holder, now() + p_lease)
        ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'operation.start', p_org_id, p_id::text, p_parameters || jsonb_build_object('kind', p_kind));
    RETURN true;
END
$$;
COMMENT ON FUNCTION start_operation_v1 IS 'Starts an operation and leases it to its starter. False: it was started before.';

CREATE FUNCTION lease_operation_v1(p_holder uuid, p_lease interval, p_tried uuid[]) RETURNS SETOF admin_operations
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE admin_operations SET state = 'failed', finished_at = now(), updated_at = now()
        WHERE state = 'running' AND lease_until < now() AND idle_leases >= 30;
    RETURN QUERY
        UPDATE admin_operations o SET lease_holder = p_holder, lease_until = now() + p_lease, idle_leases = o.idle_leases + 1
        WHERE o.id = (SELECT a.id FROM admin_operations a
            WHERE a.state = 'running' AND a.lease_until < now() AND a.id <> ALL (p_tried)
            ORDER BY a.lease_until LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING o.*;
END
$$;
COMMENT ON FUNCTION lease_operation_v1 IS
    'Leases the operation that waited longest, except those of p_tried. No row: no operation waits. Gives up operations that cannot advance.';

CREATE FUNCTION advance_operation_v1(
    p_id uuid, p_holder uuid, p_lease interval, p_done bigint, p_failed bigint, p_seen bigint, p_cursor jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE admin_operations SET done = done + p_done, failed = failed + p_failed, remaining = greatest(remaining - p_seen, 0),
            cursor = coalesce(p_cursor, cursor), lease_until = now() + p_lease, updated_at = now(),
            idle_leases = CASE WHEN p_seen > 0 THEN 0 ELSE idle_leases END
        WHERE id = p_id AND state = 'running' AND lease_holder = p_holder;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION advance_operation_v1 IS
    'Adds progress and renews the lease. p_seen: events that no longer remain, however they ended. False: the lease was lost.';

CREATE FUNCTION release_operation_v1(p_id uuid, p_holder uuid, p_was_idle boolean) RETURNS void LANGUAGE sql AS $$
    UPDATE admin_operations SET lease_until = now() - interval '1 microsecond',
            idle_leases = CASE WHEN p_was_idle THEN idle_leases ELSE greatest(idle_leases - 1, 0) END
        WHERE id = p_id AND state = 'running' AND lease_holder = p_holder
$$;
COMMENT ON FUNCTION release_operation_v1 IS
    'Ends a lease early. p_was_idle false: the holder could not begin, so the lease does not count among idle_leases.';

CREATE FUNCTION finish_operation_v1(p_id uuid, p_holder uuid, p_failed bigint, p_remaining bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE admin_operations SET state = 'done', failed = failed + p_failed, remaining = p_remaining, finished_at = now(), updated_at = now()
        WHERE id = p_id AND state = 'running' AND lease_holder = p_holder
$$;
COMMENT ON FUNCTION finish_operation_v1 IS 'Ends an operation. Without effect if the lease was lost.';

-- The Lambda functions audit what they do for an actor.
GRANT EXECUTE ON FUNCTION audit TO ringfence_app;
GRANT EXECUTE ON FUNCTION audit, create_organization_v1, rotate_organization_key_v1, add_agent_v1, configure_agent_v1, add_lead_v1,
    change_lead_v1, set_tool_v1, remove_tool_v1, record_tool_secret_view_v1, set_vapi_key_v1,
    set_retention_v1, set_zero_retention_v1, record_token_mint_v1, settle_tool_call_v1, mark_redriven_v1,
    find_resolvable_events_v1, unmark_redriven_v1, replay_event_v1, replay_failed_operation_v1, unmask_failure_v1, start_operation_v1, lease_operation_v1,
    advance_operation_v1, release_operation_v1, finish_operation_v1 TO ringfence_ops;
