//! One file per verb.

pub mod agent;
pub mod connect;
pub mod console;
pub mod doctor;
pub mod erase;
pub mod failures;
pub mod lead;
pub mod maintain;
pub mod migrate;
pub mod operations;
pub mod org;
pub mod redrive;
pub mod replay;
mod selection;
pub mod token;
pub mod tool;

use std::process::ExitCode;

use clap::Subcommand;

use crate::backend::Backend;
use crate::error::Result;

/// The operator's verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Org(org::Org),
    Agent(agent::Agent),
    Lead(lead::Lead),
    Tool(tool::Tool),
    Console(console::Console),
    Token(token::Token),
    Connect(connect::Connect),
    Failures(failures::Failures),
    Redrive(redrive::Redrive),
    Replay(replay::Replay),
    Operations(operations::Operations),
    Erase(erase::Erase),
    Maintain(maintain::Maintain),
    Migrate(migrate::Migrate),
    Doctor(doctor::Doctor),
}

impl Verb {
    pub async fn run(self, backend: &impl Backend) -> Result<ExitCode> {
        match self {
            Self::Org(verb) => verb.run(backend).await,
            Self::Agent(verb) => verb.run(backend).await,
            Self::Lead(verb) => verb.run(backend).await,
            Self::Tool(verb) => verb.run(backend).await,
            Self::Console(verb) => verb.run(backend).await,
            Self::Token(verb) => verb.run(backend).await,
            Self::Connect(verb) => verb.run(backend).await,
            Self::Failures(verb) => verb.run(backend).await,
            Self::Redrive(verb) => verb.run(backend).await,
            Self::Replay(verb) => verb.run(backend).await,
            Self::Operations(verb) => verb.run(backend).await,
            Self::Erase(verb) => verb.run(backend).await,
            Self::Maintain(verb) => verb.run(backend).await,
            Self::Migrate(verb) => verb.run(backend).await,
            Self::Doctor(verb) => verb.run(backend).await,
        }
    }
}
