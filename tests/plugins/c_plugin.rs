//! Plugins in C and C++, built by the system's compiler with the shipped header: run by a host, or
//! refused.

use crate::common::compiled::{build, compile, documented, ramp};
use crate::common::refusals::{assert_says, bytes_of, file_of, folder, refusal_of, said, start_error, text};
use crate::common::{
    Delivered, LONG, Logs, batch_error, cobuf, host, index, isolated, list, next_batch, next_item, outline,
    plugin, repository,
};
use cobuf_host::ndarray::{Ix1, Ix2};
use cobuf_host::{
    Batch, BatchError, Death, Dictionary, Exit, HostBuilder, Plugin, PluginError, ReportKind, StartError,
    Value,
};
use cobuf_plugin_api::rand::RngExt as _;
use cobuf_plugin_api::{generator, message_seed};
use std::time::Instant;
use tempfile::TempDir;

// Where the fields of a manifest are; this layout is frozen.
const KIND: usize = 16;
const API_VERSION: usize = 152;

fn odd(folder: &TempDir, arguments: &[&str]) -> Plugin {
    let source = repository().join("tests/common/sources/c/odd.c");
    build(folder, "cc", &source, &[&["-std=c99", "-pthread"], arguments].concat())
}

/// A host with a producer without a configuration, and these messages.
fn producing(producer: Plugin, messages: impl IntoIterator<Item = Dictionary>) -> HostBuilder {
    let host = host().commander(plugin("list-commander")).commander_config(list(messages));
    host.producer(producer).producer_config(Dictionary::new())
}

/// A host that makes ramps of the items 0 to 98, 10 a batch.
fn ramps(producer: Plugin, noise: f64) -> HostBuilder {
    let items = Dictionary::new().with("length", 99).with("batch_size", 10).with("epochs", 2);
    let config = Dictionary::new().with("batch_size", 10).with("width", 8).with("noise", noise);
    let host = host().commander(plugin("index-commander")).commander_config(items);
    host.producer(producer).producer_config(config)
}

fn elements(batch: &Batch) -> Vec<u64> {
    batch.array::<u64, Ix2>("x").unwrap().iter().copied().collect()
}

/// The only error of a stream of the odd producer with this message between two others, which must
/// be good.
fn error_of(message: Dictionary) -> BatchError {
    let folder = folder();
    let host = producing(odd(&folder, &[]), [index(0), message, index(2)]).workers(1).start().unwrap();
    let batches = host.batches();
    assert_eq!(next_batch(&batches).sequence(), 0);
    let error = batch_error(next_item(&batches));
    assert_eq!(outline(&batches), "2");
    error
}

fn start(producer: Plugin, config: Dictionary) -> StartError {
    start_error(producing(producer, []).producer_config(config).workers(1))
}

#[test]
fn producer_in_c_fills_its_declared_arrays() {
    let _leaks = isolated!();
    let folder = folder();
    let host = ramps(ramp(&folder, &[]), 0.0).workers(2).start().unwrap();
    let batches = host.batches();
    for (sequence, rows) in (0..20).map(|sequence| (sequence, if sequence % 10 == 9 { 9 } else { 10 })) {
        let batch = next_batch(&batches);
        assert_eq!(batch.rows(), Some(rows));
        let items = batch.array::<i64, Ix1>("item").unwrap();
        let (ramp, level) =
            (batch.array::<f32, Ix2>("ramp").unwrap(), batch.array::<u8, Ix2>("level").unwrap());
        for (row, &item) in items.iter().enumerate() {
            assert_eq!(item, (sequence % 10) * 10 + row as i64);
            for x in 0..8 {
                let value = (item % 16) as f64 + x as f64 / 8.0;
                assert_eq!((ramp[[row, x]], level[[row, x]]), (value as f32, (value * 15.0) as u8));
            }
        }
        assert_eq!(batch.metadata::<Dictionary>().unwrap(), Dictionary::new().with("noise", 0.0));
    }
    assert!(next_item(&batches).is_none());
}

#[test]
fn content_is_the_same_for_any_workers_and_any_compiler_options() {
    let _leaks = isolated!();
    let folder = folder();
    let delivered = |workers: usize, arguments: &[&str]| {
        let host = ramps(ramp(&folder, arguments), 0.5).seed(3).workers(workers).start().unwrap();
        Delivered::of(&host.batches())
    };
    let expected = delivered(1, &[]);
    assert_eq!(expected.sequences.len(), 20);
    assert_eq!(delivered(2, &["-O0", "-g"]), expected);
    // All that could remove the manifest, or hide the symbol.
    let lean =
        ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-fvisibility=hidden", "-flto", "-s"];
    assert_eq!(delivered(2, &lean), expected);
}

#[test]
fn inspect_shows_a_plugin_in_c() {
    let _leaks = isolated!();
    let folder = folder();
    let ramp = ramp(&folder, &["-mavx2"]);
    let mut command = cobuf();
    command.arg("inspect").arg(ramp.path()).args(["--set", "batch_size=4", "--set", "width=8"]);
    let output = command.output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let manifest = ramp.manifest().unwrap();
    assert!(manifest.cpu_features.contains(&"avx2".to_owned()), "{manifest:?}");
    for part in [
        "producer ramp-producer-c 0.1.0",
        "cobuf.h      C/1",
        "(C)",
        "-unknown-linux-",
        "avx2",
        "batch_size (integer, required): the most items of a message",
        "noise (number, default 0)",
        "level u8 (4, 8), 32 bytes",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn wrong_configuration_is_named_by_its_field() {
    let _leaks = isolated!();
    let folder = folder();
    let ramp = ramp(&folder, &[]);
    let good = || Dictionary::new().with("batch_size", 4).with("width", 8);
    for (config, reason) in [
        (
            good().with("widht", 8),
            "the configuration has a field \"widht\" that is not known; known are: batch_size, noise, width",
        ),
        (
            good().with("width", "far"),
            "the configuration is wrong at \"width\": it is \"far\", expected an integer of 64 bits that is not negative",
        ),
        (Dictionary::new().with("width", 8), "wrong at \"batch_size\": nothing is there"),
        (good().with("noise", 2), "noise is 2, expected 0 to 1"),
    ] {
        let error = start(ramp.clone(), config);
        assert!(matches!(error, StartError::Plugin(PluginError::Setup { .. })), "{error:?}");
        assert_says(&error, &["the producer ramp-producer-c cannot be set up: ", reason]);
    }
    let odd = odd(&folder, &[]);
    for (config, reason) in [
        (
            Dictionary::new().with("dtype", 0),
            "array \"x\" has the element type 99, expected COBUF_BOOL to COBUF_F64",
        ),
        (Dictionary::new().with("twice", 0), "\"x\""),
        (
            Dictionary::new().with("random", 0),
            "random numbers belong to a message: they can be had in produce, not in schema",
        ),
        (Dictionary::new().with("folder", "/scans"), "cannot open the folder /scans in worker 0 of 1"),
        // The plugin's text is the context of what failed before.
        (
            Dictionary::new().with("folder", 3),
            "cannot open the data: the configuration is wrong at \"folder\": it is 3, expected text",
        ),
    ] {
        assert_says(&start(odd.clone(), config), &["the producer odd-producer-c cannot be set up: ", reason]);
    }
}

#[test]
fn plugin_in_c_reads_and_attaches_every_kind_of_value() {
    let _leaks = isolated!();
    let folder = folder();
    let items = vec![Value::from(3), Value::from(i64::MIN)];
    let echo = Dictionary::new().with("on", true).with("low", -7).with("high", u64::MAX).with("gain", 1);
    let echo = echo.with("text", "Grüße").with("bytes", Value::Bytes(vec![1, 255])).with("items", items);
    let host = producing(odd(&folder, &[]), [Dictionary::new().with("echo", echo)]).start().unwrap();
    let expected = Dictionary::new().with("on", true).with("low", -7).with("high_is_all_bits", 1);
    let expected = expected.with("gain", 1.0).with("text", "Grüße").with("key", "low").with("last_byte", 255);
    // A MessagePack map with one entry begins with 0x81.
    let expected = expected.with("last_item", i64::MIN).with("length", 7).with("first_byte", 0x81);
    assert_eq!(next_batch(&host.batches()).metadata::<Dictionary>().unwrap(), expected);
}

#[test]
fn random_numbers_in_c_equal_those_in_rust() {
    let _leaks = isolated!();
    let folder = folder();
    let messages = (0..40).map(|number| index(number).with("uniform", true));
    let host = producing(odd(&folder, &[]), messages).seed(9).workers(2).start().unwrap();
    let batches = host.batches();
    for sequence in 0..40 {
        let batch = next_batch(&batches);
        let mut rng = generator(message_seed(9, sequence));
        let expected: Vec<u64> = (0..8).map(|_| rng.random()).collect();
        assert_eq!(elements(&batch), expected);
        let uniform = Dictionary::new().with("uniform", rng.random::<f64>());
        assert_eq!(batch.metadata::<Dictionary>().unwrap(), uniform);
    }
}

#[test]
fn error_comes_in_the_place_of_its_batch_with_its_causes() {
    let _leaks = isolated!();
    let wrong = |field: &str| {
        format!("the message is wrong at {field:?}: it is \"no\", expected an integer of 64 bits")
    };
    let asked = |field: &str, value: Value| index(1).with(field, value).with("rows", 2);
    let chain = |error: BatchError| {
        assert_eq!((error.sequence(), error.kind()), (1, ReportKind::Error));
        assert!(error.attempts().is_empty());
        error.chain().to_vec()
    };
    let context = chain(error_of(asked("context", "no".into())));
    assert_eq!(context, ["cannot read the scan".to_owned(), wrong("context")]);
    // Even if the plugin looks at no result.
    assert_eq!(chain(error_of(asked("ignore", "no".into()))), [wrong("ignore")]);
    assert_eq!(
        chain(error_of(index(1).with("rows", 5))),
        ["a batch of 5 rows does not fit: the arrays have 4"]
    );
    assert_eq!(
        chain(error_of(asked("declare", true.into()))),
        ["arrays are declared in schema, not in produce"]
    );
    assert_eq!(
        chain(error_of(asked("silent", true.into()))),
        [
            "the plugin's function \"produce\" returned 7 and did not say why; have it return cobuf_fail(call, \"…\")"
        ]
    );
}

#[test]
fn producer_in_c_that_asks_for_it_is_closed_and_opened_anew() {
    let _leaks = isolated!();
    let folder = folder();
    let library = odd(&folder, &[]);
    let broken = || index(0).with("break", true);
    for (first, later_fails) in [(broken(), true), (broken().with("renew", true), false)] {
        let host = producing(library.clone(), [first, index(1)]).workers(1).start().unwrap();
        let batches = host.batches();
        assert_eq!(batch_error(next_item(&batches)).chain(), ["the handle is broken"]);
        assert_eq!(next_item(&batches).unwrap().is_err(), later_fails);
        assert_eq!(host.statistics().worker_restarts, 0);
    }
}

#[test]
fn logs_of_a_plugin_in_c_reach_the_application() {
    let _leaks = isolated!();
    let folder = folder();
    let logs = Logs::collect();
    logs.clear();
    let messages = [index(0).with("thread", true), index(1).with("log", "half of it is black, batch")];
    let host = producing(odd(&folder, &[]), messages).workers(1).start().unwrap();
    let record = logs.wait_for("half of it is black, batch 1");
    assert_eq!((record.level.as_str(), record.worker), ("WARN", Some(0)));
    assert_eq!(record.plugin.as_deref(), Some("odd-producer-c"));
    assert_eq!(logs.wait_for("opened, incarnation 0").level, "INFO");
    logs.wait_for("said in a thread of its own, stop 0");
    drop(host);
    logs.wait_for("closed what was opened");
}

#[test]
fn crash_in_c_is_a_death_like_any_other() {
    let _leaks = isolated!();
    let folder = folder();
    let messages = [index(0), index(1).with("crash", true), index(2)];
    let host = producing(odd(&folder, &["-g"]), messages).workers(2).max_attempts(2).start().unwrap();
    let batches = host.batches();
    next_batch(&batches);
    let error = batch_error(next_item(&batches));
    assert_eq!((error.sequence(), error.kind()), (1, ReportKind::Crash));
    let deaths: Vec<Death> = error.attempts().iter().map(|attempt| attempt.death).collect();
    assert_eq!(deaths, [Death::Exit(Exit::Signal(11)); 2]);
    let stack = error.attempts()[0].stack.as_ref().expect("a crash leaves its stack").to_string();
    assert!(stack.contains("produce") && stack.contains("odd.c"), "{stack}");
    // It ends where the host called the plugin.
    assert!(stack.lines().last().unwrap().contains("odd.c") && !stack.contains("cobuf_host"), "{stack}");
    assert_eq!(outline(&batches), "2");
}

#[test]
fn plugin_in_c_sees_the_request_to_stop() {
    let _leaks = isolated!();
    let folder = folder();
    let logs = Logs::collect();
    logs.clear();
    let message = Dictionary::new().with("log", "works until the stop, in").with("until_stop", true);
    // A grace that no plugin uses up if it stops when asked.
    let host = producing(odd(&folder, &[]), [message]).workers(1).stop_grace(LONG).start();
    let host = host.unwrap();
    logs.wait_for("works until the stop, in 0");
    let start = Instant::now();
    host.stop();
    assert!(start.elapsed() < LONG, "it took {:?}", start.elapsed());
}

#[test]
fn plugin_in_c_of_the_wrong_form_is_refused() {
    let _leaks = isolated!();
    let folder = folder();
    let whole = bytes_of(&odd(&folder, &[]));
    let manifest = whole.windows(8).position(|bytes| bytes == b"\x7fcobuf\n\0").unwrap();
    let other = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[manifest + at] = byte;
        file_of(&folder, "libother.so", &bytes)
    };
    let refused = refusal_of(other(API_VERSION + "C/".len(), b'2'));
    assert!(matches!(&refused, PluginError::CInterface { found, .. } if found == "C/2"), "{refused:?}");
    let sentence = "was built with cobuf.h for the C interface C/2, this host speaks C/1; \
                    rebuild it with the cobuf.h of cobuf-plugin-api 0.1.0, or use a host that speaks C/2";
    assert_says(&refused, &[sentence]);

    let commander = host().commander(other(KIND, 1)).producer(plugin("fill-producer"));
    assert_says(&start_error(commander), &["is a commander in C; write it in Rust"]);

    for (arguments, reason) in [
        (&["-Dcobuf_producer_export=elsewhere"][..], "undefined symbol: cobuf_producer_export"),
        (
            &["-fpack-struct"],
            "compile it with an unchanged cobuf.h of this version, and without options that change layouts",
        ),
        (&["-DSCHEMA=\"{\""], "the config_schema in its cobuf_producer is wrong: EOF"),
        (
            &["-DPRODUCE=NULL", "-Wno-unused-function"],
            "its cobuf_producer has no function produce; give it one",
        ),
    ] {
        let refused = refusal_of(odd(&folder, arguments));
        assert!(matches!(refused, PluginError::Load { .. }), "{refused:?}");
        assert_says(&refused, &["cannot load the plugin ", reason]);
    }
}

#[test]
fn header_compiles_in_every_language_that_it_names() {
    let _leaks = isolated!();
    let folder = folder();
    let ramp = &repository().join("plugins/ramp-producer-c/ramp.c");
    let object = folder.path().join("ramp.o");
    for standard in ["c99", "c11", "c17", "gnu17"] {
        compile("cc", ramp, &["-c", "-fPIC", "-o", text(&object), &format!("-std={standard}")]);
    }
    for standard in ["c++11", "c++14", "c++17", "c++20"] {
        let standard = format!("-std={standard}");
        compile("c++", ramp, &["-c", "-fPIC", "-o", text(&object), &standard, "-x", "c++"]);
    }
}

/// The batch has so many samples of the documented plugin, with gain 2.
fn assert_sines(batch: &Batch, frequency: f64, count: usize) {
    let wave = batch.array::<f32, Ix1>("wave").unwrap();
    assert_eq!(wave.len(), count);
    for (n, &sample) in wave.iter().enumerate() {
        assert!((f64::from(sample) - 2.0 * (frequency * n as f64).sin()).abs() < 1e-6);
    }
}

#[test]
fn documented_plugin_in_cpp_runs() {
    let _leaks = isolated!();
    let folder = folder();
    let frequency = |frequency: f64| Dictionary::new().with("frequency", frequency);
    let (few, many) = (frequency(0.5).with("count", 3), frequency(0.5).with("count", 257));
    let sine = documented(&folder);
    let config = Dictionary::new().with("gain", 2);
    let messages = [frequency(0.25), frequency(-1.0), few, many];
    let host = producing(sine.clone(), messages).producer_config(config).workers(2).start().unwrap();
    let batches = host.batches();
    let batch = next_batch(&batches);
    assert_sines(&batch, 0.25, 256);
    // What is thrown is caught at the boundary, in both places.
    let error = batch_error(next_item(&batches));
    assert_eq!(error.chain(), ["frequency is negative; expected 0 or more"]);
    let batch = next_batch(&batches);
    assert_sines(&batch, 0.5, 3);
    let error = batch_error(next_item(&batches)).chain().join(": ");
    assert!(error.contains("\"wave\" was given length 257 along axis 0, expected at most 256"), "{error}");
    assert_eq!(outline(&batches), "");
    let refused = start(sine, Dictionary::new().with("gain", -1));
    assert!(said(&refused).ends_with("gain is -1.000000, expected more than 0"), "{}", said(&refused));
}

/// A producer in C++ whose functions are wrapped by the header's `guarded`.
fn guarded(folder: &TempDir) -> Plugin {
    let source = repository().join("tests/common/sources/c/guarded.cpp");
    build(folder, "c++", &source, &["-std=c++11"])
}

#[test]
fn guarded_exception_is_the_error_of_its_batch_with_its_causes() {
    let _leaks = isolated!();
    let folder = folder();
    let messages = ["nested", "nameless", "fails"].map(|what| Dictionary::new().with(what, true));
    let host = producing(guarded(&folder), messages).start().unwrap();
    let batches = host.batches();
    for chain in [
        &["cannot read the slide", "tile 3 is damaged"][..],
        &["an exception without a text"],
        &["asked to fail"],
    ] {
        let error = batch_error(next_item(&batches));
        assert_eq!(
            (error.kind(), error.chain()),
            (ReportKind::Error, &chain.iter().map(|&text| text.to_owned()).collect::<Vec<_>>()[..])
        );
    }
    assert_eq!(host.statistics().worker_restarts, 0);
}

#[test]
fn lists_of_numbers_and_ranges_are_read_and_drawn_in_c() {
    let _leaks = isolated!();
    let folder = folder();
    let weights = |weights: &[f64]| {
        let list: Vec<Value> = weights.iter().copied().map(Value::from).collect();
        Dictionary::new().with("weights", list)
    };
    let draws = (0..50).map(|number| index(number).with("draws", true));
    let messages = [weights(&[0.5, -2.0, 1e300, 4.0]), weights(&[1.0]), index(0).with("weights", 3)];
    let host = producing(guarded(&folder), messages.into_iter().chain(draws)).start().unwrap();
    let batches = host.batches();
    let x = |batch: &Batch| batch.array::<f64, Ix1>("x").unwrap().to_vec();
    assert_eq!(x(&next_batch(&batches)), [0.5, -2.0, 1e300, 4.0]);
    let error = batch_error(next_item(&batches));
    assert_eq!(error.chain(), ["weights has 1 entries, expected 4"]);
    batch_error(next_item(&batches));
    let mut drawn = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let x = x(&next_batch(&batches));
        assert!(x[2..].iter().all(|number| (-3.0..-1.0).contains(number)), "{x:?}");
        drawn.extend(x[..2].iter().map(|&number| number as u64));
    }
    assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn uncaught_exception_is_only_a_death() {
    let _leaks = isolated!();
    let folder = folder();
    let source = repository().join("tests/common/sources/c/throwing.cpp");
    let throwing = build(&folder, "c++", &source, &["-std=c++11"]);
    let messages = [index(0), index(1).with("throw", true), index(2)];
    let host = producing(throwing, messages).workers(2).max_attempts(1).start().unwrap();
    let batches = host.batches();
    next_batch(&batches);
    let error = batch_error(next_item(&batches));
    assert_eq!((error.sequence(), error.kind()), (1, ReportKind::Crash));
    assert_eq!(error.attempts()[0].death, Death::Exit(Exit::Signal(6)));
    assert_eq!(outline(&batches), "2");
}
