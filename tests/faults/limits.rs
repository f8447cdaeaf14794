//! Limits of one worker: a worker that exceeds one is ended, and its message retried.

use crate::common::{
    Delivered, Process, all_items, array, batch_error, filling, index, isolated, next_batch, next_item,
    small, wait_until,
};
use cobuf_host::{Death, Dictionary, HostBuilder, ReportKind, StartError, StreamError, WorkerLimits};
use std::collections::BTreeSet;
use std::fs;

const MB: u64 = 1 << 20;

/// Far more than a worker with a small plugin has of its own.
const MEMORY: u64 = 64 * MB;

fn limited(messages: impl IntoIterator<Item = Dictionary>, limits: WorkerLimits) -> HostBuilder {
    filling(messages, &small()).workers(1).worker_limits(limits)
}

fn memory() -> WorkerLimits {
    WorkerLimits { memory_bytes: Some(MEMORY), ..WorkerLimits::default() }
}

fn cpu() -> WorkerLimits {
    WorkerLimits { cpu_seconds: Some(1), ..WorkerLimits::default() }
}

fn files() -> WorkerLimits {
    WorkerLimits { open_files: Some(32), ..WorkerLimits::default() }
}

/// Takes this much memory, and then waits to be ended for it.
fn leaking(number: u64, bytes: u64) -> Dictionary {
    index(number).with("leak_bytes", bytes).with("loop_forever", true)
}

#[test]
fn worker_that_takes_too_much_memory_is_ended() {
    let _leaks = isolated!();
    let host = limited([leaking(0, 2 * MEMORY), index(1)], memory()).max_attempts(2).start().unwrap();
    let batches = host.batches();
    let error = batch_error(next_item(&batches));
    assert_eq!((error.sequence(), error.kind(), error.attempts().len()), (0, ReportKind::Crash, 2));
    for attempt in error.attempts() {
        let Death::MemoryLimit { limit_bytes, used_bytes } = attempt.death else { panic!("{attempt:?}") };
        // It was looked at while it was still filling it, or afterwards.
        assert!(limit_bytes == MEMORY && (MEMORY + 1..3 * MEMORY).contains(&used_bytes), "{attempt:?}");
        let said = format!(
            "worker 0 was ended by its memory limit of 67 MB (it had {:.0} MB)",
            used_bytes as f64 / 1e6
        );
        assert_eq!(attempt.to_string(), said);
    }
    let said = &error.chain()[0];
    assert!(
        said.contains("each of 2 attempts") && said.contains("its memory limit of 67 MB (it had "),
        "{said}"
    );
    assert_eq!(next_batch(&batches).sequence(), 1);
    wait_until("each death is made good", || host.statistics().worker_restarts == 2);
    assert_eq!(host.statistics().timeouts, 0);
}

#[test]
fn message_is_done_by_a_new_worker_if_the_old_one_had_leaked() {
    let _leaks = isolated!();
    // Each message leaks a part of what is allowed.
    let messages = (0..12).map(|number| match number {
        11 => leaking(number, MEMORY).with("on_attempt", 1),
        _ => index(number).with("leak_bytes", MEMORY / 16).with("on_attempt", 1),
    });
    let host = limited(messages, memory()).start().unwrap();
    let retries: Vec<u32> = all_items(&host.batches()).map(|item| item.unwrap().retries()).collect();
    assert_eq!(retries, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn worker_below_its_memory_limit_is_left_alone() {
    let _leaks = isolated!();
    // Long enough to be looked at several times.
    let message = index(0).with("leak_bytes", MEMORY / 2).with("burn_seconds", 0.3);
    let host = limited([message, index(1)], memory()).start().unwrap();
    assert!(Delivered::of(&host.batches()).sequences.into_iter().eq(0..2));
    assert_eq!(host.statistics().worker_restarts, 0);
}

#[test]
fn slots_are_not_counted_as_memory_of_a_worker() {
    let _leaks = isolated!();
    let messages = (0..6).map(|number| index(number).with("sleep_seconds", 0.1));
    // One worker writes to all of them, three times what it may have.
    let arrays = [array("x", "f64", &[MEMORY as usize / 16])];
    let builder = filling(messages, &arrays).workers(1).slots(6).worker_limits(memory());
    let host = builder.start().unwrap();
    crate::common::wait_for_ready(&host, 6);
    assert!(Delivered::of(&host.batches()).sequences.into_iter().eq(0..6));
    assert_eq!(host.statistics().worker_restarts, 0);
}

#[test]
fn worker_that_computes_for_too_long_is_ended() {
    let _leaks = isolated!();
    let burning = index(1).with("burn_seconds", 3600);
    let host = limited([index(0), burning, index(2)], cpu()).max_attempts(2).start().unwrap();
    let batches = host.batches();
    assert_eq!(next_batch(&batches).sequence(), 0);
    let error = batch_error(next_item(&batches));
    assert_eq!((error.sequence(), error.kind(), error.attempts().len()), (1, ReportKind::Crash, 2));
    for attempt in error.attempts() {
        assert_eq!(attempt.death, Death::CpuLimit { limit_seconds: 1 });
    }
    let how = "its limit of 1 s of processor time for a message";
    assert_eq!(error.chain(), [format!("the worker was ended at each of 2 attempts by {how}")]);
    assert_eq!(next_batch(&batches).sequence(), 2);
}

#[test]
fn cpu_limit_counts_for_each_message_alone() {
    let _leaks = isolated!();
    let messages = (0..7).map(|number| index(number).with("burn_seconds", 0.6));
    let host = limited(messages, cpu()).start().unwrap();
    assert!(Delivered::of(&host.batches()).sequences.into_iter().eq(0..7));
    assert_eq!(host.statistics().worker_restarts, 0);
}

#[test]
fn highest_limit_is_none() {
    let _leaks = isolated!();
    let limits =
        WorkerLimits { memory_bytes: Some(u64::MAX), cpu_seconds: Some(u64::MAX), ..WorkerLimits::default() };
    let messages = (0..4).map(|number| index(number).with("burn_seconds", 0.05));
    let host = limited(messages, limits).start().unwrap();
    assert!(Delivered::of(&host.batches()).sequences.into_iter().eq(0..4));
    assert_eq!(host.statistics().worker_restarts, 0);
}

#[test]
fn memory_limit_below_the_need_of_the_plugin_is_named() {
    let _leaks = isolated!();
    let limits = WorkerLimits { memory_bytes: Some(1000), ..WorkerLimits::default() };
    // It is looked at now and then: a small plugin may be up, or have a message, before it is
    // ended.
    let said = match limited([leaking(0, MB)], limits).max_attempts(1).start() {
        Err(error) => error.to_string(),
        Ok(host) => match next_item(&host.batches()) {
            Some(Err(StreamError::WorkersLost { reason })) => reason,
            other => batch_error(other).chain().join(": "),
        },
    };
    assert!(said.contains("its memory limit of 0 MB (it had "), "{said}");
}

#[test]
fn too_many_open_files_are_an_error_of_the_plugin() {
    let _leaks = isolated!();
    let messages = [8, 64, 8].map(|files| Dictionary::new().with("open_files", files));
    let host = limited(messages.clone(), files()).start().unwrap();
    let batches = host.batches();
    assert_eq!(next_batch(&batches).sequence(), 0);
    let error = batch_error(next_item(&batches));
    assert_eq!((error.kind(), error.attempts().len()), (ReportKind::Error, 0));
    let chain = error.chain().join(": ");
    assert!(chain.starts_with("cannot open file ") && chain.contains("Too many open files"), "{chain}");
    assert_eq!(next_batch(&batches).sequence(), 2);
    // Others are not limited.
    let host = limited(messages, WorkerLimits::default()).start().unwrap();
    assert!(Delivered::of(&host.batches()).sequences.into_iter().eq(0..3));
}

#[test]
fn limit_beyond_that_of_the_system_fails_the_start() {
    let _leaks = isolated!();
    let limits = WorkerLimits { open_files: Some(u64::MAX - 1), ..WorkerLimits::default() };
    let error = limited([], limits).start().unwrap_err();
    assert!(matches!(error, StartError::Process { .. }), "{error:?}");
    assert!(error.to_string().contains("cannot limit the number of open files: "), "{error}");
}

/// The CPUs that a process may use, as the kernel writes them: `3`, `0-7`.
fn allowed_cpus(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    allowed.unwrap().trim().to_owned()
}

#[test]
fn each_worker_stays_on_its_own_cpu() {
    let _leaks = isolated!();
    let host = filling([index(0)], &small()).workers(2).pin_workers(true).start().unwrap();
    let workers = Process::living_workers(host.fork_server_pid());
    let cpus: Vec<String> = workers.iter().map(|worker| allowed_cpus(worker.pid)).collect();
    assert!(cpus.len() == 2 && cpus.iter().all(|cpu| cpu.parse::<usize>().is_ok()), "{cpus:?}");
    let available = std::thread::available_parallelism().unwrap().get();
    assert_eq!(BTreeSet::from_iter(&cpus).len(), available.min(2), "{cpus:?}");
    // One that is started again comes to the same place.
    // Its successor is waited for by number, so it must not count any more.
    assert!(workers[1].kill() && workers[1].wait_for_end(crate::common::LONG));
    wait_until("the worker is replaced", || Process::living_workers(host.fork_server_pid()).len() == 2);
    let again = Process::worker(host.fork_server_pid(), 1);
    wait_until("the worker is on its CPU", || allowed_cpus(again.pid) == cpus[1]);
    // The fork server may go anywhere, as without pinning.
    let all = allowed_cpus(Process::own_pid());
    assert_eq!(allowed_cpus(host.fork_server_pid() as i32), all);
    let host = filling([index(0)], &small()).workers(1).start().unwrap();
    assert_eq!(allowed_cpus(Process::worker(host.fork_server_pid(), 0).pid), all);
}
