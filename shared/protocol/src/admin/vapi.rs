use serde::{Deserialize, Serialize};

/// How one assistant or phone number is set up at Vapi.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCheck {
    /// `assistant ID` or `phone-number ID`.
    pub what: String,
    /// What must be changed, in words. Empty: it is set up right.
    pub wrong: Vec<String>,
}

/// How an org is set up at Vapi.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Each registered assistant and number.
    pub found: Vec<ServerCheck>,
    /// Whether the command changed what was wrong.
    pub changed: bool,
}
