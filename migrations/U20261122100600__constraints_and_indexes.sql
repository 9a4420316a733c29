-- The constraints and indexes that requirement A6 names. The constraints reject a NULL org_id. The indexes make events
-- and calls unique within an org. rollback/constraints_and_indexes.sql drops them. The prefix U lets refinery apply
-- this migration again after later ones, which undoes the full rollback.

ALTER TABLE call_logs ADD CONSTRAINT call_logs_org_id_not_null CHECK (org_id IS NOT NULL);
ALTER TABLE call_tracking ADD CONSTRAINT call_tracking_org_id_not_null CHECK (org_id IS NOT NULL);
ALTER TABLE calls ADD CONSTRAINT calls_org_id_not_null CHECK (org_id IS NOT NULL);
ALTER TABLE recording_upload_queue ADD CONSTRAINT recording_upload_queue_org_id_not_null CHECK (org_id IS NOT NULL);

CREATE UNIQUE INDEX idx_processed_events_org_event ON processed_webhook_events (org_id, event_id);
CREATE UNIQUE INDEX idx_call_logs_org_vapi_call_id ON call_logs (org_id, vapi_call_id);
CREATE UNIQUE INDEX idx_call_tracking_org_vapi_call_id ON call_tracking (org_id, vapi_call_id);
