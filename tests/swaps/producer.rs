//! The producer is swapped under a running stream: exactly at one message, and nothing is lost,
//! done twice or left behind.

use crate::common::dice::Dice;
use crate::common::editions::{
    self, Collected, Faults, MESSAGES, copies, edition, endless, footprint, given,
};
use crate::common::traces::Trace;
use crate::common::{
    Gate, Logs, Process, gated, index, isolated, next_batch, next_item, wait_for_ready, wait_until,
};
use cobuf_host::{Commander, Host, Plugin, PluginError, PluginKind, SwapError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

/// Reads a stream while `meanwhile` runs on this thread, and then until so many batches of its last
/// edition have come.
fn read_while<T>(host: &Host, rest: usize, meanwhile: impl FnOnce() -> T) -> (Collected, T) {
    let (done, mut batches) = (AtomicBool::new(false), host.batches());
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut collected = Collected::default();
            while !done.load(Ordering::Relaxed) || collected.of(host.edition()) < rest {
                collected.add(&batches.next().expect("the stream is endless").expect("every batch is there"));
            }
            collected
        });
        let result = meanwhile();
        done.store(true, Ordering::Relaxed);
        (reader.join().unwrap(), result)
    })
}

#[test]
fn cut_is_exact_in_both_orders() {
    let _leaks = isolated!();
    let faults = Faults::none();
    let editions = [edition(0), edition(1)];
    for deterministic in [true, false] {
        let host = endless(&faults).ordered(deterministic).start().unwrap();
        assert_eq!(host.edition(), 0);
        let (collected, cuts) = read_while(&host, 20, || {
            let swaps = (1..=6).map(|number| host.swap_producer(&editions[number % 2]).unwrap());
            swaps.collect::<Vec<u64>>()
        });
        assert_eq!(host.edition(), 6);
        collected.assert_cut_at(&cuts, 8, |edition| u64::from(edition) % 2);
        // What is drawn follows from the seed and the message, in whatever process.
        let undisturbed = endless(&faults).workers(1).start().unwrap();
        let batches = undisturbed.batches();
        for (sequence, drawn) in collected.drawn().take(500) {
            let mut batch = next_batch(&batches);
            while batch.sequence() < sequence {
                batch = next_batch(&batches);
            }
            assert_eq!(crate::common::editions::numbers(&batch)[2], drawn, "batch {sequence}");
        }
        let statistics = host.statistics();
        assert_eq!((statistics.retries, statistics.errors, statistics.worker_restarts), (0, 0, 0));
    }
}

#[test]
fn swap_and_the_workers_of_each_edition_are_in_the_trace() {
    let _leaks = isolated!();
    let (faults, folder) = (Faults::none(), tempfile::tempdir().unwrap());
    let path = folder.path().join("run.json");
    let host = endless(&faults).trace(&path).start().unwrap();
    let (_, first) = read_while(&host, 20, || host.swap_producer(&edition(1)).unwrap());
    host.stop();
    let trace = Trace::read(&path);
    assert_eq!(trace.moments("swap of the producer")[0]["sequence"], first);
    for track in trace.tracks("worker") {
        let is_new = track.name.ends_with(", edition 1");
        assert!(track.spans.iter().all(|span| is_new == (first <= span.sequence())), "{}", track.name);
    }
    assert!(trace.tracks("worker").iter().any(|track| track.name.ends_with(", edition 1")));
}

#[test]
fn cut_is_exact_while_the_application_submits() {
    let _leaks = isolated!();
    let faults = Faults::none();
    for ordered in [true, false] {
        let host = editions::of(Commander::Application, &faults).ordered(ordered).start().unwrap();
        let submitter = host.submitter();
        let submit = thread::spawn(move || {
            // Until the stop.
            (0..).take_while(|number| submitter.submit(&index(number % MESSAGES)).is_ok()).count()
        });
        let (collected, cuts) = read_while(&host, 20, || {
            [edition(1), edition(0), edition(1)].map(|plugin| host.swap_producer(&plugin).unwrap())
        });
        collected.assert_cut_at(&cuts, 8, |edition| u64::from(edition) % 2);
        host.stop();
        assert!(submit.join().unwrap() > 0);
    }
}

#[test]
fn consumer_can_swap_while_every_slot_is_full() {
    let _leaks = isolated!();
    let host = endless(&Faults::none()).start().unwrap();
    wait_for_ready(&host, 8);
    // All that is ready is the old one's, and nothing was read yet.
    assert_eq!(host.swap_producer(&edition(1)).unwrap(), 8);
    let batches = host.batches();
    let mut collected = Collected::default();
    (0..30).for_each(|_| collected.add(&next_batch(&batches)));
    collected.assert_cut_at(&[8], 0, u64::from);
}

#[test]
fn old_code_finishes_its_messages() {
    let _leaks = isolated!();
    let (logs, gate) = (Logs::collect(), Gate::new());
    let messages =
        (0..4).map(|number| if number == 0 { gated(0, "old at the gate", &gate) } else { index(number) });
    let host = given(&Faults::none(), messages, 1).ordered(false).start().unwrap();
    logs.wait_for("old at the gate");
    wait_for_ready(&host, 3);
    let first = host.swap_producer(&edition(1)).unwrap();
    assert_eq!(first, 4);
    gate.open();
    let batches = host.batches();
    let mut editions: Vec<_> = (0..4).map(|_| next_batch(&batches).edition()).collect();
    editions.dedup();
    assert_eq!(editions, [0]);
    assert!(next_item(&batches).is_none());
}

#[test]
fn message_of_the_old_code_is_retried_by_it() {
    let _leaks = isolated!();
    let (logs, gate) = (Logs::collect(), Gate::new());
    logs.clear();
    let messages = (0..4).map(|number| if number == 0 { gated(0, "held", &gate) } else { index(number) });
    let host = given(&Faults::none(), messages, 1).workers(1).slots(2).start().unwrap();
    let holder = logs.wait_for("held").worker.unwrap();
    let old = Process::worker(host.fork_server_pid(), u32::try_from(holder).unwrap());
    assert_eq!(host.swap_producer(&edition(1)).unwrap(), 1);
    old.kill();
    gate.open();
    let batches = host.batches();
    let came: Vec<_> =
        (0..4).map(|_| next_batch(&batches)).map(|batch| (batch.edition(), batch.retries())).collect();
    assert_eq!(came, [(0, 1), (1, 0), (1, 0), (1, 0)]);
}

#[test]
fn number_of_workers_is_kept_and_changed_across_a_swap() {
    let _leaks = isolated!();
    let host = endless(&Faults::none()).workers(3).start().unwrap();
    let workers = |number: usize| {
        wait_until(&format!("{number} workers"), || {
            Process::living_workers(host.fork_server_pid()).len() == number
        });
    };
    let (_, cut) = read_while(&host, 10, || host.swap_producer(&edition(1)).unwrap());
    assert!(cut > 0);
    workers(3);
    host.set_workers(5).unwrap();
    workers(5);
    let (_, _) = read_while(&host, 10, || host.swap_producer(&edition(0)).unwrap());
    workers(5);
    host.set_workers(1).unwrap();
    workers(1);
    assert_eq!(host.workers(), 1);
    let (collected, ()) = read_while(&host, 10, || ());
    assert!(collected.of(2) >= 10);
}

#[test]
fn worker_that_dies_after_a_swap_returns_with_the_new_code() {
    let leaks = isolated!();
    let host = endless(&Faults::none()).workers(1).start().unwrap();
    host.swap_producer(&edition(1)).unwrap();
    let (_, ()) = read_while(&host, 10, || ());
    Process::worker(host.fork_server_pid(), 0).kill();
    let (collected, ()) = read_while(&host, 30, || ());
    assert_eq!(collected.of(0), 0);
    wait_until("the worker was started again", || host.statistics().worker_restarts == 1);
    Process::get(host.fork_server_pid() as i32).unwrap().kill();
    let (collected, ()) = read_while(&host, 30, || ());
    assert_eq!(collected.of(0), 0);
    drop(host);
    leaks.bury_orphans();
}

#[test]
fn overwritten_file_is_unused_until_a_swap() {
    let _leaks = isolated!();
    let folder = crate::common::refusals::folder();
    let file = crate::common::refusals::file_of(
        &folder,
        "libplugin.so",
        &crate::common::refusals::bytes_of(&edition(0)),
    );
    let host = endless(&Faults::none()).producer(file.clone()).workers(1).start().unwrap();
    let new = crate::common::refusals::bytes_of(&edition(1));
    let changes: [&dyn Fn(); 4] = [
        &|| fs::write(file.path(), b"").unwrap(),
        &|| fs::write(file.path(), &new[..new.len() / 2]).unwrap(),
        &|| fs::remove_file(file.path()).unwrap(),
        &|| fs::write(file.path(), &new).unwrap(),
    ];
    for change in changes {
        change();
        Process::worker(host.fork_server_pid(), 0).kill();
        let (collected, ()) = read_while(&host, 20, || ());
        assert!(collected.of(0) >= 20);
    }
    let (collected, cut) = read_while(&host, 10, || host.swap_producer(&file).unwrap());
    assert!(cut > 0 && collected.of(1) >= 10);
}

#[test]
fn previous_code_can_be_restored_without_its_file() {
    let _leaks = isolated!();
    let folder = crate::common::refusals::folder();
    let file = crate::common::refusals::file_of(
        &folder,
        "libplugin.so",
        &crate::common::refusals::bytes_of(&edition(0)),
    );
    let faults = Faults::none();
    let host = endless(&faults).producer(file.clone()).start().unwrap();
    let refused = host.roll_back(PluginKind::Producer).unwrap_err();
    crate::common::refusals::assert_says(&refused, &["the producer was not swapped yet"]);
    // The new build has overwritten the old one.
    fs::write(file.path(), crate::common::refusals::bytes_of(&edition(1))).unwrap();
    let (collected, cuts) = read_while(&host, 10, || {
        let first = host.swap_producer(&file).unwrap();
        // One that fails late takes nothing away.
        faults.set("error in second new");
        host.swap_producer(&file).unwrap_err();
        faults.clear();
        [first, host.roll_back(PluginKind::Producer).unwrap(), host.roll_back(PluginKind::Producer).unwrap()]
    });
    collected.assert_cut_at(&cuts, 8, |edition| u64::from(edition) % 2);
    let (_, cuts) = read_while(&host, 10, || {
        let list = crate::common::plugin("list-commander");
        [host.swap_commander(&list).unwrap(), host.roll_back(PluginKind::Commander).unwrap()]
    });
    assert!(cuts.is_sorted(), "{cuts:?}");
}

#[test]
fn storm_of_swaps_leaves_nothing() {
    let _leaks = isolated!();
    const SWAPS: usize = 200;
    let editions = [edition(0), edition(1)];
    let host = endless(&Faults::none()).slots(16).start().unwrap();
    let server = host.fork_server_pid();
    let own = std::process::id();
    let mut before = [[0; 3]; 2];
    let (collected, cuts) = read_while(&host, 20, || {
        let swap = |number: usize| {
            let cut = host.swap_producer(&editions[number % 2]).unwrap();
            // What there is at once is bounded: the old crew and the new.
            assert!(Process::living_workers(server).len() <= 4);
            cut
        };
        let mut cuts: Vec<u64> = (1..=20).map(swap).collect();
        before = [footprint(own), footprint(server)];
        cuts.extend((21..=SWAPS).map(swap));
        cuts
    });
    collected.assert_cut_at(&cuts, 16, |edition| u64::from(edition) % 2);
    assert_eq!(cuts.len(), SWAPS);
    wait_until("the old workers have ended", || Process::living_workers(server).len() == 2);
    // The commander, the producer, and the one before it.
    assert_eq!(copies(server).len(), 3);
    for (before, now) in before.into_iter().zip([footprint(own), footprint(server)]) {
        // What was collected is memory too: some hundred bytes a batch.
        let collected = 200 * cuts.last().unwrap() / 1024;
        assert!(
            now[0] < before[0] + 8 * 1024 + collected as usize,
            "{before:?} kB, descriptors, threads; now {now:?}"
        );
        assert!(now[1] <= before[1] + 4 && now[2] <= before[2] + 1, "{before:?}, now {now:?}");
    }
}

/// Swaps, other numbers of workers, and deaths of workers and commanders, all at random times.
#[test]
fn deaths_during_a_swap_lose_and_mix_nothing() {
    let _leaks = isolated!();
    let mut dice = Dice::of_process();
    let deterministic = dice.throw(2) == 0;
    let editions = [edition(0), edition(1)];
    let host = endless(&Faults::none()).ordered(deterministic).max_attempts(1000).start().unwrap();
    let over = AtomicBool::new(false);
    let (collected, cuts) = read_while(&host, 50, || {
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let (choice, victim) = (dice.throw(8), dice.throw(1 << 20) as usize);
                    let children = Process::children_of(host.fork_server_pid() as i32);
                    match (choice, children.get(victim % children.len().max(1))) {
                        (0, _) => host.set_workers(1 + victim % 4).unwrap(),
                        (_, Some(child)) => drop(child.kill()),
                        _ => {}
                    }
                    thread::sleep(Duration::from_millis(dice.throw(16)));
                }
            });
            let mut cuts = Vec::new();
            while cuts.len() < 30 {
                match host.swap_producer(&editions[(cuts.len() + 1) % 2]) {
                    Ok(first) => cuts.push(first),
                    // The one that was killed was one of the new.
                    Err(SwapError::Plugin(PluginError::Died { how, .. })) => {
                        assert_eq!(how, "signal 9 (SIGKILL)");
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            over.store(true, Ordering::Relaxed);
            cuts
        })
    });
    collected.assert_cut_at(&cuts, 8, |edition| u64::from(edition) % 2);
    assert_eq!(host.statistics().errors, 0);
}

#[test]
fn package_is_swapped_in_once_it_was_built() {
    let _leaks = isolated!();
    let builder = crate::common::filling([index(3)], &crate::common::small());
    let host = builder.commander_config(crate::common::list([index(3)]).with("repeat", 0)).start().unwrap();
    let package = crate::common::repository().join("plugins/fill-producer");
    let package = Plugin::package(package);
    let error = host.swap_producer(&package).unwrap_err();
    assert!(error.to_string().contains("call `plugin.built()?` first"), "{error}");
    let cut = host.swap_producer(&package.built().unwrap()).unwrap();
    let batches = host.batches();
    let batch = std::iter::repeat_with(|| next_batch(&batches)).find(|batch| batch.edition() == 1).unwrap();
    assert_eq!(batch.sequence(), cut);
}
