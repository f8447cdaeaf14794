//! `cobuf inspect`, the help and the completions.

use super::pipeline::{output, stderr, stdout};
use crate::common::{cobuf, isolated, plugin, repository};
use serde_json::Value;
use std::path::Path;

#[test]
fn inspect_shows_manifest_configuration_and_arrays() {
    let _leaks = isolated!();
    let digits = plugin("digits-producer");
    let text = output(cobuf().arg("inspect").arg(digits.path()).args(["--set", "batch_size=12"]));
    assert!(text.status.success(), "{}", stderr(&text));
    for part in [
        "producer digits-producer 0.1.0",
        "plugin-api   0.1.0",
        "batch_size",
        "image f32 (12, 8, 8)",
        "  augment.shift (uint32, default 0)",
        "  split (\"all\" or \"train\" or \"test\", default \"all\")",
    ] {
        assert!(stdout(&text).contains(part), "{part} in {}", stdout(&text));
    }
    let json = output(cobuf().arg("inspect").arg(digits.path()).args(["--set", "batch_size=12", "--json"]));
    let shown: Value = serde_json::from_str(stdout(&json).trim_end()).unwrap();
    assert_eq!(shown["manifest"]["kind"], "producer");
    assert_eq!(shown["arrays"][0]["shape"], serde_json::json!([12, 8, 8]));
    assert!(shown["config_schema"]["properties"]["batch_size"].is_object());
    let wrong = output(cobuf().arg("inspect").arg(digits.path()).args(["--set", "batch_size=0"]));
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn inspect_shows_axes_that_are_at_most_n() {
    let _leaks = isolated!();
    let boxes = plugin("boxes-producer");
    let inspect = |more: &[&str]| {
        output(cobuf().arg("inspect").arg(boxes.path()).args(["--set", "batch_size=2"]).args(more))
    };
    let text = inspect(&[]);
    assert!(stdout(&text).contains("  image u8 (2, 64, 64), 8192 bytes\n"), "{}", stdout(&text));
    assert!(stdout(&text).contains("  boxes f32 (≤400, 4), at most 6400 bytes\n"), "{}", stdout(&text));
    let shown: Value = serde_json::from_str(stdout(&inspect(&["--json"])).trim_end()).unwrap();
    assert_eq!(shown["arrays"][1]["at_most"], serde_json::json!([0]));
    assert_eq!(shown["arrays"][0].get("at_most"), None);
}

#[test]
fn plugin_named_by_its_folder_is_built() {
    let _leaks = isolated!();
    let folder: &Path = &repository().join("plugins/index-commander");
    let shown = output(cobuf().arg("inspect").arg(folder).arg("--json"));
    assert!(shown.status.success(), "{}", stderr(&shown));
    let shown: Value = serde_json::from_str(stdout(&shown).trim_end()).unwrap();
    assert_eq!((&shown["manifest"]["name"], &shown["arrays"]), (&"index-commander".into(), &Value::Null));
}

#[test]
fn completions_and_examples_are_printed() {
    let _leaks = isolated!();
    for shell in ["bash", "zsh", "fish"] {
        let completions = output(cobuf().args(["completions", shell]));
        assert!(completions.status.success() && stdout(&completions).contains("any-order"), "{shell}");
    }
    let help = output(cobuf().arg("--help"));
    assert!(
        stdout(&help).contains("cobuf run examples/digits.toml") && stdout(&help).contains("Exit codes:")
    );
}
