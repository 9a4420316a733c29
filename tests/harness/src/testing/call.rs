//! Messages of one call in the shape that Vapi posts. They are small, and the test chooses every value.

use jiff::Timestamp;
use ringfence_protocol::{Credential, Delivery};
use ringfence_vapi::{Message, OrgId, parse};
use serde_json::{Value, json};

/// A call whose messages a test posts. All values are invented.
#[derive(Clone, Debug)]
pub struct Call {
    /// Vapi's id of the call.
    pub id: String,
    /// Number of the other party.
    pub customer: Option<String>,
    /// Vapi's id of the assistant.
    pub assistant: Option<String>,
    /// Vapi's id of the org's number.
    pub phone_number_id: Option<String>,
    /// The org's number.
    pub phone_number: Option<String>,
    /// `assistantOverrides.metadata`.
    pub metadata: Value,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            customer: Some("+15555550142".to_owned()),
            assistant: Some("4dac6abb-472a-4a1d-8f6c-c2ed74e2cf44".to_owned()),
            phone_number_id: None,
            phone_number: Some("+15555550100".to_owned()),
            metadata: Value::Null,
        }
    }
}

/// Begin of the tests' calls in epoch milliseconds: 2026-09-14T15:02:11.480Z.
pub const BEGINNING_MS: i64 = 1_789_398_131_480;

impl Call {
    /// A message of this call, `at_ms` milliseconds after its beginning, with the fields of `extra`.
    #[must_use]
    pub fn message(&self, message_type: &str, at_ms: i64, extra: Value) -> Value {
        let mut message = json!({
            "type": message_type,
            "timestamp": BEGINNING_MS + at_ms,
            "call": {
                "id": self.id, "type": "inboundPhoneCall", "createdAt": "2026-09-14T15:02:11.480Z",
                "assistantId": self.assistant, "phoneNumberId": self.phone_number_id,
                "assistantOverrides": {"metadata": self.metadata},
            },
            "customer": {"number": self.customer},
            "phoneNumber": {"id": self.phone_number_id, "number": self.phone_number},
        });
        let fields = message.as_object_mut().expect("an object");
        if let Value::Object(extra) = extra {
            fields.extend(extra);
        }
        json!({"message": message})
    }

    /// `status-update`.
    #[must_use]
    pub fn status(&self, status: &str, at_ms: i64) -> Value {
        let reason = (status == "ended").then_some("customer-ended-call");
        self.message("status-update", at_ms, json!({"status": status, "endedReason": reason}))
    }

    /// A final `transcript` of the user.
    #[must_use]
    pub fn transcript(&self, text: &str, at_ms: i64) -> Value {
        self.message("transcript", at_ms, json!({"role": "user", "transcriptType": "final", "transcript": text}))
    }

    /// `end-of-call-report` of a call from 4 s to 21.3 s, with the fields of `extra`.
    #[must_use]
    pub fn report(&self, at_ms: i64, extra: Value) -> Value {
        let mut fields = json!({
            "endedReason": "customer-ended-call", "cost": 0.037, "durationSeconds": 17.3,
            "startedAt": "2026-09-14T15:02:15.480Z", "endedAt": "2026-09-14T15:02:32.780Z",
            "analysis": {"summary": "Wants a visit.", "successEvaluation": "true"},
            "artifact": {
                "transcript": "AI: How can I help?\nUser: A visit, please.",
                "recordingUrl": "https://storage.example/recording.wav?token=changes",
                "presignedMonoUrl": "https://storage.example/signed",
            },
        });
        if let (Value::Object(fields), Value::Object(extra)) = (&mut fields, extra) {
            fields.extend(extra);
        }
        self.message("end-of-call-report", at_ms, fields)
    }
}

/// A body as a delivery for its org, as the webhook function creates it with version 1 of the org's key.
#[must_use]
pub fn delivery(org_id: OrgId, body: &Value) -> Delivery {
    delivery_with(Credential::Org { org_id, key_version: 1 }, body)
}

/// A body as a delivery with any credential.
#[must_use]
pub fn delivery_with(credential: Credential, body: &Value) -> Delivery {
    let received_at = Timestamp::now();
    let parsed = parse(body.to_string().as_bytes(), received_at).expect("a usable body");
    let Message::Stored(stored) = parsed.message else { panic!("not a stored event: {}", parsed.message_type) };
    Delivery::new(credential, stored, received_at)
}
