//! A moment as a picture, for a terminal of any size. What does not fit is left out from below.
//!
//! ```text
//!   head      which run, how long, in which state
//!   verdict   the part that limits it, in words
//!   flow      batches, rows, bytes a second; their history
//!   slots     a strip: a character each, or the share of each state
//!   workers   a row each
//!   below     the oldest messages, the last failures, deaths and swaps
//! ```

use cobuf_host::observer::{Notice, RunState, WorkerView};
use cobuf_host::{Holder, NoticeKind, SlotReport, printable};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table, Widget, Wrap};

use super::moment::Moment;
use super::words::{bytes, number, percent, rate, time};

/// The order of the workers' rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Number,
    Busy,
    Since,
    Produced,
    Restarts,
    Memory,
}

/// The rows of the history.
const HISTORY_ROWS: u16 = 3;
/// The oldest messages that are shown.
pub(super) const OLDEST: usize = 3;
/// The columns of the workers' table.
const COLUMNS: [(&str, u16); 9] = [
    ("WORKER", 6),
    ("PID", 8),
    ("STATE", 9),
    ("MESSAGE", 9),
    ("FOR", 9),
    ("BUSY", 6),
    ("BATCHES", 9),
    ("RESTARTS", 8),
    ("MEMORY", 8),
];

/// Draws from the top to the bottom, as much as there is room for.
pub(super) fn draw(moment: &Moment, sort: Sort, area: Rect, buffer: &mut Buffer) {
    let mut left = area;
    let below = [oldest(moment), notices(moment)].concat();
    text(&mut left, buffer, vec![head(moment)]);
    text(&mut left, buffer, vec![verdict(moment), Line::default()]);
    text(&mut left, buffer, flow(moment));
    if moment.history.len() > 1 {
        history(moment, take(&mut left, HISTORY_ROWS), buffer);
    }
    text(&mut left, buffer, vec![strip(moment, area.width), counts(moment), Line::default()]);
    // The rows below get their room before the last workers.
    let below_rows = (below.len() as u16).min(left.height / 2);
    let rows = moment.view.workers.len() as u16 + 2;
    let rows = rows.min(left.height.saturating_sub(below_rows));
    workers(moment, sort, take(&mut left, rows), buffer);
    text(&mut left, buffer, below);
}

/// Takes so many rows from the top of the rest.
fn take(left: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(left.height);
    let taken = Rect { height: rows, ..*left };
    *left = Rect { y: left.y + rows, height: left.height - rows, ..*left };
    taken
}

/// Draws lines, which go on in the next row if they are too long.
fn text(left: &mut Rect, buffer: &mut Buffer, lines: Vec<Line<'_>>) {
    let width = usize::from(left.width.max(1));
    let paragraph = Paragraph::new(lines.clone()).wrap(Wrap { trim: false });
    // A row is broken between words, so it may be shorter than the picture is wide.
    let rows: usize = lines.iter().map(|line| wrapped(line, width)).sum();
    paragraph.render(take(left, u16::try_from(rows).unwrap_or(u16::MAX)), buffer);
}

/// The rows of a line that is broken between words.
fn wrapped(line: &Line<'_>, width: usize) -> usize {
    let text: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
    let (mut rows, mut column) = (1, 0);
    for word in text.split_inclusive(' ') {
        let columns = Span::raw(word.trim_end()).width();
        if column > 0 && column + columns > width {
            (rows, column) = (rows + 1, 0);
        }
        // A word that is longer than a row is broken.
        rows += columns.saturating_sub(1) / width;
        column += Span::raw(word).width() - columns / width * width;
    }
    rows
}

fn head(moment: &Moment) -> Line<'static> {
    let view = &moment.view;
    let commander = printable(view.commander.as_deref().unwrap_or("the application"));
    let rank = view.rank.map_or_else(String::new, |(rank, of)| format!("  rank {rank}/{of}"));
    let order = if view.ordered { "in order" } else { "any order" };
    let state = match view.state {
        RunState::Running => Span::raw(""),
        RunState::Stopped => "  stopped".yellow().bold(),
        RunState::Ended => "  the host has ended".red().bold(),
    };
    let elapsed = time(view.statistics.elapsed);
    Line::from(vec![
        Span::raw(printable(&view.producer).into_owned()).bold(),
        Span::raw(format!(
            " ← {commander}  {} {}  {}{rank}  {order}  {elapsed}",
            printable(&view.program),
            view.pid,
            view.run
        )),
        state,
    ])
}

fn verdict(moment: &Moment) -> Line<'static> {
    Line::from(Span::raw(moment.verdict.to_string()).bold())
}

fn flow(moment: &Moment) -> Vec<Line<'static>> {
    let (view, rates) = (&moment.view, &moment.rates);
    let statistics = &view.statistics;
    let of = view.total.map_or_else(String::new, |total| format!(" of {}", number(total as f64)));
    let rows = rates.rows.map_or_else(String::new, |rows| format!("  {} rows/s", rate(rows)));
    let mut first = vec![
        Span::raw(format!("{} batches{of}  ", number(statistics.delivered as f64))),
        Span::raw(format!("{}/s", rate(rates.batches))).bold(),
        Span::raw(format!(
            "{rows}  {}/s  the application waited {}",
            bytes(rates.bytes),
            percent(rates.waited)
        )),
    ];
    if let Some(waits) = view.consumer_waits.filter(|waits| waits.as_millis() >= 100) {
        first.push(format!(", now for {}", time(waits)).yellow());
    }
    let trouble = [
        ("errors", statistics.errors),
        ("skipped", statistics.skipped),
        ("retries", statistics.retries),
        ("timeouts", statistics.timeouts),
        ("worker restarts", statistics.worker_restarts),
        ("commander restarts", statistics.commander_restarts),
        ("fork server restarts", statistics.fork_server_restarts),
        ("swaps", statistics.swaps),
    ];
    let mut second: Vec<Span<'_>> = Vec::new();
    let checkpoint =
        view.checkpoint_age.map_or("no checkpoint".to_owned(), |age| format!("checkpoint {} ago", time(age)));
    second.push(Span::raw(checkpoint));
    if let [Some(half), Some(most)] = [0.5, 0.99].map(|share| moment.took(share)) {
        second.push(Span::raw(format!(
            "  half of the messages took at most {}, 99 % {}",
            time(half),
            time(most)
        )));
    }
    for (name, count) in trouble.into_iter().filter(|&(_, count)| count > 0) {
        let colour = if name == "errors" { Color::Red } else { Color::Yellow };
        second.push(Span::styled(format!("  {name} {}", number(count as f64)), colour));
    }
    vec![Line::from(first), Line::from(second)]
}

/// The batches a second, newest at the right.
fn history(moment: &Moment, area: Rect, buffer: &mut Buffer) {
    let shown = moment.history.len().min(area.width.into());
    // The widget takes whole numbers.
    let most = moment.history.iter().copied().fold(1.0, f64::max);
    let newest = moment.history.iter().skip(moment.history.len() - shown);
    let data: Vec<u64> = newest.map(|rate| (rate / most * 1000.0) as u64).collect();
    let area = Rect { x: area.x + area.width - shown as u16, width: shown as u16, ..area };
    Sparkline::default().data(&data).max(1000).style(Style::new().fg(Color::Cyan)).render(area, buffer);
}

/// The states of slots: their character, their colour, their name.
const STATES: [(char, Color, &str); 6] = [
    ('·', Color::DarkGray, "free"),
    ('c', Color::Magenta, "with the commander"),
    ('q', Color::Blue, "queued"),
    ('w', Color::Yellow, "with workers"),
    ('r', Color::Green, "ready"),
    ('a', Color::Cyan, "with the application"),
];

fn state(holder: Holder) -> usize {
    match holder {
        Holder::Free => 0,
        Holder::Commander => 1,
        Holder::Queued => 2,
        Holder::Worker(_) => 3,
        Holder::Ready => 4,
        Holder::Application => 5,
    }
}

fn numbers_of_slots(moment: &Moment) -> [usize; STATES.len()] {
    let mut numbers = [0; STATES.len()];
    moment.view.slots.iter().for_each(|slot| numbers[state(slot.holder)] += 1);
    numbers
}

/// A character a slot; if there are more than columns, each state has its share of them.
fn strip(moment: &Moment, width: u16) -> Line<'static> {
    let slots = &moment.view.slots;
    let width = usize::from(width);
    let spans = if slots.len() <= width {
        slots.iter().map(|slot| character(state(slot.holder), 1)).collect()
    } else {
        let numbers = numbers_of_slots(moment);
        // Rounded up, so that no state is left out; the last ones give the room.
        let shares = numbers.map(|number| (number * width).div_ceil(slots.len()));
        (0..).zip(shares).map(|(state, columns)| character(state, columns)).collect::<Vec<_>>()
    };
    Line::from(spans)
}

fn character(state: usize, times: usize) -> Span<'static> {
    let (character, colour, _) = STATES[state];
    Span::styled(character.to_string().repeat(times), colour)
}

fn counts(moment: &Moment) -> Line<'static> {
    let mut spans = vec![Span::raw(format!("{} slots: ", moment.view.slots.len()))];
    for (index, count) in numbers_of_slots(moment).into_iter().enumerate() {
        let (character, colour, name) = STATES[index];
        spans.push(Span::styled(character.to_string(), colour));
        spans.push(Span::raw(format!(" {count} {name}  ")));
    }
    Line::from(spans)
}

fn workers(moment: &Moment, sort: Sort, area: Rect, buffer: &mut Buffer) {
    let mut rows: Vec<(&WorkerView, f64)> =
        moment.view.workers.iter().zip(moment.busy.iter().copied()).collect();
    // Stable: equal ones stay in the order of their numbers.
    match sort {
        Sort::Number => {}
        Sort::Busy => rows.sort_by(|a, b| b.1.total_cmp(&a.1)),
        Sort::Since => rows.sort_by_key(|(worker, _)| std::cmp::Reverse(worker.message.and(worker.since))),
        Sort::Produced => rows.sort_by_key(|(worker, _)| std::cmp::Reverse(worker.produced)),
        Sort::Restarts => rows.sort_by_key(|(worker, _)| std::cmp::Reverse(worker.restarts)),
        Sort::Memory => rows.sort_by_key(|(worker, _)| std::cmp::Reverse(worker.private_bytes)),
    }
    let head = Row::new(COLUMNS.map(|(name, _)| name)).style(Modifier::BOLD);
    let widths = COLUMNS.map(|(_, columns)| Constraint::Length(columns));
    let rows = rows.into_iter().map(|(worker, busy)| row(worker, busy));
    Widget::render(Table::new(rows, widths).header(head).column_spacing(1), area, buffer);
}

fn row(worker: &WorkerView, busy: f64) -> Row<'static> {
    let none = || "-".to_owned();
    let state = match (worker.pid, worker.message) {
        (None, _) => Cell::new("down").red(),
        (_, Some(_)) => Cell::new("produces"),
        (_, None) if worker.since.is_none() => Cell::new("starts").yellow(),
        (_, None) => Cell::new("waits").dark_gray(),
    };
    let restarts = Cell::new(number(worker.restarts.into()));
    Row::new([
        Cell::new(worker.worker.to_string()),
        Cell::new(worker.pid.map_or_else(none, |pid| pid.to_string())),
        state,
        Cell::new(worker.message.map_or_else(none, |message| message.to_string())),
        Cell::new(worker.since.map_or_else(none, time)),
        Cell::new(percent(busy)),
        Cell::new(number(worker.produced as f64)),
        if worker.restarts > 0 { restarts.yellow() } else { restarts },
        Cell::new(worker.private_bytes.map_or_else(none, |private| bytes(private as f64))),
    ])
}

fn oldest(moment: &Moment) -> Vec<Line<'static>> {
    let lines: Vec<Line<'_>> = moment.oldest(OLDEST).into_iter().map(message).collect();
    if lines.is_empty() { lines } else { [vec![Line::from("OLDEST").bold()], lines].concat() }
}

/// Such as `message 17, with worker 1 for 3.2 s, after 1 failed attempt`.
fn message(slot: &SlotReport) -> Line<'static> {
    let holder = match slot.holder {
        Holder::Worker(worker) => format!("with worker {worker}"),
        other => STATES[state(other)].2.to_owned(),
    };
    let attempts = match slot.attempts {
        0 => String::new(),
        1 => ", after 1 failed attempt".to_owned(),
        attempts => format!(", after {attempts} failed attempts"),
    };
    let sequence = slot.sequence.map_or_else(String::new, |sequence| format!("  message {sequence}, "));
    Line::from(format!("{sequence}{holder} for {}{attempts}", time(slot.lasts)))
}

fn notices(moment: &Moment) -> Vec<Line<'static>> {
    let newest = moment.view.notices.iter().rev();
    let lines: Vec<Line<'_>> = newest.map(notice).collect();
    if lines.is_empty() { lines } else { [vec![Line::from("EVENTS").bold()], lines].concat() }
}

/// Such as `12 s ago  death  worker 1: was killed by SIGKILL`.
fn notice(notice: &Notice) -> Line<'static> {
    let (kind, colour) = match notice.kind {
        NoticeKind::Failure => ("failure", Color::Red),
        NoticeKind::Death => ("death", Color::Yellow),
        NoticeKind::Swap => ("swap", Color::Green),
    };
    let text = printable(notice.text.lines().next().unwrap_or_default()).into_owned();
    let ago = format!("  {:>12} ago  ", time(notice.ago));
    Line::from(vec![Span::raw(ago), Span::styled(format!("{kind:<8}"), colour), Span::raw(text)])
}
