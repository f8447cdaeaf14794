//! Starts that fail for want of memory, a fork server, or a plugin that can be constructed.
//! Nothing is left then, and the next start works.

use crate::common::packages::{odd_commander, odd_producer};
use crate::common::refusals::{assert_contains, assert_says, folder, good, setup_error, start_error, text};
use crate::common::{
    COBUF, all_items, application, array, arrays_config, filling, index, isolated, list, next_batch, plugin,
    run_as_application, small, test_name,
};
use cobuf_host::{
    Dictionary, Host, Inspection, LaunchError, Plugin, PluginError, PluginKind, ProcessSetup, ReportKind,
    StartError, StartMethod, Value, limits,
};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn lack_of_shared_memory_names_needed_and_free_bytes() {
    let _leaks = isolated!();
    let slot = 1 << 40;
    let error = start_error(filling([], &[array("x", "u8", &[slot])]).workers(1).slots(4));
    let StartError::SharedMemory { needed, available, ref place, slots: 4, slot_bytes } = error else {
        panic!("{error:?}")
    };
    // Or a memory cgroup with less room.
    let place = place.clone();
    assert!(needed >= 4 * slot && needed < 4 * slot + (2 << 20), "{needed}");
    assert!(available < needed as u64);
    assert_eq!(slot_bytes, slot);
    assert_says(
        &error,
        &[
            &format!("the slots need {needed} bytes of shared memory, {available} bytes are free in {place}"),
            &format!(
                "use fewer slots (4 now, 1099511627776 bytes each) or smaller batches, or enlarge {place}"
            ),
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
fn fork_server_that_cannot_be_executed_is_named() {
    let _leaks = isolated!();
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
fn application_is_its_own_fork_server_without_a_line_in_main() {
    let _leaks = isolated!();
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
        let test = &test_name!();
        let output = run_as_application(test, &paths.join("|"), &[("PATH", path)]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let found = with_path("/nowhere");
    assert!(found.contains("batch 0"), "{found}");
}

#[test]
fn another_program_is_refused_as_fork_server() {
    let _leaks = isolated!();
    let folder = folder();
    let hello = r"printf '\201\245Hello\201\247version\2450.0.9'";
    let strangers = [
        (PathBuf::from("/bin/true"), "is it an executable with cobuf-host in it?"),
        (PathBuf::from("/bin/cat"), "is it an executable with cobuf-host in it?"),
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
fn silent_fork_server_is_given_up() {
    let leaks = isolated!();
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
fn plugin_that_ends_its_process_is_reported_with_its_exit() {
    let _leaks = isolated!();
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
fn constructor_that_never_returns_is_given_up() {
    let _leaks = isolated!();
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
fn arrays_that_differ_between_processes_are_refused() {
    let _leaks = isolated!();
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
fn missing_working_directory_is_named() {
    let _leaks = isolated!();
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
fn impossible_environment_variable_is_refused_by_name() {
    let _leaks = isolated!();
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0")] {
        let env = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let error = start_error(good().process_setup(ProcessSetup { env, ..ProcessSetup::default() }));
        assert!(matches!(error, StartError::Process { .. }), "{error:?}");
        let named = format!("the environment variable {name:?} cannot be set to {value:?}");
        assert_says(&error, &[&named, "expected a name without '=' and no zero bytes"]);
    }
}

#[test]
fn process_setup_reaches_the_plugin() {
    let _leaks = isolated!();
    let folder = folder();
    let init = ProcessSetup {
        env: BTreeMap::from([("COBUF_TEST_THREADS".to_owned(), "three = 3".to_owned())]),
        working_directory: Some(folder.path().to_owned()),
        nice: Some(7),
        ..ProcessSetup::default()
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
fn inspection_gives_the_same_errors_as_a_start() {
    let _leaks = isolated!();
    let ask = |plugin: &Plugin, config: Dictionary| {
        Inspection::of(plugin.clone()).config(config).fork_server(COBUF).run()
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
fn start_after_a_failed_one_works() {
    let _leaks = isolated!();
    for method in [StartMethod::ForkServer, StartMethod::Fork] {
        start_error(good().start_method(method).producer_config(Dictionary::new()));
        start_error(good().start_method(method).commander_config(list([]).with("fail_new", "no camera")));
        let host: Host = good().start_method(method).start().unwrap();
        assert_eq!(all_items(&host.batches()).map(|item| item.unwrap().sequence()).collect::<Vec<_>>(), [0]);
    }
}

#[test]
fn error_of_a_constructor_comes_with_its_causes() {
    let _leaks = isolated!();
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
fn panic_of_a_constructor_comes_with_its_place() {
    let _leaks = isolated!();
    let panicking = good().workers(3).producer_config(arrays_config(&small()).with("panic_new", "no luck"));
    let report = setup_error(panicking, PluginKind::Producer, "fill-producer");
    assert_eq!((report.kind, report.chain.len()), (ReportKind::Panic, 1));
    assert_contains(&report.chain[0], &["panicked at ", "fill-producer/src/lib.rs:", ": no luck"]);
}
