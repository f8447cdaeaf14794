//! What happens to messages of the application if processes die: the same as to those of a commander.

use crate::common::dice::Dice;
use crate::common::refusals::folder;
use crate::common::{
    Delivered, LONG, Process, all_items, batch_error, index, isolated, next_batch, next_item, outline,
    random, random_stream, small, submitting, submitting_random,
};
use cobuf_host::{Dictionary, ReportKind, Source, StartMethod, StreamError, SubmitError, limits};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const MESSAGES: u64 = 300;

#[test]
fn random_kills_change_nothing_in_what_was_submitted() {
    let leaks = isolated!();
    let mut dice = Dice::of_process();
    let expected = Delivered::of(&random_stream(MESSAGES).start().unwrap().batches());
    for ordered in [true, false] {
        let builder = submitting_random().ordered(ordered).workers(2).slots(6);
        let host = builder.max_attempts(limits::MAX_ATTEMPTS).start().unwrap();
        let submitters = [host.submitter(), host.submitter(), host.submitter()];
        let mut kills = 0;
        let delivered = thread::scope(|scope| {
            let threads = submitters.each_ref().map(|submitter| {
                scope.spawn(|| (0..MESSAGES / 3).for_each(|_| assert!(submitter.submit(&random()).is_ok())))
            });
            let (batches, mut delivered) = (host.batches(), Delivered::default());
            for nth in 0..MESSAGES {
                delivered.add(&next_batch(&batches));
                // Not more than three in a row without a batch.
                let killed = match dice.throw(60) {
                    0 => kill(Process::get(host.fork_server_pid() as i32)),
                    1..6 => kill_a_worker(&mut dice, host.fork_server_pid()),
                    _ => false,
                };
                kills += u32::from(killed);
                if nth + 1 == MESSAGES {
                    host.submitter().close().unwrap();
                }
            }
            assert!(next_item(&batches).is_none());
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            delivered
        });
        assert!(!ordered || delivered.sequences.is_sorted());
        assert_eq!(delivered.sorted(), expected);
        assert!(kills > 0, "the dice killed no process");
        drop(host);
        leaks.bury_orphans();
    }
}

/// Kills a process if there is one; it may have ended by itself. Whether there was one.
fn kill(process: Option<Process>) -> bool {
    process.is_some_and(|process| process.kill())
}

fn kill_a_worker(dice: &mut Dice, fork_server: u32) -> bool {
    let mut workers = Process::living_workers(fork_server);
    if workers.is_empty() {
        return false;
    }
    kill(Some(workers.swap_remove(dice.throw(workers.len() as u64) as usize)))
}

#[test]
fn submitted_message_is_retried_and_at_last_an_error() {
    let _leaks = isolated!();
    let host = submitting(&small()).max_attempts(2).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    let exit = |times: u64| random().with("exit", 3).with("on_attempt", times);
    submitter.submit(&exit(1)).unwrap();
    submitter.submit(&exit(5).with("index", 7)).unwrap();
    submitter.submit(&random().with("error", "no")).unwrap();
    assert_eq!(next_batch(&batches).retries(), 1);
    let error = batch_error(next_item(&batches));
    assert_eq!((error.sequence(), error.kind(), error.attempts().len()), (1, ReportKind::Crash, 2));
    assert_eq!(error.message(), &exit(5).with("index", 7));
    assert_eq!(batch_error(next_item(&batches)).chain(), ["asked to fail", "no"]);
    submitter.submit(&random()).unwrap();
    submitter.close().unwrap();
    assert_eq!(outline(&batches), "3");
}

#[test]
fn submitted_message_has_the_deadline_of_others() {
    let _leaks = isolated!();
    let host = submitting(&small()).workers(1).message_timeout(Duration::from_secs(1)).start().unwrap();
    let submitter = host.submitter();
    submitter.submit(&index(0).with("loop_forever", true).with("on_attempt", 1)).unwrap();
    assert_eq!(next_batch(&host.batches()).retries(), 1);
    let statistics = host.statistics();
    assert_eq!((statistics.timeouts, statistics.retries), (1, 1));
}

#[test]
fn dead_letters_of_submitted_messages_are_replayed() {
    let _leaks = isolated!();
    let folder = folder();
    let path = folder.path().join("letters.jsonl");
    let host = submitting_random().dead_letters(&path).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    let message = |number: u64| -> Dictionary {
        if number % 3 == 1 {
            index(number).with("random", true).with("exit", 3).with("on_attempt", 3)
        } else {
            random()
        }
    };
    let submit = thread::spawn(move || {
        (0..12).for_each(|number| assert!(submitter.submit(&message(number)).is_ok()));
        submitter.close().unwrap();
    });
    assert_eq!(all_items(&batches).filter(Result::is_err).count(), 4);
    submit.join().unwrap();
    drop((batches, host));

    // A fourth attempt succeeds.
    for slots in [8, 1] {
        let replay = submitting_random().source(Source::Replay(path.clone())).slots(slots).max_attempts(4);
        let host = replay.limit(1).start().unwrap();
        assert!(matches!(host.submitter().submit(&random()), Err(SubmitError::Closed)));
        assert_eq!(host.total(), Some(11));
        let delivered = Delivered::of(&host.batches());
        assert_eq!(delivered.sequences, [1, 4, 7, 10]);
    }
}

#[test]
fn lost_fork_server_ends_a_wait_to_submit() {
    let leaks = isolated!();
    let host = submitting(&small()).slots(1).start_method(StartMethod::Fork).start().unwrap();
    let (submitter, (sender, result)) = (host.submitter(), mpsc::channel());
    submitter.submit(&index(0).with("sleep_seconds", 3600)).unwrap();
    let thread = thread::spawn(move || sender.send(submitter.submit(&index(1))).unwrap());
    assert!(Process::get(host.fork_server_pid() as i32).unwrap().kill());
    let error = result.recv_timeout(LONG).unwrap().unwrap_err();
    assert!(matches!(error, SubmitError::Failed), "{error:?}");
    thread.join().unwrap();
    let end = next_item(&host.batches()).unwrap().unwrap_err();
    assert!(matches!(end, StreamError::ForkServerDied { .. }), "{end:?}");
    drop(host);
    leaks.bury_orphans();
}
