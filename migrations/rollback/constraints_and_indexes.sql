-- The full rollback (docs/DEPLOY.md): drops the constraints and indexes of U20261122100600 and deletes its row in
-- refinery's history, so the next run of the migrations applies it again. No row of data is lost. Run it as the owner
-- of the database. Without the indexes no event can be applied: webhooks wait in the retry queues (RF1006) until the
-- migration is applied again.
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
