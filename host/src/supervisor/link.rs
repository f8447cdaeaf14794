//! The fork server as the supervisor's parts see it: the requests to it, and the answers that it
//! owes.
//!
//! ```text
//!   parts ── ask, tell ──► orders ──► the supervisor sends them
//!   supervisor ── answered ──► answers owed ──► is it busy? is it late?
//! ```
//!
//! Orders are kept in their sequence and carried out once the parts have dealt with an event. So
//! the parts can be tested without a process.

use std::time::Instant;

use crate::limits::{MAX_FORK_SERVER_STARTS, MAX_UNANSWERED, SERVER_ANSWER_LIMIT};
use crate::protocol::message::Request;

/// An order to the supervisor about the fork server.
#[derive(Debug)]
pub(super) enum Order {
    /// Send it a request. If it is gone, the next event says so.
    Send(Request),
    /// Kill it, and all processes with it. The next event says that it is gone.
    KillServer,
}

/// The requests to the fork server.
#[derive(Debug, Default)]
pub(super) struct Link {
    orders: Vec<Order>,
    /// How many answers the fork server owes.
    owed: u32,
    /// Since when it has owed the next of them.
    owed_since: Option<Instant>,
}

impl Link {
    /// Asks for a start or a kill, each of which has one answer.
    pub(super) fn ask(&mut self, request: Request, now: Instant) {
        self.owed += 1;
        self.owed_since.get_or_insert(now);
        self.orders.push(Order::Send(request));
    }

    /// Sends a request that has no answer.
    pub(super) fn tell(&mut self, request: Request) {
        self.orders.push(Order::Send(request));
    }

    /// Has the fork server killed; then it owes nothing.
    pub(super) fn kill_server(&mut self) {
        (self.owed, self.owed_since) = (0, None);
        self.orders.push(Order::KillServer);
    }

    /// The fork server has answered a request.
    pub(super) fn answered(&mut self, now: Instant) {
        self.owed = self.owed.saturating_sub(1);
        self.owed_since = (self.owed > 0).then_some(now);
    }

    /// Whether the fork server has been asked for as much as its answers have room for.
    pub(super) fn is_busy(&self) -> bool {
        self.owed >= MAX_UNANSWERED
    }

    /// When the next answer is late.
    pub(super) fn late_at(&self) -> Option<Instant> {
        self.owed_since.map(|since| since + SERVER_ANSWER_LIMIT)
    }

    /// Takes the orders, in their sequence.
    pub(super) fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// A new fork server was asked for nothing yet.
    pub(super) fn renew(&mut self) {
        *self = Self::default();
    }
}

/// Fork servers that died in a row, with no batch in between.
#[derive(Debug, Default)]
pub(super) struct ServerDeaths {
    number: u32,
    /// How many batches had been taken at the last death.
    taken: u64,
}

impl ServerDeaths {
    /// Counts one more; an error says why there is to be no other.
    pub(super) fn count(&mut self, taken: u64) -> Result<(), String> {
        self.number = if self.taken == taken { self.number + 1 } else { 1 };
        self.taken = taken;
        if self.number > MAX_FORK_SERVER_STARTS {
            return Err(format!("{} of them died in a row, with no batch in between", self.number));
        }
        Ok(())
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::role::Role;

    fn kill() -> Request {
        Request::Kill(Role::Commander)
    }

    #[test]
    fn server_is_busy_while_its_answers_would_fill_their_socket() {
        let (mut link, now) = (Link::default(), Instant::now());
        (1..MAX_UNANSWERED).for_each(|_| link.ask(kill(), now));
        assert!(!link.is_busy());
        link.ask(kill(), now);
        assert!(link.is_busy());
        link.answered(now);
        assert!(!link.is_busy());
        assert_eq!(link.take_orders().len(), MAX_UNANSWERED as usize);
    }

    #[test]
    fn server_is_late_by_the_time_since_its_last_answer() {
        let (mut link, now) = (Link::default(), Instant::now());
        assert_eq!(link.late_at(), None);
        link.tell(kill());
        assert_eq!(link.late_at(), None, "this has no answer");
        link.ask(kill(), now);
        let later = now + Duration::from_secs(1);
        link.ask(kill(), later);
        assert_eq!(link.late_at(), Some(now + SERVER_ANSWER_LIMIT));
        link.answered(later);
        assert_eq!(link.late_at(), Some(later + SERVER_ANSWER_LIMIT));
        link.answered(later);
        link.answered(later);
        assert_eq!(link.late_at(), None, "an answer more than were asked for changes nothing");
    }

    #[test]
    fn killed_and_new_servers_owe_nothing() {
        let (mut link, now) = (Link::default(), Instant::now());
        link.ask(kill(), now);
        link.kill_server();
        assert_eq!(link.late_at(), None);
        assert!(matches!(link.take_orders()[..], [Order::Send(_), Order::KillServer]));
        link.ask(kill(), now);
        link.renew();
        assert!(link.take_orders().is_empty() && link.late_at().is_none());
    }
}
