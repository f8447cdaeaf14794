//! The run: settings are tried once, then everyone is measured round after round, so that whatever the machine does
//! meanwhile befalls all of them.

use anyhow::Result;
use serde::Serialize;

use crate::args::RunArgs;
use crate::equipment::Equipment;
use crate::peers::{Contender, Peers};
use crate::protocol::Request;
use crate::statistics::{Spread, short};
use crate::work::Work;

/// All that was measured of one contender at one work.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) contender: Contender,
    pub(crate) name: String,
    /// The best of the settings.
    pub(crate) setting: String,
    /// One value a round; `None` where it failed.
    pub(crate) values: Vec<Option<f64>>,
    /// The failures, if there are any.
    pub(crate) failures: Vec<String>,
}

/// All that was measured at one work.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) work: Work,
    pub(crate) rows: Vec<Row>,
}

/// One row's figures, for tables, plots and machines.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) setting: String,
    /// In the work's unit; none where every measurement failed.
    pub(crate) value: Option<Spread>,
    /// How many times as good as the first row, round by round.
    pub(crate) ratio: Option<Spread>,
    pub(crate) failures: Vec<String>,
}

impl Results {
    /// The rows' figures. Ratios are to the first row, which is cobuf's.
    pub(crate) fn figures(&self) -> Vec<Figures> {
        let figures = |row: &Row| Figures {
            name: row.name.clone(),
            setting: row.setting.clone(),
            value: row.spread(),
            ratio: self.rows.first().and_then(|base| self.spread_of_ratios(row, base)),
            failures: row.failures.clone(),
        };
        self.rows.iter().map(figures).collect()
    }

    /// How many times as good a row is as another.
    pub(crate) fn ratio(&self, name: &str, base: &str) -> Option<Spread> {
        self.spread_of_ratios(self.row(name)?, self.row(base)?)
    }

    /// The values of a row.
    pub(crate) fn value(&self, name: &str) -> Option<Spread> {
        self.row(name)?.spread()
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Ratios are made within a round, of measurements that were made side by side.
    fn spread_of_ratios(&self, row: &Row, base: &Row) -> Option<Spread> {
        let ratio = |(value, base): (&Option<f64>, &Option<f64>)| Some(self.work.ratio((*value)?, (*base)?));
        Spread::of(row.values.iter().zip(&base.values).filter_map(ratio))
    }
}

/// Runs everything. Progress goes to standard error.
pub(crate) fn run(peers: &Peers, equipment: &Equipment, args: &RunArgs) -> Vec<Results> {
    let run = Run { peers, equipment, args };
    args.works().into_iter().map(|work| run.work(work)).collect()
}

struct Run<'a> {
    peers: &'a Peers,
    equipment: &'a Equipment,
    args: &'a RunArgs,
}

impl Run<'_> {
    fn work(&self, work: Work) -> Results {
        let mut rows: Vec<Row> =
            self.peers.contenders(work).into_iter().map(|who| self.row(who, work)).collect();
        for round in 1..=self.args.rounds {
            for row in &mut rows {
                let measured = self.measure(row.contender, work, &row.setting);
                eprintln!(
                    "{work:<6} round {round}/{}  {}: {}",
                    self.args.rounds,
                    row.name,
                    shown(&measured, work)
                );
                row.record(measured);
            }
        }
        Results { work, rows }
    }

    /// A row before its first round: with the setting that is best.
    fn row(&self, contender: Contender, work: Work) -> Row {
        let name = self.peers.name(contender);
        let settings = self.peers.settings(contender, work);
        let setting = self.best(contender, work, settings).unwrap_or_else(|| settings[0].clone());
        Row { contender, name, setting, values: Vec::new(), failures: Vec::new() }
    }

    /// The best of several settings, each measured once; `None` where there is no choice, or none of them works.
    fn best(&self, contender: Contender, work: Work, settings: &[String]) -> Option<String> {
        if settings.len() < 2 {
            return None;
        }
        let mut best: Option<(f64, &String)> = None;
        for setting in settings {
            let measured = self.measure(contender, work, setting);
            eprintln!(
                "{work:<6} trying     {}, {setting}: {}",
                self.peers.name(contender),
                shown(&measured, work)
            );
            if let Ok(value) = measured
                && best.is_none_or(|(best, _)| work.is_better(value, best))
            {
                best = Some((value, setting));
            }
        }
        best.map(|(_, setting)| setting.clone())
    }

    fn measure(&self, contender: Contender, work: Work, setting: &str) -> Result<f64> {
        let Equipment { times, photos, slides, plugins, .. } = self.equipment;
        let request = Request {
            variant: String::new(),
            work,
            setting: setting.to_owned(),
            seconds: self.args.seconds,
            workers: usize::from(self.args.workers),
            times: times.clone(),
            photos: photos.clone(),
            slides: slides.clone(),
            plugins: plugins.clone(),
        };
        self.peers.measure(contender, request)
    }
}

/// A measurement, for progress.
fn shown(measured: &Result<f64>, work: Work) -> String {
    match measured {
        Ok(value) => format!("{} {}", short(*value), work.unit()),
        Err(error) => format!("{error:#}"),
    }
}

impl Row {
    fn spread(&self) -> Option<Spread> {
        Spread::of(self.values.iter().copied().flatten())
    }

    fn record(&mut self, measured: Result<f64>) {
        if let Err(error) = &measured {
            self.failures.push(format!("{error:#}"));
        }
        self.values.push(measured.ok());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use anyhow::anyhow;

    pub(crate) fn row(name: &str, values: &[Option<f64>]) -> Row {
        let contender = Contender { peer: 0, variant: 0 };
        let mut row = Row {
            contender,
            name: name.to_owned(),
            setting: String::new(),
            values: Vec::new(),
            failures: Vec::new(),
        };
        values.iter().for_each(|value| row.record(value.ok_or_else(|| anyhow!("killed"))));
        row
    }

    #[test]
    fn are_ratios_made_within_a_round() {
        let base = row("cobuf, in order", &[Some(1.0), Some(2.0), Some(4.0)]);
        let slower = row("slower", &[Some(2.0), Some(8.0), None]);
        let failed = row("failed", &[None, None, None]);
        let figures = Results { work: Work::Tiny, rows: vec![base, slower, failed] }.figures();
        assert_eq!(figures[0].ratio, Spread::of([1.0]));
        assert_eq!(figures[1].ratio, Spread::of([0.5, 0.25]));
        assert_eq!(figures[1].failures, ["killed"]);
        assert_eq!((figures[2].value, figures[2].ratio), (None, None));
    }
}
