//! Waiting and waking, step by step as in `segment/event.rs`, and the notifications that are worth
//! a wake, as in `table.rs`.
//!
//! ```text
//!   waiter   ticket ─► look ─► announce, unless notified since ─► compare and sleep ─► (woken) ─► ticket
//!   waker    count; asleep? ─► is it worth it? ─► clear the bit ─► wake all
//!                          └─► notify one: wake one ─► no sleeper? ─┘
//! ```
//!
//! Only a wake ends a sleep. A futex may also return for no reason, but that could only hide a lost
//! wake, and the process then does what it does if the comparison fails. The patience before the
//! sleep looks at the word only, and is left out for the same reason.

use crate::config::Property;
use crate::model::Run;
use crate::mutations::Mutation;
use crate::process::{FRESH, Look, Notify, Pc, Process, SLEEPER};
use crate::word::{COMMANDER, CONSUMER, Word};

impl Run<'_> {
    pub(crate) fn me(&mut self) -> &mut Process {
        &mut self.state.processes[self.index]
    }

    pub(crate) fn go(&mut self, pc: Pc) {
        self.me().pc = pc;
    }

    /// Runs the next step of the process.
    pub(crate) fn step(&mut self) -> Result<(), Property> {
        let pc = self.me().pc;
        match pc {
            Pc::Ticket => self.ticket(),
            Pc::Announce => self.announce(),
            Pc::CompareAndSleep => self.compare_and_sleep(),
            Pc::Count => self.count(),
            Pc::CountLate => self.count_late(),
            Pc::LoadAsleep if self.is_asleep() => self.go(Pc::CountQueued),
            Pc::CountQueued => self.count_queued(),
            Pc::HasAny if self.state.free != 0 => self.go(Pc::Count),
            Pc::LoadAsleep | Pc::HasAny => self.notified(),
            Pc::LoadWanted => {
                let sequence = self.me().best_sequence.saturating_sub(1);
                let worth_it = match self.model.is(Mutation::WakeBelowWanted) {
                    true => sequence < self.state.wanted,
                    false => sequence <= self.state.wanted,
                };
                self.wakes_if(worth_it);
            }
            Pc::ClearAsleep => {
                self.set_asleep(false);
                let notify = self.me().notify;
                let one = self.model.is(Mutation::NoWakeAfterClearing) && notify == Notify::Publish;
                if one || self.model.is(Mutation::ClearWithoutWake) && !notify.rouses() {
                    self.notified();
                } else {
                    self.go(Pc::Wake);
                }
            }
            Pc::ClearLate => {
                self.set_asleep(false);
                self.notified();
            }
            Pc::RouseAll => self.rouse_all(),
            _ => return self.claim_step(),
        }
        Ok(())
    }

    // The waiter.

    /// The bit of the event that the process waits for, or notifies.
    fn bit(&mut self) -> u8 {
        let event = match self.me().notify {
            Notify::None => {
                self.model.waits_for(&self.state, self.index).expect("the supervisor does not wait")
            }
            notify => notify.event(),
        };
        1 << event as u8
    }

    fn is_asleep(&mut self) -> bool {
        self.bit() & self.state.asleep != 0
    }

    fn set_asleep(&mut self, value: bool) {
        let bit = self.bit();
        self.state.asleep = if value { self.state.asleep | bit } else { self.state.asleep & !bit };
    }

    /// Starts a look for something to do. A claim, if there was one, is over.
    pub(crate) fn look(&mut self) {
        *self.me() = self.me().begins(Pc::Ticket);
    }

    fn take_ticket(&mut self) {
        self.me().fresh = if self.is_asleep() { FRESH | SLEEPER } else { FRESH };
    }

    fn ticket(&mut self) {
        if self.me().look.has(Look::FOUND) {
            // Mutated: after the look.
            self.take_ticket();
            return self.sleep();
        }
        if !self.model.is(Mutation::TicketAfterLook) {
            self.take_ticket();
        }
        match self.index {
            COMMANDER => self.next_free(),
            CONSUMER => self.next_arrival(),
            _ if self.in_crew() => self.go(Pc::LoadRetire),
            _ => self.go(Pc::LoadRequeues),
        }
    }

    /// Sleeps, as nothing was found.
    pub(crate) fn wait(&mut self) {
        let Process { fresh, .. } = *self.me();
        *self.me() = Process { fresh, ..self.me().begins(Pc::Ticket) };
        if self.model.is(Mutation::WantAfterLook) && self.index == CONSUMER {
            self.go(Pc::StoreWanted);
        } else if self.model.is(Mutation::TicketAfterLook) {
            self.me().look.set(Look::FOUND, true);
        } else {
            self.sleep();
        }
    }

    /// Writes the word even if a process sleeps already.
    pub(crate) fn sleep(&mut self) {
        let silent = self.model.is(Mutation::SleepUnannounced);
        self.me().look = Look::NOTHING;
        self.go(if silent { Pc::CompareAndSleep } else { Pc::Announce });
    }

    /// Whether the event's word is the ticket.
    fn is_unchanged(&mut self) -> bool {
        let fresh = self.me().fresh;
        fresh & FRESH != 0 && self.is_asleep() == (fresh & SLEEPER != 0)
    }

    fn announce(&mut self) {
        if self.is_unchanged() || self.model.is(Mutation::AnnounceWithoutComparing) {
            self.set_asleep(true);
            self.me().fresh = FRESH | SLEEPER;
            self.go(Pc::CompareAndSleep);
        } else {
            self.look();
        }
    }

    fn compare_and_sleep(&mut self) {
        if self.is_unchanged() || self.model.is(Mutation::SleepWithoutComparing) {
            *self.me() = self.me().begins(Pc::Asleep);
        } else {
            self.look();
        }
    }

    pub(crate) fn wake(&mut self, sleeper: usize) {
        self.state.processes[sleeper] = self.state.processes[sleeper].begins(Pc::Ticket);
    }

    // The waker.

    /// Notifies an event.
    pub(crate) fn notify(&mut self, notify: Notify) {
        let Process { best_sequence, number, retires, hints, .. } = *self.me();
        let next = Process { number, retires, hints, notify, ..Process::at(Pc::Count) };
        *self.me() = match notify {
            Notify::Commit => Process { best_sequence, ..next },
            _ => next,
        };
        if self.model.config.rouses_at_once && notify.rouses() {
            self.go(Pc::RouseAll);
        }
    }

    /// `wake_everyone` as one step, in the larger runs. It hides nothing: a process that is woken
    /// later goes on later, and the events are independent.
    fn rouse_all(&mut self) {
        self.state.asleep = 0;
        for index in 0..self.state.processes.len() {
            self.state.processes[index].fresh = 0;
            if self.state.processes[index].pc == Pc::Asleep {
                self.wake(index);
            }
        }
        self.me().notify = Notify::None;
        self.woke_everyone();
    }

    fn count(&mut self) {
        let (asleep, notify) = (self.is_asleep(), self.me().notify);
        let rouses = notify.rouses() || notify == Notify::Claim;
        if self.model.is(Mutation::LookForSleepersBeforeCount) && !rouses {
            self.me().look.set(Look::ASLEEP, asleep);
            return self.go(Pc::CountLate);
        }
        self.counted();
        self.wake_if(asleep);
    }

    fn count_late(&mut self) {
        let asleep = self.me().look.has(Look::ASLEEP);
        self.me().look = Look::NOTHING;
        self.counted();
        self.wake_if(asleep);
    }

    fn counted(&mut self) {
        let notify = self.me().notify;
        if Mutation::without_count(notify).is_some_and(|mutation| self.model.is(mutation)) {
            return;
        }
        for index in 0..self.state.processes.len() {
            if self.model.waits_for(&self.state, index) == Some(notify.event()) {
                self.state.processes[index].fresh = 0;
            }
        }
    }

    fn wake_if(&mut self, asleep: bool) {
        let any_order = !self.model.config.deterministic;
        match self.me().notify {
            notify if notify.rouses() || notify == Notify::Claim => self.wakes_if(true),
            _ if !asleep => self.notified(),
            Notify::Publish => self.go(Pc::WakeOne),
            Notify::Release => self.go(Pc::CountQueued),
            // In any order all batches are wanted.
            Notify::Commit if !any_order => self.go(Pc::LoadWanted),
            _ => self.wakes_if(true),
        }
    }

    pub(crate) fn wakes_if(&mut self, worth_it: bool) {
        let late = self.model.is(Mutation::ClearAfterWake);
        match worth_it {
            true => self.go(if late { Pc::Wake } else { Pc::ClearAsleep }),
            false => self.notified(),
        }
    }

    /// Counts the next slot of the set: a worker that has seen the commander sleep does, and the
    /// consumer that has freed a slot.
    fn count_queued(&mut self) {
        let me = *self.me();
        self.me().best += self.state.queued >> me.walk & 1;
        self.me().walk += 1;
        if usize::from(self.me().walk) < self.model.config.slots {
            return;
        }
        let low = match self.model.is(Mutation::WakeBelowLow) {
            true => self.me().best < self.model.config.low,
            false => self.me().best <= self.model.config.low,
        };
        (self.me().walk, self.me().best) = (0, 0);
        match me.notify {
            Notify::Release => self.wakes_if(low),
            _ if low => self.go(Pc::HasAny),
            _ => self.notified(),
        }
    }

    /// Goes on after a notification.
    pub(crate) fn notified(&mut self) {
        match std::mem::replace(&mut self.me().notify, Notify::None) {
            Notify::Publish => self.published(),
            Notify::Release => self.look(),
            Notify::Claim => self.claimed(),
            Notify::Commit => self.committed(),
            Notify::GiveBack => self.glance(),
            Notify::End => *self.me() = Process::at(Pc::Ended),
            Notify::EveryoneQueued => self.notify(Notify::EveryoneFreed),
            Notify::EveryoneFreed => self.notify(Notify::EveryoneReady),
            Notify::EveryoneReady => self.woke_everyone(),
            Notify::None => unreachable!("only an event is notified"),
        }
    }

    /// Keeps the claim.
    pub(crate) fn keep_claim(&mut self, slot: u8, seen: Word) {
        self.me().slot = slot;
        self.me().seen = seen;
    }
}
