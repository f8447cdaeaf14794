//! Waiting and waking, step by step as in `segment/event.rs`.
//!
//! A sleeper gets on only by a wake: a futex may also return for no reason, but that could only hide a wake that was
//! lost, and what the process does then is what it does where the comparison fails.

use crate::mutations::Mutation;
use crate::process::{Notify, Pc, Process};
use crate::protocol::{Property, Run, event_of, waits_for};
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
            Pc::LookForWaiters => self.look_for_waiters(),
            Pc::LoadWord => self.load_word(),
            Pc::LoadSequence => self.load_sequence(),
            Pc::Swap => return self.swap(),
            _ => return self.role_step(),
        }
        Ok(())
    }

    fn waiters(&mut self) -> &mut u8 {
        let event = waits_for(self.index).expect("the supervisor does not wait for an event");
        &mut self.state.waiters[event as usize]
    }

    /// Starts a look at the slots for something to do; a claim, if there was one, is over.
    pub(crate) fn look(&mut self) {
        let number = self.me().number;
        *self.me() = Process { number, ..Process::at(self.model.look()) };
    }

    fn ticket(&mut self) {
        self.me().fresh = 1;
        let late = self.model.is(Mutation::TicketAfterLook);
        self.go(if late { Pc::Announce } else { Pc::LoadWord });
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
        let number = self.me().number;
        *self.me() = Process { number, notify, ..Process::at(Pc::Bump) };
        let no_bump = Mutation::without_bump(notify).is_some_and(|mutation| self.model.is(mutation));
        if no_bump || self.model.is(Mutation::LookForWaitersBeforeBump) {
            self.go(Pc::LookForWaiters);
        }
    }

    fn bump(&mut self) {
        let event = event_of(self.me().notify);
        for (index, process) in self.state.processes.iter_mut().enumerate() {
            if waits_for(index) == Some(event) {
                process.fresh = 0;
            }
        }
        if self.model.is(Mutation::LookForWaitersBeforeBump) {
            let seen = std::mem::take(&mut self.me().best);
            if seen == 1 { self.go(Pc::Wake) } else { self.notified() }
        } else {
            self.go(Pc::LookForWaiters);
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
