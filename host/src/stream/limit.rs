//! The parts that can limit a run, and the sentence for people about each: the figures, and the change
//! that helps.

use std::fmt;

use serde::Serialize;

use super::figures::{Figures, Shares, seconds};

/// The application holds the slots if it holds this part of them.
const HELD: f64 = 0.5;

/// The part that limits a run's throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LimitedBy {
    /// The application: batches waited for it.
    Consumer,
    /// The commander: workers waited for messages.
    Commander,
    /// The application, which is the commander: workers waited for messages that it submits.
    Submissions,
    /// The producers: workers were busy while the application waited.
    Producers,
    /// Too few slots: all parts waited for each other; or the application held most slots.
    Slots,
    /// One worker, which is much slower than the others.
    Straggler,
    /// Memory: the workers did little but write it.
    Memory,
    /// Deaths: the workers' time was lost to processes that died, hung or were started again.
    Deaths,
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consumer => "consumer",
            Self::Commander => "commander",
            Self::Submissions => "submissions",
            Self::Producers => "producers",
            Self::Slots => "slots",
            Self::Straggler => "straggler",
            Self::Memory => "memory",
            Self::Deaths => "deaths",
        })
    }
}

/// A limit of an interval, to be put in words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit<'a> {
    pub(super) figures: &'a Figures,
    pub(super) shares: Shares,
    pub(super) by: LimitedBy,
    /// The straggler.
    pub(super) worker: Option<usize>,
    /// The other workers' typical time for a message in seconds, if it is known.
    pub(super) typical: Option<f64>,
    /// The bytes a second that each CPU wrote.
    pub(super) write_rate: f64,
}

impl Limit<'_> {
    /// The figures and the change in words, without a full stop.
    pub(super) fn sentence(self) -> String {
        let waited = format!("the application waited {} of the time", percent(1.0 - self.shares.consumer));
        match self.by {
            LimitedBy::Consumer if self.figures.replays => self.ceiling(),
            LimitedBy::Consumer => {
                let idle = percent(1.0 - self.shares.producers);
                format!(
                    "{waited} for batches, the workers {idle} for messages: a faster loader would not help"
                )
            }
            LimitedBy::Commander => format!("{waited}, {}", self.of_commander()),
            LimitedBy::Submissions => {
                let idle = percent(1.0 - self.shares.producers);
                format!(
                    "{waited}, the workers {idle}, while slots were free: submit messages earlier, several ahead, or from another thread"
                )
            }
            LimitedBy::Producers => format!("{waited}, {}", self.of_producers()),
            LimitedBy::Slots => self.of_slots(),
            LimitedBy::Straggler => format!("{waited}, {}", self.of_straggler()),
            LimitedBy::Memory => {
                let rate = self.write_rate / 1e9;
                format!(
                    "{waited}, and the workers wrote {rate:.1} GB/s on each CPU, nearly what one can: \
                     write fewer bytes (smaller element types), or use few slots, which stay in the cache; \
                     more workers help little"
                )
            }
            LimitedBy::Deaths => format!("{waited}, {}", self.of_deaths()),
        }
    }

    fn ceiling(self) -> String {
        let rate = self.figures.delivered as f64 / seconds(self.figures.elapsed).max(f64::MIN_POSITIVE);
        format!("your application takes at most {rate:.1} batches/s, whatever the loader does")
    }

    fn of_commander(self) -> String {
        let idle = percent(1.0 - self.shares.producers);
        let each = mean(seconds(self.figures.elapsed), self.figures.produced());
        let died = match self.figures.commander_restarts {
            0 => String::new(),
            number => format!(" and died {}", times(number)),
        };
        format!(
            "the workers {idle}, while slots were free: make the commander faster (it took {each} a message{died}), \
             or its batches larger"
        )
    }

    fn of_producers(self) -> String {
        let Figures { workers, cpus, .. } = *self.figures;
        let busy = percent(self.shares.producers);
        let each = mean(self.figures.sum(|worker| worker.busy), self.figures.produced());
        let now = format!("{workers} on {} now", plural(cpus, "CPU"));
        let change = match self.figures.wants_cpu() {
            _ if workers < cpus => {
                format!("use more workers ({now}), or make produce faster ({each} a batch)")
            }
            Some(true) => format!("make produce faster ({each} a batch), or use more CPUs ({now})"),
            Some(false) => format!(
                "use more workers ({now}, but produce mostly waits for other things than a CPU), \
                 or make produce faster ({each} a batch)"
            ),
            None => format!("make produce faster ({each} a batch), or use more workers ({now})"),
        };
        format!("the workers were busy {busy}: {change}")
    }

    fn of_slots(self) -> String {
        let Figures { slots, workers, ordered, application_commands, .. } = *self.figures;
        let (all, held) = (slots.total(), slots.reading);
        let waited = percent(1.0 - self.shares.consumer);
        if held > 1 && held as f64 >= HELD * all as f64 {
            return format!(
                "the application waited {waited} of the time, while it held {held} of {all} slots: \
                 drop batches earlier, or use more slots"
            );
        }
        let [idle, full] = [self.shares.producers, self.shares.commander].map(|busy| percent(1.0 - busy));
        let commander = if application_commands { "the threads that submit" } else { "the commander" };
        let order =
            if ordered && all / 2 >= workers { ", or any order if batches take different times" } else { "" };
        format!(
            "the application waited {waited} of the time for batches, the workers {idle} for messages, and {commander} \
             {full} for a free slot: use more slots ({all} now){order}"
        )
    }

    fn of_straggler(self) -> String {
        let worker = self.worker.and_then(|worker| self.figures.by_worker.get(worker));
        let each = worker.map_or_else(String::new, |it| mean(seconds(it.busy), it.produced));
        let others =
            self.typical.map_or_else(String::new, |typical| format!(", the others {}", time(typical)));
        let order = if self.figures.ordered {
            ", or deliver in any order, so that no batch waits for it"
        } else {
            ""
        };
        format!("while this worker took {each} a batch{others}: find out what slows it down{order}")
    }

    fn of_deaths(self) -> String {
        let Figures { worker_restarts, timeouts, .. } = *self.figures;
        let lost = percent(self.shares.lost);
        let late = if timeouts > 0 { format!(", {timeouts} for a missed deadline") } else { String::new() };
        format!(
            "and {lost} of the workers' time was lost: they were started again {}{late}; see the errors and dead letters for the messages",
            times(worker_restarts)
        )
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn times(number: u64) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

fn plural(number: usize, one: &str) -> String {
    if number == 1 { format!("{number} {one}") } else { format!("{number} {one}s") }
}

/// The time for each of so many, in words.
fn mean(seconds: f64, number: u64) -> String {
    time(seconds / number.max(1) as f64)
}

/// A time with two digits or three, in the unit that suits it.
fn time(seconds: f64) -> String {
    let (number, unit) = match seconds {
        it if it < 1e-3 => (it * 1e6, "µs"),
        it if it < 1.0 => (it * 1e3, "ms"),
        it => (it, "s"),
    };
    if number < 10.0 { format!("{number:.1} {unit}") } else { format!("{number:.0} {unit}") }
}
