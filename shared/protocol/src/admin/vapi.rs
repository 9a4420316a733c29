use serde::{Deserialize, Serialize};

/// The settings of one assistant or phone number at Vapi.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCheck {
    /// `assistant ID` or `phone-number ID`.
    pub what: String,
    /// Descriptions of the necessary changes. Empty: the settings are correct.
    pub wrong: Vec<String>,
}

/// The settings of an org at Vapi.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Each registered assistant and number.
    pub found: Vec<ServerCheck>,
    /// Whether the command corrected settings.
    pub changed: bool,
    /// Assistants and numbers that could not be read or changed. `found` has the reason of each.
    #[serde(default)]
    pub failed: u64,
}
