//! A broken new plugin: its swap is refused with the reason, and the stream goes on undisturbed.

use crate::common::editions::{Collected, Faults, copies, edition, endless, given};
use crate::common::refusals::{assert_says, bytes_of, file_of};
use crate::common::{LONG, Process, index, isolated, next_batch, plugin, wait_until};
use cobuf_host::{Batches, Host, Plugin, SwapError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

/// For plugins that hang: long enough for those that do not.
const START_TIMEOUT: Duration = Duration::from_secs(3);

/// Reads on, and asserts that it is the first edition's.
fn assert_unharmed(batches: &Batches) {
    for _ in 0..30 {
        assert_eq!(next_batch(batches).edition(), 0);
    }
}

fn refused(host: &Host, plugin: &Plugin) -> SwapError {
    let error = host.swap_producer(plugin).expect_err("this producer must be refused");
    assert_eq!(host.edition(), 0);
    error
}

#[test]
fn failing_producer_is_refused_with_its_reason() {
    let _leaks = isolated!();
    let faults = Faults::none();
    let host = endless(&faults).start().unwrap();
    let (new, batches) = (edition(1), host.batches());
    let cases = [
        ("error in schema", "cannot be set up: no schema today"),
        ("error in new", "cannot be set up: no producer today"),
        ("panic in new", "asked to panic in new"),
        ("exit in new", "ended its process while it was set up: exit code 7"),
        ("error in produce", "failed at message"),
        ("error in produce", "in its rehearsal: no batch today"),
        ("panic in produce", "asked to panic in produce"),
        ("exit in produce", "ended its process while it was set up: exit code 0"),
        ("crash in produce", "ended its process while it was set up: signal 6 (SIGABRT)"),
        (
            "other schema",
            "the producer edition-producer-1 declares other arrays than the one that runs: \
             the array \"numbers\" is u64 (4,), expected u64 (3,); start a new run with it",
        ),
    ];
    // So that there is a message to rehearse with.
    assert_unharmed(&batches);
    for (fault, says) in cases {
        faults.set(fault);
        assert_says(&refused(&host, &new), &["the producer edition-producer-1", says]);
        assert_unharmed(&batches);
    }
    let statistics = host.statistics();
    assert_eq!((statistics.worker_restarts, statistics.retries, statistics.errors), (0, 0, 0));
    // Nothing of it stands in the way of the one that is mended.
    faults.clear();
    assert!(host.swap_producer(&new).unwrap() > 0);
    wait_until("the refused copies are gone", || copies(host.fork_server_pid()).len() == 3);
}

#[test]
fn hanging_producer_is_given_up_after_the_start_timeout() {
    let _leaks = isolated!();
    let faults = Faults::none();
    let host = endless(&faults).start_timeout(START_TIMEOUT).start().unwrap();
    let batches = host.batches();
    for fault in ["hang in new", "hang in second new", "hang in produce"] {
        faults.set(fault);
        let error = refused(&host, &edition(1));
        assert!(matches!(error, SwapError::Timeout { limit, .. } if limit == START_TIMEOUT), "{error:?}");
        assert_says(&error, &["the producer edition-producer-1 was not ready after 3 s"]);
        assert_unharmed(&batches);
    }
    faults.clear();
    host.swap_producer(&edition(1)).unwrap();
}

#[test]
fn file_that_is_no_such_plugin_is_refused() {
    let _leaks = isolated!();
    let host = endless(&Faults::none()).start().unwrap();
    let (folder, bytes, batches) = (crate::common::refusals::folder(), bytes_of(&edition(1)), host.batches());
    let without_symbol = {
        const SYMBOL: &[u8] = b"_1as_0lib_1header_0root_bmodule_bloader";
        let mut bytes = bytes.clone();
        let names = 0..bytes.len() - SYMBOL.len();
        let places: Vec<usize> = names.filter(|&at| bytes[at..].starts_with(SYMBOL)).collect();
        assert!(!places.is_empty());
        places.into_iter().for_each(|at| bytes[at] = b'x');
        file_of(&folder, "libwithout.so", &bytes)
    };
    let truncated = file_of(&folder, "libhalf.so", &bytes[..bytes.len() / 2]);
    let cases = [
        (without_symbol, "cannot load the plugin"),
        (truncated, "cannot be used"),
        (plugin("list-commander"), "is a commander, expected a producer"),
        (Plugin::file("/nowhere/libnone.so"), "cannot read the plugin /nowhere/libnone.so"),
        (Plugin::package("/nowhere"), "the plugin /nowhere is a package; call `plugin.built()?` first"),
        (plugin("digits-producer"), "the producer digits-producer cannot be set up"),
    ];
    for (plugin, says) in cases {
        assert_says(&refused(&host, &plugin), &[says]);
        assert_unharmed(&batches);
    }
}

#[test]
fn file_written_during_its_swap_does_no_harm() {
    let _leaks = isolated!();
    let host = endless(&Faults::none()).start().unwrap();
    let (folder, editions, batches) =
        (crate::common::refusals::folder(), [edition(0), edition(1)], host.batches());
    let bytes = editions.each_ref().map(bytes_of);
    let file = file_of(&folder, "libplugin.so", &bytes[1]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // As a linker does: from nothing, in parts, and not always to the end.
            for turn in 0.. {
                let bytes = &bytes[turn % 2];
                for part in [0, bytes.len() / 3, bytes.len()] {
                    fs::write(file.path(), &bytes[..part]).unwrap();
                    thread::yield_now();
                }
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let mut collected = Collected::default();
        for _ in 0..5 {
            match host.swap_producer(&file) {
                // Whichever it was, it was whole.
                Ok(_) | Err(SwapError::Plugin(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
            (0..20).for_each(|_| collected.add(&next_batch(&batches)));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn death_of_the_fork_server_ends_a_swap_and_not_the_run() {
    let leaks = isolated!();
    let faults = Faults::none();
    let host = endless(&faults).start().unwrap();
    faults.set("hang in new");
    let batches = host.batches();
    thread::scope(|scope| {
        let swap = scope.spawn(|| host.swap_producer(&edition(1)));
        let server = Process::get(host.fork_server_pid() as i32).unwrap();
        wait_until("the rehearsal runs", || {
            Process::children_of(server.pid).iter().any(|child| child.name == "cobuf-probe")
        });
        server.kill();
        let error = swap.join().unwrap().unwrap_err();
        assert!(matches!(error, SwapError::ForkServerDied), "{error:?}");
    });
    assert_unharmed(&batches);
    faults.clear();
    host.swap_producer(&edition(1)).unwrap();
    drop(host);
    leaks.bury_orphans();
}

/// A producer that is slower than the deadline would fail at every message.
#[test]
fn message_deadline_holds_in_a_rehearsal() {
    let _leaks = isolated!();
    let faults = Faults::none();
    let deadline = Duration::from_secs(1);
    let host = endless(&faults).message_timeout(deadline).start().unwrap();
    let batches = host.batches();
    assert_unharmed(&batches);
    faults.set("hang in produce");
    let error = refused(&host, &edition(1));
    assert!(matches!(error, SwapError::Timeout { limit, .. } if limit == deadline), "{error:?}");
    assert_unharmed(&batches);
}

/// What the old code cannot do either is no reason against the new.
#[test]
fn producer_that_fails_at_bad_messages_only_is_accepted() {
    let _leaks = isolated!();
    let messages = (0..10).map(|number| index(number).with("bad", number % 3 > 0));
    let host = given(&Faults::none(), messages, 0).start().unwrap();
    let batches = host.batches();
    for number in 1..=5 {
        // The next one is another message each time.
        drop(batches.next_timeout(LONG));
        host.swap_producer(&edition(number % 2)).unwrap();
    }
}

/// A large plan, plugins that log, and deaths, all at once: no process waits for a full socket.
#[test]
fn large_configuration_does_not_block_the_run() {
    let _leaks = isolated!();
    let faults = Faults::none();
    let padding = "x".repeat(1000);
    let messages =
        (0..3000).map(|number| index(number).with("log", "again").with("padding", padding.as_str()));
    let host = given(&faults, messages, 0).workers(8).slots(32).start().unwrap();
    let batches = host.batches();
    faults.set("error in second new");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut batches = batches.clone();
            while !over.load(Ordering::Relaxed) {
                drop(batches.next());
            }
        });
        for _ in 0..5 {
            assert_says(&refused(&host, &edition(1)), &["no second producer"]);
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn swap_ends_with_the_run() {
    let _leaks = isolated!();
    let faults = Faults::none();
    let builder = endless(&faults).fork_server(crate::common::COBUF);
    let host = builder.start().unwrap();
    // On another thread a swap is going on that would not come to its end.
    faults.set("hang in new");
    let new = edition(1);
    let error = thread::scope(|scope| {
        let swap = scope.spawn(|| host.swap_producer(&new).unwrap_err());
        wait_until("the rehearsal runs", || {
            let children = Process::children_of(host.fork_server_pid() as i32);
            children.iter().any(|child| child.name == "cobuf-probe")
        });
        host.stop();
        swap.join().unwrap()
    });
    assert_says(&error, &["the run ended before the plugin was swapped"]);
    let package = Plugin::package(crate::common::repository().join("plugins/fill-producer"));
    for plugin in [&new, &package] {
        assert!(matches!(host.swap_producer(plugin), Err(SwapError::Ended)));
    }
}
