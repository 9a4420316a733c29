//! One file per verb.

pub(crate) mod agent;
pub(crate) mod bench;
pub(crate) mod check_template;
pub(crate) mod connect;
pub(crate) mod console;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod drill;
pub(crate) mod env;
pub(crate) mod erase;
pub(crate) mod failures;
pub(crate) mod gateway;
pub(crate) mod lead;
pub(crate) mod maintain;
pub(crate) mod migrate;
pub(crate) mod operations;
pub(crate) mod org;
pub(crate) mod pages;
pub(crate) mod pump;
pub(crate) mod redrive;
pub(crate) mod replay;
mod selection;
pub(crate) mod simulate;
pub(crate) mod test;
pub(crate) mod token;
pub(crate) mod tool;
pub(crate) mod up;
