//! Carries out the actions of a swap: on workers, commander and plan; and answers the caller.

use cobuf_plugin_api::PluginKind;
use std::time::Instant;

use super::cast::Cast;
use super::commander::Commander;
use super::mailbox::{SwapWish, Swapped};
use super::run::{Run, count};
use super::swap::{Action, Event, Limits, Scene, Swap};
use super::swap_error::SwapError;
use super::workforce::{Incident, Workforce};
use crate::protocol::message::Request;
use crate::record::state::StateAt;
use crate::segment::notices::NoticeKind;
use crate::segment::sync::Ordering;
use crate::stream::timeline::What;

/// The swap that is going on, and the plugins before.
#[derive(Debug, Default)]
pub(super) struct Swapping {
    swap: Option<Swap>,
    /// How many swaps were asked for.
    number: u32,
    cast: Cast,
}

impl Swapping {
    /// Begins a swap; the host asks for one at a time.
    pub(super) fn begin(&mut self, wish: SwapWish, run: &Run, now: Instant) {
        self.number += 1;
        let message = match wish.kind {
            PluginKind::Commander => run.care.commander_timeout,
            PluginKind::Producer => run.care.message_timeout,
        };
        let limits = Limits { start: run.care.start_timeout, message };
        let expected = run.stream.segment.layout().sizes.schema.clone();
        self.swap = Some(Swap::new(wish, self.number, limits, expected, now));
    }

    /// Drops the swap at a stop. The caller's channel is closed without an answer, which the caller
    /// takes for the end of the run.
    pub(super) fn forget(&mut self) {
        self.swap = None;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.swap.as_ref().and_then(Swap::deadline)
    }

    /// Whether the end of a commander is part of the swap.
    pub(super) fn takes_commander(&self) -> bool {
        self.swap.as_ref().is_some_and(Swap::takes_commander)
    }

    /// A commander has saved its state.
    pub(super) fn note_state(&mut self, run: &Run, state: StateAt) {
        let state = match &mut self.swap {
            Some(swap) => swap.keep_state(state),
            None => Some(state),
        };
        state.into_iter().for_each(|state| run.stream.history.note_state(state));
    }

    /// Has the swap do its next step, if it is time.
    pub(super) fn look(
        &mut self,
        run: &mut Run,
        workforce: &mut Workforce,
        commander: &mut Commander,
        now: Instant,
    ) -> Option<Incident> {
        self.swap.as_ref()?;
        let scene = Scene {
            other_crew_is_gone: workforce.other_is_gone(run),
            newcomers_are_ready: workforce.is_ready(workforce.other()),
            commander: commander.life(),
            commanded: run.stream.table().commanded(),
            is_replay: run.plan.letters.is_some(),
            stream_has_failed: run.stream.has_failed(),
        };
        self.step(Event::Look(scene), run, workforce, commander, now)
    }

    /// Gives the swap an event, and carries out its actions.
    pub(super) fn step(
        &mut self,
        event: Event,
        run: &mut Run,
        workforce: &mut Workforce,
        commander: &mut Commander,
        now: Instant,
    ) -> Option<Incident> {
        let actions = self.swap.as_mut()?.step(event, now);
        let mut incident = None;
        for action in actions {
            match action {
                Action::Kill(role) => run.link.ask(Request::Kill(role), now),
                Action::Rehearse(_) | Action::BringIn | Action::Begin => {
                    self.start(action, run, workforce, commander, now);
                }
                Action::SendAway => {
                    self.cast.send_away(run, workforce.other());
                    workforce.send_away(run, now);
                }
                Action::Relieve(ends) => relieve(run, ends),
                Action::BringBack => {
                    self.cast.bring_back(run);
                    commander.start_anew(now);
                }
                Action::Cut => incident = self.cut(run, workforce, now),
                Action::Relieved { first, saved } => self.relieved(run, first, saved),
                Action::StillDraining(limit) => {
                    let sequence = workforce.oldest_of_other(run);
                    self.refuse(run, SwapError::Draining { sequence, limit });
                }
                Action::Refuse(error) => self.refuse(run, error),
            }
        }
        incident
    }

    /// Starts the processes that the swap needs next, with the new plugin.
    fn start(
        &mut self,
        action: Action,
        run: &mut Run,
        workforce: &mut Workforce,
        commander: &mut Commander,
        now: Instant,
    ) {
        let Some(swap) = &self.swap else { return };
        let plugin = &swap.wish().plugin;
        match action {
            Action::Rehearse(role) => {
                self.cast.rehearse(run, plugin);
                let beginning = run.stream.history.beginning_at(run.stream.table().commanded());
                run.link.ask(Request::Start(role, Some(beginning)), now);
            }
            Action::BringIn => {
                self.cast.bring_in(run, workforce.other(), plugin, run.plan.edition(workforce.current));
                workforce.bring_in(run, now);
            }
            Action::Begin => {
                self.cast.relieve(run, plugin);
                commander.start_anew(now);
            }
            _ => {}
        }
    }

    fn cut(&mut self, run: &Run, workforce: &mut Workforce, now: Instant) -> Option<Incident> {
        let (first, incident) = workforce.cut(run, now);
        let edition = run.plan.edition(workforce.current);
        run.stream.settled.edition.store(edition, Ordering::Relaxed);
        let before = self.cast.cut(run, workforce.other());
        self.done(run, Swapped { first, before });
        incident
    }

    fn relieved(&mut self, run: &Run, first: u64, saved: Vec<StateAt>) {
        saved.into_iter().for_each(|state| run.stream.history.note_state(state));
        let before = self.cast.relieved();
        self.done(run, Swapped { first, before });
    }

    /// The new plugin has taken the other's place.
    fn done(&mut self, run: &Run, swapped: Swapped) {
        let Some(SwapWish { kind, plugin, answer }) = self.swap.take().map(Swap::into_wish) else { return };
        run.stream.history.note_swap(kind, &plugin);
        count(&run.stream.counters().swaps);
        run.stream.note(|| What::Swapped { kind, plugin: plugin.name.clone(), first: swapped.first });
        let (version, first) = (&plugin.version, swapped.first);
        tracing::info!(plugin = plugin.name, %version, first, "the {kind} was swapped");
        let text = format!("the {kind} {} {version}, from message {first} on", plugin.name);
        run.stream.notice(NoticeKind::Swap, &text);
        // Nobody waits for it only if the application is gone.
        let _ = answer.send(Ok(swapped));
    }

    /// The new plugin is not taken.
    fn refuse(&mut self, run: &mut Run, error: SwapError) {
        let Some(SwapWish { kind, plugin, answer }) = self.swap.take().map(Swap::into_wish) else { return };
        self.cast.refuse(run, &plugin);
        // The caller is told, and may print it.
        tracing::info!(plugin = plugin.name, %error, "the {kind} was not swapped");
        let _ = answer.send(Err(error));
    }
}

/// Says whether the commander is to end before its next message.
fn relieve(run: &Run, ends: bool) {
    let table = run.stream.table();
    table.control.relieve_commander.store(ends.into(), Ordering::SeqCst);
    table.wake_everyone();
}
