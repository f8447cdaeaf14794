//! A pipe in place of standard error, which can be left unread for a while.
//!
//! ```text
//!   workers, fork server, this process ──► pipe ──► the reader, a thread ──► standard error
//!                                           ▲ filled up, if it is to block
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stderr, stderr};

/// The byte that fills the pipe. The reader leaves it out.
const FILLING: u8 = 0;
/// The size of a page, by which a pipe has room.
const PAGE: usize = 4096;
/// The time between two looks at whether the reader should end.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The order for the reader.
#[derive(Debug, Clone, Copy)]
struct Wish {
    /// When it may read again.
    unread_until: Instant,
    /// Whether it ends once the pipe is empty.
    end: bool,
}

/// The pipe. Dropping it puts standard error back.
pub(super) struct Pipe {
    /// The standard error that this process was started with.
    original: OwnedFd,
    /// The pipe's end for writing, which does not block.
    filler: File,
    wish: Arc<Mutex<Wish>>,
    reader: Option<JoinHandle<()>>,
}

impl Pipe {
    /// Puts a pipe in place of standard error.
    pub(super) fn replace_standard_error() -> io::Result<Self> {
        let original = rustix::io::fcntl_dupfd_cloexec(stderr(), 3)?;
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
        // A description of its own, since the others have to block.
        let filler = File::options()
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(format!("/proc/self/fd/{}", writing.as_raw_fd()))?;
        let wish = Arc::new(Mutex::new(Wish { unread_until: Instant::now(), end: false }));
        let (told, target) = (wish.clone(), File::from(original.try_clone()?));
        let thread = thread::Builder::new().name("cobuf-stderr".to_owned());
        let reader = Some(thread.spawn(move || read(&File::from(reading), target, &told))?);
        let pipe = Self { original, filler, wish, reader };
        dup2_stderr(&writing)?;
        Ok(pipe)
    }

    /// Leaves standard error full and unread for this long.
    pub(super) fn leave_unread(&self, lasts: Duration) {
        lock(&self.wish).unread_until = Instant::now() + lasts;
        for size in [PAGE, 1] {
            // It fails once there is no room for so many bytes.
            while (&self.filler).write(&[FILLING; PAGE][..size]).is_ok() {}
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // If this fails, the reader stays as long as the process.
        if dup2_stderr(&self.original).is_ok() {
            *lock(&self.wish) = Wish { unread_until: Instant::now(), end: true };
            let _ = self.reader.take().map(JoinHandle::join);
        }
    }
}

fn lock(wish: &Mutex<Wish>) -> MutexGuard<'_, Wish> {
    wish.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(pipe: &File, mut target: File, wish: &Mutex<Wish>) {
    let mut bytes = vec![0; PAGE];
    loop {
        let is_ready = poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&LOOK_EVERY));
        // Nothing is read once it was said that the pipe stays unread.
        let now = lock(wish);
        let left = now.unread_until.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            drop(now);
            // In steps, because the end of the command may be earlier.
            thread::sleep(left.min(Duration::from_millis(50)));
            continue;
        }
        match is_ready {
            Ok(0) if now.end => return,
            Ok(0) | Err(_) => continue,
            Ok(_) => {}
        }
        let Ok(length @ 1..) = rustix::io::read(pipe, &mut bytes) else { return };
        drop(now);
        let said: Vec<u8> = bytes[..length].iter().copied().filter(|&byte| byte != FILLING).collect();
        // If standard error is closed or full, the lines are lost.
        let _ = target.write_all(&said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_while_nobody_read_arrives_later_without_the_filling() {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (arriving, target) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let hour = Duration::from_secs(3600);
        let wish = Arc::new(Mutex::new(Wish { unread_until: Instant::now() + hour, end: false }));
        rustix::io::write(&writing, b"one\0\0two").unwrap();
        let told = wish.clone();
        let reader = thread::spawn(move || read(&File::from(reading), File::from(target), &told));
        let mut said = [0; 16];
        assert!(rustix::io::read(&arriving, &mut said).is_err(), "nothing is read yet");
        *lock(&wish) = Wish { unread_until: Instant::now(), end: true };
        reader.join().unwrap();
        let length = rustix::io::read(&arriving, &mut said).unwrap();
        assert_eq!(&said[..length], b"onetwo");
    }
}
