//! Configurations and numbers that are refused, with the field and the expected values.

use crate::common::refusals::{assert_contains, assert_says, good, setup_error, start_error};
use crate::common::{array, arrays_config, host, isolated, list, plugin, small};
use cobuf_host::{
    CodecError, Dictionary, HostBuilder, OutOfRange, PluginKind, ProcessSetup, ReportKind, StartError, Value,
    limits,
};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

#[track_caller]
fn producer_says(config: Dictionary) -> String {
    let report = setup_error(good().producer_config(config), PluginKind::Producer, "fill-producer");
    assert_eq!(report.kind, ReportKind::Error);
    report.to_string()
}

#[track_caller]
fn commander_says(config: Dictionary) -> String {
    let report = setup_error(good().commander_config(config), PluginKind::Commander, "list-commander");
    assert_eq!(report.kind, ReportKind::Error);
    report.to_string()
}

#[test]
fn unknown_field_is_named() {
    let _leaks = isolated!();
    assert_eq!(
        producer_says(arrays_config(&small()).with("colour", "red")),
        "the configuration has a field \"colour\" that is not known; \
         known are: arrays, burn_seconds, fail_new, panic_new, shapes, sleep_seconds, slow_seconds, slow_worker"
    );
    assert_contains(
        &commander_says(list([]).with("repeats", 2)),
        &["has a field \"repeats\" that is not known; known are: ", "repeat, "],
    );
    let nested = array("x", "u8", &[1]).with("order", "C");
    assert_contains(
        &producer_says(arrays_config(&[nested])),
        &["\"arrays[0]", "unknown field `order`", "`shape`"],
    );
}

#[test]
fn field_of_the_wrong_type_is_named_with_its_value() {
    let _leaks = isolated!();
    assert_eq!(
        producer_says(Dictionary::new().with("arrays", "x")),
        "the configuration is wrong at \"arrays\": invalid type: string \"x\", expected a sequence"
    );
    let wide =
        Dictionary::new().with("name", "x").with("dtype", "u8").with("shape", vec![Value::from("wide")]);
    assert_eq!(
        producer_says(arrays_config(&[array("y", "u8", &[1]), wide])),
        "the configuration is wrong at \"arrays[1].shape[0]\": invalid type: string \"wide\", expected usize"
    );
    assert_contains(
        &producer_says(arrays_config(&[array("x", "complex64", &[1])])),
        &["\"arrays[0].dtype\"", "unknown variant `complex64`, expected one of", "`f64`"],
    );
    assert_contains(
        &commander_says(Dictionary::new().with("messages", 3)),
        &["\"messages\": invalid type: integer `3`, expected a sequence"],
    );
    assert_contains(&commander_says(list([]).with("repeat", -1)), &["\"repeat\"", "`-1`, expected u64"]);
}

#[test]
fn missing_field_is_named() {
    let _leaks = isolated!();
    assert_eq!(producer_says(Dictionary::new()), "the configuration is wrong: missing field `arrays`");
    assert_eq!(commander_says(Dictionary::new()), "the configuration is wrong: missing field `messages`");
    let shapeless = Dictionary::new().with("name", "x").with("dtype", "u8");
    assert_contains(&producer_says(arrays_config(&[shapeless])), &["\"arrays[0]\"", "missing field `shape`"]);
}

#[test]
fn value_refused_by_the_plugin_is_explained_by_it() {
    let _leaks = isolated!();
    assert_contains(
        &producer_says(arrays_config(&small()).with("sleep_seconds", -1)),
        &["\"sleep_seconds\": -1 is wrong, expected a number of seconds, at least 0"],
    );
    assert_eq!(
        commander_says(list([]).with("repeat", 0)),
        "messages is empty and repeat is 0: there is no message to repeat without end"
    );
    let counting = good().commander(plugin("index-commander"));
    let counting = counting.commander_config(Dictionary::new().with("length", 0));
    let report = setup_error(counting, PluginKind::Commander, "index-commander");
    assert_contains(&report.to_string(), &["length is 0"]);
}

#[test]
fn impossible_arrays_are_refused_by_name() {
    let _leaks = isolated!();
    let schema_error = |arrays: &[Dictionary]| producer_says(arrays_config(arrays));
    let x = |shape: &[usize]| array("x", "u8", shape);
    assert_eq!(schema_error(&[]), "a schema has 0 arrays, expected 1 to 32");
    assert_eq!(schema_error(&[x(&[1]), x(&[2])]), "two arrays are called \"x\"; give each a name of its own");
    assert_eq!(
        schema_error(&[x(&[4, 0, 3])]),
        "array \"x\" has shape (4, 0, 3), in which every dimension must be at least 1"
    );
    assert_eq!(schema_error(&[x(&[1; 33])]), "array \"x\" has 33 dimensions, expected at most 32");
    assert_eq!(
        schema_error(&[array("", "u8", &[1])]),
        "the array name \"\" is empty or longer than 128 bytes"
    );
    assert_contains(
        &schema_error(&[x(&[1 << 30, 1 << 30])]),
        &["with array \"x\" the slot is larger than", "1099511627776"],
    );
}

#[test]
fn configuration_that_is_no_dictionary_is_refused() {
    let _leaks = isolated!();
    let error = start_error(good().producer_config(vec![1, 2]));
    assert!(
        matches!(
            &error,
            StartError::Config { kind: PluginKind::Producer, source: CodecError::NotADictionary { .. } }
        ),
        "{error:?}"
    );
    assert_says(
        &error,
        &[
            "the configuration of the producer cannot be sent: ",
            "must be a dictionary (a struct or a map with text keys), this is a list",
        ],
    );
    let error = start_error(good().commander_config("messages"));
    assert_says(&error, &["the configuration of the commander cannot be sent: ", "this is text"]);

    // A map whose keys are no texts cannot be a plugin's configuration either.
    let error = start_error(good().producer_config(BTreeMap::from([(1, 2)])));
    assert_says(&error, &["the producer"]);
}

#[test]
fn numbers_out_of_range_are_named_with_their_range() {
    let _leaks = isolated!();
    fn refused(builder: HostBuilder, what: &str, unit: &str, value: impl Display, range: [usize; 2]) {
        let error = start_error(builder);
        assert!(matches!(error, StartError::OutOfRange(OutOfRange { .. })), "{error:?}");
        let [least, most] = range;
        let expected = format!("the setting {what} is {value}{unit}, expected {least} to {most}{unit}");
        assert_eq!(error.to_string(), expected);
    }
    for value in [0, limits::MAX_WORKERS + 1, usize::MAX] {
        refused(good().workers(value), "workers", "", value, [1, limits::MAX_WORKERS]);
    }
    for value in [0, limits::MAX_SLOTS + 1, usize::MAX] {
        refused(good().slots(value), "slots", "", value, [1, limits::MAX_SLOTS]);
    }
    let (least, most) = (limits::MIN_MESSAGE_CAPACITY, limits::MAX_MESSAGE_CAPACITY);
    for value in [0, least - 1, most + 1, usize::MAX] {
        refused(good().message_capacity(value), "message_capacity", " bytes", value, [least, most]);
    }
    let (least, most) = (limits::MIN_METADATA_CAPACITY, limits::MAX_METADATA_CAPACITY);
    for value in [0, least - 1, most + 1, usize::MAX] {
        refused(good().metadata_capacity(value), "metadata_capacity", " bytes", value, [least, most]);
    }
    let limit = "limit (batches in a pipeline file)";
    refused(good().limit(0), limit, "", 0, [1, usize::MAX]);
    let timeout = good().message_timeout(Duration::ZERO);
    let most = 100 * 365 * 24 * 3600 * 1000;
    let what = "message_timeout (message_timeout_seconds in a pipeline file)";
    refused(timeout, what, " ms", 0, [20, most]);
    for nice in [-21, 20] {
        let setup = ProcessSetup { nice: Some(nice), ..ProcessSetup::default() };
        let error = start_error(good().process_setup(setup));
        assert_eq!(error.to_string(), format!("the setting nice is {nice}, expected -20 to 19"));
    }
}

#[test]
fn plugin_that_was_not_given_is_asked_for() {
    let _leaks = isolated!();
    let error = start_error(host().producer(plugin("fill-producer")));
    assert!(matches!(error, StartError::NoPlugin { kind: PluginKind::Commander }), "{error:?}");
    let expected = "no commander was given; name its .so file or its package's folder, or let the application submit messages \
                    (Commander::Application)";
    assert_eq!(error.to_string(), expected);
    let error = start_error(host().commander(plugin("list-commander")));
    assert!(matches!(error, StartError::NoPlugin { kind: PluginKind::Producer }), "{error:?}");
}
