//! A worker that hangs is looked at by its host: what it shows there can do the host no harm.

use crate::common::compiled::hostile;
use crate::common::{isolated, refusals::text};
use crate::scene::Scene;
use cobuf_host::ReportKind;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A test for each attack, after which the worker is ended at its deadline.
macro_rules! ended {
    ($($test:ident: $attack:literal,)*) => {
        $(
            #[test]
            fn $test() {
                let _leaks = isolated!();
                Scene::of($attack).ends_its_worker(ReportKind::Timeout);
            }
        )*
    };
}

ended! {
    worker_in_a_library_with_wrong_debug_info_is_ended: "hang_in_spoilt_library",
    worker_with_many_mappings_is_ended: "hang_with_many_mappings",
    worker_with_oddly_named_threads_is_ended: "hang_with_odd_threads",
    worker_on_a_stack_without_an_end_is_ended: "hang_on_odd_stack",
    worker_on_a_stack_in_the_segment_is_ended: "hang_on_segment",
}

#[test]
fn worker_in_a_library_that_is_cut_is_ended() {
    let _leaks = isolated!();
    Scene::of("hang_in_cut_library").ends_its_worker(ReportKind::Timeout);
}

/// Whether the host opens the fifo while a worker hangs in the attack.
fn is_opened(scene: Scene) -> bool {
    let fifo = scene.path("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (ended, opened) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                // Succeeds only while another process has opened it to read, and lets that go on.
                let written = open(text(&fifo), OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
                opened.fetch_or(written.is_ok(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        });
        scene.ends_its_worker(ReportKind::Timeout);
        ended.store(true, Ordering::Relaxed);
    });
    opened.into_inner()
}

/// The host names functions by the files that the worker has mapped, and by files beside them. One that
/// the worker can write may be a link to anything.
#[test]
fn host_does_not_open_what_a_link_of_the_worker_leads_to() {
    let _leaks = isolated!();
    assert!(!is_opened(Scene::of("hang_beside_link")), "the host opened a file outside by the worker's link");
}

/// Data may come from anywhere, and have a library in it, with what its author wants the host to open.
#[test]
fn host_does_not_read_code_in_data() {
    let _leaks = isolated!();
    let scene = Scene::of("hang_in_data");
    let data = scene.path("delivered");
    fs::create_dir(&data).unwrap();
    fs::copy(hostile().path(), data.join("evil.so")).unwrap();
    symlink("../fifo", data.join("evil.so.dwp")).unwrap();
    let scene = scene.with(|sandbox| sandbox.read.push(data));
    assert!(!is_opened(scene), "the host read a library that lies among the data");
}
