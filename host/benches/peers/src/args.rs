//! The command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args as Group, Parser, Subcommand};

use crate::work::Work;

/// Runs cobuf, its peers and some floors on the same work, interleaved, and writes a table of ratios and a plot.
///
/// Nothing is installed: what is missing is said, and left out.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) part: Option<Part>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// The task for which this program starts itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Do one measurement of a peer in this program.
    #[command(hide = true)]
    Measure {
        peer: String,
        /// A request as JSON.
        request: String,
    },
    /// Be one of a peer's processes.
    #[command(hide = true)]
    Iceoryx2 {
        /// A role as JSON.
        role: String,
    },
}

/// A run.
#[derive(Debug, Group)]
pub(crate) struct RunArgs {
    /// The interpreter for the Python peers, or for one of them: --python venv/bin/python --python torch=/usr/bin/python3.
    #[arg(long, value_name = "[PEER=]PATH")]
    python: Vec<String>,
    /// Run only this peer, beside cobuf; may be given several times.
    #[arg(long, value_name = "PEER")]
    pub(crate) only: Vec<String>,
    /// Do only this work; may be given several times.
    #[arg(long)]
    work: Vec<Work>,
    /// How often everyone is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// How long one measurement takes, beside starting and warming up.
    #[arg(long, default_value_t = 1.2)]
    pub(crate) seconds: f64,
    /// The number of workers.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: u16,
    /// The folder for REPORT.md and ratios.svg.
    #[arg(long, default_value = env!("CARGO_MANIFEST_DIR"))]
    pub(crate) output: PathBuf,
    /// Print all measurements as JSON too, on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

impl RunArgs {
    /// The works to do, in the order of the report.
    pub(crate) fn works(&self) -> Vec<Work> {
        Work::ALL.into_iter().filter(|work| self.work.is_empty() || self.work.contains(work)).collect()
    }

    /// The interpreters.
    pub(crate) fn interpreters(&self) -> Interpreters {
        Interpreters::parse(&self.python)
    }

    /// Refuses what no run can be made of.
    pub(crate) fn check(&self, names: &[&str]) -> Result<()> {
        let strangers = self.interpreters().of_one.into_keys().chain(self.only.iter().cloned());
        for name in strangers {
            if !names.contains(&name.as_str()) {
                bail!("no peer is called {name:?}; there are {}", names.join(", "));
            }
        }
        if !(self.seconds > 0.0 && self.seconds <= 60.0) {
            bail!("--seconds is {}, expected a number above 0 and at most 60", self.seconds);
        }
        Ok(())
    }
}

/// Which interpreter runs which peer.
#[derive(Debug, PartialEq)]
pub(crate) struct Interpreters {
    of_all: PathBuf,
    of_one: BTreeMap<String, PathBuf>,
}

impl Interpreters {
    fn parse(options: &[String]) -> Self {
        let mut interpreters = Self { of_all: "python3".into(), of_one: BTreeMap::new() };
        for option in options {
            match option.split_once('=') {
                // A path may have an equals sign in it too, but not before its first slash.
                Some((peer, path)) if !peer.contains('/') => {
                    interpreters.of_one.insert(peer.to_owned(), path.into());
                }
                _ => interpreters.of_all = option.into(),
            }
        }
        interpreters
    }

    /// The interpreter of a peer.
    pub(crate) fn of(&self, peer: &str) -> &Path {
        self.of_one.get(peer).unwrap_or(&self.of_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_interpreter_runs_whom() {
        let options = ["venv/bin/python", "torch=/usr/bin/python3"].map(str::to_owned);
        let interpreters = Interpreters::parse(&options);
        assert_eq!(interpreters.of("torch"), Path::new("/usr/bin/python3"));
        assert_eq!(interpreters.of("grain"), Path::new("venv/bin/python"));
        assert_eq!(Interpreters::parse(&[]).of("grain"), Path::new("python3"));
        assert_eq!(Interpreters::parse(&["/a=b/python".to_owned()]).of("grain"), Path::new("/a=b/python"));
    }

    #[test]
    fn is_a_wrong_command_line_refused() {
        let check = |line: &str| {
            let args = Args::try_parse_from(line.split(' '))?;
            args.run.check(&["cobuf", "torch"])
        };
        check("peers --only torch --python torch=python3 --work tiny --work large").unwrap();
        let error = check("peers --only jax").unwrap_err().to_string();
        assert_eq!(error, "no peer is called \"jax\"; there are cobuf, torch");
        assert!(check("peers --python jax=python3").is_err());
        assert!(check("peers --seconds 0").is_err());
        assert!(check("peers --rounds 0").is_err());
    }
}
