//! The peers that are there: those in this program and the Python scripts, each asked which works it can do here.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::args::RunArgs;
use crate::child;
use crate::native::{self, Native, cobuf};
use crate::protocol::{Answer, Probe, Probed, Request};
use crate::work::Work;

/// The Python peers: how they are called, and their scripts in `python/`.
const SCRIPTS: [(&str, &str); 7] = [
    ("cobuf-python", "peer_cobuf.py"),
    ("plain loop in Python", "peer_loop.py"),
    ("concurrentbuffer", "peer_concurrentbuffer.py"),
    ("whole-slide-data", "peer_whole_slide_data.py"),
    ("torch", "peer_torch.py"),
    ("grain", "peer_grain.py"),
    ("spdl", "peer_spdl.py"),
];

/// How long a peer may take to say what it is: a first import from a cold disk takes longest.
const PROBE_LIMIT: Duration = Duration::from_secs(60);
/// How long a peer may take for a measurement, beside the seconds that are measured.
const MEASUREMENT_LIMIT: Duration = Duration::from_secs(20);
/// The same of works for which each process may load torch by itself.
const LOADING_LIMIT: Duration = Duration::from_secs(90);

/// A peer that can be measured.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: Program,
    pub(crate) probe: Probe,
}

/// The code that is run.
#[derive(Debug)]
enum Program {
    /// This one.
    Native,
    Python {
        interpreter: PathBuf,
        script: PathBuf,
    },
}

/// A peer that cannot be measured.
#[derive(Debug, Serialize)]
pub(crate) struct Missing {
    pub(crate) name: &'static str,
    pub(crate) why: String,
}

/// A row of the tables: a peer and one of its variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Contender {
    pub(crate) peer: usize,
    pub(crate) variant: usize,
}

/// All that were found.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) there: Vec<Peer>,
    pub(crate) missing: Vec<Missing>,
}

impl Peers {
    /// The names of all peers.
    pub(crate) fn names() -> Vec<&'static str> {
        native::PEERS.iter().map(|native| native.name).chain(SCRIPTS.iter().map(|(name, _)| *name)).collect()
    }

    /// Asks all peers that the command line wants. cobuf is always one, as all others are compared with it.
    pub(crate) fn find(args: &RunArgs) -> Self {
        let wanted = |name: &str| {
            args.only.is_empty() || name == cobuf::PEER.name || args.only.iter().any(|only| only == name)
        };
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        for native in native::PEERS.into_iter().filter(|native| wanted(native.name)) {
            let Native { name, probe, .. } = native;
            there.push(Peer { name, program: Program::Native, probe: probe() });
        }
        let interpreters = args.interpreters();
        for (name, script) in SCRIPTS.into_iter().filter(|(name, _)| wanted(name)) {
            let interpreter = interpreters.of(name).to_owned();
            let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
            let program = Program::Python { interpreter, script };
            let probed =
                program.command().and_then(|mut command| child::ask(command.arg("probe"), PROBE_LIMIT));
            match probed {
                Ok(Probed::There(probe)) => there.push(Peer { name, program, probe }),
                Ok(Probed::Missing { missing: why }) => missing.push(Missing { name, why }),
                Err(error) => missing.push(Missing { name, why: format!("{error:#}") }),
            }
        }
        Self { there, missing }
    }

    /// The rows of a work, those of cobuf first.
    pub(crate) fn contenders(&self, work: Work) -> Vec<Contender> {
        let variants = self.there.iter().enumerate().flat_map(|(peer, there)| {
            (0..there.probe.variants.len()).map(move |variant| Contender { peer, variant })
        });
        variants.filter(|contender| !self.settings(*contender, work).is_empty()).collect()
    }

    /// The settings to try; none where the contender cannot do the work.
    pub(crate) fn settings(&self, contender: Contender, work: Work) -> &[String] {
        let variant = &self.there[contender.peer].probe.variants[contender.variant];
        variant.works.get(&work).map_or(&[], Vec::as_slice)
    }

    /// How a row is called.
    pub(crate) fn name(&self, contender: Contender) -> String {
        let peer = &self.there[contender.peer];
        native::row_name(peer.name, &peer.probe.variants[contender.variant].name)
    }

    /// Does one measurement; the request's variant is filled in.
    ///
    /// # Errors
    /// Where the peer fails or takes too long.
    pub(crate) fn measure(&self, contender: Contender, request: Request) -> Result<f64> {
        let peer = &self.there[contender.peer];
        let variant = peer.probe.variants[contender.variant].name.clone();
        let limit = match request.work {
            Work::First | Work::Memory => LOADING_LIMIT,
            _ => MEASUREMENT_LIMIT,
        };
        let limit = limit + Duration::from_secs_f64(request.seconds);
        let request = serde_json::to_string(&Request { variant, ..request })?;
        let mut command = peer.program.command()?;
        let answer: Answer = match peer.program {
            Program::Native => child::ask(command.args(["measure", peer.name, &request]), limit)?,
            Program::Python { .. } => child::ask(command.args(["measure", &request]), limit)?,
        };
        Ok(answer.checked()?.value)
    }
}

impl Program {
    fn command(&self) -> Result<Command> {
        match self {
            Self::Native => Ok(Command::new(std::env::current_exe().context("this program's own path")?)),
            Self::Python { interpreter, script } => {
                let mut command = Command::new(interpreter);
                command.arg(script);
                Ok(command)
            }
        }
    }
}
