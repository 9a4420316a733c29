-- Interactive messages. They are not stored as events: the org's configuration answers them, and each tool call has an
-- execution. Both entry functions take p_org_id, p_key_version and p_received_at as the event functions do, and p_call,
-- the conversation of the message: id (of the call), chat_id, session_id, and the assistant, squad and numbers under the
-- names of a typed call. They return the outcome of enter_sender: known, revoked or unresolved.

CREATE FUNCTION find_inbound_agent(p_org_id uuid, p_phone_number_id text, p_phone_number text) RETURNS agents
    LANGUAGE sql STABLE AS $$
    SELECT * FROM agents
    WHERE org_id = p_org_id AND role = 'inbound'
        AND (vapi_phone_number_id = p_phone_number_id OR phone_number = p_phone_number OR is_default)
    ORDER BY (vapi_phone_number_id = p_phone_number_id) IS TRUE DESC, (phone_number = p_phone_number) IS TRUE DESC,
        created_at, id
    LIMIT 1
$$;
COMMENT ON FUNCTION find_inbound_agent IS
    'Returns the agent that answers a number: the agent of Vapi''s id of the number, else of the number, else the '
    'default agent.';

CREATE FUNCTION find_answer_v1(
    p_org_id uuid, p_key_version integer, p_message_type text, p_call jsonb, p_received_at timestamptz,
    OUT outcome text, OUT event_org uuid, OUT agent jsonb, OUT lead jsonb, OUT endpoint jsonb
) LANGUAGE plpgsql AS $$
DECLARE
    v_agent agents;
BEGIN
    SELECT s.* INTO outcome, event_org FROM enter_sender(p_org_id, p_key_version, p_call, p_received_at) s;
    IF outcome <> 'known' THEN
        RETURN;
    END IF;
    IF p_message_type = 'assistant-request' THEN
        v_agent := find_inbound_agent(event_org, p_call ->> 'phone_number_id', p_call ->> 'our_number');
    ELSE
        SELECT * INTO v_agent FROM agents
            WHERE org_id = event_org AND id = find_agent(event_org, p_call ->> 'assistant_id', p_call ->> 'squad_id',
                p_call ->> 'phone_number_id', p_call ->> 'our_number');
        SELECT jsonb_build_object('url', t.endpoint, 'timeout_seconds', t.timeout_seconds) INTO endpoint FROM tools t
            WHERE t.org_id = event_org AND t.kind = 'message' AND t.name = p_message_type;
    END IF;
    IF v_agent.id IS NOT NULL THEN
        agent := jsonb_build_object('id', v_agent.id, 'assistant_id', v_agent.vapi_assistant_id,
            'squad_id', v_agent.vapi_squad_id, 'configuration', v_agent.configuration);
    END IF;
    SELECT jsonb_build_object('id', l.id, 'name', l.name, 'phone', l.phone, 'status', l.status, 'metadata', l.metadata)
        INTO lead FROM leads l WHERE l.org_id = event_org AND l.phone = p_call ->> 'customer_number';
END
$$;
COMMENT ON FUNCTION find_answer_v1 IS
    'Returns what the answer to an interactive message needs: the agent of the call, the lead of the customer''s '
    'number, and the endpoint that the org registered for this type of message. Each is NULL if there is none.';

CREATE FUNCTION claim_tool_calls_v1(
    p_org_id uuid, p_key_version integer, p_call jsonb, p_number_tombstones text[], p_tool_calls jsonb,
    p_received_at timestamptz, p_lease_holder uuid,
    OUT outcome text, OUT event_org uuid, OUT lead_id uuid, OUT executions json
) LANGUAGE plpgsql AS $$
DECLARE
    v_call      record;
    v_tool      tools;
    v_execution tool_executions;
    v_state     text;
    v_lease     timestamptz;
    v_claims    json[] := '{}';
BEGIN
    SELECT s.* INTO outcome, event_org FROM enter_sender(p_org_id, p_key_version, p_call, p_received_at) s;
    IF outcome <> 'known' THEN
        RETURN;
    END IF;
    PERFORM lock_against_erasure(event_org, coalesce(p_call ->> 'id', p_call ->> 'chat_id', p_call ->> 'session_id', '-'));
    IF is_conversation_erased(event_org, p_call, p_number_tombstones, p_received_at) THEN
        executions := (SELECT coalesce(json_agg(json_build_object(
                'execution_id', c.execution_id, 'state', 'done', 'result', erased_tool_result())), '[]')
            FROM jsonb_to_recordset(p_tool_calls) AS c (execution_id text));
        RETURN;
    END IF;
    lead_id := find_lead(event_org, p_call ->> 'customer_number');

    -- The order prevents a deadlock of two deliveries of one message.
    FOR v_call IN
        SELECT * FROM jsonb_to_recordset(p_tool_calls) AS c (execution_id text, tool text) ORDER BY execution_id COLLATE "C"
    LOOP
        SELECT * INTO v_tool FROM tools t WHERE t.org_id = event_org AND t.kind = 'tool' AND t.name = v_call.tool;
        -- The lease is longer than the endpoint's timeout. When it ends, its holder has crashed or is late
        -- (finish_tool_call_v1).
        v_lease := clock_timestamp() + make_interval(secs => v_tool.timeout_seconds + 5);
        v_execution := NULL;
        IF v_tool.name IS NOT NULL THEN
            INSERT INTO tool_executions (org_id, execution_id, tool, vapi_call_id, chat_id, session_id, number_tombstones,
                    claimed_by, lease_until)
                VALUES (event_org, v_call.execution_id, v_call.tool, p_call ->> 'id', p_call ->> 'chat_id',
                    p_call ->> 'session_id', nullif(p_number_tombstones, '{}'), p_lease_holder, v_lease)
                ON CONFLICT (org_id, execution_id) DO NOTHING
                RETURNING * INTO v_execution;
        END IF;
        IF v_execution.org_id IS NULL THEN
            SELECT * INTO v_execution FROM tool_executions e
                WHERE e.org_id = event_org AND e.execution_id = v_call.execution_id
                FOR UPDATE;
        END IF;

        IF v_execution.org_id IS NULL THEN
            v_state := 'unregistered';
        ELSIF v_execution.state = 'done' THEN
            v_state := 'done';
        ELSIF v_execution.claimed_by = p_lease_holder AND v_tool.name IS NOT NULL THEN
            -- The result of the first statement was lost, and the request has repeated it.
            UPDATE tool_executions e SET lease_until = v_lease
                WHERE e.org_id = event_org AND e.execution_id = v_call.execution_id;
            v_state := 'claimed';
        ELSIF v_execution.lease_until > clock_timestamp() THEN
            v_state := 'running';
        ELSIF v_tool.is_idempotent THEN
            UPDATE tool_executions e SET attempt = e.attempt + 1, claimed_by = p_lease_holder, lease_until = v_lease
                WHERE e.org_id = event_org AND e.execution_id = v_call.execution_id
                RETURNING * INTO v_execution;
            v_state := 'claimed';
        ELSE
            v_execution := interrupt_tool_call(p_key_version, v_execution, p_received_at);
            v_state := 'interrupted';
        END IF;
        v_claims := v_claims || json_build_object('execution_id', v_call.execution_id, 'state', v_state,
            'attempt', v_execution.attempt, 'result', v_execution.result,
            'endpoint', json_build_object('url', v_tool.endpoint, 'timeout_seconds', v_tool.timeout_seconds));
    END LOOP;
    executions := array_to_json(v_claims);
END
$$;
COMMENT ON FUNCTION claim_tool_calls_v1 IS
    'Claims the tool calls of a message ([{execution_id, tool}]) for p_lease_holder, with a lease each. state of an '
    'execution: claimed (the caller must send it); done (result is the answer; of an erased call, an error); running (another request '
    'has the lease: ask again); unregistered (no such tool); interrupted (the lease ended without a result, and the endpoint '
    'is not idempotent: result is an error, and a failed operation is recorded).';

CREATE FUNCTION interrupt_tool_call(
    p_key_version integer, p_execution tool_executions, p_received_at timestamptz
) RETURNS tool_executions LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tool_executions e SET state = 'done', finished_at = now(), code = 'RF7008', result = json_build_object('error',
            'It is not known whether this was done. Do not try it again; tell the caller that somebody will check.')
        WHERE e.org_id = p_execution.org_id AND e.execution_id = p_execution.execution_id
        RETURNING * INTO p_execution;
    -- The failed operation holds ids only, because the arguments are not stored. An operator settles it after asking
    -- the operator of the endpoint.
    PERFORM record_failed_operation(p_execution.org_id, p_key_version, p_execution.execution_id,
        jsonb_build_object('kind', 'tool-call', 'event_type', 'tool-calls', 'tool', p_execution.tool,
            'call', jsonb_build_object('id', coalesce(p_execution.vapi_call_id, '-'))),
        p_received_at,
        jsonb_build_object('function', 'tool-calls', 'receives', p_execution.attempt, 'attempts', jsonb_build_array(
            jsonb_build_object('failed_at', now(), 'function', 'tool-calls', 'code', p_execution.code))),
        'dead');
    RETURN p_execution;
END
$$;
COMMENT ON FUNCTION interrupt_tool_call IS
    'Ends an execution whose result is unknown: stores an error as its result and records a failed operation (RF7008).';

CREATE FUNCTION finish_tool_call_v1(
    p_org_id uuid, p_execution_id text, p_lease_holder uuid, p_result json, p_code text
) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    v_execution tool_executions;
BEGIN
    PERFORM enter_org(p_org_id);
    SELECT * INTO v_execution FROM tool_executions e
        WHERE e.org_id = p_org_id AND e.execution_id = p_execution_id
        FOR UPDATE;
    -- A success is stored even if the caller has lost the lease or the execution was interrupted: the result is now
    -- known.
    IF v_execution.state = 'running' AND (v_execution.claimed_by = p_lease_holder OR p_code IS NULL)
        OR v_execution.code = 'RF7008' AND p_code IS NULL
    THEN
        UPDATE tool_executions e SET state = 'done', finished_at = now(), result = p_result, code = p_code
            WHERE e.org_id = p_org_id AND e.execution_id = p_execution_id;
        UPDATE failed_operations f SET state = 'resolved', resolved_at = now(), event = NULL
            WHERE f.org_id = p_org_id AND f.event_id = p_execution_id AND f.state <> 'resolved';
        RETURN p_result;
    END IF;
    RETURN coalesce(v_execution.result, p_result);
END
$$;
COMMENT ON FUNCTION finish_tool_call_v1 IS
    'Stores the result of a tool call and returns the result with which every delivery is answered, which is another '
    'one if another is stored already. p_code: the failure code; NULL: success. A failure is stored only if '
    'p_lease_holder has the lease.';

GRANT EXECUTE ON FUNCTION find_inbound_agent, find_answer_v1, claim_tool_calls_v1, interrupt_tool_call, finish_tool_call_v1
    TO ringfence_app;
