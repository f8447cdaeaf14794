//! `cobuf run --watch`: plugins whose sources change are built and swapped while the run goes on.
//!
//! ```text
//!   a change ─► quiet for a moment ─► built (a thread of its own) ─► other bytes than before? ─► swapped
//!                                       │ does not compile             │ no                        │ refused
//!                                       ▼                              ▼                           ▼
//!                                     said; the old one goes on, and the next change is waited for
//! ```
//!
//! The end of the run waits for nobody here: a swap ends with the host's stop, and a build is left to cargo.

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

/// How long nothing must have changed before a build begins: editors and linkers write in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// How long changes may follow on each other, until a build begins all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// What wakes the watching thread.
enum Wake {
    Changed(Vec<PathBuf>),
    Built(PluginKind, Result<Plugin, PluginError>),
    End,
}

/// A thread that watches; it ends when this is dropped.
pub(crate) struct Watching<'scope> {
    thread: Option<ScopedJoinHandle<'scope, ()>>,
    wakes: Sender<Wake>,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        // It fails where the thread has ended already.
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
        // Builds read the sources, too.
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
    say("watching the plugins' sources; what changes is built and swapped");
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
    /// When the build began that is going on.
    building: Option<Instant>,
    /// What has changed since.
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
        // When to build, and when at the latest.
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

    /// Notes what has changed; whether any of it matters.
    fn note(&mut self, paths: &[PathBuf]) -> bool {
        let mut matters = false;
        for watched in &mut self.watched {
            let ours: Vec<_> = paths.iter().filter(|path| watched.sources.has(path)).cloned().collect();
            matters |= !ours.is_empty();
            watched.changed.extend(ours);
        }
        matters
    }

    /// Begins the builds of all that has changed and is not being built.
    fn build(&mut self) {
        for watched in &mut self.watched {
            if watched.changed.is_empty() || watched.building.is_some() {
                continue;
            }
            let changed = std::mem::take(&mut watched.changed);
            let first = changed.first().map(|path| path.display().to_string()).unwrap_or_default();
            say(&format!("the {} has changed: {first}", watched.kind));
            // There may be new folders. What is gone is watched again once it is back.
            if let Err(error) = watched.sources.watch(&mut self.watcher) {
                tracing::debug!("{error:#}");
            }
            watched.building = Some(Instant::now());
            let (kind, plugin, wakes) = (watched.kind, watched.plugin.clone(), self.wakes.clone());
            thread::spawn(move || {
                // It fails where the run has ended meanwhile.
                let _ = wakes.send(Wake::Built(kind, plugin.built()));
            });
        }
    }

    /// Swaps what was built, where it differs from what runs.
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
        // What has changed meanwhile.
        self.build();
    }
}

/// A digest of a plugin's file; `None` where it cannot be read.
fn digest(file: &Plugin) -> Option<u128> {
    std::fs::read(file.path()).ok().map(|bytes| xxh3_128(&bytes))
}
