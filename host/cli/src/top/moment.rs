//! A look at a run, and the changes since the one before.

use std::collections::VecDeque;
use std::time::Duration;

use cobuf_host::observer::{RunState, View, WorkerView};
use cobuf_host::{SlotReport, Verdict};

/// The rates that are kept: a minute of them, at a look a second, and as many as a wide terminal shows.
const KEPT: usize = 240;

/// A look, with the changes since the one before.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) view: View,
    pub(super) rates: Rates,
    /// Batches a second, oldest first.
    pub(super) history: VecDeque<f64>,
    /// The part that limits the run: since the look before, or since its start at the first look.
    pub(super) verdict: Verdict,
    /// The share of the time that each worker of the view produced, 0 to 1, in the view's order.
    pub(super) busy: Vec<f64>,
}

/// Amounts a second, between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) batches: f64,
    pub(super) rows: Option<f64>,
    pub(super) bytes: f64,
    /// The share of the time that the application waited, 0 to 1.
    pub(super) waited: f64,
}

impl Moment {
    pub(super) fn first(view: View) -> Self {
        let verdict = view.statistics.verdict();
        let busy = view.workers.iter().map(|worker| busy(worker, None)).collect();
        Self { view, rates: Rates::default(), history: VecDeque::new(), verdict, busy }
    }

    /// The same run, a while later.
    pub(super) fn next(self, view: View) -> Self {
        let before = &self.view;
        let since = view.statistics.since(&before.statistics);
        let seconds = since.elapsed.as_secs_f64();
        let rate = |now: u64, before: u64| {
            if seconds > 0.0 { now.saturating_sub(before) as f64 / seconds } else { 0.0 }
        };
        let rates = Rates {
            batches: rate(view.statistics.delivered, before.statistics.delivered),
            rows: view.rows.zip(before.rows).map(|(now, before)| rate(now, before)),
            bytes: rate(view.bytes, before.bytes),
            waited: share(since.consumer_wait, since.elapsed),
        };
        let mut history = self.history;
        history.push_back(rates.batches);
        if history.len() > KEPT {
            history.pop_front();
        }
        let same = |worker: &WorkerView| {
            before.workers.iter().find(|then| then.worker == worker.worker && then.pid == worker.pid)
        };
        let busy = view.workers.iter().map(|worker| busy(worker, same(worker))).collect();
        Self { verdict: since.verdict(), view, rates, history, busy }
    }

    /// Whether nothing will change any more.
    pub(super) fn is_over(&self) -> bool {
        self.view.state != RunState::Running
    }

    /// The slots whose messages have waited longest for the application, oldest first.
    pub(super) fn oldest(&self, count: usize) -> Vec<&SlotReport> {
        let mut waiting: Vec<&SlotReport> =
            self.view.slots.iter().filter(|slot| slot.sequence.is_some()).collect();
        waiting.sort_by_key(|slot| slot.sequence);
        waiting.truncate(count);
        waiting
    }

    /// How long messages took, at most, for this share of them: the upper end of the class.
    pub(super) fn took(&self, share: f64) -> Option<Duration> {
        let times = &self.view.produce_times;
        let all: u64 = times.iter().sum();
        let mut left = (all as f64 * share).ceil() as u64;
        let class = times.iter().position(|&count| {
            left = left.saturating_sub(count);
            all > 0 && left == 0
        })?;
        Some(Duration::from_nanos(1 << class.min(63)))
    }
}

/// The share of the time since the look before, or since the run's start, that a worker produced.
fn busy(now: &WorkerView, before: Option<&WorkerView>) -> f64 {
    let (busy, waited) = before.map_or_else(Default::default, |before| (before.busy, before.waited));
    let (busy, waited) = (now.busy.saturating_sub(busy), now.waited.saturating_sub(waited));
    share(busy, busy.saturating_add(waited))
}

fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { (part.as_secs_f64() / whole.as_secs_f64()).min(1.0) }
}
