//! The stack of another process, taken from outside: where does a plugin hang? Runs in the fork server.
//!
//! ```text
//!   fork server (waits, at most `limit`)            process, running or stopped by SIGSTOP
//!     └─ tracing thread ──PTRACE_SEIZE, _INTERRUPT──► up to 16 threads stand still
//!          │  registers                    ◄──PTRACE── each; /proc/PID/task/TID/syscall where one cannot stop
//!          │  /proc/PID/maps, /proc/PID/mem ◄───────── ELF headers, .eh_frame, stacks
//!          │  framehop: registers + tables + stack → return addresses → (file, address in it)
//!          └─PTRACE_DETACH, with the signal that was on its way ──► as before
//!
//!   RawStack ──MessagePack──► host: `crate::stack::resolve` names the functions
//! ```
//!
//! Invariants:
//! - **Everything ends by `limit`.** Threads may not stop (uninterruptible sleep: NFS, vfork), and reading from /proc waits
//!   for the process's memory lock. So the work is done by a thread that can be left alone; it ends when the process dies at
//!   the latest.
//! - **Nothing stays traced**: the kernel detaches whatever a thread traced when that thread ends. This matters most for
//!   threads that never stopped, which nobody can detach: dead, they would have to be waited for one by one, and the pidfd
//!   of their process would never be readable. It is the second reason for a thread.
//! - **No exit status is taken.** Stops are looked at with WNOWAIT; the fork server reaps its children, as always.
//! - **Files are not opened**: unwind tables are mapped wherever code runs, so a deleted or replaced file and the vDSO are
//!   read like any other.
//!
//! The fork server is single-threaded again when [`capture`] returns, but after [`StackError::TookTooLong`]: then the
//! thread is left until the process is killed. It holds no lock of ours, so that forking stays safe.
//!
//! A system call that the kernel does not restart (see signal(7): `epoll_wait`, `semop`) fails with EINTR in the process,
//! as it does after SIGSTOP and SIGCONT.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, FrameAddress, MayAllocateDuringUnwind, Module, UnwindRegsNative,
    Unwinder, UnwinderNative,
};
use nix::sys::ptrace;
use object::Endianness;
use object::elf::{FileHeader64, PT_GNU_EH_FRAME, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{MAX_STACK_FRAMES, MAX_STACK_NAME_BYTES, MAX_STACK_THREADS, MAX_UNWIND_TABLE_BYTES};

/// The stacks of a process's threads, as addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawStack {
    /// The files that frames are in, as the process has them mapped: `/lib/libfoo.so`, `/gone.so (deleted)`, `[vdso]`.
    pub(crate) modules: Vec<PathBuf>,
    /// The main thread first.
    pub(crate) threads: Vec<RawThread>,
    /// How many threads are missing: above the limit, or not to be stopped and not blocked either.
    pub(crate) left_out: u32,
}

/// One thread's stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawThread {
    pub(crate) name: String,
    /// Innermost first: the index of a module and an address in that file's own address space. All but the first are
    /// return addresses.
    pub(crate) frames: Vec<(u32, u64)>,
}

/// Why there is no stack.
#[derive(Debug, Error)]
pub(crate) enum StackError {
    #[error("the threads of process {pid} cannot be listed")]
    Threads { pid: i32, source: io::Error },
    #[error("process {pid} cannot be traced")]
    Trace { pid: i32, source: io::Error },
    #[error(
        "no thread of process {pid} stopped within {limit:?}; it may be in an uninterruptible system call"
    )]
    NotStopped { pid: i32, limit: Duration },
    #[error("the memory of process {pid} cannot be read")]
    Memory { pid: i32, source: io::Error },
    #[error("the stack of process {pid} was not read within {limit:?}")]
    TookTooLong { pid: i32, limit: Duration },
    #[error("no thread can be started that traces process {pid}")]
    Start { pid: i32, source: io::Error },
    #[error("reading the stack of process {pid} panicked")]
    Panicked { pid: i32 },
}

/// Takes the stacks of `pid`, which must be a child of this process, and leaves it in the state in which it was.
///
/// Half of `limit` is for threads to stop. Of those that have not by then, one that is blocked in the kernel is shown as far
/// as it can be without all its registers; others are left out.
pub(crate) fn capture(pid: Pid, limit: Duration) -> Result<RawStack, StackError> {
    let raw = pid.as_raw_nonzero().get();
    let (sender, receiver) = sync_channel(1);
    let tracer = thread::Builder::new()
        .name("cobuf-stack".to_owned())
        .spawn(move || {
            // Where nobody waits any more, nobody wants it.
            let _ = sender.send(trace(raw, limit));
        })
        .map_err(|source| StackError::Start { pid: raw, source })?;
    let captured = match receiver.recv_timeout(limit) {
        Ok(captured) => captured,
        Err(RecvTimeoutError::Timeout) => return Err(StackError::TookTooLong { pid: raw, limit }),
        Err(RecvTimeoutError::Disconnected) => Err(StackError::Panicked { pid: raw }),
    };
    // It has sent or panicked, and has only to end.
    let _ = tracer.join();
    captured
}

/// The tracing thread.
fn trace(pid: i32, limit: Duration) -> Result<RawStack, StackError> {
    let start = Instant::now();
    let (threads, mut left_out) = stop_threads(pid, start + limit / 2)?;
    let memory = Memory::of(pid).map_err(|source| StackError::Memory { pid, source })?;
    let mut walker = Walker::new(&memory, start + limit * 3 / 4);
    let mut stacks = Vec::new();
    for thread in threads.iter().filter(|thread| thread.state != State::Ended) {
        match walker.thread(thread, pid) {
            Some(frames) => stacks.push(RawThread { name: thread_name(pid, thread.tid), frames }),
            None => left_out += 1,
        }
    }
    if stacks.is_empty() {
        return Err(StackError::NotStopped { pid, limit });
    }
    Ok(RawStack { modules: walker.modules, threads: stacks, left_out })
}

fn thread_name(pid: i32, tid: i32) -> String {
    let name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().to_owned()
}

// Stopping and letting go.

/// A thread that this thread traces; dropping it lets it go.
struct Traced {
    tid: i32,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Running,
    /// And it would have been given this signal; 0 is none.
    Stopped(i32),
    Ended,
}

/// Stops the main thread and as many others as are allowed, and counts those that are not.
fn stop_threads(pid: i32, deadline: Instant) -> Result<(Vec<Traced>, u32), StackError> {
    let mut traced: Vec<Traced> = Vec::new();
    let mut refused = Vec::new();
    let mut first_error = None;
    loop {
        let listed = list_threads(pid).map_err(|source| StackError::Threads { pid, source })?;
        let new = |tid: &i32| !refused.contains(tid) && !traced.iter().any(|thread| thread.tid == *tid);
        let mut new: Vec<i32> = listed.into_iter().filter(new).collect();
        let over = new.split_off(new.len().min(MAX_STACK_THREADS - traced.len()));
        // Threads that were not yet stopped may have started others.
        if new.is_empty() || Instant::now() >= deadline {
            let missing = over.len() + new.len() + refused.len();
            return match first_error {
                Some(source) if traced.is_empty() => Err(StackError::Trace { pid, source }),
                _ => Ok((traced, u32::try_from(missing).unwrap_or(u32::MAX))),
            };
        }
        for tid in new {
            match Traced::seize(tid) {
                Ok(thread) => traced.push(thread),
                // It has ended since it was listed.
                Err(nix::errno::Errno::ESRCH) if tid != pid => {}
                Err(error) => {
                    refused.push(tid);
                    first_error.get_or_insert(error.into());
                }
            }
        }
        wait_for_stops(&mut traced, deadline);
    }
}

/// The main thread's id is the process's, and comes first.
fn list_threads(pid: i32) -> io::Result<Vec<i32>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        threads.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    threads.sort_unstable_by_key(|tid| (*tid != pid, *tid));
    Ok(threads)
}

/// Waits until all have stopped or ended.
///
/// By looking again and again, with pauses: a pidfd says nothing of stops, and SIGCHLD, which does, would have to be blocked
/// in every thread of the process. A thread stops within microseconds, or not at all.
fn wait_for_stops(threads: &mut [Traced], deadline: Instant) {
    let mut pause = Duration::from_micros(20);
    loop {
        threads.iter_mut().for_each(Traced::look);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || threads.iter().all(|thread| thread.state != State::Running) {
            return;
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(2));
    }
}

impl Traced {
    fn seize(tid: i32) -> nix::Result<Self> {
        let pid = nix::unistd::Pid::from_raw(tid);
        ptrace::seize(pid, ptrace::Options::empty())?;
        let traced = Self { tid, state: State::Running };
        // It fails only where the thread is dead, which `look` sees.
        let _ = ptrace::interrupt(pid);
        Ok(traced)
    }

    fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped(_))
    }

    /// Has it stopped by now?
    fn look(&mut self) {
        let (State::Running, Some(tid)) = (&self.state, Pid::from_raw(self.tid)) else { return };
        // Threads other than the main one are children of no process; only this flag has them waited for.
        let all = WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
        let peek = WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(tid), peek | all | WaitIdOptions::STOPPED | WaitIdOptions::EXITED) {
            Ok(None) => {}
            Ok(Some(status)) => {
                self.state = match status.trapping_signal().or(status.stopping_signal()) {
                    // The upper bits are an event of ptrace, such as our interruption or a stop by SIGSTOP: no signal is on
                    // its way then.
                    Some(signal) => State::Stopped(if signal > 0xff { 0 } else { signal }),
                    None => State::Ended,
                };
            }
            Err(_) => self.state = State::Ended,
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.look();
        if let State::Stopped(signal) = self.state {
            detach(self.tid, signal);
        }
    }
}

/// Lets a stopped thread go, with a signal or 0. `nix` has no real-time signals, of which a process may have any.
#[expect(unsafe_code, reason = "PTRACE_DETACH with any signal has no safe wrapper")]
fn detach(tid: i32, signal: i32) {
    let no_address = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: this request takes numbers only, reads and writes no memory of this process, and is refused for a thread that
    // is not traced by this one.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, tid, no_address, libc::c_long::from(signal)) };
}

// Registers.

/// The registers that are needed first.
struct Registers {
    ip: u64,
    others: UnwindRegsNative,
}

impl Registers {
    // A child that was forked has this process's architecture, and so these registers.
    #[cfg(target_arch = "x86_64")]
    fn of_stopped(tid: i32) -> Option<Self> {
        let all = ptrace::getregs(nix::unistd::Pid::from_raw(tid)).ok()?;
        Some(Self { ip: all.rip, others: UnwindRegsNative::new(all.rip, all.rsp, all.rbp) })
    }

    #[cfg(target_arch = "aarch64")]
    fn of_stopped(tid: i32) -> Option<Self> {
        let all = ptrace::getregs(nix::unistd::Pid::from_raw(tid)).ok()?;
        let (frame, link) = (all.regs[29], all.regs[30]);
        Some(Self {
            ip: all.pc,
            others: UnwindRegsNative::new_with_ptr_auth_mask(ADDRESS_BITS, link, all.sp, frame),
        })
    }

    #[cfg(target_arch = "x86_64")]
    fn of_blocked(blocked: Blocked) -> Self {
        let Blocked { ip, sp } = blocked;
        Self { ip, others: UnwindRegsNative::new(ip, sp, 0) }
    }

    #[cfg(target_arch = "aarch64")]
    fn of_blocked(blocked: Blocked) -> Self {
        let Blocked { ip, sp } = blocked;
        Self { ip, others: UnwindRegsNative::new_with_ptr_auth_mask(ADDRESS_BITS, 0, sp, 0) }
    }
}

/// Above these are signatures of return addresses: the kernel gives nobody a higher address who did not ask for it.
#[cfg(target_arch = "aarch64")]
const ADDRESS_BITS: framehop::aarch64::PtrAuthMask = framehop::aarch64::PtrAuthMask(u64::MAX >> 16);

/// Where a thread waits in the kernel. This is known without stopping it, but no other register is: often it is enough, as
/// the functions around a system call seldom need a frame pointer.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Blocked {
    ip: u64,
    sp: u64,
}

impl Blocked {
    fn read(pid: i32, tid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?)
    }

    /// `56 0x4011 0x0 0x0 0x0 0x0 0x0 0x7ffd56a0 0x7f0c2a03`, or `running`
    fn parse(line: &str) -> Option<Self> {
        let mut last = line.split_ascii_whitespace().rev();
        let mut number = || u64::from_str_radix(last.next()?.strip_prefix("0x")?, 16).ok();
        Some(Self { ip: number()?, sp: number()? })
    }
}

// Memory.

/// A process's memory.
struct Memory {
    file: File,
    areas: Vec<Area>,
}

/// A line of /proc/PID/maps.
struct Area {
    range: Range<u64>,
    offset: u64,
    inode: u64,
    path: String,
}

impl Memory {
    fn of(pid: i32) -> io::Result<Self> {
        let maps = fs::read(format!("/proc/{pid}/maps"))?;
        let areas = String::from_utf8_lossy(&maps).lines().filter_map(Area::parse).collect();
        Ok(Self { file: File::open(format!("/proc/{pid}/mem"))?, areas })
    }

    /// As much as is there.
    fn read(&self, address: u64, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], address.wrapping_add(done as u64)) {
                Ok(read) if read > 0 => done += read,
                _ => break,
            }
        }
        bytes.truncate(done);
        bytes
    }

    fn read_word(&self, address: u64) -> Result<u64, ()> {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, address).map_err(drop)?;
        Ok(u64::from_ne_bytes(word))
    }

    /// How many bytes there are from here to the end of what is mapped together with it.
    fn mapped_from(&self, address: u64) -> u64 {
        let area = self.areas.iter().find(|area| area.range.contains(&address));
        area.map_or(0, |area| area.range.end - address)
    }
}

impl Area {
    /// `7f0c2a028000-7f0c2a1bd000 r-xp 00028000 fd:01 3932  /usr/lib/libc.so.6`
    fn parse(line: &str) -> Option<Self> {
        let number = |text| u64::from_str_radix(text, 16).ok();
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let range = number(start)?..number(end)?;
        let offset = number(fields.nth(1)?)?;
        let inode = fields.nth(1)?.parse().ok()?;
        let path = fields.next().unwrap_or_default().trim_start().to_owned();
        Some(Self { range, offset, inode, path })
    }
}

// Files in memory.

/// A file that is mapped as the loader does it.
struct Image {
    path: String,
    range: Range<u64>,
    inode: u64,
    /// Once a frame is in it.
    used: Option<Used>,
}

/// An image that has frames.
#[derive(Clone, Copy)]
struct Used {
    /// Its place in [`RawStack::modules`].
    module: u32,
    /// What is added to the file's own addresses.
    bias: u64,
}

fn images(areas: &[Area]) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    for area in areas.iter().filter(|area| area.path.starts_with('/') || area.path == "[vdso]") {
        match images.last_mut() {
            Some(image) if area.offset > 0 && image.inode == area.inode && image.path == area.path => {
                image.range.end = area.range.end;
            }
            _ => images.push(Image {
                path: area.path.clone(),
                range: area.range.clone(),
                inode: area.inode,
                used: None,
            }),
        }
    }
    images
}

/// What the head of a mapped ELF file says.
struct Head {
    bias: u64,
    /// Where `.eh_frame_hdr` is, in the file's own addresses.
    unwind_header: Option<Range<u64>>,
}

impl Head {
    fn read(memory: &Memory, start: u64) -> Option<Self> {
        let bytes = memory.read(start, 8192);
        let header = FileHeader64::<Endianness>::parse(&*bytes).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, &*bytes).ok()?;
        let first = segments.iter().find(|segment| segment.p_type(endian) == PT_LOAD)?;
        let bias = start.wrapping_add(first.p_offset(endian)).wrapping_sub(first.p_vaddr(endian));
        let tables = segments.iter().find(|segment| segment.p_type(endian) == PT_GNU_EH_FRAME);
        let unwind_header = tables.map(|segment| {
            let at = segment.p_vaddr(endian);
            at..at.saturating_add(segment.p_memsz(endian))
        });
        Some(Self { bias, unwind_header })
    }

    /// The unwind tables, as far as there are any. Without them framehop follows frame pointers.
    fn tables(&self, memory: &Memory, base: u64) -> ExplicitModuleSectionInfo<Vec<u8>> {
        let mut sections =
            ExplicitModuleSectionInfo { base_svma: base.wrapping_sub(self.bias), ..Default::default() };
        let Some(at) = self.unwind_header.clone() else { return sections };
        let header =
            memory.read(self.bias.wrapping_add(at.start), (at.end - at.start).min(MAX_UNWIND_TABLE_BYTES));
        // Version 1, and a pointer to .eh_frame as all linkers write it: 4 bytes, signed, from its own place.
        let &[1, 0x1b, _, _, a, b, c, d, ..] = &*header else { return sections };
        let distance = i64::from(i32::from_le_bytes([a, b, c, d]));
        let frames = at.start.wrapping_add(4).wrapping_add_signed(distance);
        let address = self.bias.wrapping_add(frames);
        // Its length is not in memory; what follows it does no harm, as entries are found through the header.
        let bytes = memory.read(address, memory.mapped_from(address).min(MAX_UNWIND_TABLE_BYTES));
        sections.eh_frame_svma = Some(frames..frames.wrapping_add(bytes.len() as u64));
        sections.eh_frame = Some(bytes);
        sections.eh_frame_hdr_svma = Some(at);
        sections.eh_frame_hdr = Some(header);
        sections
    }
}

// Walking.

/// Walks stacks; knows the tables of the files that were met on the way.
struct Walker<'a> {
    memory: &'a Memory,
    deadline: Instant,
    images: Vec<Image>,
    unwinder: UnwinderNative<Vec<u8>, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    /// The names of the images with frames.
    modules: Vec<PathBuf>,
    name_bytes: usize,
}

impl<'a> Walker<'a> {
    fn new(memory: &'a Memory, deadline: Instant) -> Self {
        let images = images(&memory.areas);
        let (unwinder, cache) = (UnwinderNative::new(), CacheNative::new());
        Self { memory, deadline, images, unwinder, cache, modules: Vec::new(), name_bytes: 0 }
    }

    fn thread(&mut self, thread: &Traced, pid: i32) -> Option<Vec<(u32, u64)>> {
        if thread.is_stopped() {
            return Some(self.walk(Registers::of_stopped(thread.tid)?));
        }
        let blocked = Blocked::read(pid, thread.tid)?;
        let frames = self.walk(Registers::of_blocked(blocked));
        // Nothing keeps it from going on; then its stack was changed under our hands.
        (Blocked::read(pid, thread.tid) == Some(blocked)).then_some(frames)
    }

    fn walk(&mut self, registers: Registers) -> Vec<(u32, u64)> {
        let Registers { ip, others: mut registers } = registers;
        let mut frames = Vec::new();
        let mut next = Some(FrameAddress::from_instruction_pointer(ip));
        while let Some(frame) = next {
            frames.push(self.place(frame));
            if frames.len() == MAX_STACK_FRAMES || Instant::now() >= self.deadline {
                break;
            }
            let read = &mut |address| self.memory.read_word(address);
            let caller = self.unwinder.unwind_frame(frame, &mut registers, &mut self.cache, read);
            // An error is the end of what can be known.
            next = caller.ok().flatten().and_then(FrameAddress::from_return_address);
        }
        frames
    }

    /// Where it is in which file; from then on the file's tables are known.
    fn place(&mut self, frame: FrameAddress) -> (u32, u64) {
        let lookup = frame.address_for_lookup();
        let Some(index) = self.images.iter().position(|image| image.range.contains(&lookup)) else {
            return (self.module("[no file]".to_owned()), frame.address());
        };
        let Used { module, bias } = match self.images[index].used {
            Some(used) => used,
            None => self.open(index),
        };
        (module, frame.address().wrapping_sub(bias))
    }

    fn open(&mut self, index: usize) -> Used {
        let Image { path, range, .. } = &self.images[index];
        let (path, range) = (path.clone(), range.clone());
        let used = match Head::read(self.memory, range.start) {
            Some(head) => {
                let tables = head.tables(self.memory, range.start);
                let start = range.start;
                self.unwinder.add_module(Module::new(path.clone(), range, start, tables));
                Used { module: self.module(path), bias: head.bias }
            }
            // Its own addresses are not known, and under its name a wrong function would be found.
            None => Used { module: self.module(format!("{path} (no ELF header)")), bias: 0 },
        };
        self.images[index].used = Some(used);
        used
    }

    fn module(&mut self, path: String) -> u32 {
        let fits = self.name_bytes + path.len() <= MAX_STACK_NAME_BYTES;
        let path = PathBuf::from(if fits { path } else { "[too many names]".to_owned() });
        let index = self.modules.iter().position(|module| *module == path).unwrap_or_else(|| {
            self.name_bytes += path.as_os_str().len();
            self.modules.push(path);
            self.modules.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, ChildStdout, Command, Stdio};

    use rustix::event::{PollFd, PollFlags};
    use rustix::process::{PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};

    use super::*;
    use crate::limits::MAX_EVENT_BYTES;
    use crate::process::channel;
    use crate::stack::{Stack, resolve};

    const LIMIT: Duration = Duration::from_secs(5);
    /// Says to this executable's copy what to do, see `what_the_child_does`.
    const CHILD_DOES: &str = "COBUF_TEST_STACK_CHILD";

    /// A child that is killed and reaped.
    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    impl Killed {
        fn spawn(command: &mut Command) -> Self {
            Self(command.stdin(Stdio::null()).spawn().unwrap())
        }

        /// This executable, which does `what` in a thread that libtest's main thread waits for, and has said that it does.
        fn that(what: &str) -> (Self, BufReader<ChildStdout>) {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "process::stack::tests::what_the_child_does", "--nocapture"]);
            command.env(CHILD_DOES, what).stdout(Stdio::piped());
            let mut child = Self(command.stdin(Stdio::piped()).spawn().unwrap());
            let mut output = BufReader::new(child.0.stdout.take().unwrap());
            let mut line = String::new();
            while !line.contains("ready") {
                line.clear();
                assert!(output.read_line(&mut line).unwrap() > 0, "the child ended");
            }
            (child, output)
        }

        fn pid(&self) -> Pid {
            Pid::from_child(&self.0)
        }

        fn stack(&self) -> Stack {
            resolve(&capture(self.pid(), LIMIT).unwrap())
        }

        /// The main thread: `S` sleeping, `T` stopped by a signal, `t` stopped by a tracer, and so on; and the tracer.
        fn state(&self) -> (char, String) {
            let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
            let field = |name| {
                let line = status.lines().find_map(|line: &str| line.strip_prefix(name));
                line.unwrap().trim().to_owned()
            };
            (field("State:").chars().next().unwrap(), field("TracerPid:"))
        }

        /// After a change, which the kernel makes soon.
        fn comes_to(&self, state: char) {
            let deadline = Instant::now() + LIMIT;
            while self.state() != (state, "0".to_owned()) {
                assert!(Instant::now() < deadline, "it stays {:?}", self.state());
                thread::yield_now();
            }
        }
    }

    #[inline(never)]
    fn hang_here() {
        // Ends with the parent.
        let _ = io::stdin().read(&mut [0]);
        std::hint::black_box(());
    }

    #[inline(never)]
    fn recurse(depth: u32) -> u32 {
        if depth == 0 {
            hang_here();
            return 0;
        }
        // Not a tail call.
        std::hint::black_box(recurse(depth - 1) + 1)
    }

    /// A thread in an uninterruptible wait: for a child of vfork that neither executes nor ends.
    #[expect(unsafe_code, reason = "vfork without sharing memory, which has no wrapper")]
    fn wait_uninterruptibly() {
        // SAFETY: without CLONE_VM it is a fork whose parent waits.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0) };
        if child == 0 {
            // It comes with the end of the parent's thread.
            if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
                crate::process::system::leave(1);
            }
            loop {
                thread::park();
            }
        }
    }

    /// Not a test: what a copy of this executable does for the tests below.
    #[test]
    fn what_the_child_does() {
        let Ok(what) = std::env::var(CHILD_DOES) else { return };
        let start =
            |name: &str, body: fn()| thread::Builder::new().name(name.to_owned()).spawn(body).unwrap();
        let park = || loop {
            thread::park();
        };
        match &*what {
            "threads" => {
                start("second", park);
                start("third", park);
            }
            "many" => (0..MAX_STACK_THREADS + 4).for_each(|_| drop(start("one of many", park))),
            "stuck" => drop(start("stuck", wait_uninterruptibly)),
            "spin" => {
                println!("ready");
                loop {
                    std::hint::spin_loop();
                }
            }
            "recurse" => {
                println!("ready");
                recurse(1000);
            }
            _ => {}
        }
        println!("ready");
        hang_here();
    }

    /// Waits until threads are where they want to be: until `seen`.
    fn until(child: &Killed, seen: impl Fn(&Stack) -> bool) -> Stack {
        let deadline = Instant::now() + LIMIT;
        loop {
            let stack = child.stack();
            if seen(&stack) {
                return stack;
            }
            assert!(Instant::now() < deadline, "{stack}");
        }
    }

    fn has(stack: &Stack, thread: usize, function: &str) -> bool {
        stack
            .threads
            .get(thread)
            .is_some_and(|thread| thread.frames.iter().any(|frame| frame.contains(function)))
    }

    #[test]
    fn does_a_sleeping_process_show_the_libc_function_that_it_sleeps_in() {
        let child = Killed::spawn(Command::new("sleep").arg("1000"));
        let stack = until(&child, |stack| has(stack, 0, "nanosleep"));
        assert_eq!(stack.threads[0].name, "sleep");
        assert!(has(&stack, 0, "__libc_start_main"), "{stack}");
        child.comes_to('S');
    }

    #[test]
    fn does_a_stopped_process_have_a_stack_and_stay_stopped() {
        let child = Killed::spawn(Command::new("sleep").arg("1000"));
        until(&child, |stack| has(stack, 0, "nanosleep"));
        kill_process(child.pid(), Signal::STOP).unwrap();
        waitpid(Some(child.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        for _ in 0..3 {
            assert!(has(&child.stack(), 0, "nanosleep"));
            child.comes_to('T');
        }
        kill_process(child.pid(), Signal::CONT).unwrap();
        child.comes_to('S');
    }

    #[test]
    fn are_rust_functions_of_the_main_thread_and_the_other_threads_shown() {
        let (child, _output) = Killed::that("threads");
        let stack = until(&child, |stack| {
            has(stack, 1, "hang_here") && has(stack, 2, "park") && has(stack, 3, "park")
        });
        assert!(has(&stack, 0, "test::test_main"), "{stack}");
        assert!(has(&stack, 1, "cobuf_host::process::stack::tests::hang_here"), "{stack}");
        assert!(has(&stack, 1, "what_the_child_does"), "{stack}");
        assert!(has(&stack, 1, "src/process/stack.rs:"), "no lines: {stack}");
        assert_eq!((&*stack.threads[2].name, &*stack.threads[3].name), ("second", "third"));
        assert_eq!(stack.left_out, 0);
    }

    #[test]
    fn is_a_deleted_file_walked_through_though_its_functions_have_no_names() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("sleeps");
        fs::copy("/bin/sleep", &program).unwrap();
        let child = Killed::spawn(Command::new(&program).arg("1000"));
        fs::remove_file(&program).unwrap();
        let stack = until(&child, |stack| has(stack, 0, "nanosleep"));
        assert!(has(&stack, 0, "sleeps (deleted)+0x"), "{stack}");
        assert!(has(&stack, 0, "__libc_start_main"), "{stack}");
    }

    #[test]
    fn does_a_limit_that_is_too_short_end_and_leave_the_process_running() {
        let child = Killed::spawn(Command::new("sleep").arg("1000"));
        until(&child, |stack| has(stack, 0, "nanosleep"));
        let error = capture(child.pid(), Duration::ZERO).unwrap_err();
        assert!(matches!(error, StackError::TookTooLong { .. } | StackError::NotStopped { .. }), "{error:?}");
        child.comes_to('S');
    }

    #[test]
    fn is_a_busy_process_still_busy_afterwards() {
        let (child, _output) = Killed::that("spin");
        until(&child, |stack| has(stack, 1, "what_the_child_does"));
        child.comes_to('S');
        let deadline = Instant::now() + LIMIT;
        while !tasks_are(child.pid(), "RS") {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }

    #[test]
    fn are_threads_above_the_limit_counted() {
        let (child, _output) = Killed::that("many");
        let stack = child.stack();
        assert_eq!((stack.threads.len(), stack.left_out), (MAX_STACK_THREADS, 6));
    }

    #[test]
    fn is_a_deep_stack_cut_at_its_outer_end_and_small_enough_for_an_event() {
        let (child, _output) = Killed::that("recurse");
        let stack = until(&child, |stack| has(stack, 1, "hang_here"));
        assert_eq!(stack.threads[1].frames.last().unwrap(), "and more");
        let raw = capture(child.pid(), LIMIT).unwrap();
        assert_eq!(raw.threads[1].frames.len(), MAX_STACK_FRAMES);
        let longest =
            RawThread { name: "x".repeat(15), frames: vec![(u32::MAX, u64::MAX); MAX_STACK_FRAMES] };
        let names = vec![PathBuf::from("x".repeat(MAX_STACK_NAME_BYTES / 1024)); 1024];
        let largest =
            RawStack { modules: names, threads: vec![longest; MAX_STACK_THREADS], left_out: u32::MAX };
        assert!(rmp_serde::to_vec(&largest).unwrap().len() < MAX_EVENT_BYTES / 2);
        let sent = rmp_serde::to_vec(&raw).unwrap();
        assert_eq!(rmp_serde::from_slice::<RawStack>(&sent).unwrap(), raw);
    }

    #[test]
    fn does_a_thread_that_cannot_stop_show_where_it_is_blocked_and_is_its_process_reaped_as_any_other() {
        let (child, _output) = Killed::that("stuck");
        let deadline = Instant::now() + LIMIT;
        // From the moment on when it waits in vfork.
        while !tasks_are(child.pid(), "DSS") {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        let start = Instant::now();
        let stack = resolve(&capture(child.pid(), Duration::from_millis(400)).unwrap());
        assert!(start.elapsed() < Duration::from_millis(1500), "resolving included");
        assert!(has(&stack, 1, "hang_here"), "{stack}");
        assert_eq!((stack.threads.len(), stack.left_out), (3, 0));
        assert!(has(&stack, 2, "syscall in libc") && has(&stack, 2, "wait_uninterruptibly"), "{stack}");
        let alive = pidfd_open(child.pid(), PidfdFlags::empty()).unwrap();
        kill_process(child.pid(), Signal::KILL).unwrap();
        let dead =
            channel::wait(&mut [PollFd::new(&alive, PollFlags::IN)], Some(Instant::now() + LIMIT)).unwrap();
        assert_eq!(dead, 1, "a traced thread is left that nobody waits for");
    }

    /// Whether the states of all tasks, sorted, are these.
    fn tasks_are(pid: Pid, states: &str) -> bool {
        let pid = pid.as_raw_nonzero().get();
        let state = |tid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
        };
        let mut found: Vec<char> = list_threads(pid).unwrap().into_iter().filter_map(state).collect();
        found.sort_unstable();
        found.into_iter().eq(states.chars())
    }

    #[test]
    fn does_a_signal_that_comes_meanwhile_still_arrive() {
        for _ in 0..20 {
            let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
            let pid = Pid::from_child(&child);
            let sender = thread::spawn(move || kill_process(pid, Signal::TERM).unwrap());
            // It may die before, meanwhile or afterwards; but it dies by that signal.
            let _ = capture(pid, LIMIT);
            sender.join().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        }
    }

    #[test]
    fn is_a_process_that_does_not_exist_an_error_with_its_cause() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        child.wait().unwrap();
        let error = capture(pid, LIMIT).unwrap_err();
        assert!(matches!(error, StackError::Threads { .. }), "{error:?}");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn is_a_dead_process_that_is_not_yet_reaped_an_error_and_still_to_be_reaped() {
        let mut child = Command::new("false").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), exited).unwrap();
        let error = capture(pid, LIMIT).unwrap_err();
        assert!(matches!(error, StackError::Trace { .. }), "{error:?}");
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }

    #[test]
    fn is_a_line_of_the_maps_understood_with_spaces_and_without_a_file() {
        let line =
            "7f0c2a028000-7f0c2a1bd000 r-xp 00028000 fd:01 3932                       /a b/c.so (deleted)";
        let area = Area::parse(line).unwrap();
        assert_eq!(area.range, 0x7f0c_2a02_8000..0x7f0c_2a1b_d000);
        assert_eq!((area.offset, area.inode, &*area.path), (0x28000, 3932, "/a b/c.so (deleted)"));
        assert_eq!(Area::parse("7ff0-8000 rw-p 00000000 00:00 0 ").unwrap().path, "");
        assert!(Area::parse("nonsense").is_none());
    }

    #[test]
    fn is_it_understood_where_a_thread_is_blocked_or_that_it_runs() {
        let blocked = |line| Blocked::parse(line).map(|Blocked { ip, sp }| (ip, sp));
        assert_eq!(blocked("56 0x1 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f0c\n"), Some((0x7f0c, 0x7ffd)));
        assert_eq!(blocked("-1 0x7ffd 0x7f0c\n"), Some((0x7f0c, 0x7ffd)));
        assert_eq!(blocked("running\n"), None);
    }
}
