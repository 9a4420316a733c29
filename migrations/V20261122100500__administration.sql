-- What people change: orgs, keys, agents, leads, tools; and what they do about failures. Each act and its line in the audit log are one transaction. Run by
-- ringfence_ops, never by the functions that serve webhooks.

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
COMMENT ON FUNCTION create_organization_v1 IS 'A new org whose key has version 1.';

CREATE FUNCTION rotate_organization_key_v1(p_actor text, p_org_id uuid, p_overlap interval) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    v_version integer;
BEGIN
    -- The org's keys, of which it always has one, serialise two rotations at once.
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
    'The next key version; the earlier ones count for p_overlap more. NULL: no such org.';

CREATE FUNCTION add_agent_v1(
    p_actor text, p_org_id uuid, p_name text, p_role text, p_assistant_id text, p_squad_id text, p_phone_number_id text,
    p_phone_number text, p_is_default boolean, p_configuration jsonb
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_agent uuid;
    v_taken boolean;
BEGIN
    -- Alone against platform events that find nobody (route_platform_event_v1): none is missed between the two.
    PERFORM pg_advisory_xact_lock(hashtext('ringfence platform directory'));
    IF p_is_default THEN
        UPDATE agents SET is_default = false WHERE org_id = p_org_id AND is_default;
    END IF;
    INSERT INTO agents (org_id, name, role, vapi_assistant_id, vapi_squad_id, vapi_phone_number_id, phone_number, is_default,
            configuration)
        VALUES (p_org_id, p_name, p_role, p_assistant_id, p_squad_id, p_phone_number_id, p_phone_number, p_is_default,
            p_configuration)
        RETURNING id INTO v_agent;

    -- An org may name the same number for two agents; two orgs may not name the same anything.
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
            MESSAGE = 'another org registered one of these ids';
    END IF;

    PERFORM audit(p_actor, 'agent.add', p_org_id, v_agent::text);
    RETURN v_agent;
END
$$;
COMMENT ON FUNCTION add_agent_v1 IS
    'A new agent, registered in the directory of the platform''s URL. An id that another org registered violates '
    'platform_directory_pkey.';

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
    'Makes an agent the default of its org, or no longer, and replaces its configuration. NULL leaves what is. False: no such agent.';

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
COMMENT ON FUNCTION add_lead_v1 IS 'A new lead; its phone (E.164) is unique in the org.';

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
COMMENT ON FUNCTION change_lead_v1 IS 'Changes a lead''s name and metadata. NULL leaves what is. NULL: no such lead.';

CREATE FUNCTION set_tool_v1(
    p_actor text, p_org_id uuid, p_kind text, p_name text, p_endpoint text, p_timeout_seconds integer, p_is_idempotent boolean
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tools (org_id, kind, name, endpoint, timeout_seconds, is_idempotent)
        VALUES (p_org_id, p_kind, p_name, p_endpoint, p_timeout_seconds, p_is_idempotent)
        ON CONFLICT (org_id, kind, name) DO UPDATE SET endpoint = excluded.endpoint,
            timeout_seconds = excluded.timeout_seconds, is_idempotent = excluded.is_idempotent;
    -- The endpoint may have a token in it.
    PERFORM audit(p_actor, 'tool.set', p_org_id, p_kind || ' ' || p_name,
        jsonb_build_object('timeout_seconds', p_timeout_seconds, 'is_idempotent', p_is_idempotent));
END
$$;
COMMENT ON FUNCTION set_tool_v1 IS 'Registers a tool of an org, or the endpoint for a type of messages; one of the same name is replaced.';

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
COMMENT ON FUNCTION remove_tool_v1 IS 'False: no such tool. What was executed stays.';

CREATE FUNCTION note_tool_secret_v1(p_actor text, p_org_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM organizations WHERE id = p_org_id) THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'tool.secret', p_org_id, p_org_id::text);
    RETURN true;
END
$$;
COMMENT ON FUNCTION note_tool_secret_v1 IS 'Notes that the secret which signs messages to an org''s endpoints is shown. It is kept nowhere.';

CREATE FUNCTION note_token_v1(p_actor text, p_purpose text, p_org_id uuid, p_seconds bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF p_org_id IS NOT NULL AND NOT EXISTS (SELECT FROM organizations WHERE id = p_org_id) THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'token.mint', p_org_id, coalesce(p_org_id::text, 'operator'),
        jsonb_build_object('purpose', p_purpose, 'seconds', p_seconds));
    RETURN true;
END
$$;
COMMENT ON FUNCTION note_token_v1 IS
    'Notes that a token is made, for an org''s data or (NULL) for an operator. The token itself is kept nowhere. False: no such org.';

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
        -- What nobody could ask for can be asked for now.
        UPDATE reconciliations SET state = 'open', finished_at = NULL, next_attempt_at = now()
            WHERE org_id = p_org_id AND (code = 'RF9001' OR state = 'open');
    END IF;
    PERFORM audit(p_actor, CASE WHEN p_sealed_key IS NULL THEN 'vapi_key.remove' ELSE 'vapi_key.set' END, p_org_id, p_org_id::text);
    RETURN true;
END
$$;
COMMENT ON FUNCTION set_vapi_key_v1 IS 'Keeps an org''s API key at Vapi, sealed, in the place of another; NULL: keeps none. False: no such org.';

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
COMMENT ON FUNCTION set_zero_retention_v1 IS 'Whether Vapi keeps nothing of an org''s calls: then it is not asked for any. False: no such org.';

CREATE FUNCTION set_retention_v1(p_actor text, p_org_id uuid, p_what text, p_days integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    CASE p_what
        WHEN 'recordings' THEN UPDATE organizations SET recording_retention_days = p_days WHERE id = p_org_id;
        WHEN 'transcripts' THEN UPDATE organizations SET transcript_retention_days = p_days WHERE id = p_org_id;
        WHEN 'events' THEN UPDATE organizations SET event_retention_days = p_days WHERE id = p_org_id;
    END CASE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM audit(p_actor, 'retention.set', p_org_id, p_what, jsonb_build_object('days', p_days));
    RETURN true;
END
$$;
COMMENT ON FUNCTION set_retention_v1 IS
    'Recordings, transcripts or events of an org are removed after so many days; NULL: never, which events cannot. False: no such org.';

-- What people do about failures. The count of an act is in its line in the audit log; each event is a transaction of its own.

CREATE FUNCTION mark_redriven_v1(
    p_actor text, p_org_id uuid, p_key_version integer, p_event_id text, p_event jsonb, p_received_at timestamptz,
    p_failures jsonb
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- The row is missing where the database was away at every attempt. What applied has nothing to be noted.
    IF p_failures IS NOT NULL AND NOT is_erased(p_org_id, p_event, p_received_at)
        AND NOT EXISTS (SELECT FROM failed_operations WHERE org_id = p_org_id AND event_id = p_event_id)
        AND NOT EXISTS (SELECT FROM processed_webhook_events WHERE org_id = p_org_id AND event_id = p_event_id)
    THEN
        PERFORM note_failures(p_org_id, p_key_version, p_event_id, p_event, p_received_at, p_failures, 'dead');
    END IF;
    UPDATE failed_operations SET state = 'redriven'
        WHERE org_id = p_org_id AND event_id = p_event_id AND state <> 'resolved';
    PERFORM audit(p_actor, 'event.redrive', p_org_id, p_event_id);
END
$$;
COMMENT ON FUNCTION mark_redriven_v1 IS
    'Notes that an event goes back from its dead-letter queue to its retry queue. Called before it is sent.';

CREATE FUNCTION unmark_redriven_v1(p_actor text, p_org_id uuid, p_event_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE failed_operations SET state = 'dead'
        WHERE org_id = p_org_id AND event_id = p_event_id AND state = 'redriven';
    PERFORM audit(p_actor, 'event.redrive_failed', p_org_id, p_event_id);
END
$$;
COMMENT ON FUNCTION unmark_redriven_v1 IS 'The retry queue did not take the event: it is in its dead-letter queue still.';

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
    'Closes the failure of a tool call whose fate people have found out (RF7008). Of an event: no, that is closed by applying it.';

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
    'Applies the effects of an applied event once more, from the typed event that its claim keeps. No new claim and no new '
    'place in the log: the rows are a fold over the kept events, so they end as they were. False: no such event.';

CREATE FUNCTION replay_failed_operation_v1(p_org_id uuid, p_event_id text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_failed failed_operations;
    v_claim  claim;
BEGIN
    PERFORM enter_org(p_org_id);
    SELECT * INTO v_failed FROM failed_operations
        WHERE org_id = p_org_id AND event_id = p_event_id AND state <> 'resolved'
            AND function NOT IN ('tool-calls', 'recording-upload');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- The same way in as for a webhook, so with the same right: a key that had been revoked opens nothing here either, and a
    -- platform event (no key version) makes its call's route, or is an error should it lead to another org by now.
    v_claim := claim_event(CASE WHEN v_failed.key_version IS NOT NULL THEN p_org_id END,
        v_failed.key_version, p_event_id, v_failed.event, v_failed.received_at, NULL);
    IF v_claim.outcome = 'applied' THEN
        PERFORM apply_effects(p_org_id, v_failed.event);
    END IF;
    RETURN v_claim.outcome IN ('applied', 'duplicate');
END
$$;
COMMENT ON FUNCTION replay_failed_operation_v1 IS
    'Applies a failed event from its row, claim and effects in one transaction. Its message in the dead-letter queue stays, and '
    'is found to be a duplicate when it is redriven. False: no such event, it was applied, or its key had been revoked.';

-- The functions audit what they do on somebody's behalf.
GRANT EXECUTE ON FUNCTION audit TO ringfence_app;
GRANT EXECUTE ON FUNCTION audit, create_organization_v1, rotate_organization_key_v1, add_agent_v1, configure_agent_v1, add_lead_v1,
    change_lead_v1, set_tool_v1, remove_tool_v1, note_tool_secret_v1, set_vapi_key_v1,
    set_retention_v1, set_zero_retention_v1, note_token_v1, settle_tool_call_v1, mark_redriven_v1,
    unmark_redriven_v1, replay_event_v1, replay_failed_operation_v1 TO ringfence_ops;
