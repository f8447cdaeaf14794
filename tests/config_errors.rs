//! What a host that cannot be started says: wrong configurations, wrong numbers, too little memory, no fork server,
//! plugins that fail, exit or hang while they are made. Nothing is left then, and the next start is as good as the first.

mod common;
#[path = "common/refusals.rs"]
mod refusals;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cobuf_host::{
    CodecError, Dictionary, Host, HostBuilder, Inspection, LaunchError, OutOfRange, Plugin, PluginError,
    PluginKind, ProcessSetup, Report, ReportKind, StartError, StartMethod, Value, limits,
};
use common::{Leaks, all_items, array, arrays_config, filling, host, index, list, next_batch, plugin, small};
use refusals::{
    application, assert_says, folder, odd_commander, odd_producer, run_as_application, start_error, text,
};

/// A host that would start.
fn good() -> HostBuilder {
    filling([index(0)], &small()).workers(1)
}

/// What the plugin of this kind said of its configuration, or of itself, when it was set up.
#[track_caller]
fn setup_error(builder: HostBuilder, kind: PluginKind, name: &str) -> Report {
    let error = start_error(builder);
    assert_says(&error, &[&format!("the {kind} {name} cannot be set up: ")]);
    match error {
        StartError::Plugin(PluginError::Setup { kind: failed, plugin, source }) => {
            assert_eq!((failed, plugin.as_str()), (kind, name));
            source
        }
        other => panic!("expected the plugin's own error, got {other:?}"),
    }
}

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

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in: {text}");
    }
}

#[test]
fn is_a_field_that_the_plugin_does_not_know_named() {
    let _leaks = Leaks::watch();
    assert_eq!(
        producer_says(arrays_config(&small()).with("colour", "red")),
        "the configuration has a field \"colour\" that is not known; \
         known are: arrays, burn_seconds, fail_new, panic_new, sleep_seconds"
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
fn is_a_field_of_the_wrong_type_named_with_what_it_is() {
    let _leaks = Leaks::watch();
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
fn is_a_missing_field_named() {
    let _leaks = Leaks::watch();
    assert_eq!(producer_says(Dictionary::new()), "the configuration is wrong: missing field `arrays`");
    assert_eq!(commander_says(Dictionary::new()), "the configuration is wrong: missing field `messages`");
    let shapeless = Dictionary::new().with("name", "x").with("dtype", "u8");
    assert_contains(&producer_says(arrays_config(&[shapeless])), &["\"arrays[0]\"", "missing field `shape`"]);
}

#[test]
fn is_a_value_that_the_plugin_itself_refuses_explained_by_it() {
    let _leaks = Leaks::watch();
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
fn are_arrays_that_cannot_be_refused_by_name() {
    let _leaks = Leaks::watch();
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
fn is_a_configuration_that_is_no_dictionary_refused() {
    let _leaks = Leaks::watch();
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
fn are_numbers_out_of_range_named_with_their_range() {
    let _leaks = Leaks::watch();
    let refused = |builder: HostBuilder, what: &str, value: usize, least: usize, most: usize| {
        let error = start_error(builder);
        assert!(matches!(error, StartError::OutOfRange(OutOfRange { .. })), "{error:?}");
        assert_eq!(error.to_string(), format!("{what} is {value}, expected {least} to {most}"));
    };
    for value in [0, limits::MAX_WORKERS + 1, usize::MAX] {
        refused(good().workers(value), "the number of workers", value, 1, limits::MAX_WORKERS);
    }
    for value in [0, limits::MAX_SLOTS + 1, usize::MAX] {
        refused(good().slots(value), "the number of slots", value, 1, limits::MAX_SLOTS);
    }
    let (least, most) = (limits::MIN_MESSAGE_CAPACITY, limits::MAX_MESSAGE_CAPACITY);
    for value in [0, least - 1, most + 1, usize::MAX] {
        refused(good().message_capacity(value), "the message capacity in bytes", value, least, most);
    }
}

#[test]
fn is_a_plugin_that_was_not_given_asked_for() {
    let _leaks = Leaks::watch();
    let error = start_error(host().producer(plugin("fill-producer")));
    assert!(matches!(error, StartError::NoPlugin { kind: PluginKind::Commander }), "{error:?}");
    assert_eq!(error.to_string(), "no commander was given; name its .so file or its package's folder");
    let error = start_error(host().commander(plugin("list-commander")));
    assert!(matches!(error, StartError::NoPlugin { kind: PluginKind::Producer }), "{error:?}");
}

#[test]
fn does_too_little_shared_memory_name_what_is_needed_and_what_is_there() {
    let _leaks = Leaks::watch();
    let slot = 1 << 40;
    let error = start_error(filling([], &[array("x", "u8", &[slot])]).workers(1).slots(4));
    let StartError::SharedMemory { needed, available, slots: 4, slot_bytes } = error else {
        panic!("{error:?}")
    };
    assert!(needed >= 4 * slot && needed < 4 * slot + (1 << 20), "{needed}");
    assert!(available < needed as u64);
    assert_eq!(slot_bytes, slot);
    assert_says(
        &error,
        &[
            &format!(
                "the slots need {needed} bytes of shared memory, {available} bytes are free in /dev/shm"
            ),
            "use fewer slots (4 now, 1099511627776 bytes each) or smaller batches, or enlarge /dev/shm",
        ],
    );
    // So many that their size is beyond the address space.
    let most = filling([], &[array("x", "u8", &[slot])]).workers(1).slots(limits::MAX_SLOTS);
    let error = start_error(most.message_capacity(limits::MAX_MESSAGE_CAPACITY));
    assert!(matches!(error, StartError::SharedMemory { .. }), "{error:?}");
}

/// An executable script.
fn script(folder: &tempfile::TempDir, name: &str, body: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn is_a_fork_server_that_cannot_be_executed_named() {
    let _leaks = Leaks::watch();
    let folder = folder();
    let text_file = folder.path().join("cobuf");
    fs::write(&text_file, "not executable").unwrap();
    let reasons = [
        (PathBuf::from("/nowhere/cobuf"), "No such file or directory"),
        (text_file, "Permission denied"),
        (folder.path().to_owned(), "Permission denied"),
    ];
    for (executable, reason) in reasons {
        let error = start_error(good().fork_server(&executable));
        assert!(matches!(error, StartError::Launch(LaunchError::Exec { .. })), "{error:?}");
        assert_says(&error, &[&format!("cannot execute {} as the fork server", text(&executable)), reason]);
    }
}

#[test]
fn is_the_fork_server_found_on_the_path_or_asked_for() {
    let _leaks = Leaks::watch();
    if let Some(plugins) = application() {
        let (commander, producer) = plugins.split_once('|').unwrap();
        let builder = Host::builder().commander(Plugin::file(commander)).commander_config(list([index(0)]));
        let builder = builder.producer(Plugin::file(producer)).producer_config(arrays_config(&small()));
        match builder.workers(1).start() {
            Ok(host) => println!("batch {}", next_batch(&host.batches()).sequence()),
            Err(error) => println!("refused: {error:?}: {error}"),
        }
        return;
    }
    let paths = ["list-commander", "fill-producer"].map(|name| text(plugin(name).path()).to_owned());
    let with_path = |path: &str| {
        let test = "is_the_fork_server_found_on_the_path_or_asked_for";
        let output = run_as_application(test, &paths.join("|"), &[("PATH", path)]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let cobuf = Path::new(env!("CARGO_BIN_EXE_cobuf")).parent().unwrap();
    let found = with_path(&format!("/nowhere:{}", text(cobuf)));
    assert!(found.contains("batch 0"), "{found}");
    let refused = with_path("/nowhere");
    assert_contains(
        &refused,
        &["refused: Launch(NotFound): there is no executable for the fork server; \
             call cobuf_host::init() first in main, or install the cobuf command, or give its path to the builder"],
    );
}

#[test]
fn is_a_fork_server_that_is_another_program_told() {
    let _leaks = Leaks::watch();
    let folder = folder();
    let hello = r"printf '\201\245Hello\201\247version\2450.0.9'";
    let strangers = [
        (PathBuf::from("/bin/true"), "does the executable call cobuf_host::init() first in main?"),
        (PathBuf::from("/bin/cat"), "does the executable call cobuf_host::init() first in main?"),
        (PathBuf::from("/bin/echo"), "what it said cannot be understood"),
        (script(&folder, "older", hello), "it is cobuf-host 0.0.9"),
    ];
    for (executable, reason) in strangers {
        let error = start_error(good().fork_server(&executable));
        assert!(matches!(error, StartError::Launch(LaunchError::Handshake { .. })), "{error:?}");
        let named = format!("the fork server {} does not answer as cobuf-host 0.1.0: ", text(&executable));
        assert_says(&error, &[&named, reason]);
    }
}

#[test]
fn is_a_fork_server_that_says_nothing_given_up() {
    let leaks = Leaks::watch();
    let folder = folder();
    // With a child of its own, which must go too.
    let silent = script(&folder, "silent", "sleep 1000\necho late");
    let limit = Duration::from_millis(200);
    let error = start_error(good().fork_server(silent).start_timeout(limit));
    assert!(matches!(error, StartError::Timeout { limit: told, .. } if told == limit), "{error:?}");
    assert_says(&error, &["the fork server was not ready after 0.2 s", "a longer start timeout"]);
    leaks.bury_orphans();
}

#[test]
fn does_a_constructor_s_error_come_with_its_chain() {
    let _leaks = Leaks::watch();
    // Every worker fails; one error is told.
    let failing = good().workers(3).producer_config(arrays_config(&small()).with("fail_new", "no licence"));
    let report = setup_error(failing, PluginKind::Producer, "fill-producer");
    assert_eq!(
        (report.kind, report.chain.join("|").as_str()),
        (ReportKind::Error, "asked to fail|no licence")
    );

    let failing = good().commander_config(list([]).with("fail_new", "no camera"));
    let report = setup_error(failing, PluginKind::Commander, "list-commander");
    assert_eq!(
        (report.kind, report.chain.join("|").as_str()),
        (ReportKind::Error, "asked to fail|no camera")
    );
}

#[test]
fn does_a_constructor_s_panic_come_with_its_place() {
    let _leaks = Leaks::watch();
    let panicking = good().workers(3).producer_config(arrays_config(&small()).with("panic_new", "no luck"));
    let report = setup_error(panicking, PluginKind::Producer, "fill-producer");
    assert_eq!((report.kind, report.chain.len()), (ReportKind::Panic, 1));
    assert_contains(&report.chain[0], &["panicked at ", "fill-producer/src/lib.rs:", ": no luck"]);
}

#[test]
fn is_a_plugin_that_ends_its_process_told_with_how() {
    let _leaks = Leaks::watch();
    let producer = |field: &str, status: i32| {
        good().workers(2).producer(odd_producer()).producer_config(Dictionary::new().with(field, status))
    };
    let commander =
        good().commander(odd_commander()).commander_config(Dictionary::new().with("exit_in_new", 5));
    let cases = [
        (producer("exit_in_schema", 0), "the producer odd-producer", "exit code 0"),
        (producer("exit_in_schema", 5), "the producer odd-producer", "exit code 5"),
        // The status by which the host's own processes say that their plugin could not be set up.
        (producer("exit_in_new", 3), "the producer odd-producer", "exit code 3"),
        (commander, "the commander odd-commander", "exit code 5"),
    ];
    for (builder, who, how) in cases {
        let error = start_error(builder);
        assert!(matches!(error, StartError::Plugin(PluginError::Died { .. })), "{error:?}");
        assert_says(&error, &[&format!("{who} ended its process while it was set up: {how}")]);
    }
}

#[test]
fn is_a_constructor_that_never_returns_given_up() {
    let _leaks = Leaks::watch();
    let (limit, config) = (Duration::from_millis(1500), Dictionary::new().with("hang_in_new", true));
    let hanging = [
        good().producer(odd_producer()).producer_config(config.clone()),
        good().commander(odd_commander()).commander_config(config),
    ];
    for builder in hanging {
        let error = start_error(builder.start_timeout(limit));
        assert!(matches!(error, StartError::Timeout { limit: told, .. } if told == limit), "{error:?}");
        assert_says(&error, &["was not ready after 1.5 s; give the host a longer start timeout"]);
    }
}

#[test]
fn are_arrays_that_differ_from_process_to_process_refused() {
    let _leaks = Leaks::watch();
    let unsteady = good().producer(odd_producer()).producer_config(Dictionary::new().with("unsteady", true));
    let error = start_error(unsteady);
    assert!(matches!(error, StartError::Process { .. }), "{error:?}");
    assert_says(
        &error,
        &[
            "the worker 0 cannot be started: the producer declares x u8 (",
            "when the host started; a schema must follow from the configuration alone",
        ],
    );
}

#[test]
fn is_a_working_directory_that_is_missing_named() {
    let _leaks = Leaks::watch();
    let init = ProcessSetup { working_directory: Some("/nowhere/at/all".into()), ..ProcessSetup::default() };
    for method in [StartMethod::ForkServer, StartMethod::Fork] {
        let error = start_error(good().process_setup(init.clone()).start_method(method));
        assert!(matches!(error, StartError::Process { .. }), "{error:?}");
        assert_says(
            &error,
            &["cannot change to the working directory /nowhere/at/all: No such file or directory"],
        );
    }
}

#[test]
fn is_an_environment_variable_that_cannot_be_refused_by_name() {
    let _leaks = Leaks::watch();
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0")] {
        let env = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let error = start_error(good().process_setup(ProcessSetup { env, ..ProcessSetup::default() }));
        assert!(matches!(error, StartError::Process { .. }), "{error:?}");
        let named = format!("the environment variable {name:?} cannot be set to {value:?}");
        assert_says(&error, &[&named, "expected a name without '=' and no zero bytes"]);
    }
}

#[test]
fn does_the_worker_s_preparation_reach_the_plugin() {
    let _leaks = Leaks::watch();
    let folder = folder();
    let init = ProcessSetup {
        env: BTreeMap::from([("COBUF_TEST_THREADS".to_owned(), "three = 3".to_owned())]),
        working_directory: Some(folder.path().to_owned()),
        nice: Some(7),
    };
    let host = good()
        .producer(odd_producer())
        .producer_config(Dictionary::new())
        .commander_config(list([Dictionary::new().with("variable", "COBUF_TEST_THREADS")]))
        .process_setup(init)
        .start()
        .unwrap();
    let told: Dictionary = next_batch(&host.batches()).metadata().unwrap();
    assert_eq!(told.get("variable"), Some(&Value::from("three = 3")));
    assert_eq!(told.get("folder"), Some(&Value::from(text(&folder.path().canonicalize().unwrap()))));
    let Some(Value::String(stat)) = told.get("stat") else { panic!("{told}") };
    // Field 19 of proc(5), the third of these being the first here.
    let niceness: i32 = stat.split_whitespace().nth(16).unwrap().parse().unwrap();
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let own: i32 = own.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap();
    assert_eq!(niceness, (own + 7).min(19));
    assert!(std::env::var_os("COBUF_TEST_THREADS").is_none());
}

#[test]
fn does_an_inspection_say_the_same_as_a_start() {
    let _leaks = Leaks::watch();
    let fork_server = env!("CARGO_BIN_EXE_cobuf");
    let ask = |plugin: &Plugin, config: Dictionary| {
        Inspection::of(plugin.clone()).config(config).fork_server(fork_server).run()
    };
    let error = ask(&plugin("fill-producer"), Dictionary::new()).unwrap_err();
    assert_says(
        &error,
        &["the producer fill-producer cannot be set up: the configuration is wrong: missing field `arrays`"],
    );
    let error = ask(&odd_producer(), Dictionary::new().with("exit_in_schema", 9)).unwrap_err();
    assert_says(&error, &["the producer odd-producer ended its process while it was set up: exit code 9"]);
    let known = ask(&plugin("fill-producer"), arrays_config(&small())).unwrap();
    assert_eq!(known.schema.unwrap().to_string(), "x u32 (4,)");
}

#[test]
fn is_a_start_after_a_failed_one_as_good_as_the_first() {
    let _leaks = Leaks::watch();
    for method in [StartMethod::ForkServer, StartMethod::Fork] {
        start_error(good().start_method(method).producer_config(Dictionary::new()));
        start_error(good().start_method(method).commander_config(list([]).with("fail_new", "no camera")));
        let host: Host = good().start_method(method).start().unwrap();
        assert_eq!(all_items(&host.batches()).map(|item| item.unwrap().sequence()).collect::<Vec<_>>(), [0]);
    }
}
