//! `cobuf top`: a look at a run from outside, without a change to it.
//!
//! ```text
//!   choice   which run: by number or name, the only one, or a person chooses
//!   moment   a look and the rates since the one before; the history of rates
//!   picture  a moment as a picture of any size, for live and plain alike
//!   live     the picture at a terminal, and its keys
//!   plain    the picture as lines of text, and a moment as JSON
//!   words    numbers with their units
//! ```

mod choice;
mod live;
mod moment;
mod picture;
mod plain;
mod words;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::args::TopArgs;
use cobuf::signals::{LOOK_AROUND, Signals};
use moment::Moment;

pub(crate) fn top(args: &TopArgs) -> Result<ExitCode> {
    let signals = Signals::install()?;
    // A picture that moves needs a terminal, and keys.
    let at_terminal = io::stdout().is_terminal() && io::stdin().is_terminal() && !live::is_dumb();
    if at_terminal && !args.once && !args.json {
        live::show(args, &signals)?;
        return Ok(ExitCode::SUCCESS);
    }
    let observer = choice::of(args.run.as_deref())?;
    let mut moment = Moment::first(observer.look());
    loop {
        if !pause(args.interval, &signals) {
            return Ok(signals.exit_code().unwrap_or(ExitCode::SUCCESS));
        }
        moment = moment.next(observer.look());
        plain::print(&moment, args.json)?;
        if args.once || !args.json || moment.is_over() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Waits until the next look. Whether it is time for it: a signal ends the wait.
fn pause(interval: Duration, signals: &Signals) -> bool {
    let until = Instant::now() + interval;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if signals.exit_code().is_some() || left.is_zero() {
            return signals.exit_code().is_none();
        }
        thread::sleep(left.min(LOOK_AROUND));
    }
}
