//! When batches could be delivered at best: the same times, workers and slots, with hand-overs that take no time.
//!
//! ```text
//!   in order    slots = 3, workers = 2      worker 0   ├──── 0 ────┤├─ 3 ─┤
//!                                           worker 1   ├ 1 ┤├ 2 ┤   ▲        3 has no slot before 0 was delivered
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Who does which messages, and what is known of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Simulation<'a> {
    /// How long the messages take, again and again.
    pub(crate) times: &'a [Duration],
    pub(crate) workers: usize,
    pub(crate) slots: usize,
    pub(crate) in_order: bool,
}

impl Simulation<'_> {
    /// When each of the first batches is delivered, from the start; ascending.
    pub(crate) fn deliveries(self, batches: usize) -> Vec<Duration> {
        // Each worker has a slot, and a batch that was delivered gives its slot to the next message.
        let free_at_start = self.workers.min(self.slots);
        let mut workers: BinaryHeap<_> = (0..free_at_start).map(|_| Reverse(Duration::ZERO)).collect();
        // In any order, what was begun later may be delivered before.
        let begun = batches + free_at_start;
        let mut delivered: Vec<Duration> = Vec::with_capacity(begun);
        for (batch, &time) in self.times.iter().cycle().take(begun).enumerate() {
            let Some(Reverse(free)) = workers.pop() else { break };
            // In order, slots come back in order, too. In any order there is a slot for whoever is free.
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
    fn does_it_go_as_in_the_picture() {
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
        fn is_any_order_never_slower(times in times(), workers in 1_usize..9, slots in 1_usize..20) {
            let ordered = Simulation { times: &times, workers, slots, in_order: true };
            let any = Simulation { in_order: false, ..ordered };
            let both = any.deliveries(80).into_iter().zip(ordered.deliveries(80));
            for (any, ordered) in both {
                prop_assert!(any <= ordered);
            }
        }

        #[test]
        fn are_more_slots_and_more_workers_never_slower(
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
        fn are_the_first_deliveries_the_same_however_many_follow(
            times in times(), workers in 1_usize..9, slots in 1_usize..20, in_order: bool
        ) {
            let simulation = Simulation { times: &times, workers, slots, in_order };
            prop_assert_eq!(&simulation.deliveries(80)[..50], &simulation.deliveries(50)[..]);
        }

        #[test]
        fn does_one_worker_take_the_sum(times in times(), slots in 1_usize..20, in_order: bool) {
            let alone = Simulation { times: &times, workers: 1, slots, in_order };
            let deliveries = alone.deliveries(times.len());
            prop_assert_eq!(deliveries.last().copied(), Some(times.iter().sum::<Duration>()));
        }

        #[test]
        fn does_nobody_work_faster_than_all_workers(times in times(), workers in 1_usize..9, in_order: bool) {
            let simulation = Simulation { times: &times, workers, slots: 4 * workers, in_order };
            // All that was delivered was worked on, but maybe not the longest that was begun before.
            let done = times.iter().sum::<Duration>().saturating_sub(millis(100) * workers as u32);
            let end = simulation.deliveries(times.len()).last().copied().unwrap_or_default();
            prop_assert!(end * workers as u32 >= done);
        }
    }
}
