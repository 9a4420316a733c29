//! Tools of a deployment from `PyPI`: the SAM CLI, cfn-lint, and a MiniStack that supports SAM templates. They have a
//! separate virtual environment, so that only a deployment installs it.

use std::path::PathBuf;
use std::process::Command;

use ringfence_harness::error::Result;
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::python;

/// Exact versions.
const REQUIREMENTS: &str = include_str!("../../deployment-requirements.txt");

/// The installed tools.
#[derive(Clone, Debug)]
pub(super) struct SamTools {
    bin: PathBuf,
}

impl SamTools {
    /// Installs the tools unless these versions are installed already.
    pub(super) async fn install(layout: &Layout) -> Result<Self> {
        let home = layout.path("tools/deployment");
        let environment = python::environment(&home, REQUIREMENTS, "the SAM CLI and cfn-lint").await?;
        Ok(Self { bin: environment.join("bin") })
    }

    /// Command for a script of the environment. Python runs the script, because its first line is wrong after the
    /// checkout is moved.
    pub(super) fn command(&self, script: &str) -> Command {
        let mut command = Command::new(self.bin.join("python"));
        command.arg(self.bin.join(script));
        command
    }
}
