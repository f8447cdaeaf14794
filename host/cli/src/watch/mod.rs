//! `cobuf run --watch`: plugins whose sources change are built and swapped during the run.
//!
//! ```text
//!   a change ─► quiet for a moment ─► built (a thread of its own) ─► other bytes than before? ─► swapped
//!                                       │ does not compile             │ no                        │ refused
//!                                       ▼                              ▼                           ▼
//!                                     printed; the old plugin goes on until the next change
//! ```
//!
//! The end of the run does not wait for this module: a swap ends with the host's stop, and a build
//! is left to cargo.

mod sources;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cobuf_host::{Host, Plugin, PluginError, PluginKind, SwapError};
use notify::{Event, RecommendedWatcher};
use xxhash_rust::xxh3::xxh3_128;

use self::sources::Sources;
use cobuf::progress::say;

/// The time without a change before a build begins: editors and linkers write in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// The time after which a build begins even though changes go on.
const PATIENCE: Duration = Duration::from_secs(2);

/// An event for the watching thread.
enum Wake {
    Changed(Vec<PathBuf>),
    Built(PluginKind, Result<Plugin, PluginError>),
    End,
}

/// The watching thread; it ends when this is dropped.
pub(crate) struct Watching<'scope> {
    thread: Option<ScopedJoinHandle<'scope, ()>>,
    wakes: Sender<Wake>,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        // This fails if the thread has ended already.
        let _ = self.wakes.send(Wake::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Begins to watch the plugins of a run.
pub(crate) fn start<'scope, 'host: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    host: &'host Host,
    plugins: Vec<(PluginKind, Plugin)>,
) -> Result<Watching<'scope>> {
    let (wakes, woken) = channel();
    let changes = wakes.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Builds read the sources, which is no change.
        if let Ok(event) = event.inspect_err(|error| tracing::warn!(%error, "the file watcher failed"))
            && !event.kind.is_access()
        {
            let _ = changes.send(Wake::Changed(event.paths));
        }
    })
    .context("cannot watch for changes of files")?;
    let watch = |(kind, plugin): (PluginKind, Plugin)| -> Result<Watched> {
        let sources = Sources::of(&plugin)?;
        sources.watch(&mut watcher)?;
        let taken = digest(&plugin.built()?);
        Ok(Watched { kind, plugin, sources, taken, building: None, changed: BTreeSet::new() })
    };
    let watched = plugins.into_iter().map(watch).collect::<Result<Vec<_>>>()?;
    say("watching the plugins' sources; a plugin that changes is built and swapped");
    let watcher = Watcher { host, watched, watcher, wakes: wakes.clone(), woken };
    Ok(Watching { thread: Some(scope.spawn(|| watcher.run())), wakes })
}

/// A plugin that is watched.
struct Watched {
    kind: PluginKind,
    plugin: Plugin,
    sources: Sources,
    /// The digest of the file that runs.
    taken: Option<u128>,
    /// The start of the current build.
    building: Option<Instant>,
    /// The files that have changed since.
    changed: BTreeSet<PathBuf>,
}

struct Watcher<'a> {
    host: &'a Host,
    watched: Vec<Watched>,
    watcher: RecommendedWatcher,
    wakes: Sender<Wake>,
    woken: Receiver<Wake>,
}

impl Watcher<'_> {
    fn run(mut self) {
        // The time of the next build, and its latest time.
        let mut due: Option<(Instant, Instant)> = None;
        loop {
            let wake = match due {
                Some((at, _)) => self.woken.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => self.woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match wake {
                Ok(Wake::Changed(paths)) if self.note(&paths) => {
                    let now = Instant::now();
                    let (_, latest) = due.unwrap_or((now, now + PATIENCE));
                    due = Some((latest.min(now + QUIET), latest));
                }
                Ok(Wake::Changed(_)) => {}
                Ok(Wake::Built(kind, built)) => self.built(kind, built),
                Err(RecvTimeoutError::Timeout) => {
                    self.build();
                    due = None;
                }
                Ok(Wake::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Notes changed files. Returns whether one of them belongs to a plugin.
    fn note(&mut self, paths: &[PathBuf]) -> bool {
        let mut matters = false;
        for watched in &mut self.watched {
            let ours: Vec<_> = paths.iter().filter(|path| watched.sources.has(path)).cloned().collect();
            matters |= !ours.is_empty();
            watched.changed.extend(ours);
        }
        matters
    }

    /// Begins the build of each plugin that has changed and is not being built.
    fn build(&mut self) {
        for watched in &mut self.watched {
            if watched.changed.is_empty() || watched.building.is_some() {
                continue;
            }
            let changed = std::mem::take(&mut watched.changed);
            let first = changed.first().map(|path| path.display().to_string()).unwrap_or_default();
            say(&format!("the {} has changed: {first}", watched.kind));
            // There may be new folders. A folder that is gone is watched again once it is back.
            if let Err(error) = watched.sources.watch(&mut self.watcher) {
                tracing::debug!("{error:#}");
            }
            watched.building = Some(Instant::now());
            let (kind, plugin, wakes) = (watched.kind, watched.plugin.clone(), self.wakes.clone());
            thread::spawn(move || {
                // This fails if the run has ended meanwhile.
                let _ = wakes.send(Wake::Built(kind, plugin.built()));
            });
        }
    }

    /// Swaps in a plugin that was built, if it differs from the one that runs.
    fn built(&mut self, kind: PluginKind, built: Result<Plugin, PluginError>) {
        let Some(watched) = self.watched.iter_mut().find(|watched| watched.kind == kind) else { return };
        let Some(began) = watched.building.take() else { return };
        let swapped = built.map_err(anyhow::Error::from).and_then(|file| {
            let digest = digest(&file);
            if digest == watched.taken {
                return Ok(None);
            }
            let first = match kind {
                PluginKind::Commander => self.host.swap_commander(&file)?,
                PluginKind::Producer => self.host.swap_producer(&file)?,
            };
            watched.taken = digest;
            Ok(Some(first))
        });
        match swapped {
            Ok(None) => say(&format!("the {kind} is the same as the one that runs")),
            Ok(Some(first)) => {
                let after = began.elapsed().as_secs_f64();
                say(&format!(
                    "the {kind} was swapped: from batch {first} on the new one, after {after:.1} s"
                ));
            }
            // The run is over.
            Err(error) if error.downcast_ref().is_some_and(|error| matches!(error, SwapError::Ended)) => {}
            Err(error) => say(&format!("error: {error:#}\nthe old {kind} goes on")),
        }
        // Sources may have changed meanwhile.
        self.build();
    }
}

/// A digest of a plugin's file; `None` if it cannot be read.
fn digest(file: &Plugin) -> Option<u128> {
    std::fs::read(file.path()).ok().map(|bytes| xxh3_128(&bytes))
}
