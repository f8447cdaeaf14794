//! Computes when batches could be delivered at best: with the same times, workers and slots, and
//! with hand-overs that take no time.
//!
//! ```text
//!   in order   slots = 3, workers = 2    worker 0   ├──── 0 ────┤├─ 3 ─┤
//!                                        worker 1   ├ 1 ┤├ 2 ┤   ▲
//!                                       3 has no slot before 0 is delivered
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use cobuf_plugin_api::generator;
use cobuf_plugin_api::rand::RngExt as _;

/// How many different times there are before they repeat.
const TIMES: usize = 1000;
const SEED: u64 = 0;

/// Exponential times with this mean, the same each time.
pub(crate) fn exponential(mean: Duration) -> Vec<Duration> {
    let mut rng = generator(SEED);
    let mut uniform = || rng.random::<f64>();
    (0..TIMES).map(|_| mean.mul_f64(-(1.0 - uniform()).ln())).collect()
}

/// The times of the messages, and the settings of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Simulation<'a> {
    /// How long the messages take; the list repeats without end.
    pub(crate) times: &'a [Duration],
    pub(crate) workers: usize,
    pub(crate) slots: usize,
    pub(crate) in_order: bool,
}

impl Simulation<'_> {
    /// The times from the start at which the first batches are delivered, in ascending order.
    pub(crate) fn deliveries(self, batches: usize) -> Vec<Duration> {
        // At the start each worker has a slot. A delivered batch gives its slot to the next
        // message.
        let free_at_start = self.workers.min(self.slots);
        let mut workers: BinaryHeap<_> = (0..free_at_start).map(|_| Reverse(Duration::ZERO)).collect();
        // In any order, a message that begins later may be delivered earlier.
        let begun = batches + free_at_start;
        let mut delivered: Vec<Duration> = Vec::with_capacity(begun);
        for (batch, &time) in self.times.iter().cycle().take(begun).enumerate() {
            let Some(Reverse(free)) = workers.pop() else { break };
            // In order, slots become free in order, too. In any order there is a slot for every
            // free worker.
            let slot =
                batch.checked_sub(self.slots).filter(|_| self.in_order).map(|before| delivered[before]);
            let done = free.max(slot.unwrap_or_default()) + time;
            workers.push(Reverse(done));
            let before = delivered.last().copied().filter(|_| self.in_order);
            delivered.push(done.max(before.unwrap_or_default()));
        }
        delivered.sort_unstable();
        delivered.truncate(batches);
        delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn deliveries_are_those_of_the_picture() {
        let times = [11, 3, 3, 5, 9].map(millis);
        let simulation = Simulation { times: &times, workers: 2, slots: 3, in_order: true };
        assert_eq!(simulation.deliveries(4), [11, 11, 11, 16].map(millis));
        let any = Simulation { in_order: false, ..simulation };
        assert_eq!(any.deliveries(5), [3, 6, 11, 11, 20].map(millis));
    }

    fn times() -> impl Strategy<Value = Vec<Duration>> {
        prop::collection::vec((0_u64..100).prop_map(millis), 1..60)
    }

    proptest! {
        #[test]
        fn any_order_is_never_slower(times in times(), workers in 1_usize..9, slots in 1_usize..20) {
            let ordered = Simulation { times: &times, workers, slots, in_order: true };
            let any = Simulation { in_order: false, ..ordered };
            let both = any.deliveries(80).into_iter().zip(ordered.deliveries(80));
            for (any, ordered) in both {
                prop_assert!(any <= ordered);
            }
        }

        #[test]
        fn more_slots_or_workers_are_never_slower(
            times in times(), workers in 1_usize..9, slots in 1_usize..20, in_order: bool
        ) {
            let few = Simulation { times: &times, workers, slots, in_order };
            for more in [Simulation { slots: slots + 1, ..few }, Simulation { workers: workers + 1, ..few }] {
                for (few, more) in few.deliveries(80).into_iter().zip(more.deliveries(80)) {
                    prop_assert!(more <= few);
                }
            }
        }

        #[test]
        fn the_first_deliveries_do_not_depend_on_later_ones(
            times in times(), workers in 1_usize..9, slots in 1_usize..20, in_order: bool
        ) {
            let simulation = Simulation { times: &times, workers, slots, in_order };
            prop_assert_eq!(&simulation.deliveries(80)[..50], &simulation.deliveries(50)[..]);
        }

        #[test]
        fn one_worker_takes_the_sum(times in times(), slots in 1_usize..20, in_order: bool) {
            let alone = Simulation { times: &times, workers: 1, slots, in_order };
            let deliveries = alone.deliveries(times.len());
            prop_assert_eq!(deliveries.last().copied(), Some(times.iter().sum::<Duration>()));
        }

        #[test]
        fn workers_do_not_exceed_their_total_time(times in times(), workers in 1_usize..9, in_order: bool) {
            let simulation = Simulation { times: &times, workers, slots: 4 * workers, in_order };
            // Everything that was delivered was worked on, except perhaps the longest message that
            // began before.
            let done = times.iter().sum::<Duration>().saturating_sub(millis(100) * workers as u32);
            let end = simulation.deliveries(times.len()).last().copied().unwrap_or_default();
            prop_assert!(end * workers as u32 >= done);
        }
    }
}
