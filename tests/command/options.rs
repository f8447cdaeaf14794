//! Options that take a value: a wrong one is named with its unit and range, whichever way it was
//! given.

use super::pipeline::{PipelineFile, output, stderr, stdout};
use crate::common::{cobuf, isolated, plugin};
use serde_json::Value;

/// The refusal of a command line: code 2, and one error.
fn refusal(arguments: &[&str]) -> String {
    let output = output(cobuf().args(arguments));
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    assert_eq!(stdout(&output), "", "{arguments:?}");
    stderr(&output).to_owned()
}

#[test]
fn wrong_number_is_named_with_option_unit_and_range() {
    let _leaks = isolated!();
    const WHOLE: &str = "expected a whole number, ";
    const SECONDS: &str = "expected a number of seconds, ";
    for (verb, option, values, expected) in [
        ("run", "--workers", &["-1", "0", "1025", "1.5", "many"][..], "expected 1 to 1024, or \"auto\""),
        ("run", "--slots", &["0", "-4", "16385", "x"][..], "expected a whole number, 1 to 16384"),
        ("run", "--batches", &["0", "-1", "1e3", "99999999999999999999"][..], WHOLE),
        ("run", "--seed", &["-3", "0x10", "18446744073709551616"][..], WHOLE),
        ("run", "--checkpoint-every", &["0", "-1"][..], "expected a whole number, 1 to "),
        ("run", "--max-attempts", &["0", "-1", "16384"][..], "expected a whole number, 1 to 16383"),
        ("run", "--message-timeout", &["0", "-1", "nan", "0.001", "-0.5", "1s"][..], SECONDS),
        ("run", "--commander-timeout", &["0", "-1", "nan", "0.0199"][..], "0.02 or more"),
        ("watch", "--message-timeout", &["0"][..], "0.02 or more"),
        ("chaos", "--seed", &["-3"][..], "0 to 18446744073709551615"),
        ("chaos", "--workers", &["0", "-1"][..], "1 to 1024"),
        ("chaos", "--batches", &["0"][..], WHOLE),
        ("chaos", "--kills-per-second", &["0", "-1", "nan", "inf"][..], "above 0"),
        ("chaos", "--seconds", &["-1", "nan", "1e30"][..], SECONDS),
        ("chaos", "--deadline", &["0", "nan", "-1"][..], "0.02 or more"),
        ("bench", "--runs", &["0", "-1", "1.5"][..], WHOLE),
        ("bench", "--seconds", &["0", "-1", "nan", "1e30"][..], SECONDS),
        ("bench", "--batches", &["0", "1"][..], "expected a whole number, 2 to "),
        ("bench", "--workers", &["0", "-1"][..], "1 to 1024"),
        ("bench", "--slots", &["0", "-1"][..], "1 to 16384"),
        ("bench", "--seed", &["-1"][..], "0 to 18446744073709551615"),
        ("check", "--seed", &["-1"][..], "0 to 18446744073709551615"),
        ("check", "--time-limit", &["0", "-1", "nan"][..], SECONDS),
        ("check", "--soak", &["-1", "nan"][..], SECONDS),
    ] {
        for value in values {
            let said = refusal(&[verb, "p.toml", option, value]);
            let named = format!("error: invalid value '{value}' for '{option} <");
            assert!(said.starts_with(&named), "{named} in {said}");
            assert!(said.contains(expected), "{verb} {option} {value}: {expected} in {said}");
            assert!(!said.contains("tip:"), "{said}");
        }
    }
}

#[test]
fn wrong_number_in_a_pipeline_file_is_named_by_its_key() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::new("length = 7", "");
    let text = std::fs::read_to_string(pipeline.path()).unwrap();
    for (line, expected) in [
        ("workers = 0", "the setting workers is 0, expected 1 to 1024"),
        ("slots = 0", "the setting slots is 0, expected 1 to 16384"),
        ("batches = 0", "the setting limit (batches in a pipeline file) is 0, expected 1 to "),
        ("max_attempts = 0", "the setting max_attempts is 0, expected 1 to 16383"),
        ("message_capacity = 1", "the setting message_capacity is 1 bytes, expected 64 to 67108864 bytes"),
        (
            "metadata_capacity = 1",
            "the setting metadata_capacity is 1 bytes, expected 1024 to 67108864 bytes",
        ),
        (
            "message_timeout_seconds = 0",
            "the setting message_timeout (message_timeout_seconds in a pipeline file) is 0 ms, expected 20 to ",
        ),
        ("commander_timeout_seconds = 0.019", "(commander_timeout_seconds in a pipeline file) is 19 ms"),
        ("message_timeout_seconds = nan", "message_timeout_seconds is NaN, expected a number of seconds"),
        ("nice = 50", "the setting nice is 50, expected -20 to 19"),
        ("nice = -21", "the setting nice is -21, expected -20 to 19"),
    ] {
        std::fs::write(pipeline.path(), format!("{text}[run]\n{line}\n")).unwrap();
        let said = refusal(&["run", pipeline.path().to_str().unwrap()]);
        assert!(said.contains(expected), "{expected} in {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn configuration_is_given_in_the_same_ways_to_inspect_and_check() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let toml = file("config.toml", "batch_size = 12\n");
    let json = file("config.json", "{\"batch_size\": 12}\n");
    let producer = plugin("digits-producer").path().display().to_string();
    for config in ["{\"batch_size\": 12}", &toml, &json, &format!("@{toml}"), &format!("@{json}")] {
        let shown = output(cobuf().args(["inspect", &producer, "--config", config, "--json"]));
        assert!(shown.status.success(), "{config}: {}", stderr(&shown));
        let shown: Value = serde_json::from_str(stdout(&shown)).unwrap();
        assert_eq!(shown["arrays"][0]["shape"], serde_json::json!([12, 8, 8]), "{config}");
        let checked = output(cobuf().args(["check", &producer, "--config", config, "--soak", "0.01"]));
        assert!(checked.status.success(), "{config}: {}", stdout(&checked));
        assert!(stdout(&checked).contains("(12, 8, 8)"), "{config}: {}", stdout(&checked));
    }
    let wrong = file("wrong.toml", "batch_size =\n");
    for (verb, config, expected) in [
        (
            "inspect",
            "[1]",
            "--config \"[1]\" is wrong, expected a JSON object, or a file with TOML or JSON: ",
        ),
        ("check", "none.toml", "--config \"none.toml\" is wrong, expected a JSON object, or a file"),
        ("check", "{\"a\": ", "--config \"{\\\"a\\\": \" is wrong, expected a JSON object"),
        (
            "inspect",
            &wrong,
            "wrong.toml\" is wrong, expected a JSON object, or a file with TOML or JSON: TOML",
        ),
    ] {
        let said = refusal(&[verb, &producer, "--config", config]);
        assert!(said.contains(expected), "{expected} in {said}");
    }
}

#[test]
fn check_changes_entries_of_the_configuration() {
    let _leaks = isolated!();
    let producer = plugin("digits-producer").path().display().to_string();
    let quick = ["--soak", "0.01"];
    let set = |more: &[&str]| {
        let arguments = [&["check", &producer, "--set", "batch_size=12"], &quick[..], more].concat();
        let output = output(cobuf().current_dir(crate::common::repository()).args(arguments));
        stdout(&output).to_owned()
    };
    for more in [&[][..], &["--config", "{\"batch_size\": 3}"], &["--pipeline", "examples/digits.toml"]] {
        let said = set(more);
        assert!(said.contains("(12, 8, 8)"), "{more:?}: {said}");
    }
}

#[test]
fn chaos_takes_workers_and_bench_takes_a_seed() {
    let _leaks = isolated!();
    let pipeline = PipelineFile::of_list("messages = [{ random = true }]\nrepeat = 40");
    let path = pipeline.path();
    let path = path.to_str().unwrap();
    let quick = ["--seconds", "0.05", "--batches", "20"];
    let chaos = output(cobuf().args(["chaos", path, "--workers", "1", "--json"]).args(quick));
    assert!(chaos.status.success(), "{}", stderr(&chaos));
    let bench = output(cobuf().args(["bench", path, "--seed", "5", "--runs", "1", "--json"]).args(quick));
    assert!(bench.status.success(), "{}", stderr(&bench));
    assert_eq!(serde_json::from_str::<Value>(stdout(&bench)).unwrap()["seed"], 5);
}

#[test]
fn check_without_messages_says_how_to_give_one() {
    let _leaks = isolated!();
    let producer = plugin("digits-producer").path().display().to_string();
    let check = |more: &[&str]| {
        let arguments = [&["check", &producer, "--set", "batch_size=2", "--soak", "0.01"], more].concat();
        stdout(&output(cobuf().args(arguments))).lines().last().unwrap().to_owned()
    };
    let said = check(&[]);
    assert!(said.contains("--message") && said.contains("--pipeline FILE"), "{said}");
    assert!(check(&["--message", "{\"items\": [1, 2]}"]).starts_with("passed: "));
}
