//! `cobuf preview`: the first batches of a pipeline as pictures, before something is trained on them.
//!
//! ```text
//!   array     an array as numbers, and its statistics
//!   frames    which arrays can be pictures; boxes: which have boxes over them
//!   picture   pictures of a bounded size, in their colours
//!   sheet     the content that is shown of a batch: texts, pictures, values, numbers
//!   contact   the sheets as a PNG file, on a canvas
//!   text      the sheets in a terminal; words: text in a space of so many letters
//! ```
//!
//! Memory is bounded, however large the arrays are: the pipeline runs with one worker and one slot,
//! a batch is looked at in the slot, and only its small pictures are kept.

mod array;
mod boxes;
mod canvas;
mod contact;
mod frames;
mod picture;
mod sheet;
mod text;
mod words;

use std::fs::Permissions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use cobuf_host::{Host, Next};

use crate::args::PreviewArgs;
use crate::pipeline;
use canvas::Canvas;
use cobuf::output::{self, ReportLost};
use cobuf::progress::{ended, say};
use cobuf::signals::{LOOK_AROUND, Signals};
use sheet::Sheet;
use text::Screen;

/// The exit code if a batch failed.
const FAILED: u8 = 1;

pub(crate) fn preview(args: &PreviewArgs) -> Result<ExitCode> {
    let signals = Signals::install()?;
    ended(look(args, &signals))
}

fn look(args: &PreviewArgs, signals: &Signals) -> Result<ExitCode> {
    let path = &args.pipeline;
    // The file may be a pipe that nobody writes to.
    let pipeline = signals.at_once(|| pipeline::read(path, &args.set, args.python.as_deref()))?;
    // Wrong settings are reported before the build, which may take minutes.
    pipeline::builder_to_preview(&pipeline, args)?.check()?;
    let pipeline = pipeline.built_unless(signals.cancel())?;
    let host = pipeline::builder_to_preview(&pipeline, args)?.cancelled_by(signals.cancel()).start()?;
    let title = path.file_name().unwrap_or_default().to_string_lossy();
    let screen = Screen::here();
    let columns = if args.output.is_some() { contact::COLUMNS } else { screen.columns() };
    let (sheets, failed) = sheets(&host, signals, columns)?;
    host.stop();
    ensure!(!sheets.is_empty(), "the pipeline {} has no batch to look at", path.display());
    match &args.output {
        Some(file) => write(&contact::drawn(&title, &sheets), file)?,
        None => output::report(&screen.text(&title, &sheets))?,
    }
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// The batches to the end of the stream, and whether one of them failed.
fn sheets(host: &Host, signals: &Signals, columns: usize) -> Result<(Vec<Sheet>, bool)> {
    let (mut sheets, mut failed) = (Vec::new(), false);
    let batches = host.batches();
    loop {
        let item = match batches.next_timeout(LOOK_AROUND) {
            Next::Item(item) => item,
            Next::Pending(_) => {
                signals.check()?;
                continue;
            }
            Next::Ended => return Ok((sheets, failed)),
        };
        sheets.push(match item {
            Ok(batch) => Sheet::of(&batch, columns)?,
            Err(error) => {
                failed = true;
                Sheet::failed(error)
            }
        });
        signals.check()?;
    }
}

/// Writes the picture in one step: the file is the old one or the new one.
fn write(canvas: &Canvas, path: &Path) -> Result<()> {
    let write = || -> Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        let new = builder.prefix(".cobuf-").permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
        let mut file = BufWriter::new(new.as_file());
        canvas.encode(&mut file)?;
        file.flush()?;
        drop(file);
        new.persist(path)?;
        Ok(())
    };
    write().with_context(|| path.display().to_string()).context(ReportLost)?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}
