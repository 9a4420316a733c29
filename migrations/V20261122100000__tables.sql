-- The tables. org_id leads every key: rows of one org lie together, and a key that crosses tables carries its org.
-- Foreign keys point at keys of their own, not at the three indexes that the full rollback removes.

CREATE FUNCTION time_ordered_uuid() RETURNS uuid LANGUAGE sql PARALLEL SAFE AS $$
    -- Milliseconds since 1970 in the first 48 bits, and version 7 where a random one says 4.
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
$$;
COMMENT ON FUNCTION time_ordered_uuid IS
    'A uuid of version 7 (RFC 9562), for rows that are made with every call. New ones lie together at the end of an index; random ones '
    'touch, and after each checkpoint log, a page of their own each.';

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
COMMENT ON COLUMN organizations.recording_retention_days IS 'Recordings are removed so many days after they were stored. NULL: never.';
COMMENT ON COLUMN organizations.transcript_retention_days IS 'What was said in a call is removed so many days after it. NULL: never.';
COMMENT ON COLUMN organizations.transcripts_expired_before IS 'That has been done of all calls up to this one.';
COMMENT ON COLUMN organizations.event_retention_days IS
    'Idempotency claims, and with them the timeline and what can be replayed, are removed so many days after. At least as long as Vapi keeps calls (14 days).';
COMMENT ON COLUMN organizations.is_zero_retention IS 'Vapi keeps nothing of its calls, so it is not asked for any.';
COMMENT ON COLUMN organizations.reconciled_before IS 'All calls up to this one were looked at for their report.';
COMMENT ON COLUMN organizations.log_start IS
    'Events of transactions before this one may have been removed from processed_webhook_events: a viewer cannot resume from there.';

-- The keys themselves are derived from a master key and never stored; this says which versions count, and until when.
CREATE TABLE organization_keys (
    org_id      uuid        NOT NULL,
    version     integer     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    CONSTRAINT organization_keys_pkey PRIMARY KEY (org_id, version),
    CONSTRAINT organization_keys_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT organization_keys_version_positive CHECK (version > 0)
);
COMMENT ON COLUMN organization_keys.valid_until IS 'NULL: valid. An event received later than this with the key is refused.';

-- What fetches an org's recordings and calls from Vapi. It leaves the database encrypted and is read by who holds a master key.
CREATE TABLE vapi_credentials (
    org_id     uuid        NOT NULL,
    api_key    text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT vapi_credentials_pkey PRIMARY KEY (org_id),
    CONSTRAINT vapi_credentials_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id)
);
COMMENT ON COLUMN vapi_credentials.api_key IS 'The org''s private key at Vapi, sealed (ringfence_edge::seal). Never in the clear.';

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
    CONSTRAINT agents_phone_number_e164 CHECK (phone_number ~ '^\+[1-9][0-9]{6,14}$'),
    CONSTRAINT agents_names_something CHECK (
        num_nonnulls(vapi_assistant_id, vapi_squad_id, vapi_phone_number_id, phone_number) > 0)
);
-- find_agent asks for any of the four at once, and one without an index would make it read every agent.
CREATE INDEX agents_org_assistant_idx ON agents (org_id, vapi_assistant_id);
CREATE INDEX agents_org_squad_idx ON agents (org_id, vapi_squad_id);
CREATE INDEX agents_org_phone_number_id_idx ON agents (org_id, vapi_phone_number_id);
CREATE INDEX agents_org_phone_number_idx ON agents (org_id, phone_number);
CREATE UNIQUE INDEX agents_org_default_key ON agents (org_id) WHERE is_default;
COMMENT ON TABLE agents IS 'A Vapi assistant or squad and the number it answers or calls from.';
COMMENT ON COLUMN agents.is_default IS 'It answers the numbers of the org that no agent names.';
COMMENT ON COLUMN agents.configuration IS
    'What it answers Vapi with beyond its ids (ringfence_vapi::interactive::Configuration).';

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
    CONSTRAINT leads_metadata_object CHECK (jsonb_typeof(metadata) = 'object')
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
    transcript             text,
    recording_url          text,
    recording_storage_path text,
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
    CONSTRAINT call_logs_cost_not_negative CHECK (cost >= 0)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE call_logs IS 'The lasting record of a call. Every other row of a call is locked after its row here.';
COMMENT ON COLUMN call_logs.cost IS 'US dollars.';
COMMENT ON COLUMN call_logs.outcome IS 'The family of ended_reason.';
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
    answered         boolean     NOT NULL DEFAULT false,
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
COMMENT ON TABLE call_tracking IS 'A call while it lives. phone_number is the other party''s.';

-- One to one with call_logs and sharing its id.
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
    CONSTRAINT calls_recording_state_known CHECK (recording_state IN ('none', 'linked', 'stored', 'removed'))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE calls IS 'What lists and filters of calls need, narrow.';

CREATE TABLE call_transcripts (
    org_id         uuid        NOT NULL,
    vapi_call_id   text        NOT NULL,
    content_sha256 bytea       NOT NULL,
    call_log_id    uuid        NOT NULL,
    speaker        text        NOT NULL,
    text           text        NOT NULL,
    said_at        timestamptz,
    position       integer,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT call_transcripts_pkey PRIMARY KEY (org_id, vapi_call_id, content_sha256),
    CONSTRAINT call_transcripts_call_log_fkey FOREIGN KEY (org_id, call_log_id) REFERENCES call_logs (org_id, id)
);
COMMENT ON COLUMN call_transcripts.content_sha256 IS
    'Hash of role, time in whole ms (or position) and the whole text: a redelivery is the same row, a repetition is not.';
COMMENT ON COLUMN call_transcripts.position IS 'The text''s place in artifact.messages, when Vapi sent no time.';

-- The work leaves the database, so it has a state and a lease: a recording is fetched by whoever holds the lease, and stored
-- under a key of its own, so that whoever finishes leaves one object and the same row.
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
    CONSTRAINT recording_upload_queue_state_known CHECK (state IN ('pending', 'stored', 'dead', 'removed')),
    CONSTRAINT recording_upload_queue_stored_whole CHECK (
        (state = 'stored') = (num_nulls(storage_key, content_type, bytes, sha256, stored_at) = 0)),
    CONSTRAINT recording_upload_queue_lease_whole CHECK ((claimed_by IS NULL) = (lease_until IS NULL)),
    CONSTRAINT recording_upload_queue_link_while_needed CHECK (link IS NULL OR state IN ('pending', 'dead'))
);
CREATE INDEX recording_upload_queue_due_idx ON recording_upload_queue (next_attempt_at) WHERE state = 'pending';
CREATE INDEX recording_upload_queue_removed_idx ON recording_upload_queue (created_at) WHERE state = 'removed';
CREATE INDEX recording_upload_queue_stored_idx ON recording_upload_queue (org_id, stored_at) WHERE state = 'stored';
COMMENT ON TABLE recording_upload_queue IS 'Recordings of calls, one row per call and kind: to be fetched, kept, given up, or removed after their retention.';
COMMENT ON COLUMN recording_upload_queue.link IS 'Vapi''s presigned link, sealed (ringfence_edge::seal): who has it has the recording.';
COMMENT ON COLUMN recording_upload_queue.next_attempt_at IS
    'When somebody should have begun to fetch it. Long past: the message that asks for it was lost (take_due_recordings_v1).';
COMMENT ON COLUMN recording_upload_queue.code IS 'Why the latest attempt failed (docs/failure-codes).';

-- The claim of an event, the timeline of its call and the source of replay in one row. No foreign keys: one on the
-- hottest table costs a tenth of the throughput, and the claim's own statement has just read the org's key.
CREATE TABLE processed_webhook_events (
    seq          bigint      GENERATED ALWAYS AS IDENTITY,
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
-- The log in the order in which viewers read it (resume_viewer_v1).
CREATE INDEX processed_webhook_events_log_idx ON processed_webhook_events (org_id, xact, seq);
COMMENT ON TABLE processed_webhook_events IS
    'Idempotency claims: a row of a webhook exists if and only if the effects of its event do. And the log of the org, in which '
    'failures have their place too (operation-failed).';
COMMENT ON COLUMN processed_webhook_events.xact IS
    'The transaction that wrote it. seq alone does not order the log: a lower one may be committed after a higher one.';
COMMENT ON COLUMN processed_webhook_events.event_id IS
    'type:call:hash of the facts. Byte order ("C"), so that the events of one call and type are one range of the index.';
COMMENT ON COLUMN processed_webhook_events.event IS 'The typed event; never the raw body.';

-- A report of 100 KB or more costs the server more time to compress than to apply with the default method.
DO $$
BEGIN
    ALTER TABLE processed_webhook_events ALTER COLUMN event SET COMPRESSION lz4;
    ALTER TABLE call_logs ALTER COLUMN transcript SET COMPRESSION lz4, ALTER COLUMN summary SET COMPRESSION lz4,
        ALTER COLUMN structured_data SET COMPRESSION lz4, ALTER COLUMN structured_outputs SET COMPRESSION lz4,
        ALTER COLUMN metadata SET COMPRESSION lz4;
    ALTER TABLE call_tracking ALTER COLUMN metadata SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL; -- a server that was built without lz4 keeps its default
END
$$;

-- Every event that failed has one row here until it applies and after, so that a failure is seen, told and mended. No foreign
-- key but to the org: the event's call may not exist yet.
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
    CONSTRAINT failed_operations_event_until_resolved CHECK ((event IS NULL) = (state = 'resolved'))
);
CREATE INDEX failed_operations_resolved_idx ON failed_operations (resolved_at) WHERE state = 'resolved';
CREATE INDEX failed_operations_oldest_idx ON failed_operations (state, received_at) WHERE state <> 'resolved';
CREATE INDEX failed_operations_open_idx ON failed_operations (org_id, last_failed_at) WHERE state <> 'resolved';
COMMENT ON TABLE failed_operations IS 'Events that failed, one row each. Closed by the statement that applies the event.';
COMMENT ON COLUMN failed_operations.function IS 'The function on whose retry queue the event waits.';
COMMENT ON COLUMN failed_operations.state IS
    'retrying: in the retry queue; dead: in the dead-letter queue; redriven: sent back from there; resolved: applied.';
COMMENT ON COLUMN failed_operations.code IS 'The code of the latest failure (docs/failure-codes).';
COMMENT ON COLUMN failed_operations.receives IS
    'How often its message was received from the queue. Attempts made while the database was away are counted here only.';
COMMENT ON COLUMN failed_operations.key_version IS 'The version of the org''s key that it came with; NULL: the platform''s key.';
COMMENT ON COLUMN failed_operations.event IS
    'The typed event, until it is applied: from then on processed_webhook_events holds it under the same event_id.';

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
COMMENT ON TABLE failed_attempts IS 'Each failed attempt to apply an event that could be recorded, then or later.';
COMMENT ON COLUMN failed_attempts.function IS 'Who tried: webhook, while Vapi waited, or the event''s function behind its queue.';

-- What an org lets its calls do: HTTPS endpoints of its own.
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
    -- Plain HTTP on loopback only, for development: a deployed function refuses private addresses when it connects.
    CONSTRAINT tools_endpoint_https CHECK (
        char_length(endpoint) <= 2000 AND endpoint ~ '^(https://[^/@]+|http://(localhost|127\.0\.0\.1)(:[0-9]+)?)(/|$)'),
    CONSTRAINT tools_timeout_bounded CHECK (timeout_seconds BETWEEN 1 AND 15)
);
COMMENT ON TABLE tools IS 'Endpoints of an org: of tools that its models call, and of messages that it answers itself.';
COMMENT ON COLUMN tools.kind IS 'tool: name is that of a function; message: name is the type of a Vapi message.';
COMMENT ON COLUMN tools.is_idempotent IS
    'Whether the endpoint does the same once when it is asked twice with one idempotency key. Else a call whose fate is unknown '
    'is never sent again.';

-- The work leaves the database, so it has a lease and a state: a tool call is sent by whoever holds the lease, and its stored
-- result answers every delivery of it from then on.
CREATE TABLE tool_executions (
    org_id       uuid        NOT NULL,
    execution_id text        COLLATE "C" NOT NULL,
    tool         text        NOT NULL,
    state        text        NOT NULL DEFAULT 'running',
    attempt      integer     NOT NULL DEFAULT 1,
    claimed_by   uuid        NOT NULL,
    lease_until  timestamptz NOT NULL,
    result       jsonb,
    code         text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    CONSTRAINT tool_executions_pkey PRIMARY KEY (org_id, execution_id),
    CONSTRAINT tool_executions_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT tool_executions_state_known CHECK (state IN ('running', 'done')),
    CONSTRAINT tool_executions_result CHECK ((state = 'done') = (result IS NOT NULL)),
    CONSTRAINT tool_executions_finished_at CHECK ((state = 'done') = (finished_at IS NOT NULL))
);
CREATE INDEX tool_executions_running_idx ON tool_executions (org_id, lease_until) WHERE state = 'running';
CREATE INDEX tool_executions_finished_idx ON tool_executions (finished_at) WHERE state = 'done';
COMMENT ON TABLE tool_executions IS 'Tool calls, one row each however often Vapi delivers them.';
COMMENT ON COLUMN tool_executions.execution_id IS 'tool-calls:call:id of the tool call; also the idempotency key that its endpoint sees.';
COMMENT ON COLUMN tool_executions.claimed_by IS 'The request that holds the lease.';
COMMENT ON COLUMN tool_executions.result IS 'What the model was told: result or error, message and metadata.';
COMMENT ON COLUMN tool_executions.code IS 'Why it failed; NULL: it did not.';

CREATE TABLE live_connections (
    connection_id  text        NOT NULL,
    org_id         uuid        NOT NULL,
    state          text        NOT NULL DEFAULT 'pending',
    covered_before xid8        NOT NULL DEFAULT '0',
    expires_at     timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT live_connections_pkey PRIMARY KEY (connection_id),
    CONSTRAINT live_connections_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT live_connections_state_known CHECK (state IN ('pending', 'active'))
);
CREATE INDEX live_connections_org_idx ON live_connections (org_id, expires_at);
COMMENT ON TABLE live_connections IS 'WebSocket viewers of an org. Pushes go to active ones only.';
COMMENT ON COLUMN live_connections.state IS
    'pending until the client''s first message: before that API Gateway answers a push as if the connection were gone.';
COMMENT ON COLUMN live_connections.covered_before IS
    'The viewer has resumed from here, so it has every event of earlier transactions: none is pushed to it again.';

-- When a partial transcript of a call was last pushed. Unlogged, since after a crash the next one may pass at once.
CREATE UNLOGGED TABLE partial_gates (
    org_id       uuid        NOT NULL,
    vapi_call_id text        NOT NULL,
    passed_at    timestamptz NOT NULL,
    CONSTRAINT partial_gates_pkey PRIMARY KEY (org_id, vapi_call_id)
);
COMMENT ON TABLE partial_gates IS 'Lets four partial transcripts a second and call through to viewers (pass_partial_v1).';

-- What is counted by the hour (roll_up_v1).
CREATE TABLE rollup_cursors (
    org_id uuid   NOT NULL,
    xact   xid8   NOT NULL DEFAULT '0',
    seq    bigint NOT NULL DEFAULT 0,
    CONSTRAINT rollup_cursors_pkey PRIMARY KEY (org_id),
    CONSTRAINT rollup_cursors_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id)
);
COMMENT ON TABLE rollup_cursors IS 'How far the log of each org is counted: up to this event, included.';

CREATE TABLE event_rollups (
    org_id  uuid        NOT NULL,
    period  text        NOT NULL,
    measure text        NOT NULL,
    since   timestamptz NOT NULL,
    bucket  text        COLLATE "C" NOT NULL,
    events  bigint      NOT NULL,
    CONSTRAINT event_rollups_pkey PRIMARY KEY (org_id, period, measure, since, bucket),
    CONSTRAINT event_rollups_period_known CHECK (period IN ('hour', 'day')),
    CONSTRAINT event_rollups_measure_known CHECK (measure IN ('type', 'failure', 'delivery_ms', 'apply_ms'))
);
COMMENT ON TABLE event_rollups IS 'How many events of an org were received in an hour, and in a day (UTC).';
COMMENT ON COLUMN event_rollups.bucket IS 'Of type: the event''s type; of failure: its code; of milliseconds: rollup_bucket.';

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
    CONSTRAINT call_rollups_pkey PRIMARY KEY (org_id, agent_id, period, measure, since, is_connected, bucket),
    CONSTRAINT call_rollups_period_known CHECK (period IN ('hour', 'day')),
    CONSTRAINT call_rollups_measure_known CHECK (measure IN ('family', 'duration', 'cost'))
);
CREATE INDEX call_rollups_since_idx ON call_rollups (org_id, since);
COMMENT ON TABLE call_rollups IS 'How many calls an org first heard of in an hour, and in a day (UTC): what is asked of a month is read by the day.';
COMMENT ON COLUMN call_rollups.agent_id IS 'The nil UUID: of all agents together, and of none.';
COMMENT ON COLUMN call_rollups.bucket IS 'Of family: the family of the ended reason, open or unknown; of seconds and dollars: rollup_bucket.';
COMMENT ON COLUMN call_rollups.total IS 'All seconds, or all dollars.';

-- The directory behind the platform's URL: routing ids only, each registered by one org.
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
    'The org of each call that came over the platform''s URL, for 90 days. Written by platform events only: no org can pre-claim a call.';

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
COMMENT ON TABLE unresolved_events IS
    'Platform events whose org is unknown (RF5001) or named two ways (RF5002): applied when agent add registers what they name, '
    'or when another event of the call names its org. Given up after 90 days.';

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
COMMENT ON TABLE reconciliations IS 'Calls whose report never came, and what Vapi said when it was asked for it.';
COMMENT ON COLUMN reconciliations.state IS 'open: Vapi is asked again; completed: the report was applied; unreachable: it cannot be had (code).';

-- What was erased, and must not come back. A mark names nobody: a call's id, or a keyed hash of a number.
CREATE TABLE erasures (
    org_id     uuid        NOT NULL,
    mark       text        COLLATE "C" NOT NULL,
    cut_off    timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT erasures_pkey PRIMARY KEY (org_id, mark),
    CONSTRAINT erasures_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id),
    CONSTRAINT erasures_mark_known CHECK (mark ~ '^(call|number):' AND (mark LIKE 'number:%') = (cut_off IS NOT NULL))
);
COMMENT ON COLUMN erasures.cut_off IS 'Of a number: calls that began before it are erased.';

CREATE TABLE orphaned_objects (
    org_id      uuid        NOT NULL,
    storage_key text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    seen_to_at  timestamptz,
    CONSTRAINT orphaned_objects_pkey PRIMARY KEY (org_id, storage_key),
    CONSTRAINT orphaned_objects_org_fkey FOREIGN KEY (org_id) REFERENCES organizations (id)
);
COMMENT ON TABLE orphaned_objects IS 'Recordings of erased calls, until they are surely gone from the bucket.';

CREATE TABLE queue_states (
    queue     text        NOT NULL,
    waiting   bigint      NOT NULL,
    in_flight bigint      NOT NULL,
    seen_at   timestamptz NOT NULL,
    CONSTRAINT queue_states_pkey PRIMARY KEY (queue)
);
COMMENT ON TABLE queue_states IS 'How much waits in each queue of the deployment, as maintenance saw it last.';

CREATE TABLE audit_log (
    id      bigint      GENERATED ALWAYS AS IDENTITY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text        NOT NULL,
    action  text        NOT NULL,
    org_id  uuid,
    subject text        NOT NULL,
    detail  jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT audit_log_pkey PRIMARY KEY (id),
    CONSTRAINT audit_log_actor_length CHECK (char_length(actor) BETWEEN 1 AND 200)
);
COMMENT ON COLUMN audit_log.org_id IS 'NULL: of no org in particular.';
COMMENT ON TABLE audit_log IS 'Who did what. Append-only, by privilege and by trigger; ids only, no personal data.';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'RF007', MESSAGE = format('%s is append-only', TG_TABLE_NAME);
END
$$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
