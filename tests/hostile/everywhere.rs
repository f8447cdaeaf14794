//! The jail holds in each process that opens the plugin, from before it is loaded.

use crate::common::compiled::hostile;
use crate::common::refusals::{said, start_error};
use crate::common::{Process, batch_error, index, isolated, next_batch, next_item, wait_until};
use crate::messages::{ATTACKED, submit_from};
use crate::scene::{Scene, refused, succeed_without_a_jail};
use cobuf_host::{Death, Exit, ReportKind};

refused! {
    constructor_of_the_plugin_is_jailed: "in_constructor",
}

#[test]
fn probe_is_jailed() {
    let _leaks = isolated!();
    Scene::of("in_schema").has_no_effect();
    let scene = Scene::of("in_schema").unjailed();
    assert!(said(&start_error(scene.builder())).contains("SUCCEEDED: "));
}

#[test]
fn worker_is_jailed_when_it_opens_the_producer() {
    let _leaks = isolated!();
    Scene::of("in_open").has_no_effect();
    let scene = Scene::of("in_open").unjailed();
    assert!(said(&start_error(scene.builder())).contains("SUCCEEDED: "));
}

#[test]
fn constructor_is_not_jailed_without_a_jail() {
    let _leaks = isolated!();
    succeed_without_a_jail(&["in_constructor"]);
}

/// Each of the workers that replace it makes the same system call, which ends it.
#[cfg(target_arch = "x86_64")]
#[test]
fn worker_that_replaces_another_is_jailed() {
    let _leaks = isolated!();
    let scene = Scene::of("old_call");
    let host = scene.builder().max_attempts(3).start().unwrap();
    submit_from(&host, 0);
    let batches = host.batches();
    (0..ATTACKED).for_each(|_| drop(next_batch(&batches)));
    let error = batch_error(next_item(&batches));
    assert_eq!(error.kind(), ReportKind::Crash);
    let deaths: Vec<Death> = error.attempts().iter().map(|attempt| attempt.death).collect();
    assert_eq!(deaths, [Death::Exit(Exit::Signal(31)); 3]);
    host.stop();
    scene.assert_untouched();
}

#[test]
fn worker_of_a_swapped_producer_is_jailed() {
    let _leaks = isolated!();
    for attack in ["read_secret", "in_constructor", "socket_unix"] {
        let scene = Scene::of(attack);
        let host = scene.builder().start().unwrap();
        host.submitter().submit(&index(0)).unwrap();
        let batches = host.batches();
        next_batch(&batches);
        host.swap_producer(&hostile()).unwrap();
        wait_until("the old workers are gone", || Process::living_workers(host.fork_server_pid()).len() == 2);
        submit_from(&host, 1);
        (1..ATTACKED).for_each(|_| drop(next_batch(&batches)));
        let error = batch_error(next_item(&batches));
        assert_eq!(error.edition(), 1);
        assert!(error.chain().join(": ").starts_with("refused: "), "{:?}", error.chain());
        host.stop();
        scene.assert_untouched();
    }
}
