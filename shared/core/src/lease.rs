//! The holder of a lease.

use uuid::Uuid;

/// One invocation that claims work with a lease: a tool call or a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseHolder(Uuid);

impl LeaseHolder {
    /// A holder that no other invocation is.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The holder as SQL takes it.
    pub(crate) const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}
