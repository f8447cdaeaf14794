//! Shared by the behaviour tests: plugins, hosts, gates, logs, packages and their refusals.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(unused_imports, reason = "as above")]

pub(crate) mod compiled;
pub(crate) mod dice;
pub(crate) mod editions;
pub(crate) mod forked;
pub(crate) mod interception;
mod logs;
pub(crate) mod packages;
pub(crate) mod refusals;
pub(crate) mod seccomp;
pub(crate) mod terminal;
pub(crate) mod traces;

pub(crate) use crate::harness::{
    LONG, Leaks, Process, application, command, isolated, refused, repository, run_as_application,
    start_as_application, succeed, test_name, wait_until,
};
pub(crate) use logs::{Logs, Record};

use std::fs::File;
use std::process::Command;

use crate::harness;
use cobuf_host::{
    Batch, BatchError, Batches, Checkpoint, Commander, ContentDigest, Dictionary, Host, HostBuilder, Next,
    Plugin, StreamError, Value,
};

/// The executable of the command `cobuf` of this build.
pub(crate) const COBUF: &str = env!("CARGO_BIN_EXE_cobuf");

/// The command `cobuf`.
pub(crate) fn cobuf() -> Command {
    harness::command(COBUF)
}

/// A plugin of `plugins/`.
pub(crate) fn plugin(name: &str) -> Plugin {
    Plugin::file(harness::plugins::file(name))
}

/// A host to be set up, whose fork server is the `cobuf` command of this build. It has two workers,
/// and so eight slots, unless the test says otherwise: on a machine with one CPU there would be too
/// few slots for tests that hold batches.
pub(crate) fn host() -> HostBuilder {
    Host::builder().fork_server(COBUF).workers(2)
}

/// A host with the list-commander and the fill-producer.
pub(crate) fn filling(messages: impl IntoIterator<Item = Dictionary>, arrays: &[Dictionary]) -> HostBuilder {
    host()
        .commander(plugin("list-commander"))
        .commander_config(list(messages))
        .producer(plugin("fill-producer"))
        .producer_config(arrays_config(arrays))
}

/// A host with the fill-producer, for which this process is the commander.
pub(crate) fn submitting(arrays: &[Dictionary]) -> HostBuilder {
    host()
        .commander(Commander::Application)
        .producer(plugin("fill-producer"))
        .producer_config(arrays_config(arrays))
}

/// The same for [`random_stream`]'s batches, of each [`random`] message.
pub(crate) fn submitting_random() -> HostBuilder {
    submitting(&[array("x", "f32", &[16, 3])])
}

/// A message whose batch draws its content.
pub(crate) fn random() -> Dictionary {
    Dictionary::new().with("random", true)
}

/// A stream of random batches: so many messages, each of which draws its content.
pub(crate) fn random_stream(messages: u64) -> HostBuilder {
    let config = list([random()]).with("repeat", messages);
    filling([], &[array("x", "f32", &[16, 3])]).commander_config(config)
}

/// Asserts that a stream delivers the same whether or not it is disturbed in so many rounds, in both
/// orders. A round begins with all six slots full. `disturb` is given the host, a function that takes
/// six batches, and the number of the round, from 1.
pub(crate) fn assert_undisturbed(rounds: u64, disturb: impl Fn(&Host, &mut dyn FnMut(), u64)) {
    let run = || random_stream(60).workers(2).slots(6);
    let expected = Delivered::of(&run().start().unwrap().batches());
    for ordered in [true, false] {
        let host = run().ordered(ordered).start().unwrap();
        let batches = host.batches();
        let mut delivered = Delivered::default();
        for round in 1..=rounds {
            wait_for_ready(&host, 6);
            disturb(&host, &mut || (0..6).for_each(|_| delivered.add(&next_batch(&batches))), round);
        }
        all_items(&batches).for_each(|item| delivered.add(&item.unwrap()));
        assert!(!ordered || delivered.sequences.is_sorted());
        assert_eq!(delivered.sorted(), expected);
    }
}

/// An endless stream: one message again and again, one worker, four slots.
pub(crate) fn repeating() -> HostBuilder {
    filling([], &small()).commander_config(list([index(0)]).with("repeat", 0)).workers(1).slots(4)
}

/// A configuration of the list-commander.
pub(crate) fn list(messages: impl IntoIterator<Item = Dictionary>) -> Dictionary {
    Dictionary::new().with("messages", messages.into_iter().map(Value::from).collect::<Vec<_>>())
}

/// A configuration of the fill-producer.
pub(crate) fn arrays_config(arrays: &[Dictionary]) -> Dictionary {
    Dictionary::new().with("arrays", arrays.iter().cloned().map(Value::from).collect::<Vec<_>>())
}

/// One array of the fill-producer's configuration.
pub(crate) fn array(name: &str, dtype: &str, shape: &[usize]) -> Dictionary {
    let shape = shape.iter().map(|&n| Value::from(n)).collect::<Vec<_>>();
    Dictionary::new().with("name", name).with("dtype", dtype).with("shape", shape)
}

/// The array of tests that do not care: `x`, 4 of u32.
pub(crate) fn small() -> [Dictionary; 1] {
    [array("x", "u32", &[4])]
}

/// A message `{ index }`.
pub(crate) fn index(index: u64) -> Dictionary {
    Dictionary::new().with("index", index)
}

/// The next batch, which must be there within [`LONG`].
pub(crate) fn next_batch(batches: &Batches) -> Batch {
    match next_item(batches) {
        Some(Ok(batch)) => batch,
        other => panic!("expected a batch, got {other:?}"),
    }
}

/// The next item, which must be there within [`LONG`]; `None` is the end.
pub(crate) fn next_item(batches: &Batches) -> Option<Result<Batch, StreamError>> {
    match batches.next_timeout(LONG) {
        Next::Item(item) => Some(item),
        Next::Ended => None,
        Next::Pending(waiting_for) => panic!("nothing came in {LONG:?}, waiting for {waiting_for:?}"),
    }
}

/// All that is left of a stream, item by item.
pub(crate) fn all_items(batches: &Batches) -> impl Iterator<Item = Result<Batch, StreamError>> {
    std::iter::from_fn(|| next_item(batches))
}

/// The error of a batch, which the item must be.
#[track_caller]
pub(crate) fn batch_error(item: Option<Result<Batch, StreamError>>) -> BatchError {
    match item {
        Some(Err(StreamError::Batch(error))) => *error,
        other => panic!("expected the error of a batch, got {other:?}"),
    }
}

/// `0 1 !2 3`: the sequence numbers of what is left of a stream, with an exclamation mark where an
/// error is in the batch's place.
pub(crate) fn outline(batches: &Batches) -> String {
    let items = all_items(batches).map(|item| match item {
        Ok(batch) => batch.sequence().to_string(),
        Err(error) => format!("!{}", batch_error(Some(Err(error))).sequence()),
    });
    items.collect::<Vec<_>>().join(" ")
}

/// As it is after it was written and read.
pub(crate) fn read_again(checkpoint: &Checkpoint) -> Checkpoint {
    let again: Checkpoint = serde_json::from_str(&serde_json::to_string(checkpoint).unwrap()).unwrap();
    assert_eq!(again, *checkpoint);
    again
}

/// Takes seven batches, and drops all of them but the one with this number.
pub(crate) fn take_seven_and_keep(batches: &Batches, number: u64) -> Batch {
    let mut others: Vec<Batch> = (0..7).map(|_| next_batch(batches)).collect();
    let kept = others.iter().position(|batch| batch.sequence() == number).unwrap();
    others.swap_remove(kept)
}

/// What a whole run delivered: the sequence numbers in the order of delivery, and the digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) sequences: Vec<u64>,
    pub(crate) digest: ContentDigest,
}

impl Delivered {
    /// Reads a stream to its end; there must be no error in it.
    pub(crate) fn of(batches: &Batches) -> Self {
        let mut delivered = Self::default();
        while let Some(item) = next_item(batches) {
            delivered.add(&item.expect("every message can be produced"));
        }
        delivered
    }

    /// The same, without the order of delivery.
    pub(crate) fn sorted(mut self) -> Self {
        self.sequences.sort_unstable();
        self
    }

    pub(crate) fn add(&mut self, batch: &Batch) {
        self.sequences.push(batch.sequence());
        self.digest.add(batch);
    }
}

/// A file that messages wait for, `until_file`.
#[derive(Debug)]
pub(crate) struct Gate {
    folder: tempfile::TempDir,
}

impl Gate {
    /// A gate that is shut.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("gate-of-a-test-").tempdir();
        Self { folder: folder.expect("a folder for the gate") }
    }

    /// What a message waits for.
    pub(crate) fn path(&self) -> String {
        self.folder.path().join("open").to_str().expect("temporary folders have plain names").to_owned()
    }

    /// Lets all through that wait, and all that come.
    pub(crate) fn open(&self) {
        File::create(self.path()).expect("the gate can be opened");
    }
}

/// A message that says `text` in the log and then waits for the gate.
pub(crate) fn gated(index: u64, text: &str, gate: &Gate) -> Dictionary {
    self::index(index).with("log", text).with("until_file", gate.path())
}

/// Waits until so many batches are ready.
pub(crate) fn wait_for_ready(host: &Host, ready: usize) {
    wait_until(&format!("{ready} batches are ready"), || host.statistics().slots.ready == ready);
}
