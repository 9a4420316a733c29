//! One file per verb of the developer's tool.

pub(crate) mod bench;
pub(crate) mod check_template;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod drill;
pub(crate) mod env;
pub(crate) mod gateway;
pub(crate) mod pages;
pub(crate) mod pump;
pub(crate) mod simulate;
pub(crate) mod test;
pub(crate) mod up;
