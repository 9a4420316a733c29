-- Reconciliation: calls whose report never came. Each call is looked at once, an hour after it was first heard of; one without a report has
-- a row from then on, and Vapi is asked until there is an answer. The report goes the way of every report, so nothing here touches a call.

CREATE FUNCTION has_report(p_org_id uuid, p_vapi_call_id text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM processed_webhook_events e
        WHERE e.org_id = p_org_id AND e.event_id > 'end-of-call-report:' || p_vapi_call_id || ':'
            AND e.event_id < 'end-of-call-report:' || p_vapi_call_id || ';');
END
$$;
COMMENT ON FUNCTION has_report IS 'Whether a call''s end-of-call-report was applied.';

CREATE FUNCTION find_missing_reports_v1(p_limit integer, p_run boolean, OUT looked_at integer, OUT missing integer)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_org   uuid;
    v_from  uuid;
    v_until uuid := time_floor_uuid(now() - interval '1 hour');
    v_ids   uuid[];
    v_calls text[];
BEGIN
    -- Vapi keeps calls for fourteen days. Ids are in the order of time, so what was looked at is a range.
    SELECT o.id, greatest(o.reconciled_before, time_floor_uuid(now() - interval '14 days')) INTO v_org, v_from
        FROM organizations o
        WHERE NOT o.is_zero_retention AND EXISTS (
            SELECT FROM call_logs l WHERE l.org_id = o.id AND l.id < v_until
                AND l.id > greatest(o.reconciled_before, time_floor_uuid(now() - interval '14 days')))
        ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        looked_at := 0;
        missing := 0;
        RETURN;
    END IF;
    SELECT array_agg(l.id ORDER BY l.id), array_agg(l.vapi_call_id ORDER BY l.id) INTO v_ids, v_calls FROM (
        SELECT l.id, l.vapi_call_id FROM call_logs l WHERE l.org_id = v_org AND l.id > v_from AND l.id < v_until
        ORDER BY l.id LIMIT p_limit) AS l;
    looked_at := coalesce(cardinality(v_ids), 0);
    SELECT array_agg(c.name) INTO v_calls FROM unnest(v_calls) AS c (name) WHERE NOT has_report(v_org, c.name);
    missing := coalesce(cardinality(v_calls), 0);
    IF p_run AND looked_at > 0 THEN
        INSERT INTO reconciliations (org_id, vapi_call_id) SELECT v_org, c.name FROM unnest(v_calls) AS c (name)
            ON CONFLICT (org_id, vapi_call_id) DO NOTHING;
        UPDATE organizations SET reconciled_before = v_ids[looked_at] WHERE id = v_org;
    END IF;
END
$$;
COMMENT ON FUNCTION find_missing_reports_v1 IS
    'Looks at the next calls of an org, at most p_limit, that were first heard of an hour ago or longer, and notes those without a report.';

CREATE FUNCTION take_reconciliations_v1(p_limit integer) RETURNS TABLE (
    org_id uuid, vapi_call_id text, attempts integer, is_over boolean, is_expired boolean, key_version integer, api_key text
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY WITH due AS MATERIALIZED (
            SELECT r.org_id, r.vapi_call_id FROM reconciliations r
            WHERE r.state = 'open' AND r.next_attempt_at < now()
            ORDER BY r.next_attempt_at LIMIT p_limit FOR UPDATE SKIP LOCKED
        ),
        -- The report has come meanwhile, from Vapi or from here, or the call is nobody's business any more.
        known AS MATERIALIZED (
            SELECT d.*, has_report(d.org_id, d.vapi_call_id) OR is_call_erased(d.org_id, d.vapi_call_id) OR o.is_zero_retention AS is_over
            FROM due d JOIN organizations o ON o.id = d.org_id
        )
        UPDATE reconciliations u SET
            attempts = u.attempts + 1, next_attempt_at = now() + interval '10 minutes',
            state = CASE WHEN k.is_over THEN 'completed' ELSE u.state END,
            finished_at = CASE WHEN k.is_over THEN now() END,
            code = CASE WHEN NOT k.is_over THEN u.code END
        FROM known k WHERE k.org_id = u.org_id AND k.vapi_call_id = u.vapi_call_id
        RETURNING u.org_id, u.vapi_call_id, u.attempts, k.is_over, u.created_at < now() - interval '14 days',
            (SELECT max(k.version) FROM organization_keys k WHERE k.org_id = u.org_id),
            (SELECT c.api_key FROM vapi_credentials c WHERE c.org_id = u.org_id);
END
$$;
COMMENT ON FUNCTION take_reconciliations_v1 IS
    'Calls that Vapi is to be asked for now, with the org''s sealed API key, if it has one. Nobody else gets them for ten minutes. is_over: there is '
    'nothing to ask any more, and it is closed.';

CREATE FUNCTION settle_reconciliation_v1(p_org_id uuid, p_vapi_call_id text, p_code text, p_retry_seconds integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM enter_org(p_org_id);
    UPDATE reconciliations SET code = p_code,
            state = CASE WHEN p_retry_seconds IS NULL THEN 'unreachable' ELSE 'open' END,
            next_attempt_at = now() + make_interval(secs => coalesce(p_retry_seconds, 0)),
            finished_at = CASE WHEN p_retry_seconds IS NULL THEN now() END
        WHERE org_id = p_org_id AND vapi_call_id = p_vapi_call_id AND state = 'open';
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION settle_reconciliation_v1 IS
    'What asking for a call has brought: it is asked for again after p_retry_seconds, or (NULL) never, and is unreachable for the reason p_code.';

GRANT EXECUTE ON FUNCTION has_report TO ringfence_app, ringfence_ops;
GRANT EXECUTE ON FUNCTION find_missing_reports_v1, take_reconciliations_v1, settle_reconciliation_v1 TO ringfence_app;
GRANT CREATE ON SCHEMA public TO ringfence_ops;
ALTER FUNCTION find_missing_reports_v1 OWNER TO ringfence_ops;
ALTER FUNCTION take_reconciliations_v1 OWNER TO ringfence_ops;
REVOKE CREATE ON SCHEMA public FROM ringfence_ops;
