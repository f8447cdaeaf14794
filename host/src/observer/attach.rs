//! A run that is looked at: its segment, mapped to read, and its host's process.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::error::ObserveError;
use super::find::{FoundRun, find_runs};
use super::view::View;
use crate::procfs;
use crate::segment::about::About;
use crate::segment::memory::Segment;

/// A run of another process, or of this one, that is looked at.
///
/// The run is the same with and without it. What it shows is a moment: words that belong together
/// may be read a microsecond apart.
///
/// ```no_run
/// use cobuf_host::observer::Observer;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let observer = Observer::of_name("digits-producer")?;
/// let view = observer.look();
/// println!("{} batches, {}", view.statistics.delivered, view.statistics.limited_by());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Observer {
    found: FoundRun,
    host: OwnedFd,
    segment: Segment,
    about: About,
}

impl Observer {
    /// Looks at the run that a process hosts or belongs to.
    ///
    /// # Errors
    /// [`ObserveError`], with the reason.
    pub fn of_process(pid: u32) -> Result<Self, ObserveError> {
        let fitting: Vec<FoundRun> = find_runs().into_iter().filter(|run| run.has_process(pid)).collect();
        // A process may host one run and belong to another.
        let hosted = fitting.iter().filter(|run| run.pid == pid).count();
        let fitting = fitting.into_iter().filter(|run| hosted == 0 || run.pid == pid).collect();
        the_one(&pid.to_string(), fitting)?.ok_or_else(|| no_run(pid))
    }

    /// Looks at the run of this name, or else the only one whose plugin or program has it.
    ///
    /// # Errors
    /// [`ObserveError`], with the reason.
    pub fn of_name(name: &str) -> Result<Self, ObserveError> {
        let runs = find_runs();
        if let Some(run) = runs.iter().find(|run| run.run == name) {
            return Self::attach(run);
        }
        let has_plugin = |run: &FoundRun| Self::attach(run).is_ok_and(|observer| observer.has_plugin(name));
        let fitting = runs.into_iter().filter(|run| run.program == name || has_plugin(run)).collect();
        the_one(name, fitting)?.ok_or_else(|| ObserveError::Unknown { name: name.to_owned() })
    }

    /// Looks at a run that was found.
    ///
    /// # Errors
    /// [`ObserveError`]: the run has ended since it was found, or is of another version.
    pub fn attach(found: &FoundRun) -> Result<Self, ObserveError> {
        let pid = found.pid;
        let unreadable = |source| ObserveError::Unreadable { pid, source };
        let process = Pid::from_raw(pid.cast_signed()).ok_or(ObserveError::NoProcess { pid })?;
        let host = pidfd_open(process, PidfdFlags::empty()).map_err(|error| unreadable(error.into()))?;
        let file = File::open(&found.file).map_err(unreadable)?;
        let (segment, about) =
            Segment::to_read(file.into()).map_err(|error| ObserveError::of_segment(pid, error))?;
        Ok(Self { found: found.clone(), host, segment, about })
    }

    /// The run, as it was found.
    pub fn run(&self) -> &FoundRun {
        &self.found
    }

    /// The name of its producer.
    pub fn producer(&self) -> &str {
        &self.about.producer
    }

    /// The run at this moment.
    pub fn look(&self) -> View {
        View::of(&self.segment, &self.about, (self.found.pid, &self.found.program), self.host_lives())
    }

    /// Whether the run's producer or commander has this name.
    fn has_plugin(&self, name: &str) -> bool {
        self.about.producer == name || self.about.commander.as_deref() == Some(name)
    }

    /// A pidfd is readable once its process has ended.
    fn host_lives(&self) -> bool {
        let mut polled = [PollFd::from_borrowed_fd(self.host.as_fd(), PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        !poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }
}

/// The only one that fits; `None` if there is none.
fn the_one(wanted: &str, fitting: Vec<FoundRun>) -> Result<Option<Observer>, ObserveError> {
    match &fitting[..] {
        [] => Ok(None),
        [run] => Observer::attach(run).map(Some),
        several => {
            let runs = several.iter().map(|run| run.run.clone()).collect();
            Err(ObserveError::Several { wanted: wanted.to_owned(), runs })
        }
    }
}

/// Why nothing was found of a process.
fn no_run(pid: u32) -> ObserveError {
    let program = procfs::name(pid).unwrap_or_default();
    match fs::read_dir(format!("/proc/{pid}/fd")) {
        Err(error) if error.kind() == ErrorKind::NotFound => ObserveError::NoProcess { pid },
        Err(error) if error.kind() == ErrorKind::PermissionDenied => ObserveError::OtherUser { pid, program },
        Err(source) => ObserveError::Unreadable { pid, source },
        Ok(_) => ObserveError::NoRun { pid, program },
    }
}
