//! The tools of a deployment from `PyPI`: the SAM CLI, cfn-lint, and a MiniStack that reads SAM templates. They have a virtual
//! environment of their own, which only those who deploy wait for.

use std::path::PathBuf;
use std::process::Command;

use ringfence_harness::error::Result;
use ringfence_harness::local::layout::Layout;
use ringfence_harness::local::python;

/// The exact versions.
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

    /// A script of the environment. It is given to Python by hand: its first line breaks when the checkout is moved.
    pub(super) fn command(&self, script: &str) -> Command {
        let mut command = Command::new(self.bin.join("python"));
        command.arg(self.bin.join(script));
        command
    }
}
