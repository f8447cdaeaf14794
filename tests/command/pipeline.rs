//! Pipeline files of tests, and what the command prints of them.

use crate::common::{cobuf, plugin};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

pub(super) fn output(command: &mut Command) -> Output {
    command.output().expect("the command can be run")
}

pub(super) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("it prints text")
}

pub(super) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("it prints text")
}

/// A pipeline file in a folder of its own: endless small messages, unless `commander` and
/// `producer` say otherwise.
pub(super) struct PipelineFile {
    pub(super) folder: TempDir,
}

impl PipelineFile {
    pub(super) fn new(commander: &str, producer: &str) -> Self {
        Self::with("index-commander", commander, producer)
    }

    /// With the list-commander, configured so.
    pub(super) fn of_list(commander: &str) -> Self {
        Self::with("list-commander", commander, "")
    }

    pub(super) fn with(commander_plugin: &str, commander: &str, producer: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[commander]\nplugin = {:?}\n[commander.config]\n{commander}\n[producer]\nplugin = {:?}\n[producer.config]\n\
             arrays = [{{ name = \"x\", dtype = \"f32\", shape = [4, 3] }}, {{ name = \"y\", dtype = \"u8\", shape = [4] }}]\n\
             {producer}\n",
            plugin(commander_plugin).path(),
            plugin("fill-producer").path(),
        );
        std::fs::write(folder.path().join("pipeline.toml"), text).unwrap();
        Self { folder }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("pipeline.toml")
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        output(cobuf().arg("run").arg(self.path()).args(arguments))
    }

    /// The last line on standard output, which is the report.
    pub(super) fn report(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(stdout(&output).lines().last().expect("a report")).expect("JSON")
    }
}
