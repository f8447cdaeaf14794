//! The report: tables and conditions as Markdown, everything as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::args::RunArgs;
use crate::equipment::Equipment;
use crate::goals::{self, Outcome};
use crate::machine::Machine;
use crate::peers::{Missing, Peer, Peers};
use crate::photos;
use crate::rounds::{Figures, Results};
use crate::slides;
use crate::statistics::{Spread, short};
use crate::work::Work;

/// Everything that is said of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    machine: Machine,
    command: String,
    rounds: u32,
    seconds: f64,
    workers: u16,
    photo_bytes: u64,
    tile_bytes: u64,
    peers: Vec<Described<'a>>,
    missing: &'a [Missing],
    works: Vec<Table>,
    goals: Vec<Outcome>,
}

/// A peer that was measured.
#[derive(Debug, Serialize)]
struct Described<'a> {
    name: &'a str,
    versions: &'a str,
    conditions: &'a str,
}

/// The figures of a work.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) work: Work,
    pub(crate) unit: &'static str,
    pub(crate) rows: Vec<Figures>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(peers: &'a Peers, equipment: &Equipment, results: &[Results], args: &RunArgs) -> Self {
        let described = |peer: &'a Peer| Described {
            name: peer.name,
            versions: &peer.probe.versions,
            conditions: &peer.probe.conditions,
        };
        let measured = |peer: &Peer| {
            let rows = results.iter().flat_map(|results| &results.rows);
            rows.map(|row| &peers.there[row.contender.peer]).any(|there| there.name == peer.name)
        };
        let table = |results: &Results| Table {
            work: results.work,
            unit: results.work.unit(),
            rows: results.figures(),
        };
        Self {
            machine: Machine::this(),
            command: command(),
            rounds: args.rounds,
            seconds: args.seconds,
            workers: args.workers,
            photo_bytes: equipment.photo_bytes,
            tile_bytes: equipment.tile_bytes,
            peers: peers.there.iter().filter(|peer| measured(peer)).map(described).collect(),
            missing: &peers.missing,
            works: results.iter().map(table).collect(),
            goals: goals::outcomes(results),
        }
    }

    /// The tables.
    pub(crate) fn works(&self) -> &[Table] {
        &self.works
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# cobuf beside its peers\n\n");
        let _ = writeln!(text, "{}\n\n{}\n\n![Ratios](ratios.svg)\n", self.head(), self.method());
        for table in &self.works {
            text += &table.markdown();
        }
        for (work, made) in [(Work::Images, self.photos()), (Work::Slides, self.slides())] {
            if self.works.iter().any(|table| table.work == work) {
                let _ = writeln!(text, "{made}\n");
            }
        }
        text += &goals::markdown(&self.goals);
        text += "## Conditions\n\n";
        for Described { name, versions, conditions } in &self.peers {
            let _ = writeln!(text, "**{name}** ({versions}). {}\n", one_line(conditions));
        }
        for Missing { name, why } in self.missing {
            let _ = writeln!(text, "**{name}** was left out, missing: {}\n", one_line(why));
        }
        text.truncate(text.trim_end().len());
        text + "\n"
    }

    fn head(&self) -> String {
        let Machine { cpu, cpus, memory_gib, kernel, rustc, date } = &self.machine;
        format!(
            "| | |\n| --- | --- |\n| date | {date} |\n| machine | {cpu}, {cpus} CPUs, {memory_gib} GiB |\n\
             | kernel | {kernel} |\n| compiler | {rustc} |\n| command | `{}` |",
            self.command
        )
    }

    fn method(&self) -> String {
        format!(
            "All with {} workers on {} CPUs, in {} rounds in which each peer has a turn. A measurement \
             takes {} s after a warm-up, in a process of its own. Values are medians with the least \
             and the greatest. A ratio says how many times as good as the first row a peer is (above 1: \
             faster, or smaller), from measurements of the same round. If a peer has settings, each was \
             tried once and the best was measured.",
            self.workers, self.machine.cpus, self.rounds, self.seconds,
        )
    }

    fn photos(&self) -> String {
        format!(
            "The photos are made by this program, the same everywhere: {} files of {} x {}, smooth colours with noise, JPEG quality \
             {} with colours at full resolution (4:4:4), {} kB on average.",
            photos::COUNT,
            photos::SIZE.0,
            photos::SIZE.1,
            photos::QUALITY,
            self.photo_bytes / 1000
        )
    }

    fn slides(&self) -> String {
        format!(
            "The slides are made by this program, the same everywhere: {} tiled TIFF files with levels of {} x {} and of {} x {} \
             pixels. Tiles have {} x {} pixels, JPEG as the photos are, {} kB on average; a file holds {} pictures, which its tiles \
             are again and again. A reader decodes each tile as if it were the only one.",
            slides::COUNT,
            slides::SIDES[0],
            slides::SIDES[0],
            slides::SIDES[1],
            slides::SIDES[1],
            slides::TILE,
            slides::TILE,
            self.tile_bytes / 1000,
            slides::PICTURES,
        )
    }
}

impl Table {
    fn markdown(&self) -> String {
        let mut text = format!("## {}: {}\n\n{}\n\n", self.work, self.unit, self.work.description());
        let _ = writeln!(text, "| | {} | ratio | setting |\n| --- | --- | --- | --- |", self.unit);
        for row in &self.rows {
            let (value, ratio) = (cell(row.value), cell(row.ratio));
            let _ = writeln!(text, "| {} | {value} | {ratio} | {} |", row.name, row.setting);
        }
        text.push('\n');
        for Figures { name, failures, .. } in &self.rows {
            if let Some(failure) = failures.first() {
                let _ =
                    writeln!(text, "{name} failed {} times, first: {}\n", failures.len(), one_line(failure));
            }
        }
        text
    }
}

/// A median with its spread.
fn cell(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "failed".to_owned(),
        |Spread { median, min, max }| format!("{} ({} to {})", short(median), short(min), short(max)),
    )
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How this run was started.
fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let separator = if arguments.is_empty() { "" } else { " -- " };
    format!(
        "cargo run --release --manifest-path host/benches/peers/Cargo.toml{separator}{}",
        arguments.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_in_the_table_and_below_it() {
        let figures = |name: &str, value, failures: &[&str]| Figures {
            name: name.to_owned(),
            setting: "slots=8".to_owned(),
            value,
            ratio: value,
            failures: failures.iter().map(|&failure| failure.to_owned()).collect(),
        };
        let rows = vec![
            figures("fast", Spread::of([1.0, 2.0, 3.0]), &[]),
            figures("dead", None, &["it was killed\nafter 60 s", "again"]),
        ];
        let text = Table { work: Work::Large, unit: "GB/s", rows }.markdown();
        assert!(text.contains("| fast | 2.00 (1.00 to 3.00) | 2.00 (1.00 to 3.00) | slots=8 |"), "{text}");
        assert!(text.contains("| dead | failed | failed | slots=8 |"), "{text}");
        assert!(text.contains("dead failed 2 times, first: it was killed after 60 s\n"), "{text}");
    }
}
