//! One file per verb.

pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod env;
pub(crate) mod pump;
pub(crate) mod test;
pub(crate) mod up;
