-- Three functions for direct calls. Requirement A5 fixes their names, parameters and results. They use the same merge
-- code as the event functions. All writes of a call happen, or none. Unlike the event functions they catch an error and
-- return it as a row, so no event function may call them: its claim would commit without its effects.

CREATE FUNCTION failure_text(p_state text, p_constraint text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'SQLSTATE ' || p_state || coalesce(', constraint ' || nullif(p_constraint, ''), '')
$$;
COMMENT ON FUNCTION failure_text IS
    'Returns the error text of a failure. DETAIL, HINT and the message are left out, because they can contain values.';

CREATE FUNCTION create_inbound_call_atomically(
    p_org_id uuid, p_vapi_call_id text, p_agent_id uuid, p_phone_number text, p_lead_id uuid, p_metadata jsonb
) RETURNS TABLE (call_tracking_id uuid, call_logs_id uuid, success boolean, error_message text) LANGUAGE plpgsql AS $$
DECLARE
    v_facts      call_facts;
    v_state      text;
    v_constraint text;
BEGIN
    v_facts.status := 'ringing';
    v_facts.direction := 'inbound';
    v_facts.agent_id := p_agent_id;
    v_facts.customer_number := p_phone_number;
    v_facts.lead_id := p_lead_id;
    v_facts.metadata := p_metadata;

    PERFORM enter_org(p_org_id);
    call_logs_id := lock_call(p_org_id, p_vapi_call_id);
    PERFORM merge_call(p_org_id, p_vapi_call_id, v_facts);
    SELECT id INTO STRICT call_tracking_id FROM call_tracking
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id;
    success := true;
    RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_constraint = CONSTRAINT_NAME;
    RETURN QUERY SELECT NULL::uuid, NULL::uuid, false, failure_text(v_state, v_constraint);
END
$$;
COMMENT ON FUNCTION create_inbound_call_atomically IS
'Creates the rows of an inbound call in call_tracking, call_logs and calls, or updates them if they exist. Agent, lead and '
'metadata may be NULL. On failure success is false, nothing is written, and error_message holds SQLSTATE and constraint name.
Example: SELECT * FROM create_inbound_call_atomically(''8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11'', ''019d6b04-e541-7eaf-a178-c7f1eb9f217a'', NULL, ''+15555550142'', NULL, ''{}'');';

CREATE FUNCTION update_call_completed_atomically(
    p_org_id uuid, p_vapi_call_id text, p_duration_seconds integer, p_call_tracking_id uuid
) RETURNS TABLE (call_logs_updated boolean, call_tracking_updated boolean, success boolean, error_message text)
LANGUAGE plpgsql AS $$
DECLARE
    v_facts      call_facts;
    v_state      text;
    v_constraint text;
BEGIN
    PERFORM enter_org(p_org_id);
    -- Lock order: call_logs first (lock_call). The time of this statement is not the end of the call, so ended_at stays
    -- unknown until an event gives it.
    SELECT ended_at INTO v_facts.contacted_at FROM call_logs
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id FOR NO KEY UPDATE;
    IF NOT FOUND OR NOT EXISTS (
        SELECT FROM call_tracking t
        WHERE t.org_id = p_org_id AND t.vapi_call_id = p_vapi_call_id AND t.id = coalesce(p_call_tracking_id, t.id)
    ) THEN
        RETURN QUERY SELECT false, false, false, 'no such call in this org'::text;
        RETURN;
    END IF;

    v_facts.status := 'completed';
    v_facts.duration_seconds := p_duration_seconds;
    PERFORM merge_call(p_org_id, p_vapi_call_id, v_facts);
    RETURN QUERY SELECT true, true, true, NULL::text;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_constraint = CONSTRAINT_NAME;
    RETURN QUERY SELECT false, false, false, failure_text(v_state, v_constraint);
END
$$;
COMMENT ON FUNCTION update_call_completed_atomically IS
'Sets a call of this org to completed in call_logs, call_tracking and calls. p_call_tracking_id NULL: the row is found by org '
'and call. If the org has no such call, all flags and success are false, and nothing is written.
Example: SELECT * FROM update_call_completed_atomically(''8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11'', ''019d6b04-e541-7eaf-a178-c7f1eb9f217a'', 42, NULL);';

CREATE FUNCTION update_call_with_recording_atomically(
    p_org_id uuid, p_vapi_call_id text, p_recording_url text, p_recording_storage_path text, p_transcript text, p_call_type text
) RETURNS TABLE (call_logs_updated boolean, calls_updated boolean, success boolean, error_message text)
LANGUAGE plpgsql AS $$
DECLARE
    v_facts      call_facts;
    v_state      text;
    v_constraint text;
BEGIN
    PERFORM enter_org(p_org_id);
    PERFORM FROM call_logs WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id FOR NO KEY UPDATE;
    IF NOT FOUND OR NOT EXISTS (
        SELECT FROM calls c WHERE c.org_id = p_org_id AND c.vapi_call_id = p_vapi_call_id
    ) THEN
        RETURN QUERY SELECT false, false, false, 'no such call in this org'::text;
        RETURN;
    END IF;

    v_facts.recording_url := p_recording_url;
    v_facts.recording_storage_path := p_recording_storage_path;
    v_facts.transcript := p_transcript;
    v_facts.type := p_call_type;
    PERFORM merge_call(p_org_id, p_vapi_call_id, v_facts);
    RETURN QUERY SELECT true, true, true, NULL::text;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_constraint = CONSTRAINT_NAME;
    RETURN QUERY SELECT false, false, false, failure_text(v_state, v_constraint);
END
$$;
COMMENT ON FUNCTION update_call_with_recording_atomically IS
'Stores recording, transcript and type of a call of this org in call_logs and calls. Each may be NULL, which keeps the stored '
'value. If the org has no such call, all flags and success are false, and nothing is written.
Example: SELECT * FROM update_call_with_recording_atomically(''8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11'', ''019d6b04-e541-7eaf-a178-c7f1eb9f217a'', NULL, ''recordings/019d6b04.wav'', NULL, ''inboundPhoneCall'');';

GRANT EXECUTE ON FUNCTION failure_text, create_inbound_call_atomically, update_call_completed_atomically,
    update_call_with_recording_atomically TO ringfence_app;
