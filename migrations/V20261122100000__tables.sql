-- The tables. Every key of a tenant table starts with org_id, so the rows of an org are adjacent in each index, and a
-- foreign key between tenant tables includes the org. Foreign keys reference constraints of their own, not the three
-- named indexes that the full rollback drops.

CREATE FUNCTION time_ordered_uuid() RETURNS uuid LANGUAGE sql PARALLEL SAFE AS $$
    -- The first 48 bits are the milliseconds since 1970. The two set_bit calls change the version from 4 to 7.
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
$$;
COMMENT ON FUNCTION time_ordered_uuid IS
    'Returns a UUID of version 7 (RFC 9562), for tables that get a row with every call. New values are adjacent at '
    'the end of an index. Random values would each change a different page, and write it to the WAL after each '
    'checkpoint.';

CREATE FUNCTION log_position() RETURNS bigint LANGUAGE sql PARALLEL SAFE AS $$
    SELECT ((floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 1577836800000000) << 12)
        | floor(random() * 4096)::bigint
$$;
COMMENT ON FUNCTION log_position IS
    'Returns a position in an org''s log: the microseconds since 2020, and 12 random bits. An org sees the positions of its '
    'events, and the numbers of a sequence would tell it how many events all other orgs have. Two events of an org in one '
    'microsecond have the same position in one of 4 096 cases.';

CREATE TABLE organizations (
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    name       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    log_start  xid8        NOT NULL DEFAULT '0',
    recording_retention_days integer,
    transcript_retention_days integer,
    transcripts_expired_before uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    event_retention_days integer NOT NULL DEFAULT 30,
    is_zero_retention boolean NOT NULL DEFAULT false,
    reconciled_before uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    CONSTRAINT organizations_pkey PRIMARY KEY (id),
    CONSTRAINT organizations_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT organizations_recording_retention_bounded CHECK (recording_retention_days BETWEEN 1 AND 36500),
    CONSTRAINT organizations_transcript_retention_bounded CHECK (transcript_retention_days BETWEEN 1 AND 36500),
    CONSTRAINT organizations_event_retention_bounded CHECK (event_retention_days BETWEEN 15 AND 36500)
);
COMMENT ON TABLE organizations IS 'The tenants.';
COMMENT ON COLUMN organizations.recording_retention_days IS
    'Days after which a stored recording is deleted. NULL: never.';
COMMENT ON COLUMN organizations.transcript_retention_days IS
    'Days after which the transcript and the summary of a call are deleted. NULL: never.';
COMMENT ON COLUMN organizations.transcripts_expired_before IS
    'The transcripts of all calls up to this id (call_logs.id) are deleted.';
COMMENT ON COLUMN organizations.event_retention_days IS
    'Days after which the claims of events are deleted, and with them the timeline and the source of a replay. At '
    'least 15: Vapi keeps calls for 14 days.';
COMMENT ON COLUMN organizations.is_zero_retention IS
    'Whether Vapi stores no data of the org''s calls (zero data retention). Reconciliation then skips the org.';
COMMENT ON COLUMN organizations.reconciled_before IS
    'Reconciliation has examined all calls up to this id (call_logs.id).';
COMMENT ON COLUMN organizations.log_start IS
    'Events of earlier transactions may be deleted from processed_webhook_events. A viewer cannot resume from one of '
    'them.';

-- The keys are derived from a master key and not stored. A row states until when a version of a key is valid.
CREATE TABLE organization_keys (
    org_id      uuid        NOT NULL,
    version     integer     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    CONSTRAINT organization_keys_pkey PRIMARY KEY (org_id, version),
    CONSTRAINT organization_keys_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT organization_keys_version_positive CHECK (version > 0)
);
COMMENT ON COLUMN organization_keys.valid_until IS
    'The key is rejected for events that were received later. NULL: no end.';

-- The API keys with which Ringfence fetches recordings and calls from Vapi. The database cannot decrypt them: only the
-- functions that hold the sealing key can.
CREATE TABLE vapi_credentials (
    org_id     uuid        NOT NULL,
    api_key    text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT vapi_credentials_pkey PRIMARY KEY (org_id),
    CONSTRAINT vapi_credentials_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT vapi_credentials_api_key_bounded CHECK (char_length(api_key) <= 4096)
);
COMMENT ON COLUMN vapi_credentials.api_key IS 'The org''s private API key at Vapi, sealed (ringfence_identity::seal).';

CREATE TABLE agents (
    org_id               uuid        NOT NULL,
    id                   uuid        NOT NULL DEFAULT gen_random_uuid(),
    name                 text        NOT NULL,
    role                 text        NOT NULL DEFAULT 'inbound',
    vapi_assistant_id    text,
    vapi_squad_id        text,
    vapi_phone_number_id text,
    phone_number         text,
    is_default           boolean     NOT NULL DEFAULT false,
    configuration        jsonb       NOT NULL DEFAULT '{}',
    created_at           timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT agents_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT agents_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT agents_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT agents_role_known CHECK (role IN ('inbound', 'outbound')),
    CONSTRAINT agents_default_answers CHECK (role = 'inbound' OR NOT is_default),
    CONSTRAINT agents_configuration_object CHECK (jsonb_typeof(configuration) = 'object'),
    CONSTRAINT agents_configuration_bounded CHECK (pg_column_size(configuration) <= 262144),
    CONSTRAINT agents_ids_bounded CHECK (greatest(char_length(vapi_assistant_id), char_length(vapi_squad_id),
        char_length(vapi_phone_number_id)) <= 128),
    CONSTRAINT agents_phone_number_e164 CHECK (phone_number ~ '^\+[1-9][0-9]{6,14}$'),
    CONSTRAINT agents_names_something CHECK (
        num_nonnulls(vapi_assistant_id, vapi_squad_id, vapi_phone_number_id, phone_number) > 0)
);
-- find_agent compares all four columns in one OR. Without an index on each of them it would read every agent.
CREATE INDEX agents_org_assistant_idx ON agents (org_id, vapi_assistant_id);
CREATE INDEX agents_org_squad_idx ON agents (org_id, vapi_squad_id);
CREATE INDEX agents_org_phone_number_id_idx ON agents (org_id, vapi_phone_number_id);
CREATE INDEX agents_org_phone_number_idx ON agents (org_id, phone_number);
CREATE UNIQUE INDEX agents_org_default_key ON agents (org_id) WHERE is_default;
COMMENT ON TABLE agents IS 'Registrations of Vapi assistants, squads and phone numbers.';
COMMENT ON COLUMN agents.is_default IS 'Whether the agent answers the org''s numbers for which no agent is registered.';
COMMENT ON COLUMN agents.configuration IS
    'What the answer to an assistant-request contains besides the ids (ringfence_vapi::interactive::Configuration).';

CREATE TABLE leads (
    org_id            uuid        NOT NULL,
    id                uuid        NOT NULL DEFAULT gen_random_uuid(),
    phone             text        NOT NULL,
    name              text,
    status            text        NOT NULL DEFAULT 'new',
    last_contacted_at timestamptz,
    metadata          jsonb       NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT leads_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT leads_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT leads_org_phone_key UNIQUE (org_id, phone),
    CONSTRAINT leads_phone_e164 CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    CONSTRAINT leads_name_length CHECK (char_length(name) <= 200),
    CONSTRAINT leads_metadata_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT leads_metadata_bounded CHECK (pg_column_size(metadata) <= 65536)
) WITH (fillfactor = 80);

-- In these four tables a named CHECK guards org_id (constraints_and_indexes), and not NOT NULL, which would be checked first
-- and has no name; therefore their keys are unique constraints and not primary keys. Each event of a call updates its rows:
-- the free space on each page keeps the new versions on the page of the old ones, without new index entries (HOT), and
-- autovacuum runs before dead versions fill that space.
CREATE TABLE call_logs (
    id                     uuid        NOT NULL DEFAULT time_ordered_uuid(),
    org_id                 uuid,
    vapi_call_id           text        NOT NULL,
    status                 text        NOT NULL DEFAULT 'unknown',
    direction              text,
    from_number            text,
    to_number              text,
    started_at             timestamptz,
    ended_at               timestamptz,
    duration_seconds       integer,
    ended_reason           text,
    outcome                text,
    summary                text,
    success_evaluation     text,
    structured_data        jsonb,
    structured_outputs     jsonb,
    cost                   numeric,
    cost_breakdown         jsonb,
    costs                  jsonb,
    transcript             text,
    recording_url          text,
    recording_storage_path text,
    customer_name          text,
    customer_external_id   text,
    campaign_id            text,
    destination            text,
    details                jsonb,
    agent_id               uuid,
    lead_id                uuid,
    metadata               jsonb,
    folded_until           timestamptz DEFAULT '-infinity',
    folded_report          boolean     NOT NULL DEFAULT false,
    folded_parties         bigint,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT call_logs_org_id_id_key UNIQUE (org_id, id),
    CONSTRAINT call_logs_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT call_logs_agent_fkey FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id),
    CONSTRAINT call_logs_lead_fkey FOREIGN KEY (org_id, lead_id) REFERENCES leads (org_id, id),
    CONSTRAINT call_logs_duration_not_negative CHECK (duration_seconds >= 0),
    CONSTRAINT call_logs_cost_not_negative CHECK (cost >= 0),
    CONSTRAINT call_logs_structured_outputs_object CHECK (jsonb_typeof(structured_outputs) = 'object'),
    CONSTRAINT call_logs_details_object CHECK (jsonb_typeof(details) = 'object'),
    -- The key of an object in the bucket starts with its org. Other storage paths have any form.
    CONSTRAINT call_logs_recording_storage_path_own CHECK (starts_with(recording_storage_path, org_id::text || '/')
        OR recording_storage_path !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE call_logs IS
    'The permanent record of each call. A transaction locks this row before any other row of the call.';
COMMENT ON COLUMN call_logs.duration_seconds IS
    'NULL: unknown. A call that has not ended has no duration, and neither has one whose times contradict each other.';
COMMENT ON COLUMN call_logs.cost IS 'In US dollars.';
COMMENT ON COLUMN call_logs.structured_outputs IS
    'The structured outputs of all reports, by their ids: {id: {name, result, ...}}. Of several reports, the newest '
    'that has an output decides it.';
COMMENT ON COLUMN call_logs.customer_external_id IS
    'The id of the customer in the org''s own system (customer.externalId).';
COMMENT ON COLUMN call_logs.destination IS
    'The number, the SIP URI or the name of the assistant to which the call was last forwarded.';
COMMENT ON COLUMN call_logs.details IS
'Further facts (ringfence_vapi::events::Details), each key optional. Of several events, the newest that has a key
decides it. structured_data_multi: Vapi''s list. recording_consent: {type, granted_at}. performance: {measures: {name:
number}, turns: [{name: number}]}, latencies in milliseconds and counts. scorecards: Vapi''s object. transfers:
[{destination, mode, status}]. debugging: {name: text}, why an inbound call was not accepted.';
COMMENT ON COLUMN call_logs.costs IS
    'The items of the cost: [{type, subType, provider, model, amounts}]. amounts: cost in US dollars, and counts of '
    'minutes, tokens and characters.';
COMMENT ON COLUMN call_logs.outcome IS 'The reason family of ended_reason.';
COMMENT ON COLUMN call_logs.folded_until IS
    'Message time of the newest event in the row: of its reports if it has any (folded_report), else of its status updates. '
    '-infinity: it has none, or none with a time. NULL: the row has values that no event gave, so each event folds all retained ones.';
COMMENT ON COLUMN call_logs.folded_report IS 'Whether a report is in the row. A report is newer than all status updates.';
COMMENT ON COLUMN call_logs.folded_parties IS
    'parties_hash of what the events in the row say together. NULL: unknown, so the next event folds all retained ones.';

CREATE TABLE call_tracking (
    id               uuid        NOT NULL DEFAULT time_ordered_uuid(),
    org_id           uuid,
    vapi_call_id     text        NOT NULL,
    status           text        NOT NULL DEFAULT 'unknown',
    phone_number     text,
    agent_id         uuid,
    lead_id          uuid,
    answered         boolean,
    called_at        timestamptz,
    started_at       timestamptz,
    ended_at         timestamptz,
    duration_seconds integer,
    metadata         jsonb,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT call_tracking_agent_fkey FOREIGN KEY (org_id, agent_id) REFERENCES agents (org_id, id),
    CONSTRAINT call_tracking_lead_fkey FOREIGN KEY (org_id, lead_id) REFERENCES leads (org_id, id),
    CONSTRAINT call_tracking_duration_not_negative CHECK (duration_seconds >= 0)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE call_tracking IS 'The state of each call in progress. phone_number is the number of the other party.';
COMMENT ON COLUMN call_tracking.answered IS
    'true: an event shows that the call was answered. false: it ended because it was not. NULL: unknown.';

-- One row per row of call_logs, with the same id.
CREATE TABLE calls (
    id               uuid        NOT NULL DEFAULT time_ordered_uuid(),
    org_id           uuid,
    vapi_call_id     text        NOT NULL,
    status           text        NOT NULL DEFAULT 'unknown',
    call_type        text,
    started_at       timestamptz,
    duration_seconds integer,
    reason_family    text,
    cost             numeric,
    recording_state  text        NOT NULL DEFAULT 'none',
    recording_path   text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    -- For the foreign key: a deleted row of call_logs is looked for here. While the table is nearly empty, both keys seem equally good
    -- to the planner for a search by call, and it takes the one that was made last.
    CONSTRAINT calls_org_id_id_key UNIQUE (org_id, id),
    CONSTRAINT calls_org_call_key UNIQUE (org_id, vapi_call_id),
    CONSTRAINT calls_call_log_fkey FOREIGN KEY (org_id, id) REFERENCES call_logs (org_id, id),
    CONSTRAINT calls_recording_state_known CHECK (recording_state IN ('none', 'linked', 'stored', 'removed')),
    CONSTRAINT calls_recording_path_own CHECK (starts_with(recording_path, org_id::text || '/')
        OR recording_path !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE calls IS 'The columns that lists and filters of calls read. Narrow, so that a scan reads few pages.';

CREATE TABLE call_transcripts (
    org_id         uuid        NOT NULL,
    vapi_call_id   text        NOT NULL,
    content_sha256 bytea       NOT NULL,
    call_log_id    uuid        NOT NULL,
    speaker        text        NOT NULL,
    text           text        NOT NULL,
    said_at        timestamptz,
    position       integer,
    tool_calls     jsonb,
    source         text        NOT NULL DEFAULT 'transcript',
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT call_transcripts_pkey PRIMARY KEY (org_id, vapi_call_id, content_sha256),
    CONSTRAINT call_transcripts_call_log_fkey FOREIGN KEY (org_id, call_log_id) REFERENCES call_logs (org_id, id),
    CONSTRAINT call_transcripts_source_known CHECK (source IN ('transcript', 'report')),
    CONSTRAINT call_transcripts_tool_calls_list CHECK (jsonb_typeof(tool_calls) = 'array')
);
COMMENT ON TABLE call_transcripts IS
    'The conversation of each call, one row per turn: from transcript events, or of a call without any from its newest '
    'report that has a conversation. A call never has rows of both sources.';
-- The check of the foreign key when a call is erased. Without it the check reads all transcripts of the org, which takes
-- 45 ms for 100 000 of them. It adds about 10 us to the insertion of a transcript.
CREATE INDEX call_transcripts_call_log_idx ON call_transcripts (org_id, call_log_id);
COMMENT ON COLUMN call_transcripts.content_sha256 IS
    'SHA-256 of the role, the time in whole milliseconds (or the position) and the whole text. A redelivery has the '
    'same hash. A sentence that is said again has another. From a report: of the whole turn.';
COMMENT ON COLUMN call_transcripts.speaker IS
    'user, assistant, or another role of Vapi. From a report also tool_calls and tool_call_result.';
COMMENT ON COLUMN call_transcripts.text IS
    'What was said; the tool calls as name and arguments; or the result of a tool call.';
COMMENT ON COLUMN call_transcripts.position IS
    'The index of the turn in artifact.messages. From a transcript event: only if Vapi sent no time.';
COMMENT ON COLUMN call_transcripts.tool_calls IS
    'From a report: [{id, name, arguments}], arguments as the text that the model wrote. A result has no arguments.';
COMMENT ON COLUMN call_transcripts.source IS 'transcript: a transcript event. report: an end-of-call report.';

-- A transaction cannot cover the upload of a recording, so each row has a state and a lease. The lease holder fetches
-- the recording. The storage key depends only on org, call and kind, so two uploads of a recording leave one object and
-- one row.
CREATE TABLE recording_upload_queue (
    id              uuid        NOT NULL DEFAULT time_ordered_uuid(),
    org_id          uuid,
    vapi_call_id    text        NOT NULL,
    call_log_id     uuid,
    kind            text        NOT NULL DEFAULT 'mono',
    state           text        NOT NULL DEFAULT 'pending',
    link            text,
    link_expires_at timestamptz,
    attempts        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    claimed_by      uuid,
    lease_until     timestamptz,
    code            text,
    storage_key     text,
    content_type    text,
    bytes           bigint,
    sha256          bytea,
    created_at      timestamptz NOT NULL DEFAULT now(),
    stored_at       timestamptz,
    CONSTRAINT recording_upload_queue_org_call_kind_key UNIQUE (org_id, vapi_call_id, kind),
    CONSTRAINT recording_upload_queue_call_log_fkey FOREIGN KEY (org_id, call_log_id) REFERENCES call_logs (org_id, id),
    CONSTRAINT recording_upload_queue_kind_known CHECK (kind IN ('mono', 'stereo', 'video')),
    -- The same key as recording_object returns. No row can name the object of another org or of another call.
    CONSTRAINT recording_upload_queue_storage_key_own CHECK (
        storage_key = org_id::text || '/' || vapi_call_id || '/' || kind),
    CONSTRAINT recording_upload_queue_state_known CHECK (state IN ('pending', 'stored', 'dead', 'removed')),
    CONSTRAINT recording_upload_queue_stored_whole CHECK (
        (state = 'stored') = (num_nulls(storage_key, content_type, bytes, sha256, stored_at) = 0)),
    CONSTRAINT recording_upload_queue_lease_whole CHECK ((claimed_by IS NULL) = (lease_until IS NULL)),
    CONSTRAINT recording_upload_queue_link_while_needed CHECK (link IS NULL OR state IN ('pending', 'dead'))
);
CREATE INDEX recording_upload_queue_due_idx ON recording_upload_queue (next_attempt_at) WHERE state = 'pending';
CREATE INDEX recording_upload_queue_removed_idx ON recording_upload_queue (created_at) WHERE state = 'removed';
CREATE INDEX recording_upload_queue_stored_idx ON recording_upload_queue (org_id, stored_at) WHERE state = 'stored';
-- The check of the foreign key when a call is erased, as in call_transcripts.
CREATE INDEX recording_upload_queue_call_log_idx ON recording_upload_queue (org_id, call_log_id);
COMMENT ON TABLE recording_upload_queue IS
    'Recordings of calls, one row per call and kind. state: pending (to be fetched), stored, dead (given up), or '
    'removed (deleted after its retention).';
COMMENT ON COLUMN recording_upload_queue.link IS
    'Vapi''s presigned link, sealed (ringfence_identity::seal), because the link alone grants access to the recording.';
COMMENT ON COLUMN recording_upload_queue.next_attempt_at IS
    'When the next attempt is due. If the time has long passed, the queue message was lost, and '
    'take_due_recordings_v1 returns the row.';
COMMENT ON COLUMN recording_upload_queue.code IS 'The failure code of the latest attempt (docs/failure-codes).';

-- One row is the claim of an event, an entry of its call's timeline and the source of a replay. The table has no
-- foreign keys: one would cost a tenth of the throughput, and the statement that claims the event has already read the
-- org's key.
CREATE TABLE processed_webhook_events (
    seq          bigint      NOT NULL DEFAULT log_position(),
    org_id       uuid        NOT NULL,
    event_id     text        COLLATE "C" NOT NULL,
    event_type   text        NOT NULL,
    vapi_call_id text        NOT NULL,
    message_time timestamptz,
    event        jsonb       NOT NULL,
    received_at  timestamptz NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now(),
    xact         xid8        NOT NULL DEFAULT pg_current_xact_id()
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
-- resume_viewer_v1 reads the org's log in this order.
CREATE INDEX processed_webhook_events_log_idx ON processed_webhook_events (org_id, xact, seq);
COMMENT ON TABLE processed_webhook_events IS
    'Claims and retained events. The row of a webhook event exists if and only if its effects do. The rows are also '
    'the org''s log, which contains events of Ringfence itself (operation-failed, recording-ready).';
COMMENT ON COLUMN processed_webhook_events.xact IS
    'The id of the transaction that inserted the row. seq does not order the log by itself: a lower seq may be '
    'committed after a higher one.';
COMMENT ON COLUMN processed_webhook_events.seq IS 'The position of the event in the org''s log (log_position).';
COMMENT ON COLUMN processed_webhook_events.event_id IS
    'The event key: {type}:{call}:{hash of the facts}. The collation is "C", so the events of one call and type are '
    'one range of the index.';
COMMENT ON COLUMN processed_webhook_events.event IS 'The typed event. The raw body is not stored.';

-- A report of 100 KB or more costs the server more time to compress than to apply with the default method.
DO $$
BEGIN
    ALTER TABLE processed_webhook_events ALTER COLUMN event SET COMPRESSION lz4;
    ALTER TABLE call_logs ALTER COLUMN transcript SET COMPRESSION lz4, ALTER COLUMN summary SET COMPRESSION lz4,
        ALTER COLUMN structured_data SET COMPRESSION lz4, ALTER COLUMN structured_outputs SET COMPRESSION lz4,
        ALTER COLUMN details SET COMPRESSION lz4, ALTER COLUMN metadata SET COMPRESSION lz4;
    ALTER TABLE call_tracking ALTER COLUMN metadata SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL; -- a server that was built without lz4 keeps its default
END
$$;

-- Each event that failed has one row, which stays after the event is applied. The only foreign key is to the org,
-- because the call of the event may not exist yet.
CREATE TABLE failed_operations (
    org_id          uuid        NOT NULL,
    event_id        text        COLLATE "C" NOT NULL,
    event_type      text        NOT NULL,
    vapi_call_id    text        NOT NULL,
    function        text        NOT NULL,
    state           text        NOT NULL,
    code            text        NOT NULL,
    receives        integer     NOT NULL,
    key_version     integer,
    received_at     timestamptz NOT NULL,
    event           jsonb,
    first_failed_at timestamptz NOT NULL,
    last_failed_at  timestamptz NOT NULL,
    resolved_at     timestamptz,
    CONSTRAINT failed_operations_pkey PRIMARY KEY (org_id, event_id),
    CONSTRAINT failed_operations_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT failed_operations_state_known CHECK (state IN ('retrying', 'dead', 'redriven', 'resolved')),
    CONSTRAINT failed_operations_resolved_at CHECK ((resolved_at IS NOT NULL) = (state = 'resolved')),
    CONSTRAINT failed_operations_event_until_resolved CHECK (event IS NULL OR state <> 'resolved')
);
CREATE INDEX failed_operations_resolved_idx ON failed_operations (resolved_at) WHERE state = 'resolved';
CREATE INDEX failed_operations_oldest_idx ON failed_operations (state, received_at) WHERE state <> 'resolved';
CREATE INDEX failed_operations_open_idx ON failed_operations (org_id, last_failed_at) WHERE state <> 'resolved';
COMMENT ON TABLE failed_operations IS
    'Failed operations, one row per event, recording or tool call. The statement that applies an event also resolves '
    'its row.';
COMMENT ON COLUMN failed_operations.function IS 'The function whose retry queue holds the event.';
COMMENT ON COLUMN failed_operations.state IS
    'retrying: in the retry queue. dead: in the dead-letter queue. redriven: moved back to the retry queue. resolved: '
    'applied or settled.';
COMMENT ON COLUMN failed_operations.code IS 'The failure code of the latest attempt (docs/failure-codes).';
COMMENT ON COLUMN failed_operations.receives IS
    'How often the consumer received the message. Attempts during which the database was unavailable count here, and '
    'have no row in failed_attempts.';
COMMENT ON COLUMN failed_operations.key_version IS
    'The version of the org key that authenticated the event. NULL: the platform key.';
COMMENT ON COLUMN failed_operations.event IS
    'The typed event, until it is applied; processed_webhook_events then holds it under the same event_id. NULL in another '
    'state: maintenance removed it after the org''s retention of events.';

CREATE TABLE failed_attempts (
    org_id          uuid        NOT NULL,
    event_id        text        COLLATE "C" NOT NULL,
    failed_at       timestamptz NOT NULL,
    function        text        NOT NULL,
    code            text        NOT NULL,
    sqlstate        text,
    constraint_name text,
    CONSTRAINT failed_attempts_pkey PRIMARY KEY (org_id, event_id, failed_at, function),
    CONSTRAINT failed_attempts_operation_fkey FOREIGN KEY (org_id, event_id) REFERENCES failed_operations (org_id, event_id)
);
COMMENT ON TABLE failed_attempts IS 'Failed attempts to apply an event, one row each, recorded at once or later.';
COMMENT ON COLUMN failed_attempts.function IS
    'The function that made the attempt: webhook, or the consumer of the event''s retry queue.';

CREATE TABLE tools (
    org_id          uuid        NOT NULL,
    kind            text        NOT NULL,
    name            text        NOT NULL,
    endpoint        text        NOT NULL,
    timeout_seconds integer     NOT NULL,
    is_idempotent   boolean     NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tools_pkey PRIMARY KEY (org_id, kind, name),
    CONSTRAINT tools_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT tools_kind_known CHECK (kind IN ('tool', 'message')),
    CONSTRAINT tools_message_known CHECK (kind <> 'message' OR name IN ('transfer-destination-request',
        'handoff-destination-request', 'knowledge-base-request', 'call.endpointing.request', 'campaign.predial')),
    CONSTRAINT tools_name_length CHECK (char_length(name) BETWEEN 1 AND 128),
    -- Plain HTTP is accepted for loopback only, for development. The egress policy of a deployed function rejects
    -- private addresses when it connects.
    CONSTRAINT tools_endpoint_https CHECK (
        char_length(endpoint) <= 2000 AND endpoint ~ '^(https://[^/@]+|http://(localhost|127\.0\.0\.1)(:[0-9]+)?)(/|$)'),
    CONSTRAINT tools_timeout_bounded CHECK (timeout_seconds BETWEEN 1 AND 15)
);
COMMENT ON TABLE tools IS 'The endpoints of each org: for tools that its models call, and for interactive messages.';
COMMENT ON COLUMN tools.kind IS 'tool: name is the name of a function. message: name is the type of a Vapi message.';
COMMENT ON COLUMN tools.is_idempotent IS
    'Whether the endpoint executes two requests with the same idempotency key once. If not, a tool call whose result '
    'is unknown is not sent again.';

-- A transaction cannot cover the request to an endpoint, so each row has a state and a lease. The lease holder sends
-- the request. The stored result then answers every delivery of the tool call.
CREATE TABLE tool_executions (
    org_id            uuid        NOT NULL,
    execution_id      text        COLLATE "C" NOT NULL,
    tool              text        NOT NULL,
    vapi_call_id      text,
    chat_id           text,
    session_id        text,
    number_tombstones text[],
    state             text        NOT NULL DEFAULT 'running',
    attempt           integer     NOT NULL DEFAULT 1,
    claimed_by        uuid        NOT NULL,
    lease_until       timestamptz NOT NULL,
    -- Not jsonb, which would write numbers and spaces in another way: every delivery is answered with the same text.
    result            json,
    code              text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    finished_at       timestamptz,
    CONSTRAINT tool_executions_pkey PRIMARY KEY (org_id, execution_id),
    CONSTRAINT tool_executions_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT tool_executions_state_known CHECK (state IN ('running', 'done')),
    CONSTRAINT tool_executions_result CHECK ((state = 'done') = (result IS NOT NULL)),
    CONSTRAINT tool_executions_finished_at CHECK ((state = 'done') = (finished_at IS NOT NULL))
);
CREATE INDEX tool_executions_running_idx ON tool_executions (org_id, lease_until) WHERE state = 'running';
CREATE INDEX tool_executions_finished_idx ON tool_executions (finished_at) WHERE state = 'done';
COMMENT ON TABLE tool_executions IS 'Executions of tool calls, one row each, however often Vapi delivers the call.';
COMMENT ON COLUMN tool_executions.execution_id IS
    'tool-calls:{conversation}:{id of the tool call}:{hash}. conversation: the id of the call, else of the chat, else of '
    'the session. hash: of these ids, the name of the tool and its canonical arguments, because models use an id again. '
    'The idempotency key of the request to the endpoint is derived from it.';
COMMENT ON COLUMN tool_executions.vapi_call_id IS
    'The call, chat and session of the message, as far as it has them. An erasure finds the execution by them.';
COMMENT ON COLUMN tool_executions.number_tombstones IS
    'The keyed hashes of the number of the customer. An erasure finds the execution by them. NULL: no number is known.';
COMMENT ON COLUMN tool_executions.claimed_by IS 'The lease holder: the id of one request.';
COMMENT ON COLUMN tool_executions.result IS 'The answer to the model: result or error, message and metadata.';
COMMENT ON COLUMN tool_executions.code IS 'The failure code. NULL: success.';

CREATE TABLE live_connections (
    connection_id  text        NOT NULL,
    org_id         uuid        NOT NULL,
    state          text        NOT NULL DEFAULT 'pending',
    covered_before xid8        NOT NULL DEFAULT '0',
    token_sha256   bytea,
    expires_at     timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT live_connections_pkey PRIMARY KEY (connection_id),
    CONSTRAINT live_connections_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT live_connections_state_known CHECK (state IN ('pending', 'active'))
);
CREATE INDEX live_connections_org_idx ON live_connections (org_id, expires_at);
COMMENT ON TABLE live_connections IS 'WebSocket connections of viewers. Only active connections receive frames.';
COMMENT ON COLUMN live_connections.state IS
    'pending until the first message of the client. Before that, API Gateway answers a push with 410, as for a closed '
    'connection.';
COMMENT ON COLUMN live_connections.token_sha256 IS
    'SHA-256 of the token that opened the connection, for the limit of connections per token. NULL: unknown.';
COMMENT ON COLUMN live_connections.covered_before IS
    'The viewer has read every event of earlier transactions from the log. Such events are not pushed to it again.';

-- Unlogged: if a crash empties the table, a few partial transcripts are pushed too early.
CREATE UNLOGGED TABLE partial_gates (
    org_id       uuid        NOT NULL,
    vapi_call_id text        NOT NULL,
    passed_at    timestamptz NOT NULL,
    CONSTRAINT partial_gates_pkey PRIMARY KEY (org_id, vapi_call_id)
);
COMMENT ON TABLE partial_gates IS
    'When the last partial transcript of a call was pushed. Limits pushes to four per second and call '
    '(throttle_partial_v1).';

CREATE TABLE rollup_cursors (
    org_id uuid   NOT NULL,
    xact   xid8   NOT NULL DEFAULT '0',
    seq    bigint NOT NULL DEFAULT 0,
    CONSTRAINT rollup_cursors_pkey PRIMARY KEY (org_id),
    CONSTRAINT rollup_cursors_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id)
);
COMMENT ON TABLE rollup_cursors IS 'The last event of each org''s log that roll_up_v1 has counted.';

CREATE TABLE event_rollups (
    org_id  uuid        NOT NULL,
    period  text        NOT NULL,
    measure text        NOT NULL,
    since   timestamptz NOT NULL,
    bucket  text        COLLATE "C" NOT NULL,
    events  bigint      NOT NULL,
    lowest  numeric,
    highest numeric,
    exact   numeric[],
    CONSTRAINT event_rollups_pkey PRIMARY KEY (org_id, period, measure, since, bucket),
    CONSTRAINT event_rollups_period_known CHECK (period IN ('hour', 'day')),
    CONSTRAINT event_rollups_measure_known CHECK (measure IN ('type', 'failure', 'delivery_ms', 'apply_ms'))
);
COMMENT ON TABLE event_rollups IS 'Counts of the events that an org received per hour and per day (UTC).';
COMMENT ON COLUMN event_rollups.bucket IS
    'For the measure type: the event type. For failure: the failure code. For milliseconds: the bucket '
    '(rollup_bucket).';
COMMENT ON COLUMN event_rollups.exact IS
    'All values in the bucket, with lowest and highest among them. NULL if the hour or day has more values of the measure '
    'than max_exact_values.';

CREATE TABLE call_rollups (
    org_id       uuid        NOT NULL,
    agent_id     uuid        NOT NULL,
    period       text        NOT NULL,
    measure      text        NOT NULL,
    since        timestamptz NOT NULL,
    is_connected boolean     NOT NULL,
    bucket       text        COLLATE "C" NOT NULL,
    calls        bigint      NOT NULL,
    total        numeric,
    lowest       numeric,
    highest      numeric,
    exact        numeric[],
    CONSTRAINT call_rollups_pkey PRIMARY KEY (org_id, agent_id, period, measure, since, is_connected, bucket),
    CONSTRAINT call_rollups_period_known CHECK (period IN ('hour', 'day')),
    CONSTRAINT call_rollups_measure_known CHECK (measure IN ('family', 'duration', 'cost'))
);
CREATE INDEX call_rollups_since_idx ON call_rollups (org_id, since);
COMMENT ON TABLE call_rollups IS
    'Counts of an org''s calls by the hour and the day (UTC) of their first event. Reports on a month read the days.';
COMMENT ON COLUMN call_rollups.agent_id IS 'The nil UUID: all calls, with and without an agent.';
COMMENT ON COLUMN call_rollups.bucket IS
    'For the measure family: the reason family, open or unknown. For duration and cost: the bucket (rollup_bucket).';
COMMENT ON COLUMN call_rollups.total IS 'The sum, in seconds or US dollars.';
COMMENT ON COLUMN call_rollups.exact IS
    'All values in the bucket, with lowest and highest among them. NULL if the agent''s calls, answered or not, have more '
    'values of the measure in the hour or day than max_exact_values.';

-- The directory by which the platform URL finds the org of an event. It holds routing ids only. One org registers each
-- id.
CREATE TABLE platform_directory (
    kind       text        NOT NULL,
    ref        text        NOT NULL,
    org_id     uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT platform_directory_pkey PRIMARY KEY (kind, ref),
    CONSTRAINT platform_directory_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT platform_directory_kind_known CHECK (kind IN ('phone_number_id', 'phone_number', 'assistant', 'squad'))
);

CREATE TABLE call_routes (
    vapi_call_id text        NOT NULL,
    org_id       uuid        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT call_routes_pkey PRIMARY KEY (vapi_call_id),
    CONSTRAINT call_routes_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id)
);
CREATE INDEX call_routes_created_at_idx ON call_routes (created_at);
COMMENT ON TABLE call_routes IS
    'Call routes: the org of each call that arrived at the platform URL, for 90 days. Only events from the platform '
    'URL insert rows, so no org can claim a call of another org in advance.';

CREATE TABLE unresolved_events (
    id           bigint      GENERATED ALWAYS AS IDENTITY,
    event_id     text        COLLATE "C" NOT NULL,
    vapi_call_id text        NOT NULL,
    code         text        NOT NULL,
    event        jsonb       NOT NULL,
    received_at  timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT unresolved_events_pkey PRIMARY KEY (id),
    CONSTRAINT unresolved_events_event_id_key UNIQUE (event_id),
    CONSTRAINT unresolved_events_code_known CHECK (code IN ('RF5001', 'RF5002'))
);
CREATE INDEX unresolved_events_call_idx ON unresolved_events (vapi_call_id);
-- These find the events that name a newly registered id (find_resolvable_events_v1). A hash has no limit on the length of
-- an id.
CREATE INDEX unresolved_events_assistant_idx ON unresolved_events USING hash ((event #>> '{call,assistant_id}'));
CREATE INDEX unresolved_events_squad_idx ON unresolved_events USING hash ((event #>> '{call,squad_id}'));
CREATE INDEX unresolved_events_phone_number_id_idx ON unresolved_events USING hash ((event #>> '{call,phone_number_id}'));
CREATE INDEX unresolved_events_phone_number_idx ON unresolved_events USING hash ((event #>> '{call,our_number}'));
COMMENT ON TABLE unresolved_events IS
    'Unresolved events: the org is unknown (RF5001) or ambiguous (RF5002). They are applied when an agent is '
    'registered that matches, or when another event of the call identifies the org. Maintenance deletes them after 90 '
    'days.';

-- Messages of types that the running version does not know. Nobody knows what they contain, so they are sealed with a key
-- of the org. event_id, event_type and the next columns have the names of other tables of events, so that one selection
-- serves all of them.
CREATE TABLE quarantined_messages (
    org_id            uuid        NOT NULL,
    event_id          text        COLLATE "C" NOT NULL,
    event_type        text        NOT NULL,
    vapi_call_id      text,
    number_tombstones text[]      NOT NULL,
    key_version       integer,
    sealed            text        NOT NULL,
    received_at       timestamptz NOT NULL,
    CONSTRAINT quarantined_messages_pkey PRIMARY KEY (org_id, event_id),
    CONSTRAINT quarantined_messages_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT quarantined_messages_type_safe CHECK (event_type ~ '^[A-Za-z0-9._-]{1,64}$'),
    -- 64 KiB in base64, with nonce, tag and the name of the key.
    CONSTRAINT quarantined_messages_sealed_bounded CHECK (char_length(sealed) <= 87500)
);
CREATE INDEX quarantined_messages_received_idx ON quarantined_messages (received_at);
COMMENT ON TABLE quarantined_messages IS
    'Quarantined messages: their type is unknown to the version that received them. A replay by a version that knows the '
    'type applies them. At most 1 000 per org; maintenance deletes them after 14 days.';
COMMENT ON COLUMN quarantined_messages.event_id IS 'SHA-256 of the body, in hexadecimal.';
COMMENT ON COLUMN quarantined_messages.event_type IS 'message.type, or unknown if it is not a short token.';
COMMENT ON COLUMN quarantined_messages.vapi_call_id IS 'NULL: the message names no call.';
COMMENT ON COLUMN quarantined_messages.number_tombstones IS 'Keyed hashes of the other party''s number, for erasures.';
COMMENT ON COLUMN quarantined_messages.key_version IS
    'The version of the org key that authenticated the message. NULL: the platform key.';
COMMENT ON COLUMN quarantined_messages.sealed IS
    'The body without configuration (ringfence_vapi::UnknownMessage), sealed (ringfence_identity::seal).';

CREATE TABLE unknown_fields (
    org_id       uuid        NOT NULL,
    hour         timestamptz NOT NULL,
    message_type text        COLLATE "C" NOT NULL,
    field        text        COLLATE "C" NOT NULL,
    messages     bigint      NOT NULL,
    CONSTRAINT unknown_fields_pkey PRIMARY KEY (org_id, hour, message_type, field),
    CONSTRAINT unknown_fields_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT unknown_fields_names_bounded CHECK (char_length(message_type) <= 64 AND char_length(field) <= 80)
);
CREATE INDEX unknown_fields_hour_idx ON unknown_fields (hour);
COMMENT ON TABLE unknown_fields IS
    'Field names of known message types that the running version does not know, and in how many messages each was found. '
    'Names only, never values. Maintenance deletes them after 14 days.';

CREATE TABLE reconciliations (
    org_id          uuid        NOT NULL,
    vapi_call_id    text        NOT NULL,
    state           text        NOT NULL DEFAULT 'open',
    attempts        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    code            text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    CONSTRAINT reconciliations_pkey PRIMARY KEY (org_id, vapi_call_id),
    CONSTRAINT reconciliations_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT reconciliations_state_known CHECK (state IN ('open', 'completed', 'unreachable')),
    CONSTRAINT reconciliations_finished_at CHECK ((finished_at IS NOT NULL) = (state <> 'open'))
);
CREATE INDEX reconciliations_due_idx ON reconciliations (next_attempt_at) WHERE state = 'open';
COMMENT ON TABLE reconciliations IS
    'Calls whose end-of-call report did not arrive, and the state of the requests for it to Vapi.';
COMMENT ON COLUMN reconciliations.state IS
    'open: Ringfence asks Vapi again. completed: the report was applied. unreachable: Vapi does not supply the report '
    '(code).';

-- tombstone is call:{id}, chat:{id of a chat or session} or number:{keyed hash}. Without the master key nobody can tell
-- which number a hash belongs to.
CREATE TABLE erasures (
    org_id     uuid        NOT NULL,
    tombstone  text        COLLATE "C" NOT NULL,
    cut_off    timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT erasures_pkey PRIMARY KEY (org_id, tombstone),
    CONSTRAINT erasures_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT erasures_tombstone_known CHECK (
        tombstone ~ '^(call|chat|number):' AND (tombstone LIKE 'number:%') = (cut_off IS NOT NULL))
);
COMMENT ON TABLE erasures IS 'Tombstones: what was erased. An event that matches a tombstone is not stored.';
COMMENT ON COLUMN erasures.cut_off IS 'For a number: the tombstone applies to calls that began before this time.';

CREATE TABLE orphaned_objects (
    org_id           uuid        NOT NULL,
    storage_key      text        NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    first_deleted_at timestamptz,
    CONSTRAINT orphaned_objects_pkey PRIMARY KEY (org_id, storage_key),
    CONSTRAINT orphaned_objects_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT orphaned_objects_storage_key_own CHECK (starts_with(storage_key, org_id::text || '/'))
);
COMMENT ON TABLE orphaned_objects IS
    'Objects of erased calls in the bucket. Maintenance deletes each at once, and again a day later, in case an '
    'upload was in progress.';

CREATE TABLE queue_states (
    queue     text        NOT NULL,
    waiting   bigint      NOT NULL,
    in_flight bigint      NOT NULL,
    seen_at   timestamptz NOT NULL,
    CONSTRAINT queue_states_pkey PRIMARY KEY (queue)
);
COMMENT ON TABLE queue_states IS 'The depth of each queue of the deployment when maintenance last read it.';

-- A redrive or replay outlives the invocation that starts it, so its progress is a row that any later invocation can go on from.
CREATE TABLE admin_operations (
    id           uuid        NOT NULL,
    kind         text        NOT NULL,
    org_id       uuid,
    actor        text        NOT NULL,
    parameters   jsonb       NOT NULL,
    cursor       jsonb,
    state        text        NOT NULL DEFAULT 'running',
    done         bigint      NOT NULL DEFAULT 0,
    failed       bigint      NOT NULL DEFAULT 0,
    remaining    bigint,
    lease_holder uuid        NOT NULL,
    lease_until  timestamptz NOT NULL,
    idle_leases  integer     NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    CONSTRAINT admin_operations_pkey PRIMARY KEY (id),
    CONSTRAINT admin_operations_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT admin_operations_kind_known CHECK (kind IN ('redrive', 'replay')),
    CONSTRAINT admin_operations_actor_length CHECK (char_length(actor) BETWEEN 1 AND 200),
    CONSTRAINT admin_operations_parameters_bounded CHECK (pg_column_size(parameters) <= 65536),
    CONSTRAINT admin_operations_state_known CHECK (state IN ('running', 'done', 'failed')),
    CONSTRAINT admin_operations_counts CHECK (done >= 0 AND failed >= 0 AND remaining >= 0),
    CONSTRAINT admin_operations_finished_at CHECK ((finished_at IS NOT NULL) = (state <> 'running'))
);
CREATE INDEX admin_operations_running_idx ON admin_operations (lease_until) WHERE state = 'running';
CREATE INDEX admin_operations_finished_idx ON admin_operations (finished_at) WHERE state <> 'running';
CREATE INDEX admin_operations_org_idx ON admin_operations (org_id, created_at);
COMMENT ON TABLE admin_operations IS 'Redrives and replays with their progress. Ids and numbers only, no personal data.';
COMMENT ON COLUMN admin_operations.id IS 'Chosen by the caller, so that a command that is delivered twice starts one operation.';
COMMENT ON COLUMN admin_operations.org_id IS 'The org of the selection. NULL: events of all orgs.';
COMMENT ON COLUMN admin_operations.parameters IS 'Selection and rate; of a redrive also the time before which dead letters are taken.';
COMMENT ON COLUMN admin_operations.cursor IS 'The last event that a replay has seen.';
COMMENT ON COLUMN admin_operations.remaining IS 'Selected events that are not processed yet. NULL: unknown.';
COMMENT ON COLUMN admin_operations.lease_holder IS 'The invocation that may change the row until lease_until.';
COMMENT ON COLUMN admin_operations.idle_leases IS
    'Leases since the operation last advanced. It is given up after 30, so that an operation that cannot advance ends.';

CREATE TABLE audit_log (
    id      bigint      GENERATED ALWAYS AS IDENTITY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text        NOT NULL,
    action  text        NOT NULL,
    org_id  uuid,
    subject text        NOT NULL,
    detail  jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT audit_log_pkey PRIMARY KEY (id),
    CONSTRAINT audit_log_actor_length CHECK (char_length(actor) BETWEEN 1 AND 200),
    CONSTRAINT audit_log_entry_bounded CHECK (
        char_length(action) <= 100 AND char_length(subject) <= 2000 AND pg_column_size(detail) <= 65536)
);
COMMENT ON COLUMN audit_log.org_id IS 'NULL: the action concerns no particular org.';
COMMENT ON TABLE audit_log IS
    'The audit log. Privileges and a trigger make it append-only. It holds ids and counts, and no personal data.';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'RF007', MESSAGE = format('%s is append-only', TG_TABLE_NAME);
END
$$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
