//! Waiting and waking, step by step as in `segment/event.rs`.
//!
//! A sleeper gets on only by a wake: a futex may also return for no reason, but that could only hide a wake that was
//! lost, and what the process does then is what it does where the comparison fails.

use crate::mutations::Mutation;
use crate::process::{Notify, Pc, Process};
use crate::protocol::{Property, Run, event_of};
use crate::state::Word;

impl Run<'_> {
    pub(crate) fn me(&mut self) -> &mut Process {
        &mut self.state.processes[self.index]
    }

    pub(crate) fn go(&mut self, pc: Pc) {
        self.me().pc = pc;
    }

    /// Runs the next step of the process.
    pub(crate) fn step(&mut self) -> Result<(), Property> {
        match self.me().pc {
            Pc::Ticket => self.ticket(),
            Pc::Announce => {
                *self.waiters() += 1;
                self.go(Pc::CompareAndSleep);
            }
            Pc::CompareAndSleep => {
                let sleeps = self.me().fresh == 1 || self.model.is(Mutation::SleepWithoutComparing);
                self.me().fresh = 0;
                self.go(if sleeps { Pc::Asleep } else { Pc::Retract });
            }
            Pc::Retract => {
                *self.waiters() = self.waiters().wrapping_sub(1);
                self.look();
            }
            Pc::Bump => self.bump(),
            Pc::RouseAll => self.rouse_all(),
            Pc::LookForWaiters => self.look_for_waiters(),
            Pc::LoadWord => self.load_word(),
            Pc::LoadSequence => self.load_sequence(),
            Pc::Swap => return self.swap(),
            _ => return self.role_step(),
        }
        Ok(())
    }

    fn waiters(&mut self) -> &mut u8 {
        let event =
            self.model.waits_for(&self.state, self.index).expect("the supervisor does not wait for an event");
        &mut self.state.waiters[event as usize]
    }

    /// Starts a look at the slots for something to do; a claim, if there was one, is over.
    pub(crate) fn look(&mut self) {
        let Process { number, early, .. } = *self.me();
        *self.me() = Process { number, early, ..Process::at(self.model.look()) };
    }

    fn ticket(&mut self) {
        self.me().fresh = 1;
        let late = self.model.is(Mutation::TicketAfterLook);
        let in_crew = self.in_crew();
        self.go(match late {
            true => Pc::Announce,
            false if in_crew => Pc::LoadRetire,
            false => Pc::LoadWord,
        });
    }

    /// Nothing was found: sleeps.
    pub(crate) fn wait(&mut self) {
        let late = self.model.is(Mutation::TicketAfterLook);
        self.go(match late {
            true => Pc::Ticket,
            false if self.model.is(Mutation::SleepUnannounced) => Pc::CompareAndSleep,
            false => Pc::Announce,
        });
    }

    /// Notifies an event.
    pub(crate) fn notify(&mut self, notify: Notify) {
        let Process { number, retires, .. } = *self.me();
        *self.me() = Process { number, retires, notify, ..Process::at(Pc::Bump) };
        if self.model.swaps() && notify.rouses() {
            return self.go(Pc::RouseAll);
        }
        let no_bump = Mutation::without_bump(notify).is_some_and(|mutation| self.model.is(mutation));
        if no_bump {
            self.look_or_wake();
        } else if !notify.rouses() && self.model.is(Mutation::LookForWaitersBeforeBump) {
            self.go(Pc::LookForWaiters);
        }
    }

    /// `wake_everyone` as one step, where the supervisor does it twice in a cut. Nothing is hidden by it: who is roused later is who
    /// goes on later, and the events do not know of each other.
    fn rouse_all(&mut self) {
        for process in &mut self.state.processes {
            process.fresh = 0;
            if process.pc == Pc::Asleep {
                process.pc = Pc::Retract;
            }
        }
        self.woke_everyone();
    }

    /// Whoever is roused is so whether it has announced itself or not.
    fn look_or_wake(&mut self) {
        let rouses = self.me().notify.rouses();
        self.go(if rouses { Pc::Wake } else { Pc::LookForWaiters });
    }

    fn bump(&mut self) {
        let event = event_of(self.me().notify);
        for index in 0..self.state.processes.len() {
            if self.model.waits_for(&self.state, index) == Some(event) {
                self.state.processes[index].fresh = 0;
            }
        }
        if self.model.is(Mutation::LookForWaitersBeforeBump) && !self.me().notify.rouses() {
            let seen = std::mem::take(&mut self.me().best);
            if seen == 1 { self.go(Pc::Wake) } else { self.notified() }
        } else {
            self.look_or_wake();
        }
    }

    fn look_for_waiters(&mut self) {
        let event = event_of(self.me().notify);
        let waiters = self.state.waiters[event as usize] > 0;
        if self.model.is(Mutation::LookForWaitersBeforeBump) {
            self.me().best = waiters.into();
            self.go(Pc::Bump);
        } else if waiters {
            self.go(Pc::Wake);
        } else {
            self.notified();
        }
    }

    /// The event was notified: goes on with what comes after.
    pub(crate) fn notified(&mut self) {
        match std::mem::replace(&mut self.me().notify, Notify::None) {
            Notify::Publish => self.published(),
            Notify::Release => self.released(),
            Notify::Commit => self.committed(),
            Notify::GiveBack => self.glance(),
            Notify::End => *self.me() = Process::at(Pc::Ended),
            Notify::EveryoneQueued => self.notify(Notify::EveryoneFreed),
            Notify::EveryoneFreed => self.notify(Notify::EveryoneReady),
            Notify::EveryoneReady => self.woke_everyone(),
            Notify::None => unreachable!("only an event is notified"),
        }
    }

    /// The claim, for a mutation that goes on with it after a notification.
    pub(crate) fn keep_claim(&mut self, slot: u8, seen: Word) {
        self.me().slot = slot;
        self.me().seen = seen;
    }
}
