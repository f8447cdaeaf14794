//! Models of the watch: no wake is lost between a consumer that finds nothing and an item that
//! comes. They run the shipped code of `watch` and `event`; how to run them is in
//! `segment/loom_tests`.

use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::sync::Notify;
use loom::thread;

use super::Watch;
use crate::segment::event::Event;
use crate::segment::patience::Patience;
use crate::segment::sync::{AtomicU32, Ordering};

/// How often a thread may be interrupted, as in the models of the slot machine.
const PREEMPTIONS: usize = 2;

/// A stream of items that are only counted.
struct Model {
    watch: Watch,
    event: Event,
    ready: AtomicU32,
    stopped: AtomicU32,
}

impl Model {
    fn new() -> Arc<Self> {
        let (ready, stopped) = (AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Self { watch: Watch::new(), event: Event::new(), ready, stopped })
    }

    /// A worker makes a batch ready.
    fn put(&self) {
        self.ready.fetch_add(1, Ordering::SeqCst);
        self.event.notify_all_if(|| true);
    }

    /// A consumer's look; `Some(false)` is the end.
    fn take(&self) -> Option<bool> {
        let order = Ordering::SeqCst;
        if self.stopped.load(order) != 0 {
            return Some(false);
        }
        self.ready.fetch_update(order, order, |ready| ready.checked_sub(1)).ok().map(|_| true)
    }

    /// The host's stop.
    fn stop(&self) {
        self.stopped.store(1, Ordering::SeqCst);
        self.event.rouse();
        self.watch.close();
    }

    /// The thread's wait.
    fn wait(&self) {
        let is_there = || {
            let order = Ordering::SeqCst;
            (self.stopped.load(order) != 0 || self.ready.load(order) != 0).then_some(())
        };
        self.event.wait_for(&Patience::default(), None, is_there);
    }

    /// What a task does until it has an item, or the end.
    fn take_as_task(&self, task: u64) -> bool {
        let woken = Arc::new(Woken(Notify::new()));
        let waker = Waker::from(woken.clone());
        loop {
            if let Some(taken) = self.take() {
                return taken;
            }
            self.watch.ask_for(task, &waker);
            woken.0.wait();
        }
    }
}

struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.check(model);
}

fn start<T: 'static>(model: &Arc<Model>, body: impl FnOnce(&Model) -> T + 'static) -> thread::JoinHandle<T> {
    let model = model.clone();
    thread::spawn(move || body(&model))
}

fn serve(model: &Model) {
    model.watch.serve(|| model.wait());
}

#[test]
fn task_that_finds_nothing_is_woken_by_the_next_item() {
    check(|| {
        let model = Model::new();
        let thread = start(&model, serve);
        let task = start(&model, |model| [model.take_as_task(1), model.take_as_task(1)]);
        model.put();
        model.put();
        assert_eq!(task.join().unwrap(), [true, true]);
        model.stop();
        thread.join().unwrap();
    });
}

#[test]
fn two_tasks_get_an_item_each() {
    check(|| {
        let model = Model::new();
        let thread = start(&model, serve);
        let task = start(&model, |model| model.take_as_task(1));
        model.put();
        model.put();
        assert!(model.take_as_task(2) && task.join().unwrap());
        model.stop();
        thread.join().unwrap();
    });
}

#[test]
fn task_that_waits_sees_the_stop() {
    check(|| {
        let model = Model::new();
        let thread = start(&model, serve);
        let task = start(&model, |model| model.take_as_task(1));
        model.stop();
        assert!(!task.join().unwrap());
        thread.join().unwrap();
    });
}

#[test]
fn flag_that_a_consumer_lowers_is_raised_for_what_comes_then() {
    check(|| {
        let model = Model::new();
        let thread = start(&model, serve);
        let producer = start(&model, Model::put);
        while model.take().is_none() {
            model.watch.ask();
            // In place of poll(2).
            while !model.watch.lock().raised {
                thread::yield_now();
            }
        }
        producer.join().unwrap();
        model.stop();
        thread.join().unwrap();
    });
}
