//! How a commander reaches a message: by the default `skip`, by its own `skip`, by its saved state.
//! These tests are not in `commander.rs`, because they use the harness, which is of a higher layer.

use crate::commander::{Commander, CommanderContext};
use crate::dictionary::{Dictionary, Value};
use crate::state::SavedState;
use crate::testing::CommanderHarness;

/// Counts its own calls, so its messages depend on how often it was asked. It ends before message
/// 5.
#[derive(Default)]
struct Counter {
    calls: u64,
}

impl Counter {
    fn message(&mut self, context: &CommanderContext) -> Option<Dictionary> {
        self.calls += 1;
        let message = Dictionary::new().with("calls", self.calls).with("sequence", context.sequence());
        (context.sequence() < 5).then_some(message)
    }
}

impl Commander for Counter {
    type Config = Dictionary;
    type Message = Dictionary;

    fn new(_: Dictionary, _: &CommanderContext) -> anyhow::Result<Self> {
        Ok(Self::default())
    }

    fn next(&mut self, context: &mut CommanderContext) -> anyhow::Result<Option<Dictionary>> {
        Ok(self.message(context))
    }
}

/// The same, but it can skip, and it saves the number of its calls.
#[derive(Default)]
struct Skipper(Counter);

impl Commander for Skipper {
    type Config = Dictionary;
    type Message = Dictionary;

    fn new(_: Dictionary, _: &CommanderContext) -> anyhow::Result<Self> {
        Ok(Self::default())
    }

    fn next(&mut self, context: &mut CommanderContext) -> anyhow::Result<Option<Dictionary>> {
        Ok(self.0.message(context))
    }

    fn skip(&mut self, _: &mut CommanderContext, _: u64) -> anyhow::Result<()> {
        Ok(())
    }

    fn save(&mut self, context: &CommanderContext) -> anyhow::Result<Option<SavedState>> {
        let state = Dictionary::new().with("calls", self.0.calls).with("sequence", context.sequence());
        Ok(Some(SavedState::new(1, &state)?))
    }

    fn restore(&mut self, context: &CommanderContext, state: &SavedState) -> anyhow::Result<()> {
        let saved: Dictionary = state.read()?;
        anyhow::ensure!(saved.get("sequence") == Some(&Value::from(context.sequence())));
        let Some(Value::Int(calls)) = saved.get("calls") else { anyhow::bail!("no calls") };
        self.0.calls = calls.unsigned_abs();
        Ok(())
    }
}

fn open<C: Commander>() -> CommanderHarness<C> {
    CommanderHarness::open(&Dictionary::new(), 0).unwrap()
}

fn said<C: Commander>(commander: &mut CommanderHarness<C>) -> String {
    commander.next_message().unwrap().unwrap().to_string()
}

#[test]
fn default_skip_asks_for_the_messages_in_between() {
    let mut counter = open::<Counter>();
    counter.next_message().unwrap();
    counter.skip(3).unwrap();
    assert_eq!(said(&mut counter), r#"{"calls":4,"sequence":3}"#);
    // Past the end: the default `skip` stops there.
    counter.skip(9).unwrap();
    assert!(counter.next_message().unwrap().is_none());
}

#[test]
fn own_skip_replaces_the_default() {
    let mut skipper = open::<Skipper>();
    skipper.skip(3).unwrap();
    assert_eq!(said(&mut skipper), r#"{"calls":1,"sequence":3}"#);
}

#[test]
fn another_commander_continues_from_a_saved_state() {
    let mut first = open::<Skipper>();
    first.take(2).unwrap();
    let state = first.save().unwrap().unwrap();
    let mut second = open::<Skipper>();
    second.restore(2, &state).unwrap();
    assert_eq!(said(&mut second), said(&mut first));
    // The context says before which message the state was saved.
    assert!(open::<Skipper>().restore(3, &state).is_err());
}

#[test]
fn commander_without_saved_state_refuses_one() {
    let mut counter = open::<Counter>();
    assert_eq!(counter.save().unwrap(), None);
    let state = SavedState::new(7, &Dictionary::new()).unwrap();
    assert_eq!(
        counter.restore(2, &state).unwrap_err().to_string(),
        "a state of version 7 cannot be restored: this commander saves none"
    );
}
