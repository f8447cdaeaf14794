//! Texts of plugins do not control the terminal of the person who reads them.

use super::pipeline::{PipelineFile, output, stderr, stdout};
use crate::common::{cobuf, isolated};
use serde_json::Value;

/// A cleared screen in two ways, a line that is written over, and one that is turned round.
const HOSTILE: &str = r#""no\u001b[2J\u009b2J\rover\u202eturned""#;
const SHOWN: &str = r"no\u001b[2J\u009b2J\rover\u202eturned";

fn assert_harmless(text: &str) {
    let controls = |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}';
    assert!(!text.contains(controls), "{text:?}");
}

#[test]
fn errors_messages_and_logs_are_written_out() {
    let _leaks = isolated!();
    let message = format!("messages = [{{ error = {HOSTILE}, log = {HOSTILE} }}]");
    let pipeline = PipelineFile::of_list(&message);
    for arguments in [&[][..], &["--json"], &["--sandbox"]] {
        let output = pipeline.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert_harmless(stderr(&output));
        assert_harmless(stdout(&output));
        assert!(
            stderr(&output).contains("error: ") && stderr(&output).contains(SHOWN),
            "{}",
            stderr(&output)
        );
    }
    let preview = output(cobuf().arg("preview").arg(pipeline.path()));
    assert_harmless(stderr(&preview));
    assert_harmless(stdout(&preview));
    assert!(stdout(&preview).contains(r"no\u001b[2J"), "{}", stdout(&preview));
}

#[test]
fn reasons_of_a_start_that_fails_are_written_out() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 4", &format!("fail_new = {HOSTILE}"));
    let output = pipeline.run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_harmless(stderr(&output));
    assert!(stderr(&output).contains(SHOWN), "{}", stderr(&output));
}

#[test]
fn json_means_the_same() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 4", &format!("fail_new = {HOSTILE}"));
    let producer = crate::common::plugin("fill-producer");
    let output = output(
        cobuf().arg("check").arg(producer.path()).arg("--pipeline").arg(pipeline.path()).arg("--json"),
    );
    assert_harmless(stdout(&output));
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    let hostile: String = serde_json::from_str(HOSTILE).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let told = findings.iter().any(|finding| finding["detail"].as_str().unwrap().contains(&hostile));
    assert!(told, "{report}");
    let table = super::pipeline::output(
        cobuf().arg("check").arg(producer.path()).arg("--pipeline").arg(pipeline.path()),
    );
    assert_harmless(stdout(&table));
    assert!(stdout(&table).contains(SHOWN), "{}", stdout(&table));
}
