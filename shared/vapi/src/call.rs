//! The facts about a call that any message can have.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fingerprint::Fingerprint;
use crate::ids::VapiCallId;
use crate::json::Limits;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// Limits for metadata. The customer defines it, and it is copied to every row of the call, so the limits are low.
const METADATA: Limits = Limits { bytes: 16 * 1024, depth: 32 };

/// The facts about a call that its messages repeat.
///
/// Vapi's embedded `Call` is a snapshot from the creation of the call and becomes outdated, so the message's own
/// fields have precedence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallFacts {
    /// `Call.id`.
    pub id: VapiCallId,
    /// `Call.type`: `inboundPhoneCall`, `outboundPhoneCall`, `webCall`, `vapi.websocketCall`, or one that Vapi adds.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub call_type: Option<String>,
    /// The direction, if the type determines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// `Call.createdAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// `Call.assistantId`, or the id of the message's assistant. Absent for a transient assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assistant_id: Option<String>,
    /// `Call.squadId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub squad_id: Option<String>,
    /// Vapi's id of the org's phone number. Absent for web calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_number_id: Option<String>,
    /// The org's phone number, in E.164 if possible. A number of Vapi's SIP kind has a SIP URI instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub our_number: Option<Sensitive<String>>,
    /// The number of the other party, for both directions (`CreateCustomerDTO`). In E.164 if possible, else Vapi's
    /// text, such as a SIP URI. Absent if the caller withheld it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_number: Option<Sensitive<String>>,
    /// `CreateCustomerDTO.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_name: Option<Sensitive<String>>,
    /// `CreateCustomerDTO.externalId`: the customer's id in the org's own system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_external_id: Option<Sensitive<String>>,
    /// `Call.campaignId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign_id: Option<String>,
    /// The keyed hashes of the identifiers of `customer_number`, as in its tombstones. They are computed by the function
    /// that holds the keys and are not facts of Vapi.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub number_tombstones: Vec<String>,
    /// Whether `assistantOverrides.metadata.is_test_call` is true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_test: bool,
    /// `Call.assistantOverrides.metadata`, or the undeclared `Call.metadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Sensitive<Map<String, Value>>>,
}

/// The direction of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The customer called the org.
    Inbound,
    /// The org called the customer.
    Outbound,
    /// The call came from a browser, an app or a WebSocket.
    Web,
}

impl Direction {
    fn of_call_type(call_type: &str) -> Option<Self> {
        match call_type {
            "inboundPhoneCall" => Some(Self::Inbound),
            "outboundPhoneCall" => Some(Self::Outbound),
            "webCall" | "vapi.websocketCall" => Some(Self::Web),
            _ => None,
        }
    }
}

impl CallFacts {
    /// Reads the facts from a message. `None` if it has no valid call id.
    pub(crate) fn read(message: &Object<'_>) -> Option<Self> {
        Self::read_with(message, |call| call.parsed("call.id"))
    }

    /// The same, with the id that `id` reads from the call.
    pub(crate) fn read_with(message: &Object<'_>, id: impl Fn(&Object<'_>) -> Option<VapiCallId>) -> Option<Self> {
        let call = message.object("call");
        let overrides = call.object("call.assistantOverrides");
        let call_type = call.token("call.type");
        Some(Self {
            id: id(&call)?,
            direction: call_type.as_deref().and_then(Direction::of_call_type),
            call_type,
            created_at: call.time("call.createdAt"),
            assistant_id: assistant_id(message, &call),
            squad_id: call.id("call.squadId"),
            phone_number_id: phone_number_id(message, &call),
            our_number: our_number(message, &call),
            customer_number: customer_number(message, &call),
            customer_name: customer_text(message, &call, ["customer.name", "call.customer.name"]),
            customer_external_id: customer_text(message, &call, ["customer.externalId", "call.customer.externalId"]),
            campaign_id: call.id("call.campaignId").or_else(|| message.id("campaignId")),
            number_tombstones: Vec::new(),
            is_test: is_test(&overrides),
            metadata: metadata(&overrides, &call),
        })
    }

    /// Feeds all facts to an event key.
    pub(crate) fn feed(&self, fingerprint: &mut Fingerprint) {
        // Destructured completely, so that the compiler reports a fact that is added later and missing here.
        let Self {
            id,
            call_type,
            direction: _, // derived from the type
            created_at,
            assistant_id,
            squad_id,
            phone_number_id,
            our_number,
            customer_number,
            customer_name,
            customer_external_id,
            campaign_id,
            number_tombstones: _, // derived from the number
            is_test,
            metadata,
        } = self;
        fingerprint
            .text("call.id", Some(id.as_str()))
            .text("call.type", call_type.as_deref())
            .time("call.created_at", *created_at)
            .text("call.assistant_id", assistant_id.as_deref())
            .text("call.squad_id", squad_id.as_deref())
            .text("call.phone_number_id", phone_number_id.as_deref())
            .secret_text("call.our_number", our_number.as_ref())
            .secret_text("call.customer_number", customer_number.as_ref())
            .secret_text("call.customer_name", customer_name.as_ref())
            .secret_text("call.customer_external_id", customer_external_id.as_ref())
            .text("call.campaign_id", campaign_id.as_deref())
            .flag("call.is_test", Some(*is_test))
            .map("call.metadata", metadata.as_ref().map(Sensitive::expose));
    }
}

pub(crate) fn assistant_id(message: &Object<'_>, call: &Object<'_>) -> Option<String> {
    call.id("call.assistantId").or_else(|| message.object("assistant").id("assistant.id"))
}

pub(crate) fn phone_number_id(message: &Object<'_>, call: &Object<'_>) -> Option<String> {
    message.object("phoneNumber").id("phoneNumber.id").or_else(|| call.id("call.phoneNumberId"))
}

pub(crate) fn our_number(message: &Object<'_>, call: &Object<'_>) -> Option<Sensitive<String>> {
    let number = message.object("phoneNumber");
    let snapshot = call.object("call.phoneNumber");
    number
        .phone("phoneNumber.number")
        .or_else(|| snapshot.phone("call.phoneNumber.number"))
        .or_else(|| number.phone("phoneNumber.sipUri"))
        .or_else(|| snapshot.phone("call.phoneNumber.sipUri"))
}

pub(crate) fn customer_number(message: &Object<'_>, call: &Object<'_>) -> Option<Sensitive<String>> {
    let customer = message.object("customer");
    let snapshot = call.object("call.customer");
    customer
        .phone("customer.number")
        .or_else(|| snapshot.phone("call.customer.number"))
        .or_else(|| customer.phone("customer.sipUri"))
        .or_else(|| snapshot.phone("call.customer.sipUri"))
}

/// A text about the customer: the message's own, or that of the call's snapshot.
fn customer_text(message: &Object<'_>, call: &Object<'_>, paths: [&'static str; 2]) -> Option<Sensitive<String>> {
    let text = message.object("customer").short_text(paths[0]);
    text.or_else(|| call.object("call.customer").short_text(paths[1])).map(Sensitive::from)
}

fn is_test(overrides: &Object<'_>) -> bool {
    let metadata = overrides.object("call.assistantOverrides.metadata");
    metadata.is_true("is_test_call")
}

fn metadata(overrides: &Object<'_>, call: &Object<'_>) -> Option<Sensitive<Map<String, Value>>> {
    let metadata = overrides.map("call.assistantOverrides.metadata", METADATA);
    metadata.or_else(|| call.map("call.metadata", METADATA)).map(Sensitive::from)
}
