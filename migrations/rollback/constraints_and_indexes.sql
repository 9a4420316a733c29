-- The full rollback (docs/DEPLOY.md): removes the constraints and indexes of U20261122100600 and forgets that it was applied,
-- so that the next migration applies it again. Every row stays. Run as the database's owner, in one transaction.
-- While they are away no event can be applied: webhooks are kept in the retry queues (RF1006) until the migration is back.
BEGIN;
ALTER TABLE call_logs DROP CONSTRAINT call_logs_org_id_not_null;
ALTER TABLE call_tracking DROP CONSTRAINT call_tracking_org_id_not_null;
ALTER TABLE calls DROP CONSTRAINT calls_org_id_not_null;
ALTER TABLE recording_upload_queue DROP CONSTRAINT recording_upload_queue_org_id_not_null;
DROP INDEX idx_processed_events_org_event;
DROP INDEX idx_call_logs_org_vapi_call_id;
DROP INDEX idx_call_tracking_org_vapi_call_id;
DELETE FROM refinery_schema_history WHERE version = 20261122100600;
COMMIT;
