//! `cobuf run --watch`: plugins whose sources change are built and swapped during the run.
//!
//! ```text
//!   a change ─► quiet for a moment ─► built (a thread of its own) ─► other bytes than before? ─► swapped
//!                                       │ does not compile             │ no                        │ refused
//!                                       ▼                              ▼                           ▼
//!                                     printed; the old plugin goes on until the next change
//! ```
//!
//! Changes are told by inotify. If the system has no more of it, the files are looked at instead
//! (`eyes`).
//!
//! The end of the run does not wait for this module: a swap ends with the host's stop, and a build
//! with this process. A stream that ends takes the watching with it.

mod eyes;
mod sources;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use cobuf_host::{Cancel, Host, Plugin, PluginError, PluginKind, SwapError};
use xxhash_rust::xxh3::xxh3_128;

use self::eyes::{Eyes, LOOK_EVERY};
use self::sources::{Sources, State};
use cobuf::progress::say;

/// The time without a change before a build begins: editors and linkers write in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// The time after which a build begins even though changes go on.
const PATIENCE: Duration = Duration::from_secs(2);

/// An event for the watching thread.
enum Wake {
    /// These files have changed; if it names none, any may have.
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

/// Begins to watch the plugins of a run: each with its kind, what it is made of, and what runs.
pub(crate) fn start<'scope, 'host: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    host: &'host Host,
    plugins: impl IntoIterator<Item = (PluginKind, Plugin, Plugin)>,
    cancel: &Cancel,
) -> Result<Watching<'scope>> {
    let (wakes, woken) = channel();
    let changes = wakes.clone();
    // This fails if the watching has ended meanwhile.
    let mut eyes = Eyes::open(move |paths| drop(changes.send(Wake::Changed(paths))));
    let watch = |(kind, plugin, runs): (PluginKind, Plugin, Plugin)| -> Result<Watched> {
        let mut sources = Sources::of(&plugin, &runs)?;
        eyes.watch(&mut sources)?;
        let (taken, seen) = (digest(&runs), sources.state());
        // Changes from before it was watched.
        let now = plugin.built_unless(cancel)?;
        let changed = if digest(&now) == taken { BTreeSet::new() } else { [plugin.path().to_owned()].into() };
        Ok(Watched { kind, plugin, sources, seen, taken, building: None, changed })
    };
    let watched = plugins.into_iter().map(watch).collect::<Result<Vec<_>>>()?;
    let until = host
        .batches()
        .total()
        .map_or(String::new(), |total| format!("; the run ends with its stream, after {total} messages"));
    say(&format!("watching the plugins' sources; a plugin that changes is built and swapped{until}"));
    let watcher = Watcher { host, watched, eyes, wakes: wakes.clone(), woken };
    Ok(Watching { thread: Some(scope.spawn(|| watcher.run())), wakes })
}

/// A plugin that is watched.
struct Watched {
    kind: PluginKind,
    plugin: Plugin,
    sources: Sources,
    /// The state of the sources at the last look.
    seen: State,
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
    eyes: Eyes,
    wakes: Sender<Wake>,
    woken: Receiver<Wake>,
}

impl Watcher<'_> {
    fn run(mut self) {
        // The time of the next build, and its latest time.
        let mut due: Option<(Instant, Instant)> = None;
        if self.watched.iter().any(|watched| !watched.changed.is_empty()) {
            self.build();
        }
        loop {
            let until_due = due.map(|(at, _)| at.saturating_duration_since(Instant::now()));
            let until_look = self.eyes.must_look().then_some(LOOK_EVERY);
            let wake = match [until_due, until_look].into_iter().flatten().min() {
                Some(wait) => self.woken.recv_timeout(wait),
                None => self.woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let changed = match wake {
                // inotify lost some, because too many came at once.
                Ok(Wake::Changed(paths)) if paths.is_empty() => self.look(),
                Ok(Wake::Changed(paths)) => self.note(&paths),
                Ok(Wake::Built(kind, built)) => {
                    self.built(kind, built);
                    false
                }
                Err(RecvTimeoutError::Timeout) => self.eyes.must_look() && self.look(),
                Ok(Wake::End) | Err(RecvTimeoutError::Disconnected) => return self.end(),
            };
            let now = Instant::now();
            if changed {
                let (_, latest) = due.unwrap_or((now, now + PATIENCE));
                due = Some((latest.min(now + QUIET), latest));
            } else if due.is_some_and(|(at, _)| at <= now) {
                self.build();
                due = None;
            }
        }
    }

    /// Says which change came too late.
    fn end(&self) {
        for Watched { kind, building, changed, .. } in &self.watched {
            if building.is_some() || !changed.is_empty() {
                say(&format!("the run ended before the changed {kind} was built and swapped"));
            }
        }
    }

    /// Looks for changes of files, as inotify would tell them. Returns whether there is one.
    fn look(&mut self) -> bool {
        let mut matters = false;
        for watched in &mut self.watched {
            let now = watched.sources.state();
            let files: BTreeSet<&PathBuf> = now.keys().chain(watched.seen.keys()).collect();
            let changed = files.into_iter().filter(|&file| now.get(file) != watched.seen.get(file));
            watched.changed.extend(changed.cloned());
            matters |= now != watched.seen;
            watched.seen = now;
        }
        matters
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
            if let Err(error) = self.eyes.watch(&mut watched.sources) {
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
            watched.sources.follow(&file);
            self.eyes.watch(&mut watched.sources)?;
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

/// A digest of a plugin's file, and of code that is not in it; `None` if it cannot be read.
fn digest(file: &Plugin) -> Option<u128> {
    let mut bytes = std::fs::read(file.path()).ok()?;
    if let Plugin::Coded { code, .. } = file {
        bytes.extend_from_slice(code.bytes());
    }
    Some(xxh3_128(&bytes))
}
