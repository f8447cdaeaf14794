//! What the machine has only so much of cannot be used up by a worker, and none escapes its end.

use crate::common::{isolated, next_batch};
use crate::messages::{ATTACKED, submit};
use crate::scene::{Scene, refused, succeed_without_a_jail};
use cobuf_host::ReportKind;
use std::fs;

refused! {
    shared_memory_folder_cannot_be_filled: "fill_shared",
    temporary_folder_cannot_be_filled: "fill_tmp",
    posix_shared_memory_cannot_be_made: "posix_memory",
    posix_message_queue_cannot_be_made: "posix_queue",
    system_v_shared_memory_cannot_be_made: "system_memory",
    system_v_message_queue_cannot_be_made: "system_queue",
    system_v_semaphores_cannot_be_made: "system_semaphores",
    fork_bomb_has_no_second_process: "fork_bomb",
    limit_of_descriptors_cannot_be_raised: "raise_descriptors",
    limit_of_core_dumps_cannot_be_raised: "raise_core",
    limit_of_locked_memory_cannot_be_raised: "lock_memory",
    x32_system_call_cannot_be_made: "x32_call",
}

#[test]
fn thread_cannot_be_started_if_threads_are_forbidden() {
    let _leaks = isolated!();
    Scene::of("thread").with(|sandbox| sandbox.threads = false).assert_refused();
}

#[test]
fn thread_bomb_has_no_effect() {
    let _leaks = isolated!();
    Scene::of("thread_bomb").has_no_effect();
}

#[test]
fn descriptor_bomb_has_no_effect() {
    let _leaks = isolated!();
    Scene::of("descriptor_bomb").has_no_effect();
}

#[test]
fn timer_bomb_has_no_effect() {
    let _leaks = isolated!();
    Scene::of("timer_bomb").has_no_effect();
}

#[test]
fn signal_bomb_has_no_effect() {
    let _leaks = isolated!();
    Scene::of("signal_bomb").has_no_effect();
}

/// The kernel counts timers and queued signals for the user, in whose other programs they are missing then.
#[test]
fn users_signals_are_not_used_up() {
    let _leaks = isolated!();
    for attack in ["timer_bomb", "signal_bomb"] {
        let scene = Scene::of(attack);
        let host = scene.builder().start().unwrap();
        submit(&host);
        let batches = host.batches();
        (0..=ATTACKED).for_each(|_| drop(next_batch(&batches)));
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let queued = status.lines().find_map(|line| line.strip_prefix("SigQ:")).unwrap();
        let (used, limit) = queued.trim().split_once('/').unwrap();
        let [used, limit] = [used, limit].map(|number| number.parse::<u64>().unwrap());
        assert!(used < limit / 2, "{attack}: {used} of {limit}");
        host.stop();
    }
}

#[test]
fn mapping_bomb_has_no_effect() {
    let _leaks = isolated!();
    Scene::of("mapping_bomb").has_no_effect();
}

#[test]
fn worker_that_handles_all_signals_is_ended_at_its_deadline() {
    let _leaks = isolated!();
    Scene::of("handle_signals").ends_its_worker(ReportKind::Timeout);
}

#[test]
fn worker_that_blocks_all_signals_is_ended_at_its_deadline() {
    let _leaks = isolated!();
    Scene::of("block_signals").ends_its_worker(ReportKind::Timeout);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn system_call_of_32_bits_ends_the_worker() {
    let _leaks = isolated!();
    Scene::of("old_call").ends_its_worker(ReportKind::Crash);
}

#[test]
fn attacks_on_resources_succeed_without_a_jail() {
    let _leaks = isolated!();
    succeed_without_a_jail(&[
        "fill_tmp",
        "posix_memory",
        "system_memory",
        "system_queue",
        "system_semaphores",
    ]);
}
