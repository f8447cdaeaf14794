//! A watch over something that the test makes ready, without a stream.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

/// A watch whose thread waits for the test, once for each wait.
struct Watched {
    watch: Arc<Watch>,
    /// Ends a wait.
    ready: mpsc::Sender<()>,
    /// The waits that have begun.
    waits: mpsc::Receiver<()>,
}

impl Watched {
    fn new() -> Self {
        let watch = Arc::new(Watch::new());
        let ((ready, is_ready), (waits_here, waits)) = (mpsc::channel(), mpsc::channel());
        let served = watch.clone();
        let body = move || {
            served.serve(|| {
                let _ = waits_here.send(());
                // An error is the end of the test's stream.
                let _ = is_ready.recv();
            });
        };
        watch.start(|| thread::Builder::new().spawn(body)).unwrap();
        Self { watch, ready, waits }
    }

    /// Ends the wait that has begun.
    fn end_wait(&self) {
        self.waits.recv().unwrap();
        self.ready.send(()).unwrap();
    }

    /// Ends the stream and its watch.
    fn close(self) {
        drop(self.ready);
        self.watch.close();
    }
}

fn is_readable(flag: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(flag, PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1
}

fn wait_until_readable(flag: &OwnedFd) {
    assert_eq!(poll(&mut [PollFd::new(flag, PollFlags::IN)], None).unwrap(), 1);
}

/// Counts its wakes, and reports them.
struct Counted(AtomicUsize, mpsc::Sender<()>);

impl Counted {
    fn new() -> (Arc<Self>, Waker, mpsc::Receiver<()>) {
        let (woken, wakes) = mpsc::channel();
        let counted = Arc::new(Self(AtomicUsize::new(0), woken));
        (counted.clone(), counted.into(), wakes)
    }
}

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let _ = self.1.send(());
    }
}

#[test]
fn descriptor_is_readable_from_the_raise_to_the_next_question() {
    let watched = Watched::new();
    let flag = watched.watch.descriptor().unwrap();
    assert!(!is_readable(&flag));
    for _ in 0..3 {
        watched.end_wait();
        wait_until_readable(&flag);
        let other = watched.watch.descriptor().unwrap();
        assert!(is_readable(&other), "one that comes later is as readable");
        watched.watch.ask();
        assert!(!is_readable(&flag) && !is_readable(&other));
        watched.watch.ask();
    }
    watched.close();
    assert!(is_readable(&flag));
}

#[test]
fn item_that_no_consumer_takes_is_waited_for_once() {
    let watched = Watched::new();
    let flag = watched.watch.descriptor().unwrap();
    watched.end_wait();
    wait_until_readable(&flag);
    // A second wait would end at once.
    watched.ready.send(()).unwrap();
    assert!(watched.waits.try_recv().is_err());
    watched.watch.ask();
    watched.waits.recv().unwrap();
    watched.close();
}

#[test]
fn all_tasks_that_wait_are_woken_once() {
    let watched = Watched::new();
    let (first, first_waker, first_wakes) = Counted::new();
    let (second, second_waker, second_wakes) = Counted::new();
    let (forgotten, forgotten_waker, _wakes) = Counted::new();
    watched.watch.ask_for(1, &first_waker);
    watched.watch.ask_for(1, &first_waker);
    watched.watch.ask_for(2, &second_waker);
    watched.watch.ask_for(3, &forgotten_waker);
    watched.watch.forget(3);
    assert!(watched.watch.has_tasks());
    watched.end_wait();
    first_wakes.recv().unwrap();
    second_wakes.recv().unwrap();
    assert!(!watched.watch.has_tasks());
    watched.close();
    let counts = [first, second, forgotten].map(|counted| counted.0.load(Ordering::Relaxed));
    assert_eq!(counts, [1, 1, 0]);
}

#[test]
fn task_is_woken_by_its_latest_waker() {
    let watched = Watched::new();
    let (earlier, earlier_waker, _wakes) = Counted::new();
    let (_later, later_waker, wakes) = Counted::new();
    watched.watch.ask_for(1, &earlier_waker);
    watched.watch.ask_for(1, &later_waker);
    watched.end_wait();
    wakes.recv().unwrap();
    watched.close();
    assert_eq!(earlier.0.load(Ordering::Relaxed), 0);
}

#[test]
fn task_that_asks_after_the_close_is_woken_at_once() {
    let watched = Watched::new();
    let watch = watched.watch.clone();
    watched.close();
    let (_counted, waker, wakes) = Counted::new();
    watch.ask_for(1, &waker);
    wakes.try_recv().unwrap();
    assert!(!watch.has_tasks());
    watch.ask();
    assert!(is_readable(&watch.descriptor().unwrap()));
    watch.start(|| unreachable!("no thread is started any more")).unwrap();
}

#[test]
fn waker_may_close_the_watch_or_ask_again() {
    struct Closes(Arc<Watch>, mpsc::Sender<()>);
    impl Wake for Closes {
        fn wake(self: Arc<Self>) {
            self.0.ask_for(2, Waker::noop());
            self.0.forget(2);
            self.0.close();
            self.1.send(()).unwrap();
        }
    }
    let watched = Watched::new();
    let (closed, is_closed) = mpsc::channel();
    watched.watch.ask_for(1, &Waker::from(Arc::new(Closes(watched.watch.clone(), closed))));
    watched.end_wait();
    is_closed.recv().unwrap();
    assert!(is_readable(&watched.watch.descriptor().unwrap()));
    // The thread ends by itself.
    while let Ok(()) = watched.waits.recv() {
        let _ = watched.ready.send(());
    }
}

#[test]
fn thread_that_cannot_be_started_is_an_error_and_may_be_tried_again() {
    let watch = Arc::new(Watch::new());
    let error = watch.start(|| Err(io::ErrorKind::WouldBlock.into())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let flag = watch.descriptor().unwrap();
    let served = watch.clone();
    watch.start(|| thread::Builder::new().spawn(move || served.serve(|| ()))).unwrap();
    wait_until_readable(&flag);
    watch.close();
    assert!(flag.as_fd().try_clone_to_owned().is_ok());
}
