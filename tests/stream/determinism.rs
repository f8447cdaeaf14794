//! Content follows from plugins, configurations and seed alone: not from workers, slots, order,
//! start method or deaths.

use crate::common::{Delivered, Process, array, filling, isolated, list, next_item};
use cobuf_host::{ContentDigest, Dictionary, Host, HostBuilder, ProcessRole, StartMethod};

const MESSAGES: u64 = 120;

/// A stream of random batches that take a millisecond each.
fn random(seed: u64) -> HostBuilder {
    let message = Dictionary::new().with("random", true).with("burn_seconds", 0.001);
    let config = list([message]).with("repeat", MESSAGES);
    let arrays = [array("x", "f32", &[16, 3]), array("y", "i16", &[16])];
    filling([], &arrays).commander_config(config).seed(seed).max_attempts(1000)
}

fn digest(host: &Host, mut between: impl FnMut(&Host)) -> ContentDigest {
    let (mut delivered, batches) = (Delivered::default(), host.batches());
    while let Some(item) = next_item(&batches) {
        delivered.add(&item.unwrap());
        between(host);
    }
    delivered.sequences.sort_unstable();
    assert!(delivered.sequences.into_iter().eq(0..MESSAGES));
    delivered.digest
}

/// Kills the worker with this number, if there is one at the moment.
fn kill_worker(host: &Host, worker: u32) {
    let processes = host.processes();
    let process = processes.iter().find(|process| process.role == ProcessRole::Worker(worker));
    if let Some(process) = process.and_then(|process| Process::get(process.pid as i32)) {
        process.kill();
    }
}

#[test]
fn content_is_the_same_for_any_workers_order_method_and_deaths() {
    let _leaks = isolated!();
    let expected = digest(&random(5).workers(1).start().unwrap(), |_| {});
    for workers in [1, 2, 7] {
        for deterministic in [true, false] {
            for method in [StartMethod::ForkServer, StartMethod::Fork] {
                let run = || {
                    let host = random(5).workers(workers).ordered(deterministic).start_method(method);
                    host.start().unwrap()
                };
                let what = format!("{workers} workers, deterministic {deterministic}, {method:?}");
                assert_eq!(digest(&run(), |_| {}), expected, "{what}");
                let mut batches = 0;
                let host = run();
                let killed = digest(&host, |host| {
                    batches += 1;
                    if batches % 10 == 0 {
                        kill_worker(host, batches / 10 % workers as u32);
                    }
                });
                assert_eq!(killed, expected, "{what}, with kills");
                assert!(host.statistics().worker_restarts > 0, "{what}");
            }
        }
    }
}

#[test]
fn another_seed_gives_other_content() {
    let _leaks = isolated!();
    let digests = [0, 1, u64::MAX].map(|seed| digest(&random(seed).start().unwrap(), |_| {}));
    assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
}
