//! Messages that cannot be submitted, and starts that cannot be: each error says what to do, and
//! nothing is queued.

use crate::common::forked::in_fork;
use crate::common::refusals::{assert_says, start_error};
use crate::common::{
    all_items, filling, index, isolated, list, next_batch, next_item, plugin, random_stream, small,
    submitting, submitting_random,
};
use cobuf_host::{Commander, Dictionary, PluginKind, Source, StartError, SubmitError, Submitter, SwapError};

/// What each way to submit a message says.
fn refusals(submitter: &Submitter) -> [SubmitError; 3] {
    let message = index(0);
    [
        submitter.submit(&message).unwrap_err(),
        submitter.try_submit(&message).unwrap_err(),
        submitter.submit_timeout(&message, std::time::Duration::MAX).unwrap_err(),
    ]
}

#[test]
fn closed_messages_stay_closed() {
    let _leaks = isolated!();
    let host = submitting(&small()).start().unwrap();
    let submitter = host.submitter();
    submitter.submit(&index(0)).unwrap();
    (0..2).for_each(|_| host.submitter().close().unwrap());
    for error in refusals(&submitter) {
        assert!(matches!(error, SubmitError::Closed));
        assert_says(&error, &["the run takes no more messages", "start another run for more"]);
    }
    assert_eq!(all_items(&host.batches()).count(), 1);
    assert!(matches!(refusals(&submitter)[0], SubmitError::Closed), "also after the end");
}

#[test]
fn stopped_host_takes_no_message() {
    let _leaks = isolated!();
    let host = submitting(&small()).start().unwrap();
    let submitter = host.submitter();
    host.stop();
    for error in refusals(&submitter) {
        assert!(matches!(error, SubmitError::Stopped));
        assert_says(&error, &["the host was stopped", "submit before the stop"]);
    }
    submitter.close().unwrap();
    drop(host);
    assert!(matches!(refusals(&submitter)[0], SubmitError::Stopped), "there is no host any more");
}

#[test]
fn limit_ends_the_messages() {
    let _leaks = isolated!();
    let host = submitting(&small()).limit(3).start().unwrap();
    let submitter = host.submitter();
    assert_eq!(host.total(), Some(3));
    (0..3).for_each(|number| assert_eq!(submitter.submit(&index(number)).unwrap(), number));
    for error in refusals(&submitter) {
        assert!(matches!(error, SubmitError::Limit { limit: 3 }));
        assert_says(&error, &["the run has its 3 messages", "the setting limit"]);
    }
    assert_eq!(all_items(&host.batches()).count(), 3, "and the stream, without a close");
}

#[test]
fn message_must_be_a_dictionary_that_fits_a_slot() {
    let _leaks = isolated!();
    let host = submitting(&small()).message_capacity(64).slots(1).start().unwrap();
    let (submitter, batches) = (host.submitter(), host.batches());
    for _ in 0..3 {
        let error = submitter.submit(&7).unwrap_err();
        assert!(matches!(error, SubmitError::Encode(_)));
        assert_says(&error, &["a message must be a dictionary", "this is a"]);
        let error = submitter.submit(&index(0).with("text", "x".repeat(100))).unwrap_err();
        let SubmitError::TooLarge { bytes, capacity: 64 } = error else { panic!("{error:?}") };
        let parts = [
            format!("the message has {bytes} bytes, a slot has room for 64"),
            format!("capacity of {bytes}"),
        ];
        assert_says(&error, &[&parts[0], &parts[1], "submit less"]);
    }
    // No slot is lost.
    assert_eq!(submitter.try_submit(&index(5)).unwrap(), 0);
    assert_eq!(next_batch(&batches).sequence(), 0);
}

#[test]
fn fork_of_the_application_submits_nothing() {
    let _leaks = isolated!();
    let host = submitting(&small()).start().unwrap();
    let handles = (host.submitter(),);
    assert!(in_fork(&handles, |(submitter,)| {
        for error in refusals(&submitter) {
            assert!(matches!(error, SubmitError::Forked));
            assert_says(&error, &["of which this one is a fork", "submit there, or start a host here"]);
        }
        assert!(matches!(submitter.close(), Err(SubmitError::Forked)));
        std::mem::forget(submitter);
    }));
    assert_eq!(handles.0.submit(&index(0)).unwrap(), 0);
    handles.0.close().unwrap();
    assert_eq!(all_items(&host.batches()).count(), 1);
}

#[test]
fn run_of_a_plugin_takes_no_message() {
    let _leaks = isolated!();
    let host = filling([index(0)], &small()).start().unwrap();
    let submitter = host.submitter();
    for error in refusals(&submitter).into_iter().chain(submitter.close().err()) {
        assert!(matches!(error, SubmitError::NotCommander));
        assert_says(&error, &["come from its commander, a plugin", "Commander::Application"]);
    }
    assert_eq!(all_items(&host.batches()).count(), 1);
}

#[test]
fn later_choice_of_a_commander_replaces_an_earlier_one() {
    let _leaks = isolated!();
    let host = filling([index(0)], &small()).commander(Commander::Application).start().unwrap();
    assert_eq!(host.submitter().submit(&index(0)).unwrap(), 0);
    let host =
        submitting(&small()).commander(plugin("list-commander")).commander_config(list([])).start().unwrap();
    assert!(matches!(host.submitter().submit(&index(0)), Err(SubmitError::NotCommander)));
    assert!(next_item(&host.batches()).is_none(), "its list is empty");
}

#[test]
fn application_cannot_be_swapped() {
    let _leaks = isolated!();
    let host = submitting(&small()).start().unwrap();
    let swapped = [host.swap_commander(&plugin("list-commander")), host.roll_back(PluginKind::Commander)];
    for error in swapped.map(Result::unwrap_err) {
        assert!(matches!(error, SwapError::Application));
        assert_says(&error, &["the application is the commander of this run", "submit other messages"]);
    }
    assert_eq!(host.submitter().submit(&index(0)).unwrap(), 0);
}

#[test]
fn checkpoint_belongs_to_the_kind_of_its_commander() {
    let _leaks = isolated!();
    let of_plugin = random_stream(3).start().unwrap().checkpoint();
    let of_application = submitting_random().start().unwrap().checkpoint();
    let error = start_error(submitting_random().source(Source::Resume(of_plugin)));
    assert_says(&error, &["the commander is the application, it was list-commander"]);
    let error = start_error(random_stream(3).source(Source::Resume(of_application)));
    assert_says(&error, &["the commander is list-commander, it was the application"]);
}

#[test]
fn submitted_message_must_fit_a_slot_of_the_run_that_resumes() {
    let _leaks = isolated!();
    let message = Dictionary::new().with("text", "x".repeat(100));
    let host = submitting(&small()).start().unwrap();
    host.submitter().submit(&message).unwrap();
    let resumed = submitting(&small()).source(Source::Resume(host.checkpoint()));
    drop(host);
    let error = start_error(resumed.message_capacity(64));
    let StartError::MessageTooLarge { sequence: 0, bytes, capacity: 64 } = error else { panic!("{error:?}") };
    let advice = format!("give the host a message capacity of {bytes} or more");
    assert_says(&error, &["message 0 of the earlier run", &advice]);
}
