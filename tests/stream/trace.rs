//! Traces of runs: they open, their sums are those of the statistics, and they are bounded.

use crate::common::traces::Trace;
use crate::common::{
    Logs, all_items, array, filling, index, isolated, next_batch, next_item, random_stream, small,
    submitting, wait_for_ready,
};
use cobuf_host::{
    Batches, Dictionary, Host, HostBuilder, OnFailure, Rank, Remainder, ReportKind, StartError,
};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// A folder, and a file in it for a trace.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.json");
    (folder, path)
}

/// Reads a stream to its end, and then its trace.
fn trace_of(builder: HostBuilder) -> Trace {
    let (_folder, path) = place();
    let host = builder.trace(&path).start().unwrap();
    all_items(&host.batches()).for_each(drop);
    stop_and_read(host, &path)
}

fn stop_and_read(host: Host, path: &Path) -> Trace {
    assert!(host.written_trace().is_none() && !path.exists());
    host.stop();
    let summary = host.written_trace().unwrap().unwrap();
    let trace = Trace::read(path);
    assert_eq!((summary.batches, summary.left_out), (trace.batches, trace.left_out));
    trace
}

/// Messages each of which takes so long.
fn slow(messages: u64, seconds: f64) -> HostBuilder {
    filling((0..messages).map(move |number| index(number).with("sleep_seconds", seconds)), &small())
}

/// Asserts that the numbers differ by at most one in a hundred.
#[track_caller]
fn assert_near(traced: f64, counted: Duration) {
    let counted = counted.as_secs_f64();
    assert!(
        (traced - counted).abs() <= 0.01 * counted,
        "the trace says {traced} s, the statistics {counted} s"
    );
}

#[test]
fn sums_of_spans_are_those_of_the_statistics() {
    let _leaks = isolated!();
    for ordered in [true, false] {
        let (_folder, path) = place();
        let host = slow(40, 0.004).workers(3).ordered(ordered).trace(&path).start().unwrap();
        for batch in all_items(&host.batches()).map(Result::unwrap) {
            thread::sleep(Duration::from_millis(1));
            drop(batch);
        }
        let statistics = host.statistics();
        let trace = stop_and_read(host, &path);
        assert_near(trace.seconds("produce"), statistics.worker_busy);
        assert_near(trace.seconds("wait"), statistics.consumer_wait);
        assert!(trace.spans("hold").all(|hold| hold.nanos >= 1_000_000));
        assert!(trace.seconds("hold") + trace.seconds("wait") <= statistics.elapsed.as_secs_f64());
        for name in ["message", "produce", "hold"] {
            assert!(trace.sequences(name).into_iter().eq(0..40), "{name}");
        }
        assert!(trace.spans("hold").all(|hold| hold.args["failed"] == false && hold.args["attempts"] == 0));
        // One thread that holds one batch at a time needs one track.
        assert_eq!(trace.tracks("consumer").len(), 1);
        assert_eq!(trace.tracks("worker").len(), 3);
    }
}

#[test]
fn last_batches_are_kept_and_the_others_counted() {
    let _leaks = isolated!();
    let trace = trace_of(random_stream(1000).trace_batches(10));
    assert_eq!((trace.batches, trace.left_out), (10, 990));
    for name in ["message", "produce", "hold"] {
        assert!(trace.sequences(name).into_iter().eq(990..1000), "{name}");
    }
    assert!(trace.spans("wait").count() <= 10);
}

#[test]
fn each_thread_of_consumers_has_a_track_and_more_if_it_holds_more() {
    let _leaks = isolated!();
    let (_folder, path) = place();
    let host = random_stream(60).ordered(false).slots(12).trace(&path).start().unwrap();
    let consume = |mut batches: Batches, at_once: usize| {
        while let Some(first) = batches.next() {
            let others: Vec<_> = batches.by_ref().take(at_once - 1).collect();
            drop((first, others));
        }
    };
    thread::scope(|scope| {
        for (name, at_once) in [("one", 1), ("three", 3)] {
            let batches = host.batches();
            thread::Builder::new()
                .name(name.to_owned())
                .spawn_scoped(scope, move || consume(batches, at_once))
                .unwrap();
        }
    });
    let trace = stop_and_read(host, &path);
    assert!(trace.sequences("hold").into_iter().eq(0..60));
    for track in trace.tracks("consumer") {
        assert!(track.name.ends_with(", one") || track.name.ends_with(", three"), "{}", track.name);
    }
    let of = |name: &str| trace.tracks.iter().filter(|track| track.name.ends_with(name)).count();
    assert!(of(", one") <= 1 && of(", three") <= 3);
}

#[test]
fn dead_workers_attempt_is_drawn_and_its_batch_flows_through_it() {
    let _leaks = isolated!();
    let messages = (0..6).map(|number| match number {
        2 => index(2).with("abort", true).with("on_attempt", 1).with("sleep_seconds", 0.01),
        number => index(number),
    });
    let trace = trace_of(filling(messages, &small()).workers(2));
    let attempts: Vec<_> = trace.spans("failed attempt").collect();
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].sequence(), &attempts[0].args["death"]), (2, &"signal 6 (SIGABRT)".into()));
    assert!(attempts[0].nanos >= 10_000_000);
    let deaths = trace.moments("death");
    assert_eq!((deaths.len(), &deaths[0]["sequence"]), (1, &2.into()));
    let retried = trace.spans("hold").find(|hold| hold.sequence() == 2).unwrap();
    assert_eq!(retried.args["attempts"], 1);
}

#[test]
fn failed_and_given_up_messages_are_marked() {
    let _leaks = isolated!();
    let messages = (0..5).map(|number| match number {
        1 => index(1).with("error", "no such scan"),
        3 => index(3).with("abort", true),
        number => index(number),
    });
    for skip in [false, true] {
        let builder = filling(messages.clone(), &small()).max_attempts(2);
        let choice = if skip { OnFailure::Skip } else { OnFailure::Raise };
        let builder = builder.on_failure(ReportKind::Crash, choice).on_failure(ReportKind::Error, choice);
        let trace = trace_of(builder);
        let failed = |name: &str| {
            let failed = trace.spans(name).filter(|span| span.args["failed"] == true);
            failed.map(|span| span.sequence()).collect::<Vec<_>>()
        };
        assert_eq!(failed("hold"), [1, 3]);
        assert_eq!(trace.sequences("produce"), [0, 1, 2, 4]);
        assert_eq!(trace.sequences("failed attempt"), [3, 3]);
        assert_eq!(trace.moments("death").len(), 2);
    }
}

#[test]
fn submitted_messages_checkpoints_and_lengths_are_drawn() {
    let _leaks = isolated!();
    let (_folder, path) = place();
    let boxes = array("x", "u32", &[8]).with("at_most", vec![0.into()]);
    let host = submitting(&[boxes]).trace(&path).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    for number in 0..20_u64 {
        let shapes = Dictionary::new().with("x", vec![(number % 9).into()]);
        submitter.submit(&index(number).with("shapes", shapes)).unwrap();
        drop(next_batch(&batches));
    }
    drop(host.checkpoint());
    submitter.close().unwrap();
    assert!(next_item(&batches).is_none());
    let trace = stop_and_read(host, &path);
    assert!(trace.sequences("message").into_iter().eq(0..20));
    assert_eq!(trace.moments("checkpoint").len(), 1);
}

#[test]
fn ranks_draw_their_own_messages() {
    let _leaks = isolated!();
    let own = |rank: u64| (rank..50).step_by(3);
    for (rank, remainder, repeated) in [(1, Remainder::Short, None), (2, Remainder::Repeat, Some(48))] {
        let seat = Rank::new(rank as u32, 3).unwrap();
        let trace = trace_of(random_stream(50).rank(seat).remainder(remainder));
        assert!(trace.sequences("hold").into_iter().eq(own(rank).chain(repeated)));
    }
}

#[test]
fn batches_that_are_under_way_at_the_end_are_drawn_unfinished() {
    let _leaks = isolated!();
    let (logs, (_folder, path)) = (Logs::collect(), place());
    let messages = (0..10).map(|number| match number {
        // It does not look for the stop: a message at a gate may end by it.
        4 => index(4).with("log", "never returns").with("loop_forever", true),
        number => index(number),
    });
    let host = filling(messages, &small()).workers(2).slots(8).stop_grace(Duration::ZERO).trace(&path);
    let host = host.start().unwrap();
    logs.wait_for("never returns");
    let batches = host.batches();
    drop(next_batch(&batches));
    let held = next_batch(&batches);
    wait_for_ready(&host, 6);
    let trace = stop_and_read(host, &path);
    drop(held);
    assert_eq!(trace.sequences("hold"), [0]);
    assert_eq!(trace.sequences("hold, unfinished"), [1]);
    assert_eq!(trace.sequences("produce, unfinished"), [4]);
    assert_eq!(trace.sequences("produce"), [0, 1, 2, 3, 5, 6, 7, 8]);
}

#[test]
fn long_wait_is_a_stall() {
    let _leaks = isolated!();
    let trace = trace_of(slow(1, 1.1));
    let stalls = trace.moments("stall");
    assert_eq!(stalls.len(), 1);
    assert!(stalls[0]["seconds"].as_f64().unwrap() > 1.0);
}

#[test]
fn trace_replaces_the_file_of_an_earlier_run() {
    let _leaks = isolated!();
    let (folder, path) = place();
    for messages in [5, 3] {
        let host = random_stream(messages).trace(&path).start().unwrap();
        all_items(&host.batches()).for_each(drop);
        drop(host);
        assert_eq!(Trace::read(&path).batches, messages);
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[test]
fn trace_that_cannot_be_written_in_the_end_leaves_the_result_as_it_is() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let host = random_stream(30).trace("/dev/full").start().unwrap();
    assert_eq!(all_items(&host.batches()).map(Result::unwrap).count(), 30);
    host.stop();
    let error = host.written_trace().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cannot write the trace /dev/full");
    assert!(error.source.to_string().contains("No space left on device"), "{error:?}");
    logs.wait_for("the trace of the run cannot be written");
    assert_eq!(host.statistics().delivered, 30);
}

#[test]
fn trace_that_could_not_be_written_is_refused_at_the_start() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let error = random_stream(1).trace(path).check().unwrap_err();
        assert!(matches!(error, StartError::Trace(_)));
        format!("{:#}", anyhow::Error::from(error))
    };
    let missing = folder.path().join("no/run.json");
    assert!(refused(&missing).contains("its folder"), "{}", refused(&missing));
    assert!(refused(folder.path()).contains("it is a folder"), "{}", refused(folder.path()));
    let error = random_stream(1).trace_batches(0).check().unwrap_err();
    assert_eq!(error.to_string(), "the setting trace_batches is 0, expected 1 to 10000000");
}
