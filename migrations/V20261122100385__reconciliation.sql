-- Reconciliation of calls whose end-of-call report did not arrive. The job reconcile examines each call once, an hour
-- after its first event. A call without a report gets a row in reconciliations, and the job asks Vapi for the report
-- until it has an answer. The report is applied through the event pipeline like any other, so these functions do not
-- write rows of calls.

CREATE FUNCTION has_report(p_org_id uuid, p_vapi_call_id text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM processed_webhook_events e
        WHERE e.org_id = p_org_id AND e.event_id > 'end-of-call-report:' || p_vapi_call_id || ':'
            AND e.event_id < 'end-of-call-report:' || p_vapi_call_id || ';');
END
$$;
COMMENT ON FUNCTION has_report IS 'Returns whether an end-of-call-report of a call was applied.';

CREATE FUNCTION find_missing_reports_v1(p_org_id uuid, p_limit integer, p_run boolean, OUT examined integer, OUT missing integer)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_from  uuid;
    v_until uuid := time_floor_uuid(now() - interval '1 hour');
    v_ids   uuid[];
    v_calls text[];
BEGIN
    -- Vapi keeps calls for 14 days. Ids are ordered by time, so one cursor per org (reconciled_before) records the
    -- progress.
    SELECT greatest(o.reconciled_before, time_floor_uuid(now() - interval '14 days')) INTO v_from
        FROM organizations o WHERE o.id = p_org_id AND NOT o.is_zero_retention FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        examined := 0;
        missing := 0;
        RETURN;
    END IF;
    SELECT array_agg(l.id ORDER BY l.id), array_agg(l.vapi_call_id ORDER BY l.id) INTO v_ids, v_calls FROM (
        SELECT l.id, l.vapi_call_id FROM call_logs l WHERE l.org_id = p_org_id AND l.id > v_from AND l.id < v_until
        ORDER BY l.id LIMIT p_limit) AS l;
    examined := coalesce(cardinality(v_ids), 0);
    SELECT array_agg(c.name) INTO v_calls FROM unnest(v_calls) AS c (name)
        -- Vapi gave no id to an inbound call that it did not accept, and has no report of it.
        WHERE c.name NOT LIKE 'turned-away-%' AND NOT has_report(p_org_id, c.name);
    missing := coalesce(cardinality(v_calls), 0);
    IF p_run AND examined > 0 THEN
        INSERT INTO reconciliations (org_id, vapi_call_id) SELECT p_org_id, c.name FROM unnest(v_calls) AS c (name)
            ON CONFLICT (org_id, vapi_call_id) DO NOTHING;
        UPDATE organizations SET reconciled_before = v_ids[examined] WHERE id = p_org_id;
    END IF;
END
$$;
COMMENT ON FUNCTION find_missing_reports_v1 IS
    'Examines the next calls of one org, at most p_limit, whose first event arrived at least an hour ago, and inserts '
    'a reconciliation for each without a report. examined: 0 if there are no such calls. p_run false: a dry run.';

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
        -- is_over: the report has arrived since, the call was erased, or Vapi stores no data of the org's calls.
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
    'Returns the reconciliations that are due, with the org''s sealed API key (NULL: it has none). For ten minutes no '
    'other caller gets them. is_over: no request is needed, and the row is now completed. is_expired: the row is '
    'older than 14 days, so Vapi has deleted the call.';

CREATE FUNCTION record_reconciliation_v1(p_org_id uuid, p_vapi_call_id text, p_code text, p_retry_seconds integer) RETURNS boolean
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
COMMENT ON FUNCTION record_reconciliation_v1 IS
    'Records the result of a request to Vapi. p_retry_seconds: when to ask again. NULL: never, and the report is '
    'unreachable. p_code: the failure code. False: the reconciliation is not open any more.';

GRANT EXECUTE ON FUNCTION has_report TO ringfence_app, ringfence_ops;
GRANT EXECUTE ON FUNCTION find_missing_reports_v1, take_reconciliations_v1, record_reconciliation_v1 TO ringfence_app;
GRANT CREATE ON SCHEMA public TO ringfence_ops;
ALTER FUNCTION find_missing_reports_v1 OWNER TO ringfence_ops;
ALTER FUNCTION take_reconciliations_v1 OWNER TO ringfence_ops;
REVOKE CREATE ON SCHEMA public FROM ringfence_ops;
