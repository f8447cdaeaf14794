//! Measures the memory that a worker takes in addition to the segment.

use anyhow::Result;

use crate::case::{Case, FILLING};
use crate::consumer::Consumer;
use crate::plugins::Plugins;
use crate::processes::{Resident, resident, workers};
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;
use cobuf::measure::samples::{Samples, percentile};

pub(super) const CASE: Case = Case {
    name: "memory",
    title: "resident memory of a worker beyond the segment; 4 workers",
    plugins: FILLING,
    measure,
};

const WORKERS: usize = 4;

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let rounds = plan.rounds(&[()], |(), window| {
        let builder = plugins.tiny();
        let mut consumer = Consumer::warm(builder.workers(WORKERS))?;
        // Runs for a while, so that everything that grows has grown.
        consumer.take_for(window, WORKERS, |_| ())?;
        let found = workers(&consumer.host).into_iter().map(resident).collect::<Result<Vec<_>>>()?;
        let server = resident(consumer.host.fork_server_pid())?;
        let typical = |bytes: fn(&Resident) -> u64| percentile(found.iter().map(bytes).map(megabytes), 0.5);
        Ok([
            typical(|worker| worker.all_bytes),
            typical(|worker| worker.share_bytes),
            typical(|worker| worker.own_bytes),
            megabytes(server.all_bytes),
        ])
    })?;
    let [all, share, own, server] =
        [0, 1, 2, 3].map(|index: usize| rounds[0].iter().map(|found| found[index]).collect::<Samples>());
    Ok(vec![
        Figure::new("all resident pages", "MB", all)
            .beside("the fork server, which opens no plugin", server)
            .should_be(Bound::AtMost(3.0)),
        Figure::new("its share of them (PSS)", "MB", share),
        Figure::new("those that no other process has, so what one more worker takes (USS)", "MB", own),
    ])
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
