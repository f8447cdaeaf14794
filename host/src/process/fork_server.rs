//! The fork server: forks the commander and the workers, reaps them, reports how they ended, and
//! kills them all when the host is gone.
//!
//! It has a single thread and opens no plugin, so that it is safe to fork at any time. The death
//! signal of its children follows the thread that forked them; with a single thread, that means the
//! process. It sleeps in one poll(2) over the control socket, the host's pidfd and a descriptor by
//! which it hears of children that ended.
//!
//! It leads a group of its own, so that no key of a terminal stops or ends it or the processes that
//! it forks. It ignores SIGINT, SIGTERM and SIGHUP: if the whole run gets one, the host ends it in
//! order. What plugins have started and left behind becomes its own, see `strays`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use cobuf_plugin_api::PluginKind;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpgrp, getpid, kill_process, kill_process_group, pidfd_open,
    waitpid,
};

use super::run_clock::RunClock;
use super::system::{self, Forked};
use super::{entry, memory, stack, strays, trace};
use crate::limits::{MEMORY_BYTES_A_NANO, MEMORY_LOOK_AT_LEAST, MEMORY_LOOK_AT_MOST, STACK_CAPTURE_LIMIT};
use crate::protocol::channel::{EventSender, receive_descriptor, receive_request, wait};
use crate::protocol::message::{Event, Request};
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::record::death::Death;
use crate::record::death::Exit;
use crate::record::raw_stack::RawStack;
use crate::record::state::Beginning;
use crate::segment::layout::Layout;
use crate::segment::memory::Segment;
use crate::text::chain;
use crate::ulimit;

/// Serves one run. Returns once no child is left, after a stop or the host's end.
pub(crate) fn serve(control: UnixStream, events: EventSender, host: Pid) -> io::Result<()> {
    system::reset_signals();
    system::ignore_ends();
    system::lead_group_and_adopt();
    let deaths = system::listen_for_deaths();
    let deaths =
        deaths.inspect_err(|error| fail(&events, "cannot listen for the ends of processes", error))?;
    let host_alive = pidfd_open(host, PidfdFlags::empty()).map_err(io::Error::from);
    let host_alive =
        host_alive.inspect_err(|error| fail(&events, "cannot watch the host's process", error))?;
    let _ = rustix::thread::set_name(c"cobuf-fork");
    let mut server =
        ForkServer { control, events, host_alive, deaths, plan: None, segment: None, children: Vec::new() };
    server.events.send(&Event::Hello { version: env!("CARGO_PKG_VERSION").to_owned() })?;
    let served = server.run();
    // The death of a host often shows at the sockets first: as an incomplete request, or as an
    // event that cannot be sent any more.
    let host_gone = match &served {
        Ok(Served::HostGone) => true,
        Ok(Served::Stopped) => false,
        Err(error) => {
            use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
            matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
        }
    };
    let host_gone =
        host_gone || wait(&mut [PollFd::new(&server.host_alive, PollFlags::IN)], Some(Instant::now()))? > 0;
    if let Some(error) = served.as_ref().err().filter(|_| !host_gone) {
        fail(&server.events, "cannot serve the run", error);
    }
    server.end_all();
    if host_gone {
        server.remove_folder();
        kill_group();
        return Ok(());
    }
    served.map(drop)
}

/// Tells the host why there will be no fork server. If it cannot be told, it only sees the end.
fn fail(events: &EventSender, what: &str, error: &io::Error) {
    let _ = events.send(&Event::ServerFailed { reason: format!("{what}: {error}") });
}

/// Kills what is left in this process's group, and this process with it.
fn kill_group() {
    // If no own group could be made, this is the application's group.
    if getpgrp() == getpid() {
        let _ = kill_process_group(getpid(), Signal::KILL);
    }
}

/// Why a fork server's work is done.
enum Served {
    /// The host asked for it; the host cleans up.
    Stopped,
    /// The host is gone.
    HostGone,
}

struct ForkServer {
    control: UnixStream,
    events: EventSender,
    /// Readable once the host is dead.
    host_alive: OwnedFd,
    /// Readable once a child is dead.
    deaths: OwnedFd,
    plan: Option<Rc<Plan>>,
    segment: Option<Segment>,
    children: Vec<Child>,
}

struct Child {
    role: Role,
    pid: Pid,
    /// Where its interpreter, if it has one, says what its threads do.
    trace: Option<OwnedFd>,
    memory: memory::Watch,
    /// The limit that it exceeded, if it was killed for that.
    over_limit: Option<Death>,
}

/// Why the loop woke up.
enum Wake {
    Request,
    HostGone,
    /// A child is dead, or several.
    Deaths,
    Deadline,
}

impl ForkServer {
    fn run(&mut self) -> io::Result<Served> {
        // A time of this clock: a standstill of the run is no part of a stop's grace.
        let mut deadline: Option<Instant> = None;
        let mut clock = RunClock::new();
        let mut stopping = false;
        let mut hears_host = true;
        while !(stopping && self.children.is_empty()) {
            let look = self.watch_memory();
            clock.begin();
            let wake_by = clock.wake_by(deadline);
            let wake = self.next_wake(hears_host, wake_by.into_iter().chain(look).min())?;
            clock.woke(wake_by);
            match wake {
                Wake::Deaths => self.reap_dead(),
                Wake::Deadline if deadline.is_some_and(|deadline| deadline <= clock.now()) => {
                    self.kill_all();
                    deadline = None;
                }
                Wake::Deadline => {}
                Wake::HostGone => return Ok(Served::HostGone),
                Wake::Request => match receive_request(&self.control)? {
                    // The host closes its end once it has finished.
                    None if stopping => hears_host = false,
                    None => return Ok(Served::HostGone),
                    // A second one shortens the grace.
                    Some(Request::Stop { grace }) => {
                        stopping = true;
                        deadline = Some(clock.now() + grace);
                    }
                    Some(_) if stopping => {}
                    Some(request) => self.answer(request)?,
                },
            }
        }
        Ok(Served::Stopped)
    }

    /// Sleeps until there is something to do. Deaths come first, so that a stop sees them.
    fn next_wake(&self, hears_host: bool, deadline: Option<Instant>) -> io::Result<Wake> {
        let control = hears_host.then_some(PollFd::new(&self.control, PollFlags::IN));
        let others = [&self.deaths, &self.host_alive].map(|fd| PollFd::new(fd, PollFlags::IN));
        let mut fds: ArrayVec<_, 3> = others.into_iter().chain(control).collect();
        loop {
            if wait(&mut fds, deadline)? == 0 {
                return Ok(Wake::Deadline);
            }
            let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
            if ready(0) {
                return Ok(Wake::Deaths);
            }
            if ready(1) {
                return Ok(Wake::HostGone);
            }
            if ready(2) {
                return Ok(Wake::Request);
            }
        }
    }

    fn answer(&mut self, request: Request) -> io::Result<()> {
        match request {
            Request::Configure(plan) => self.plan = Some(Rc::new(*plan)),
            Request::Exchange(plugins) => {
                if let Some(plan) = &mut self.plan {
                    Rc::make_mut(plan).plugins = *plugins;
                }
            }
            Request::Attach { sizes } => {
                let file = receive_descriptor(&self.control)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let layout = Layout::new(sizes).ok_or_else(|| {
                    io::Error::other("the segment's sizes in the host's request have no valid layout")
                })?;
                let mapped = Segment::map(file, layout).map(|segment| self.segment = Some(segment));
                self.events.send(&Event::Attached(mapped.map_err(|error| chain(&error))))?;
            }
            Request::Start(role, beginning) => {
                let cannot = |error: io::Error| format!("cannot fork: {error}{}", ulimit::behind(&error));
                let is_jailed = role.is_jailed() && self.plan.as_ref().is_some_and(|plan| plan.is_jailed());
                let output = if is_jailed { receive_descriptor(&self.control)? } else { None };
                let pid = self.start(role, beginning, output).map_err(cannot);
                self.events.send(&Event::Started { role, pid })?;
            }
            Request::Kill(role) => self.kill(role)?,
            Request::Stop { .. } => unreachable!("a stop is taken by the loop"),
        }
        Ok(())
    }

    fn start(
        &mut self,
        role: Role,
        beginning: Option<Beginning>,
        output: Option<OwnedFd>,
    ) -> io::Result<u32> {
        let plan = self.plan.clone().ok_or_else(|| io::Error::other("the host has not sent a plan"))?;
        let server = getpid();
        let (ours, theirs) = trace::pipe().unzip();
        match system::fork()? {
            Forked::Child => entry::run(entry::Inherited {
                role,
                beginning: beginning.unwrap_or_default(),
                plan,
                segment: self.segment.take(),
                events: &self.events,
                trace: theirs,
                output,
                of_server: [self.control.as_fd(), self.host_alive.as_fd(), self.deaths.as_fd()],
                parent: server,
            }),
            Forked::Parent(pid) => {
                let memory = memory::Watch::of(pid);
                self.children.push(Child { role, pid, trace: ours, memory, over_limit: None });
                Ok(pid.as_raw_nonzero().get().unsigned_abs())
            }
        }
    }

    /// Captures the stack of a process, reports it, and kills the process.
    fn kill(&self, role: Role) -> io::Result<()> {
        let Some(child) = self.children.iter().find(|child| child.role == role) else {
            return self.events.send(&Event::Stack { role, stack: Err("it has ended".to_owned()) });
        };
        let trace = child.trace.as_ref().map(trace::Text::of);
        let asks = trace.as_ref().is_some_and(|trace| !trace.is_complete());
        let pid = child.pid;
        let last = move || {
            if asks {
                trace::ask(pid);
            }
        };
        let stack = stack::capture(child.pid, STACK_CAPTURE_LIMIT, last).map_err(|error| error.to_string());
        let data = self.plan.as_ref().map(|plan| plan.data()).unwrap_or_default();
        let stack = stack.map(|mut stack| {
            stack.hide(&data);
            stack
        });
        let stack = match trace.and_then(trace::Text::wait) {
            Some(trace) => Ok(RawStack { trace, ..stack.unwrap_or_default() }),
            None => stack,
        };
        self.events.send(&Event::Stack { role, stack })?;
        // A child that is not yet reaped cannot have been replaced by another process.
        let _ = kill_process(child.pid, Signal::KILL);
        Ok(())
    }

    /// Kills workers, and rehearsals of producers, that exceed the memory limit; returns when to
    /// look again.
    fn watch_memory(&mut self) -> Option<Instant> {
        let limit = self.plan.as_ref()?.limits.memory_bytes?;
        let mut pause = MEMORY_LOOK_AT_MOST;
        for child in &mut self.children {
            if child.role.kind() != PluginKind::Producer || child.over_limit.is_some() {
                continue;
            }
            let used = child.memory.look(limit);
            if used > limit {
                child.over_limit = Some(Death::MemoryLimit { limit_bytes: limit, used_bytes: used });
                let _ = kill_process(child.pid, Signal::KILL);
            } else {
                pause = pause.min(Duration::from_nanos((limit - used) / MEMORY_BYTES_A_NANO));
            }
        }
        Some(Instant::now() + pause.max(MEMORY_LOOK_AT_LEAST))
    }

    /// Why a child died.
    fn death_of(&self, child: &Child, exit: Exit) -> Death {
        let limits = self.plan.as_ref().map(|plan| plan.limits).unwrap_or_default();
        match (child.over_limit, exit, limits.cpu_seconds) {
            (Some(death), Exit::Signal(libc::SIGKILL), _) => death,
            (_, Exit::Signal(libc::SIGXCPU), Some(limit_seconds)) => Death::CpuLimit { limit_seconds },
            _ => Death::Exit(exit),
        }
    }

    /// Reaps all children that have ended, and ends what they have left behind.
    fn reap_dead(&mut self) {
        system::heard_of_deaths(&self.deaths);
        loop {
            match system::dead_child() {
                Ok(None) => return,
                Ok(Some(pid)) => match self.children.iter().position(|child| child.pid == pid) {
                    Some(index) => self.reap(index),
                    None => strays::reap(pid),
                },
                // A sandbox that does not know the call: each child is asked for by its number.
                Err(_) => {
                    let has_ended = |child: &Child| system::has_ended(child.pid);
                    let Some(index) = self.children.iter().position(has_ended) else { return };
                    self.reap(index);
                }
            }
            let known: Vec<Pid> = self.children.iter().map(|child| child.pid).collect();
            strays::end_orphans(&known);
        }
    }

    /// Waits for a child that has ended or was killed, and reports how it ended.
    fn reap(&mut self, index: usize) {
        let child = self.children.swap_remove(index);
        let status = waitpid(Some(child.pid), WaitOptions::empty()).ok().flatten().map(|(_, status)| status);
        let how = match status {
            Some(status) => match status.terminating_signal() {
                Some(signal) => Exit::Signal(signal),
                None => Exit::Code(status.exit_status().unwrap_or_default()),
            },
            None => Exit::Code(0),
        };
        // If the host is gone, the next wake says so.
        let how = self.death_of(&child, how);
        let _ = self.events.send(&Event::Exited { role: child.role, how });
    }

    fn kill_all(&self) {
        for child in &self.children {
            // A child that is not yet reaped cannot have been replaced by another process.
            let _ = kill_process(child.pid, Signal::KILL);
        }
    }

    /// Kills and reaps all children, and all that plugins have started.
    fn end_all(&mut self) {
        self.kill_all();
        while !self.children.is_empty() {
            self.reap(0);
        }
        strays::end_all();
    }

    /// Removes all files of a run whose host is gone. A living host may continue with another fork
    /// server, from the same folder.
    fn remove_folder(&self) {
        if let Some(plan) = &self.plan {
            // A host that died after making the segment and before having it attached has left the
            // segment's name, which is the folder's.
            if let Some(segment) = plan.run_folder.file_name() {
                let _ = rustix::shm::unlink(segment);
            }
            let _ = std::fs::remove_dir_all(&plan.run_folder);
        }
    }
}
