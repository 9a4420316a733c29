//! D8: recordings are fetched before their links expire, stored, and played back.

mod fetching;
mod keeping;
mod playing;
mod queueing;
mod refusing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::SqsEvent;
use jiff::{SignedDuration, Timestamp};
use maintenance::{Maintenance, Reconciler};
use recording_upload::{Hosts, Source, Uploader};
use ringfence_core::{Database, Failure};
use ringfence_egress::{EgressClient, EgressPolicy, VapiApi};
use ringfence_harness::testing::fake_vapi::Reply;
use ringfence_harness::testing::webhook::keys;
use ringfence_harness::testing::{Call, FakeVapi, TestDatabase, TestQueues, TestWebhook};
use ringfence_protocol::Recording;
use ringfence_protocol::maintenance::{Job, JobRequest, Report};
use ringfence_runtime::parking::Parking;
use ringfence_runtime::{Backoff, Consumer, FunctionQueues};
use ringfence_vapi::{Function, OrgId, RecordingKind};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio_postgres::Client;

/// Longer than any operation in these tests.
const TIMEOUT: Duration = Duration::from_mins(5);

/// A database with one org, real queues, a real bucket, and a fake of Vapi's storage.
pub(crate) struct Stage {
    pub(crate) database: TestDatabase,
    pub(crate) queues: TestQueues,
    pub(crate) vapi: FakeVapi,
    pub(crate) org: OrgId,
    superuser: Client,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::new().await;
        let (org, superuser) = (database.org("Acme").await, database.superuser().await);
        let (queues, vapi) = (TestQueues::with_bucket().await, FakeVapi::start().await);
        Self { database, queues, vapi, org, superuser }
    }

    /// A consumer that fetches recordings from this machine.
    pub(crate) fn uploader(&self) -> Consumer<Uploader> {
        self.uploader_with(self.database.app(), EgressPolicy::Anywhere, "127.0.0.1,localhost")
    }

    /// Like [`Self::uploader`], with this database, egress policy `reach` and these hosts.
    fn uploader_with(&self, database: Arc<Database>, reach: EgressPolicy, hosts: &str) -> Consumer<Uploader> {
        let hosts = Hosts::from_setting(Some(hosts)).unwrap();
        let source = Source::new(EgressClient::new(reach), &keys(), hosts, &self.vapi.url).unwrap();
        let worker = Uploader {
            source,
            bucket: self.queues.bucket(),
            backoff: Backoff::default(),
            pusher: self.queues.pusher(Arc::clone(&database)),
            database,
        };
        self.queues.recording_consumer(worker)
    }

    pub(crate) fn webhook(&self) -> TestWebhook {
        TestWebhook::new(self.database.app(), &self.queues)
    }

    /// Posts the report of a call with a mono recording at `link`, which is valid for `lifetime`.
    async fn report(&self, call: &Call, link: &str, lifetime: SignedDuration) {
        let body = call.report(
            60_000,
            artifact(&json!({
                "recordingUrl": "https://storage.example/recording.wav",
                "presignedMonoUrl": format!("{link}?X-Amz-Signature=secret"),
                "presignedUrlsExpiresAt": Timestamp::now() + lifetime,
            })),
        );
        assert_eq!(self.webhook().post(self.org, &body).await.status, 200);
    }

    /// Posts the report of a call with this recording and fetches it. Returns the number of failed messages.
    pub(crate) async fn record(&self, call: &Call, file: &[u8]) -> usize {
        let link = self.vapi.put(&format!("/{}.wav", call.id), Reply::File(file.to_vec()));
        self.report(call, &link, SignedDuration::from_mins(30)).await;
        self.fetch().await
    }

    /// Runs the function on the waiting message. Returns the number of failed messages.
    pub(crate) async fn fetch(&self) -> usize {
        fetch_with(&self.uploader(), self.queues.take_recording().await).await
    }

    /// Runner of maintenance jobs.
    fn maintenance(&self) -> Maintenance {
        Maintenance {
            database: self.database.app(),
            recordings: self.queues.recording_queue(),
            bucket: self.queues.bucket(),
            queues: FunctionQueues::all_named(&self.queues.environment(), self.queues.client()).unwrap(),
            reconciler: Reconciler {
                api: VapiApi::new(EgressClient::new(EgressPolicy::Anywhere), &self.vapi.url),
                api_keys: keys().api_key_sealer().unwrap(),
                sealer: keys().delivery_sealer().unwrap(),
                reports: self.queues.queues_of(Function::EndOfCallReport).retries,
                parking: Parking::from_environment(&self.queues.environment(), self.queues.s3()).unwrap(),
            },
        }
    }

    pub(crate) async fn maintain(&self, job: Job, dry_run: bool) -> Report {
        self.try_maintain(job, dry_run).await.unwrap()
    }

    pub(crate) async fn try_maintain(&self, job: Job, dry_run: bool) -> Result<Report, Failure> {
        Box::pin(self.maintenance().run(JobRequest { job, dry_run }, Instant::now() + TIMEOUT)).await
    }

    /// Rows of a call's recordings, by kind.
    async fn rows(&self, call: &Call) -> Vec<Value> {
        let query = "SELECT to_jsonb(q) FROM recording_upload_queue q WHERE vapi_call_id = $1 ORDER BY kind";
        let rows = self.superuser.query(query, &[&call.id]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The only row of a call.
    async fn row(&self, call: &Call) -> Value {
        let mut rows = self.rows(call).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    pub(crate) async fn execute(&self, statement: &str) {
        self.superuser.batch_execute(statement).await.unwrap();
    }

    pub(crate) async fn text(&self, query: &str) -> String {
        self.superuser.query_one(query, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// State and path of a call's recording, in `calls` and in `call_logs`.
    async fn shown(&self, call: &Call) -> (String, Option<String>, Option<String>) {
        let query = "SELECT c.recording_state, c.recording_path, l.recording_storage_path
            FROM calls c JOIN call_logs l USING (id) WHERE c.vapi_call_id = $1";
        let row = self.superuser.query_one(query, &[&call.id]).await.unwrap();
        (row.get(0), row.get(1), row.get(2))
    }

    /// Content and content type of an object.
    async fn object(&self, key: &str) -> (Vec<u8>, String) {
        let bucket = self.queues.bucket();
        let object = bucket.client.get_object().bucket(&bucket.name).key(key).send().await.unwrap();
        let content_type = object.content_type.clone().unwrap();
        (object.body.collect().await.unwrap().to_vec(), content_type)
    }

    pub(crate) fn recording(&self, call: &Call, kind: RecordingKind) -> Recording {
        Recording { org_id: self.org, call_id: call.id.parse().unwrap(), kind }
    }
}

/// Runs a function on a batch. Returns the number of failed messages.
pub(crate) async fn fetch_with(uploader: &Consumer<Uploader>, batch: SqsEvent) -> usize {
    assert_eq!(batch.records.len(), 1, "a message waits");
    let response = Box::pin(uploader.consume(batch, Instant::now() + TIMEOUT)).await;
    response.batch_item_failures.len()
}

fn artifact(artifact: &Value) -> Value {
    json!({ "artifact": artifact })
}

/// A file with the header of a recording.
pub(crate) fn wav(bytes: usize) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    file.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(bytes - file.len()));
    file
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn half_an_hour() -> SignedDuration {
    SignedDuration::from_mins(30)
}
