//! Real queues for one test.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_lambda_events::sqs::{SqsEvent, SqsMessage, SqsMessageAttribute};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};
use ringfence_aws::queue::FAILURE_CODE_ATTRIBUTE;
use ringfence_aws::{Bucket, Connections};
use ringfence_core::Database;
use ringfence_runtime::envelope::{self, Opened};
use ringfence_runtime::events::EventWorker;
use ringfence_runtime::queues::BROADCAST_RETRY;
use ringfence_runtime::recordings::RECORDING_UPLOAD;
use ringfence_runtime::{
    Backoff, Consumer, Environment, FunctionQueues, Handover, Parking, Pipeline, Pusher, RecordingQueue, RetryQueues,
};
use ringfence_vapi::Function;
use strum::IntoEnumIterator as _;
use uuid::Uuid;

use super::setting;

/// Retry queue and dead-letter queue of each event function, and the bucket of parked events.
pub struct TestQueues {
    client: Client,
    aws: SdkConfig,
    /// Endpoint at which the event functions are invoked.
    functions: Option<String>,
    /// Endpoint of viewers' connections.
    connections: Option<String>,
    /// URL of every queue up to the name of its function.
    url_prefix: String,
    /// Bucket of parked events. The name of the bucket of recordings begins with it.
    bucket: String,
}

/// Names of all queues, without their prefix.
fn queue_names() -> impl Iterator<Item = String> {
    let functions = Function::iter().map(Function::as_str).chain([BROADCAST_RETRY, RECORDING_UPLOAD]);
    functions.flat_map(|function| [function.to_owned(), format!("{function}-dlq")])
}

impl TestQueues {
    /// Creates the queues.
    pub async fn new() -> Self {
        let aws = configuration(&setting("RINGFENCE_TEST_SQS_ENDPOINT")).await;
        let client = Client::new(&aws);
        let prefix = Uuid::new_v4().simple().to_string();
        let mut url_prefix = None;
        for name in queue_names() {
            let queue = client.create_queue().queue_name(format!("{prefix}-{name}"));
            let queue = queue.attributes(QueueAttributeName::VisibilityTimeout, "180");
            let url = queue.send().await.expect("a queue").queue_url.expect("a URL");
            url_prefix = url.strip_suffix(&name).map(str::to_owned);
        }
        let url_prefix = url_prefix.expect("a URL that ends with the queue's name");
        Self { client, aws, functions: None, connections: None, url_prefix, bucket: prefix }
    }

    /// Queues with functions that are invoked at an endpoint, and with the bucket of parked events.
    pub async fn with_functions(endpoint: &str) -> Self {
        let queues = Self { functions: Some(endpoint.to_owned()), ..Self::new().await };
        queues.s3().create_bucket().bucket(&queues.bucket).send().await.expect("a bucket");
        queues
    }

    /// Queues with viewers' connections at an endpoint.
    pub async fn with_connections(endpoint: &str) -> Self {
        Self { connections: Some(endpoint.to_owned()), ..Self::new().await }
    }

    /// Pusher to viewers.
    #[must_use]
    pub fn pusher(&self, database: Arc<Database>) -> Pusher {
        Pusher::from_environment(&self.environment(), database, self.connections(), &self.client).expect("a queue")
    }

    /// Viewers' connections.
    #[must_use]
    pub fn connections(&self) -> Connections {
        Connections::new(&self.aws, self.connections.as_deref().unwrap_or("http://127.0.0.1:1"))
    }

    /// Consumer of the queue of recordings, with a worker that the test provides.
    #[must_use]
    pub fn recording_consumer<W>(&self, worker: W) -> Consumer<W> {
        Consumer { worker, queues: self.of_recordings(), backoff: Backoff::default() }
    }

    /// Consumer of the queue of broadcasts.
    #[must_use]
    pub fn broadcast_consumer<W>(&self, worker: W) -> Consumer<W> {
        Consumer { worker, queues: self.of_broadcasts(), backoff: Backoff::default() }
    }

    /// Queues of broadcasts.
    #[must_use]
    pub fn of_broadcasts(&self) -> FunctionQueues {
        FunctionQueues::of_broadcasts(&self.environment(), &self.client).expect("its queues")
    }

    /// Receives the messages on the queue of broadcasts as Lambda passes them to the function.
    pub async fn take_broadcasts(&self) -> SqsEvent {
        let messages = self.receive(&self.url(BROADCAST_RETRY)).await;
        let mut event = SqsEvent::default();
        event.records = messages.into_iter().map(as_lambda_message).collect();
        event
    }

    /// Sends a text to the queue of broadcasts.
    pub async fn put_broadcast(&self, text: &str) {
        let send = self.client.send_message().queue_url(self.url(BROADCAST_RETRY)).message_body(text);
        send.send().await.expect("sent");
    }

    /// Deletes messages that were received from the queue of broadcasts, as Lambda does.
    pub async fn delete_broadcasts(&self, receipt_handles: &[String]) {
        for handle in receipt_handles {
            let delete = self.client.delete_message().queue_url(self.url(BROADCAST_RETRY));
            delete.receipt_handle(handle).send().await.expect("deleted");
        }
    }

    /// Number of broadcasts on the dead-letter queue.
    pub async fn dead_broadcasts(&self) -> usize {
        self.receive(&self.dead_letters_url(BROADCAST_RETRY)).await.len()
    }

    /// Queues with the buckets of recordings and of parked events.
    pub async fn with_bucket() -> Self {
        let queues = Self::new().await;
        for name in queues.buckets() {
            queues.s3().create_bucket().bucket(name).send().await.expect("a bucket");
        }
        queues
    }

    /// The text of each message on each queue, and of each object in each bucket, with the queue's or bucket's name. The
    /// text of an event is its JSON, also if it is compressed. The messages stay where they are.
    pub async fn contents(&self) -> Vec<(String, String)> {
        let mut contents = Vec::new();
        for name in queue_names() {
            let url = self.url(&name);
            let mut held = Vec::new();
            loop {
                let messages = self.receive(&url).await;
                if messages.is_empty() {
                    break;
                }
                held.extend(messages);
            }
            for message in held {
                let handle = message.receipt_handle.unwrap_or_default();
                let release = self.client.change_message_visibility().queue_url(&url).receipt_handle(handle);
                release.visibility_timeout(0).send().await.expect("released");
                contents.push((name.clone(), as_json(message.body.unwrap_or_default())));
            }
        }
        let [recordings, parked] = self.buckets();
        for (name, bucket) in [("bucket of recordings", recordings), ("bucket of parked events", parked)] {
            let objects = self.s3().list_objects_v2().bucket(&bucket).send().await.expect("a list");
            for key in objects.contents().iter().filter_map(|object| object.key()) {
                let object = self.s3().get_object().bucket(&bucket).key(key).send().await.expect("an object");
                let bytes = object.body.collect().await.expect("bytes").into_bytes();
                let text = as_json(String::from_utf8_lossy(&bytes).into_owned());
                contents.push((name.to_owned(), format!("{key} {text}")));
            }
        }
        contents
    }

    /// Bucket of recordings.
    #[must_use]
    pub fn bucket(&self) -> Bucket {
        Bucket::new(self.s3(), self.recordings_bucket())
    }

    /// Sender of requests to fetch recordings.
    #[must_use]
    pub fn recording_queue(&self) -> RecordingQueue {
        RecordingQueue::from_environment(&self.environment(), &self.client).expect("a queue")
    }

    /// Queues of recordings.
    #[must_use]
    pub fn of_recordings(&self) -> FunctionQueues {
        FunctionQueues::of_recordings(&self.environment(), &self.client).expect("its queues")
    }

    /// Receives a message from the queue of recordings as Lambda passes it to the function.
    pub async fn take_recording(&self) -> SqsEvent {
        let messages = self.receive_some(&self.url(RECORDING_UPLOAD), 1).await;
        let mut event = SqsEvent::default();
        event.records = messages.into_iter().map(as_lambda_message).collect();
        event
    }

    /// Sends a text to the queue of recordings.
    pub async fn put_recording(&self, text: &str) {
        let send = self.client.send_message().queue_url(self.url(RECORDING_UPLOAD)).message_body(text);
        send.send().await.expect("sent");
    }

    /// Failure codes of the recordings on the dead-letter queue.
    pub async fn dead_recordings(&self) -> Vec<String> {
        self.codes_in(&self.dead_letters_url(RECORDING_UPLOAD)).await
    }

    /// Keys of the stored recordings.
    pub async fn stored(&self) -> Vec<String> {
        let objects = self.s3().list_objects_v2().bucket(self.recordings_bucket()).send().await.expect("a list");
        objects.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect()
    }

    /// Keys of the parked events.
    pub async fn parked(&self) -> Vec<String> {
        let objects = self.s3().list_objects_v2().bucket(&self.bucket).send().await.expect("a list");
        objects.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect()
    }

    /// Queues at an address where no server listens: SQS is unavailable.
    pub async fn unavailable() -> Self {
        let mut queues = Self::new().await;
        queues.client = Client::new(&configuration("http://127.0.0.1:1").await);
        queues
    }

    /// Configuration of a client with another endpoint.
    #[must_use]
    pub fn aws_at(&self, endpoint: &str) -> SdkConfig {
        self.aws.clone().into_builder().endpoint_url(endpoint).build()
    }

    /// The queues as the webhook function uses them.
    #[must_use]
    pub fn retry_queues(&self) -> RetryQueues {
        let aws = self.aws_at(self.functions.as_deref().unwrap_or("http://127.0.0.1:1"));
        let handover = Handover::from_environment(&self.environment(), &aws);
        RetryQueues::from_environment(&self.environment(), &self.client, handover).expect("all queues")
    }

    /// Event pipeline over `database`.
    #[must_use]
    pub fn pipeline(&self, database: Arc<Database>) -> Pipeline {
        Pipeline {
            pusher: self.pusher(Arc::clone(&database)),
            recordings: Some(self.recording_queue()),
            store: database,
        }
    }

    /// Consumer of a function's retry queue.
    #[must_use]
    pub fn consumer(&self, function: Function, database: Arc<Database>) -> Consumer<EventWorker> {
        self.consumer_of(function, Arc::clone(&database), database)
    }

    /// Like [`Self::consumer`], with another store for events. The pusher uses `database`.
    #[must_use]
    pub fn consumer_of<S>(&self, function: Function, store: S, database: Arc<Database>) -> Consumer<EventWorker<S>> {
        let pipeline = Pipeline { store, pusher: self.pusher(database), recordings: Some(self.recording_queue()) };
        let worker = EventWorker {
            function,
            pipeline,
            parking: Parking::from_environment(&self.environment(), self.s3()).expect("a bucket"),
            backoff: Backoff::default(),
        };
        Consumer { worker, queues: self.queues_of(function), backoff: Backoff::default() }
    }

    /// Sends a text to a function's retry queue.
    pub async fn put(&self, function: Function, text: &str) {
        let url = self.url(function.as_str());
        self.client.send_message().queue_url(url).message_body(text).send().await.expect("sent");
    }

    /// Receives the messages on a function's retry queue as Lambda passes them to the function.
    pub async fn take(&self, function: Function) -> SqsEvent {
        let messages = self.receive(&self.url(function.as_str())).await;
        let mut event = SqsEvent::default();
        event.records = messages.into_iter().map(as_lambda_message).collect();
        event
    }

    /// Failure code of each message of a batch.
    #[must_use]
    pub fn failure_codes(batch: &SqsEvent) -> Vec<String> {
        let code = |record: &SqsMessage| record.message_attributes.get(FAILURE_CODE_ATTRIBUTE)?.string_value.clone();
        batch.records.iter().map(|record| code(record).unwrap_or_default()).collect()
    }

    /// Failure codes of the messages on a function's dead-letter queue.
    pub async fn dead_letters(&self, function: Function) -> Vec<String> {
        self.codes_in(&self.dead_letters_url(function.as_str())).await
    }

    async fn codes_in(&self, url: &str) -> Vec<String> {
        let messages = self.receive(url).await;
        let code = |message: &aws_sdk_sqs::types::Message| {
            let attributes = message.message_attributes.as_ref()?;
            attributes.get(FAILURE_CODE_ATTRIBUTE)?.string_value.clone()
        };
        messages.iter().map(|message| code(message).unwrap_or_default()).collect()
    }

    /// Queues of a function.
    #[must_use]
    pub fn queues_of(&self, function: Function) -> FunctionQueues {
        let environment = self.environment();
        FunctionQueues::from_environment(&environment, &self.client, function).expect("its queues")
    }

    /// Client of the queues.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Client of the bucket.
    #[must_use]
    pub fn s3(&self) -> aws_sdk_s3::Client {
        aws_sdk_s3::Client::new(&self.aws)
    }

    /// Variables with the addresses of the queues, the bucket and the functions.
    #[must_use]
    pub fn environment(&self) -> Environment<'_> {
        Environment::from_fn(|name| match name {
            "QUEUE_URL_PREFIX" => Some(self.url_prefix.clone()),
            "PARKING_BUCKET" => Some(self.bucket.clone()),
            "RECORDINGS_BUCKET" => Some(self.recordings_bucket()),
            _ => None,
        })
    }

    fn buckets(&self) -> [String; 2] {
        [self.recordings_bucket(), self.bucket.clone()]
    }

    fn recordings_bucket(&self) -> String {
        format!("{}-recordings", self.bucket)
    }

    fn url(&self, function: &str) -> String {
        format!("{}{function}", self.url_prefix)
    }

    fn dead_letters_url(&self, function: &str) -> String {
        self.url(&format!("{function}-dlq"))
    }

    async fn receive(&self, url: &str) -> Vec<aws_sdk_sqs::types::Message> {
        self.receive_some(url, 10).await
    }

    async fn receive_some(&self, url: &str, count: i32) -> Vec<aws_sdk_sqs::types::Message> {
        let request =
            self.client.receive_message().queue_url(url).max_number_of_messages(count).message_attribute_names("All");
        let request = request.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        request.send().await.expect("messages").messages.unwrap_or_default()
    }
}

/// The event in a message or object as JSON, else the text itself.
fn as_json(text: String) -> String {
    match envelope::open(&text) {
        Ok(Opened::Event(delivery)) => serde_json::to_string(&delivery).expect("JSON"),
        Ok(Opened::Parked(_)) | Err(_) => text,
    }
}

/// With the local cloud's own credentials, because it verifies presigned URLs.
async fn configuration(endpoint: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .load()
        .await
}

fn as_lambda_message(message: aws_sdk_sqs::types::Message) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = message.message_id;
    record.receipt_handle = message.receipt_handle;
    record.body = message.body;
    record.event_source = Some("aws:sqs".to_owned());
    let attributes = message.attributes.unwrap_or_default();
    record.attributes = attributes.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect();
    let attributes = message.message_attributes.unwrap_or_default();
    record.message_attributes =
        attributes.into_iter().map(|(name, value)| (name, as_lambda_attribute(value))).collect();
    record
}

fn as_lambda_attribute(value: MessageAttributeValue) -> SqsMessageAttribute {
    let mut attribute = SqsMessageAttribute::default();
    attribute.string_value = value.string_value;
    attribute.data_type = Some(value.data_type);
    attribute
}
