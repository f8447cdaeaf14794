//! A moment as lines of text, and as JSON.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use cobuf_host::observer::View;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use rustix::termios::tcgetwinsize;
use serde::Serialize;
use serde_json::{Value, json};

use super::moment::Moment;
use super::picture::{self, OLDEST, Sort};
use cobuf::output::report;

/// The columns of text that goes to no terminal.
const USUAL: u16 = 120;
/// More rows than a picture has: those that stay empty are left out.
const ROWS: u16 = 400;

/// Prints the picture, or a line of JSON.
pub(super) fn print(moment: &Moment, as_json: bool) -> Result<()> {
    if as_json {
        return report(&serde_json::to_string(&json(moment))?);
    }
    let known = tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col).filter(|&columns| columns > 0);
    report(&lines(moment, known.unwrap_or(USUAL)))
}

/// The picture as lines, without colours.
pub(super) fn lines(moment: &Moment, width: u16) -> String {
    let area = Rect::new(0, 0, width, ROWS);
    let mut buffer = Buffer::empty(area);
    picture::draw(moment, Sort::default(), area, &mut buffer);
    let rows = buffer.content.chunks(width.max(1).into());
    let rows = rows.map(|cells| cells.iter().map(|cell| cell.symbol()).collect::<String>());
    let text: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
    text.join("\n").trim_end().to_owned()
}

/// All of a moment. Times are in seconds.
fn json(moment: &Moment) -> Value {
    let view = &moment.view;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let statistics = &view.statistics;
    json!({
        "time": now.as_secs_f64(),
        "pid": view.pid,
        "run": view.run,
        "program": view.program,
        "producer": view.producer,
        "commander": view.commander,
        "ordered": view.ordered,
        "rank": view.rank.map(|(rank, _)| rank),
        "world_size": view.rank.map_or(1, |(_, of)| of),
        "state": view.state,
        "seconds": statistics.elapsed.as_secs_f64(),
        "limited_by": moment.verdict.limited_by,
        "verdict": moment.verdict.to_string(),
        "batches": statistics.delivered,
        "total": view.total,
        "errors": statistics.errors,
        "skipped": statistics.skipped,
        "retries": statistics.retries,
        "timeouts": statistics.timeouts,
        "worker_restarts": statistics.worker_restarts,
        "commander_restarts": statistics.commander_restarts,
        "fork_server_restarts": statistics.fork_server_restarts,
        "swaps": statistics.swaps,
        "rows": view.rows,
        "bytes": view.bytes,
        "batches_per_second": moment.rates.batches,
        "rows_per_second": moment.rates.rows,
        "bytes_per_second": moment.rates.bytes,
        "waited_share": moment.rates.waited,
        "waits_for_seconds": view.consumer_waits.map(|waits| waits.as_secs_f64()),
        "checkpoint_age_seconds": view.checkpoint_age.map(|age| age.as_secs_f64()),
        "slots": statistics.slots,
        "workers": workers(moment),
        "oldest": oldest(moment),
        "produce_seconds": produce_times(view),
        "events": events(view),
    })
}

fn workers(moment: &Moment) -> Vec<Value> {
    let rows = moment.view.workers.iter().zip(&moment.busy);
    rows.map(|(worker, busy)| {
        json!({
            "worker": worker.worker,
            "pid": worker.pid,
            "message": worker.message,
            "for_seconds": worker.since.map(|since| since.as_secs_f64()),
            "busy_share": busy,
            "batches": worker.produced,
            "restarts": worker.restarts,
            "private_bytes": worker.private_bytes,
        })
    })
    .collect()
}

fn oldest(moment: &Moment) -> Vec<Value> {
    let slots = moment.oldest(OLDEST).into_iter();
    slots
        .map(|slot| {
            json!({
                "message": slot.sequence,
                "holder": slot.holder,
                "for_seconds": slot.lasts.as_secs_f64(),
                "failed_attempts": slot.attempts,
            })
        })
        .collect()
}

/// The classes that have messages.
fn produce_times(view: &View) -> Vec<ProduceTime> {
    let classes = view.produce_times.iter().enumerate().filter(|&(_, &count)| count > 0);
    classes
        .map(|(class, &count)| ProduceTime {
            below: Duration::from_nanos(1 << class.min(63)).as_secs_f64(),
            count,
        })
        .collect()
}

/// How many messages took less than this, and half of it or more.
#[derive(Debug, Serialize)]
struct ProduceTime {
    below: f64,
    count: u64,
}

fn events(view: &View) -> Vec<Value> {
    let events = view.notices.iter();
    events
        .map(|notice| json!({ "kind": notice.kind, "text": notice.text, "ago_seconds": notice.ago.as_secs_f64() }))
        .collect()
}
