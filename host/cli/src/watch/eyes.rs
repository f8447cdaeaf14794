//! How changes of files are noticed: inotify tells them, or, if the system has no more of it, the
//! files are looked at every second.
//!
//! notify's own poll watcher is not used: it compares whole seconds of a time that must grow, so it
//! misses a file that is replaced by an older one, and a link that is flipped.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use notify::{ErrorKind, Event, RecommendedWatcher};
use rustix::io::Errno;

use super::sources::Sources;
use cobuf::progress::say;

/// The time between two looks, if inotify is not to be had.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Eyes {
    /// `None` if the files must be looked at.
    inotify: Option<RecommendedWatcher>,
}

impl Eyes {
    /// Calls `changed` with the paths of files that change.
    pub(super) fn open(changed: impl Fn(Vec<PathBuf>) + Send + 'static) -> Self {
        let inotify = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Builds read the sources, which is no change.
            if let Ok(event) = event.inspect_err(|error| tracing::warn!(%error, "the file watcher failed"))
                && !event.kind.is_access()
            {
                changed(event.paths);
            }
        });
        let mut eyes = Self { inotify: None };
        match inotify {
            Ok(inotify) => eyes.inotify = Some(inotify),
            Err(error) => eyes.give_up(&error),
        }
        eyes
    }

    /// Watches the sources. Returns an error only if they cannot be watched for another reason than
    /// a limit of the system.
    pub(super) fn watch(&mut self, sources: &mut Sources) -> Result<()> {
        let Some(inotify) = &mut self.inotify else { return Ok(()) };
        match sources.watch(inotify) {
            Err(error) => match error.downcast_ref::<notify::Error>().filter(|error| is_limit(error)) {
                Some(limit) => {
                    self.give_up(limit);
                    Ok(())
                }
                None => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }

    /// Whether changes are noticed only by looking.
    pub(super) fn must_look(&self) -> bool {
        self.inotify.is_none()
    }

    fn give_up(&mut self, error: &notify::Error) {
        self.inotify = None;
        say(&format!(
            "no inotify ({}): changes are looked for every {} s instead{}",
            reason(error),
            LOOK_EVERY.as_secs(),
            remedy(error).unwrap_or_default()
        ));
    }
}

fn errno(error: &notify::Error) -> Option<Errno> {
    match &error.kind {
        ErrorKind::MaxFilesWatch => Some(Errno::NOSPC),
        ErrorKind::Io(error) => Errno::from_io_error(error),
        _ => None,
    }
}

/// Whether the system refuses any more of it.
fn is_limit(error: &notify::Error) -> bool {
    let limits = [Errno::NOSPC, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSYS];
    errno(error).is_some_and(|errno| limits.contains(&errno))
}

fn reason(error: &notify::Error) -> String {
    errno(error).map_or_else(|| error.to_string(), |errno| io::Error::from(errno).to_string())
}

/// The setting that is too low, with its value.
fn remedy(error: &notify::Error) -> Option<String> {
    let name = match errno(error)? {
        Errno::NOSPC => "max_user_watches",
        Errno::MFILE => "max_user_instances",
        _ => return None,
    };
    let limit = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
    Some(format!("; the sysctl fs.inotify.{name} is {}", limit.trim()))
}
