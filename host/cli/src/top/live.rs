//! The picture at a terminal: drawn anew at each look, and at each key.
//!
//! The terminal is set back at the end, also after an error and a panic. Keys are read while the
//! loop waits for the next look; the run's own signals are not touched.

use std::env;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cobuf_host::observer::{FoundRun, Observer, find_runs};
use ratatui::DefaultTerminal;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};

use super::moment::Moment;
use super::picture::{self, Sort};
use super::{choice, plain};
use crate::args::TopArgs;
use cobuf::output::{in_colour, report};
use cobuf::signals::{LOOK_AROUND, Signals};

const ESCAPE: u8 = 0x1b;
const CTRL_C: u8 = 0x03;

/// Whether the terminal knows no cursor.
pub(super) fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|name| name == "dumb")
}

/// Shows the run that was asked for, or lets a person choose one, until the person quits or the run
/// ends. Then its last picture stays on the screen.
pub(super) fn show(args: &TopArgs, signals: &Signals) -> Result<()> {
    // An error about the choice is told on a terminal that is as it was.
    let runs = if args.run.is_none() { find_runs() } else { Vec::new() };
    let chosen = if runs.len() > 1 { None } else { Some(choice::of(args.run.as_deref())?) };
    let mut terminal = ratatui::try_init().context("cannot take the terminal; give --once")?;
    let shown =
        Screen { terminal: &mut terminal, signals, plain: !in_colour(&io::stdout()) }.run(args, runs, chosen);
    ratatui::try_restore().context("cannot set the terminal back")?;
    match shown? {
        Some(moment) if moment.is_over() => report(&plain::lines(&moment, terminal.size()?.width)),
        _ => Ok(()),
    }
}

struct Screen<'a> {
    terminal: &'a mut DefaultTerminal,
    signals: &'a Signals,
    /// Whether there are to be no colours.
    plain: bool,
}

impl Screen<'_> {
    fn run(
        &mut self,
        args: &TopArgs,
        runs: Vec<FoundRun>,
        chosen: Option<Observer>,
    ) -> Result<Option<Moment>> {
        let chosen = match chosen {
            Some(observer) => Some(observer),
            None => self.choose(runs)?,
        };
        chosen.map(|observer| self.watch(&observer, args.interval)).transpose()
    }

    /// The run that a person chooses; `None` if the person quits.
    fn choose(&mut self, runs: Vec<FoundRun>) -> Result<Option<Observer>> {
        let mut at = 0;
        let lines: Vec<String> = runs.iter().map(choice::line).collect();
        loop {
            self.terminal.draw(|frame| {
                let head = Line::from("Which run? Arrows or j and k, Enter; q quits.");
                let line = |(index, line): (usize, &String)| {
                    let style = if index == at { Modifier::REVERSED } else { Modifier::empty() };
                    Line::styled(line.clone(), Style::new().add_modifier(style))
                };
                let all: Vec<Line<'_>> =
                    [head].into_iter().chain(lines.iter().enumerate().map(line)).collect();
                // A list that is longer than the screen moves with the choice.
                let rows = usize::from(frame.area().height).max(1);
                let above = (at + 2).saturating_sub(rows);
                frame.render_widget(Paragraph::new(all).scroll((above as u16, 0)), frame.area());
            })?;
            match self.key(Instant::now() + LOOK_AROUND)? {
                Input::Quit => return Ok(None),
                Input::Down => at = (at + 1).min(runs.len() - 1),
                Input::Up => at = at.saturating_sub(1),
                Input::Enter => return Ok(Some(Observer::attach(&runs[at])?)),
                _ => {}
            }
        }
    }

    /// Looks at intervals. The last look, for the end.
    fn watch(&mut self, observer: &Observer, interval: Duration) -> Result<Moment> {
        let mut moment = Moment::first(observer.look());
        let (mut next, mut sort) = (Instant::now() + interval, Sort::default());
        loop {
            let plain = self.plain;
            self.terminal.draw(|frame| {
                let area = frame.area();
                picture::draw(&moment, sort, area, frame.buffer_mut());
                if plain {
                    frame.buffer_mut().set_style(area, Style::reset());
                }
            })?;
            if moment.is_over() {
                return Ok(moment);
            }
            match self.key(next)? {
                Input::Quit => return Ok(moment),
                Input::Letter(letter) => sort = sorted_by(letter).unwrap_or(sort),
                Input::Up | Input::Down | Input::Enter => {}
                Input::Nothing => {
                    moment = moment.next(observer.look());
                    // Looks that were missed, because the terminal was stopped, are left out.
                    next = (next + interval).max(Instant::now());
                }
            }
        }
    }

    /// The next key before that time.
    fn key(&self, until: Instant) -> Result<Input> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.signals.exit_code().is_some() {
                return Ok(Input::Quit);
            }
            if left.is_zero() {
                return Ok(Input::Nothing);
            }
            if let Some(input) = typed(left.min(LOOK_AROUND))? {
                return Ok(input);
            }
        }
    }
}

/// A wish of the person at the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Quit,
    Up,
    Down,
    Enter,
    Letter(u8),
    /// Nothing until the time was over.
    Nothing,
}

/// The key that was typed before the time is over.
///
/// Not by crossterm, which goes on for ever if the terminal is closed, and lets nobody see a signal.
fn typed(limit: Duration) -> Result<Option<Input>> {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    let stdin = io::stdin();
    match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&limit)) {
        Ok(0) | Err(Errno::INTR) => return Ok(None),
        polled => polled.context("cannot wait for keys")?,
    };
    let mut bytes = [0; 64];
    Ok(match read(&stdin, &mut bytes) {
        Err(Errno::INTR | Errno::AGAIN) => None,
        // The terminal is gone.
        Ok(0) | Err(_) => Some(Input::Quit),
        Ok(count) => Some(input(&bytes[..count])),
    })
}

/// In raw mode the terminal sends Ctrl-C as a key, and arrows as sequences.
fn input(bytes: &[u8]) -> Input {
    match bytes {
        [b'q' | CTRL_C | ESCAPE] => Input::Quit,
        [ESCAPE, b'[' | b'O', b'A', ..] | [b'k', ..] => Input::Up,
        [ESCAPE, b'[' | b'O', b'B', ..] | [b'j', ..] => Input::Down,
        [b'\r' | b'\n', ..] => Input::Enter,
        [.., b'q' | CTRL_C | ESCAPE] => Input::Quit,
        [.., letter] => Input::Letter(*letter),
        [] => Input::Nothing,
    }
}

fn sorted_by(letter: u8) -> Option<Sort> {
    Some(match letter {
        b'w' => Sort::Number,
        b'b' => Sort::Busy,
        b's' => Sort::Since,
        b'p' => Sort::Produced,
        b'r' => Sort::Restarts,
        b'm' => Sort::Memory,
        _ => return None,
    })
}
