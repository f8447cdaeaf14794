//! The commander is swapped under a running stream: the new one goes on at the exact message, with
//! the state of the old one.

use crate::common::packages::{Package, odd_commander};
use crate::common::refusals::assert_says;
use crate::common::{
    Delivered, Gate, Logs, Process, arrays_config, filling, gated, host, index, isolated, list, next_batch,
    next_item, plugin, small, wait_for_ready,
};
use cobuf_host::{Batches, Dictionary, Host, HostBuilder, Plugin, Source, SwapError};
use serde::Deserialize;

const SOURCE: &str = include_str!("../common/sources/stateful_commander.rs");

/// The commander `stateful_commander.rs`.
fn stateful() -> Plugin {
    Package::new("stateful-commander", SOURCE).build()
}

/// Another build of it, by another name.
fn another() -> Plugin {
    Package::new("stateful-commander-two", SOURCE).build()
}

/// One that keeps its state in another form.
fn with_another_form() -> Plugin {
    let source = SOURCE.replace("const VERSION: u32 = 3;", "const VERSION: u32 = 4;");
    assert_ne!(source, SOURCE);
    Package::new("stateful-commander-four", &source).build()
}

/// What the commander says in each message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Said {
    index: u64,
    secret: u64,
    sum: u64,
    maker: u32,
}

const COUNT: u64 = 400;

fn run() -> HostBuilder {
    let builder = host().commander(stateful()).commander_config(Dictionary::new().with("count", COUNT));
    builder.producer(plugin("fill-producer")).producer_config(arrays_config(&small())).workers(2).slots(6)
}

fn read(batches: &Batches, most: u64) -> Vec<Said> {
    let next = |_| next_item(batches).map(|item| item.unwrap().message().unwrap());
    (0..most).map_while(next).collect()
}

/// Asserts that these are all messages, of one secret and one sum, and gives where another process
/// began to make them.
fn makers_of_the_whole(said: &[Said]) -> Vec<u64> {
    assert_eq!(said.len() as u64, COUNT);
    let mut sum = said[0].secret;
    for (index, said_now) in (0..).zip(said) {
        sum = (sum * 31 + index) % (1 << 40);
        assert_eq!((said_now.index, said_now.secret, said_now.sum), (index, said[0].secret, sum));
    }
    let pairs = said.windows(2).filter(|pair| pair[0].maker != pair[1].maker);
    pairs.map(|pair| pair[1].index).collect()
}

#[test]
fn new_commander_goes_on_with_the_state_at_the_exact_message() {
    let _leaks = isolated!();
    for deterministic in [true, false] {
        let host = run().ordered(deterministic).start().unwrap();
        let batches = host.batches();
        let mut said = read(&batches, 20);
        let mut cuts = Vec::new();
        for plugin in [another(), stateful(), another()] {
            cuts.push(host.swap_commander(&plugin).unwrap());
            said.extend(read(&batches, 50));
        }
        said.extend(read(&batches, COUNT));
        said.sort_by_key(|said| said.index);
        assert_eq!(makers_of_the_whole(&said), cuts);
        let statistics = host.statistics();
        assert_eq!((statistics.commander_restarts, statistics.errors), (0, 0));
    }
}

#[test]
fn failed_save_at_the_cut_does_not_end_the_stream() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let folder = crate::common::refusals::folder();
    let fails_once = folder.path().join("fails-once");
    let config =
        Dictionary::new().with("count", COUNT).with("fails_once", crate::common::refusals::text(&fails_once));
    let host = run().commander_config(config).start().unwrap();
    let batches = host.batches();
    let mut said = read(&batches, 20);
    std::fs::write(&fails_once, "").unwrap();
    let cut = host.swap_commander(&another()).unwrap();
    logs.wait_for("could not be saved for the next commander");
    said.extend(read(&batches, COUNT));
    // From the state before it was asked for the messages in between again.
    assert_eq!(makers_of_the_whole(&said), [cut]);
}

#[test]
fn commander_without_a_state_is_swapped_with_full_slots() {
    let _leaks = isolated!();
    let builder = || filling((0..40).map(|number| index(number).with("random", true)), &small()).slots(5);
    let undisturbed = Delivered::of(&builder().start().unwrap().batches());
    let host = builder().start().unwrap();
    wait_for_ready(&host, 5);
    assert_eq!(host.swap_commander(&plugin("list-commander")).unwrap(), 5);
    assert_eq!(Delivered::of(&host.batches()), undisturbed);
}

#[test]
fn hanging_commander_is_killed_for_the_swap() {
    let _leaks = isolated!();
    let config = list([index(1)]).with("repeat", 0);
    let builder =
        filling([], &small()).commander_config(config).start_timeout(std::time::Duration::from_secs(3));
    let host = builder.slots(2).start().unwrap();
    let batches = host.batches();
    drop(next_batch(&batches));
    // It answers nothing, not even that it was asked to end.
    Process::commander(host.fork_server_pid()).freeze();
    host.swap_commander(&plugin("list-commander")).unwrap();
    (0..10).for_each(|_| drop(next_batch(&batches)));
}

#[test]
fn old_commander_goes_on_if_the_new_one_is_refused() {
    let _leaks = isolated!();
    let host = run().start().unwrap();
    let batches = host.batches();
    let mut said = read(&batches, 70);
    let cases = [
        (with_another_form(), "the state is of version 3, expected 4; resume with the plugin that saved it"),
        (odd_commander(), "the commander odd-commander cannot be set up"),
        (plugin("fill-producer"), "is a producer, expected a commander"),
        (plugin("index-commander"), "the commander index-commander cannot be set up"),
    ];
    for (plugin, says) in cases {
        let error = host.swap_commander(&plugin).expect_err("this commander must be refused");
        assert_says(&error, &[says]);
        said.extend(read(&batches, 20));
    }
    said.extend(read(&batches, COUNT));
    assert!(makers_of_the_whole(&said).is_empty());
}

#[test]
fn swap_after_the_last_message_is_refused() {
    let _leaks = isolated!();
    let host: Host = filling((0..3).map(index), &small()).start().unwrap();
    wait_for_ready(&host, 3);
    let error = host.swap_commander(&plugin("list-commander")).unwrap_err();
    assert!(matches!(error, SwapError::NothingLeft { commanded: 3 }), "{error:?}");
    assert_says(&error, &["the commander has given all of its 3 messages"]);
    assert_eq!(Delivered::of(&host.batches()).sequences, [0, 1, 2]);
}

#[test]
fn plugin_of_another_name_belongs_to_the_run_after_the_swap() {
    let _leaks = isolated!();
    let host = run().start().unwrap();
    let batches = host.batches();
    let said = read(&batches, 10);
    host.swap_commander(&another()).unwrap();
    let checkpoint = host.checkpoint();
    drop(host);
    let resumed = run().commander(another()).source(Source::Resume(checkpoint)).start().unwrap();
    let rest = read(&resumed.batches(), COUNT);
    makers_of_the_whole(&[said, rest].concat());
}

#[test]
fn busy_commander_finishes_its_message_before_a_swap() {
    let _leaks = isolated!();
    let (logs, gate) = (Logs::collect(), Gate::new());
    // The workers are held, not the commander: it waits for a slot, and is asked in between.
    let host = filling((0..6).map(|number| gated(number, "held", &gate)), &small())
        .workers(1)
        .slots(2)
        .start()
        .unwrap();
    logs.wait_for("held");
    let cut = host.swap_commander(&plugin("list-commander")).unwrap();
    assert_eq!(cut, 2);
    gate.open();
    assert_eq!(Delivered::of(&host.batches()).sequences, [0, 1, 2, 3, 4, 5]);
}
