//! A commander that is started again, or in another run, goes on with what it saved.

use crate::common::packages::{OtherApi, Package};
use crate::common::refusals::{assert_says, start_error};
use crate::common::{Process, arrays_config, host, isolated, next_item, plugin, small, wait_until};
use cobuf_host::{
    Batches, Checkpoint, Death, Dictionary, Failpoint, Fault, Host, HostBuilder, Plugin, PluginError, Source,
    StartError, StreamError, limits,
};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

const SOURCE: &str = include_str!("../common/sources/stateful_commander.rs");

/// The commander `stateful_commander.rs`.
fn stateful() -> Plugin {
    Package::new("stateful-commander", SOURCE).build()
}

/// The same, built before there was an extension to save and restore.
fn without_extension() -> Plugin {
    let edits = [("src/shims.rs", "if id.as_str() == ResumeExtension::ID {", "if id.as_str() == \"\" {")];
    let api =
        Some(OtherApi { name: "without-resume", sources: "plugin-api", version: "0.1.0", edits: &edits });
    Package { api, ..Package::new("commander-without-resume", SOURCE) }.build()
}

/// What the commander says in each message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Said {
    index: u64,
    secret: u64,
    sum: u64,
    maker: u32,
    asked: u64,
}

const COUNT: u64 = 250;

fn run(commander: Plugin, config: Dictionary) -> HostBuilder {
    let builder = host().commander(commander).commander_config(config.with("count", COUNT));
    builder.producer(plugin("fill-producer")).producer_config(arrays_config(&small())).workers(1).slots(3)
}

fn secret() -> HostBuilder {
    run(stateful(), Dictionary::new())
}

/// What the next messages said, so many of them at most.
fn read(batches: &Batches, most: u64) -> Vec<Said> {
    let next = |_| next_item(batches).map(|item| item.unwrap().message().unwrap());
    (0..most).map_while(next).collect()
}

/// Asserts that these are the messages from this one on to the end, all of one secret and one sum.
fn assert_continuous(said: &[Said], from: u64) {
    assert!(said.iter().map(|said| said.index).eq(from..COUNT));
    for pair in said.windows(2) {
        assert_eq!(pair[1].secret, pair[0].secret, "{pair:?}");
        assert_eq!(pair[1].sum, (pair[0].sum * 31 + pair[1].index) % (1 << 40), "{pair:?}");
    }
}

fn makers(said: &[Said]) -> Vec<u32> {
    let mut makers: Vec<u32> = said.iter().map(|said| said.maker).collect();
    makers.dedup();
    makers
}

#[test]
fn replacement_of_a_killed_commander_goes_on_with_its_state() {
    let _leaks = isolated!();
    for point in [Failpoint::CommandClaimed, Failpoint::CommandHalfWritten, Failpoint::CommandCounted] {
        let host = secret().start().unwrap();
        let batches = host.batches();
        let mut said = Vec::new();
        for (restarts, messages) in [(1, 30), (2, 100)] {
            said.extend(read(&batches, messages));
            host.arm(point, Fault::Kill);
            // Each batch that is read gives it a slot, in which it is killed.
            said.extend(read(&batches, 3));
            wait_until("the commander is replaced", || host.statistics().commander_restarts == restarts);
        }
        said.extend(read(&batches, COUNT));
        assert_continuous(&said, 0);
        assert_eq!(makers(&said).len(), 3, "{point:?}");
        // Not all from the start: only what came after the last state.
        for pair in said.windows(2).filter(|pair| pair[0].maker != pair[1].maker) {
            assert!(pair[1].asked <= limits::SAVE_EVERY + 1, "{pair:?}");
        }
        assert!(next_item(&batches).is_none());
    }
}

#[test]
fn commander_killed_while_it_waits_leaves_its_state() {
    let _leaks = isolated!();
    let host = secret().start().unwrap();
    let batches = host.batches();
    let mut said = read(&batches, 90);
    crate::common::wait_for_ready(&host, 3);
    assert!(Process::commander(host.fork_server_pid()).kill());
    wait_until("the commander is replaced", || host.statistics().commander_restarts == 1);
    said.extend(read(&batches, COUNT));
    assert_continuous(&said, 0);
    assert_eq!(makers(&said).len(), 2);
}

#[test]
fn commander_that_never_restores_a_state_is_ended() {
    let _leaks = isolated!();
    let limit = Duration::from_secs(4);
    let builder = run(stateful(), Dictionary::new().with("hang_in_restore", true)).start_timeout(limit);
    // One death that is arranged here, and one of not coming back.
    let host = builder.max_attempts(2).start().unwrap();
    let batches = host.batches();
    read(&batches, 10);
    host.arm(Failpoint::CommandClaimed, Fault::Kill);
    match std::iter::from_fn(|| next_item(&batches)).find_map(Result::err) {
        Some(StreamError::CommanderDied { death, attempts: 2, .. }) => {
            assert_eq!(death, Death::Timeout { limit });
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((host.statistics().timeouts, host.statistics().commander_restarts), (1, 1));
}

/// A checkpoint after so many batches, as JSON, and what they said.
fn checkpoint_after(host: &Host, messages: u64) -> (Value, Vec<Said>) {
    let said = read(&host.batches(), messages);
    assert_eq!(host.checkpoint().delivered(), messages);
    let checkpoint = || serde_json::to_value(host.checkpoint()).unwrap();
    // A state takes another way than its batches, and may come later.
    wait_until("the last state of before has come", || {
        let saved = checkpoint()["commander"]["sequence"].as_u64();
        saved.is_none_or(|saved| messages.saturating_sub(saved) <= limits::SAVE_EVERY)
    });
    (checkpoint(), said)
}

fn resumed(builder: HostBuilder, checkpoint: Value) -> HostBuilder {
    builder.source(Source::Resume(serde_json::from_value::<Checkpoint>(checkpoint).unwrap()))
}

#[test]
fn another_run_goes_on_with_the_state_in_a_checkpoint() {
    let _leaks = isolated!();
    for messages in [0, 1, 64, 150, COUNT] {
        let (checkpoint, mut said) = checkpoint_after(&secret().start().unwrap(), messages);
        assert_eq!(checkpoint["commander"]["state"]["version"], 3);
        let host = resumed(secret(), checkpoint).workers(2).start().unwrap();
        let rest = read(&host.batches(), COUNT);
        assert!(rest.first().is_none_or(|first| first.asked <= 2 * limits::SAVE_EVERY), "{:?}", rest.first());
        said.extend(rest);
        assert_continuous(&said, 0);
    }
}

#[test]
fn resumed_commander_that_is_killed_goes_on() {
    let _leaks = isolated!();
    let (checkpoint, mut said) = checkpoint_after(&secret().start().unwrap(), 100);
    let host = resumed(secret(), checkpoint).start().unwrap();
    let batches = host.batches();
    said.extend(read(&batches, 1));
    host.arm(Failpoint::CommandClaimed, Fault::Crash);
    said.extend(read(&batches, COUNT));
    assert_continuous(&said, 0);
    assert_eq!((makers(&said).len(), host.statistics().commander_restarts), (3, 1));
}

#[test]
fn state_of_an_unknown_version_fails_the_start() {
    let _leaks = isolated!();
    let (mut checkpoint, _) = checkpoint_after(&secret().start().unwrap(), 10);
    checkpoint["commander"]["state"]["version"] = 4.into();
    let error = start_error(resumed(secret(), checkpoint));
    assert!(matches!(error, StartError::Plugin(PluginError::Setup { .. })), "{error:?}");
    assert_says(&error, &["stateful-commander", "the state is of version 4, expected 3; resume with"]);
}

#[test]
fn commander_without_the_extension_is_asked_again() {
    let _leaks = isolated!();
    let known = || run(without_extension(), Dictionary::new().with("secret", 5));
    let host = known().start().unwrap();
    let batches = host.batches();
    let mut said = read(&batches, 100);
    host.arm(Failpoint::CommandHalfWritten, Fault::Kill);
    said.extend(read(&batches, COUNT));
    assert_continuous(&said, 0);
    let again = said.windows(2).find(|pair| pair[0].maker != pair[1].maker).unwrap();
    assert_eq!(again[1].asked, again[1].index + 1);

    // The same from a checkpoint, which has no state.
    let (checkpoint, mut said) = checkpoint_after(&known().start().unwrap(), 120);
    assert_eq!(checkpoint["commander"], Value::Null);
    let host = resumed(known(), checkpoint).start().unwrap();
    said.extend(read(&host.batches(), COUNT));
    assert_continuous(&said, 0);
    assert_eq!(said[120].asked, 121);
}

#[test]
fn commander_without_the_extension_refuses_a_state() {
    let _leaks = isolated!();
    let (mut checkpoint, _) = checkpoint_after(&secret().start().unwrap(), 10);
    checkpoint["identity"]["commander"]["name"] = "commander-without-resume".into();
    let error = start_error(resumed(run(without_extension(), Dictionary::new()), checkpoint));
    assert_says(&error, &["the commander cannot take over a saved state; rebuild it with this version of"]);
}

#[test]
fn too_large_state_is_an_error_with_its_size() {
    let _leaks = isolated!();
    let with_padding = |bytes: usize| run(stateful(), Dictionary::new().with("padding", bytes));
    let error = start_error(with_padding(200_000));
    assert!(matches!(error, StartError::Plugin(PluginError::Setup { .. })), "{error:?}");
    assert_says(
        &error,
        &["the commander's state of 2000", " bytes before message 0 cannot be saved: ", "; save less"],
    );

    // One that has grown too large while running ends the stream after what was commanded before.
    let growing = Dictionary::new().with("grows_by", 3000);
    let host = run(stateful(), growing).start().unwrap();
    let batches = host.batches();
    assert_eq!(read(&batches, limits::SAVE_EVERY).len() as u64, limits::SAVE_EVERY);
    let Some(Err(error)) = next_item(&batches) else { panic!("the state cannot be saved") };
    assert!(matches!(error, StreamError::Commander { commanded: limits::SAVE_EVERY, .. }), "{error:?}");
    assert_says(&error, &[" bytes before message 64 cannot be saved: ", "; save less"]);
    assert!(next_item(&batches).is_none());

    // A large one is no trouble.
    let (checkpoint, mut said) = checkpoint_after(&with_padding(100_000).start().unwrap(), 100);
    let host = resumed(with_padding(100_000), checkpoint).start().unwrap();
    said.extend(read(&host.batches(), COUNT));
    assert_continuous(&said, 0);
}
