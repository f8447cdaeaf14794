//! What plugins print: a worker reaches the application's file or pipe by a pipe of its own only, and what it
//! prints arrives, however the worker ends and whatever becomes of the destination.

use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use cobuf_host::{Host, HostBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::pipe::fcntl_getpipe_size;

use crate::common::{LONG, Process, isolated, wait_until};
use crate::messages::{Attacked, read, submit};
use crate::scene::Scene;

/// Of `flood_output`.
const FLOOD_LINES: usize = 400_000;

/// A run that prints to a new pipe. Its end is that of the host and its relay.
fn piped(scene: &Scene) -> (HostBuilder, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    (scene.builder().plugin_output(writer), reader)
}

fn rest(mut reader: PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

/// What the attack of this name prints, in a run that is not disturbed by it.
fn printed(scene: &Scene) -> String {
    let (run, reader) = piped(scene);
    let reading = std::thread::spawn(|| rest(reader));
    assert_eq!(scene.answer_of(run), "unseen");
    reading.join().unwrap()
}

#[test]
fn file_that_plugins_print_to_cannot_be_changed() {
    let _leaks = isolated!();
    for attack in ["cut_output", "overwrite_output"] {
        for is_appended in [true, false] {
            let attacked = |scene: Scene| {
                let path = scene.path("log");
                fs::write(&path, "what was there before").unwrap();
                let mut file = File::options().write(true).append(is_appended).open(&path).unwrap();
                if !is_appended {
                    file.write_all(b"what").unwrap();
                }
                let answer = scene.answer_of(scene.builder().plugin_output(file));
                (answer, fs::read_to_string(&path).unwrap())
            };
            let (answer, text) = attacked(Scene::of(attack));
            assert!(answer.starts_with("refused: "), "{attack}: {answer}");
            assert_eq!(text, "what was there before", "{attack}: {answer}");
            let (answer, text) = attacked(Scene::of(attack).unjailed());
            assert!(answer.starts_with("SUCCEEDED: "), "{attack}: {answer}");
            assert_ne!(text, "what was there before", "{attack}");
        }
    }
}

#[test]
fn flags_and_size_of_the_pipe_that_plugins_print_to_stay() {
    let _leaks = isolated!();
    for attack in ["unblock_output", "unblock_output_by_ioctl", "shrink_output"] {
        let changed = |scene: Scene| {
            let (_reader, writer) = io::pipe().unwrap();
            let shared = writer.try_clone().unwrap();
            let state = || (fcntl_getfl(shared.as_fd()).unwrap(), fcntl_getpipe_size(&shared).unwrap());
            let before = state();
            assert!(!before.0.contains(OFlags::NONBLOCK));
            let answer = scene.answer_of(scene.builder().plugin_output(writer));
            assert!(answer.starts_with("SUCCEEDED: "), "{attack}: {answer}");
            state() != before
        };
        assert!(!changed(Scene::of(attack)), "{attack}");
        assert!(changed(Scene::of(attack).unjailed()), "{attack}");
    }
}

#[test]
fn what_others_print_cannot_be_read() {
    let _leaks = isolated!();
    for attack in ["read_output", "tee_output"] {
        let answer = |scene: Scene| {
            let (reader, mut writer) = io::pipe().unwrap();
            writer.write_all(b"of the application").unwrap();
            let answer = scene.answer_of(scene.builder().plugin_output(writer));
            (answer, rest(reader))
        };
        let (said, text) = answer(Scene::of(attack));
        assert!(said.starts_with("refused: "), "{attack}: {said}");
        assert_eq!(text, "of the application");
        let (said, _) = answer(Scene::of(attack).unjailed());
        assert!(said.starts_with("SUCCEEDED: "), "{attack}: {said}");
    }
}

#[test]
fn flood_arrives_whole() {
    let _leaks = isolated!();
    let text = printed(&Scene::of("flood_output"));
    let numbers = text.lines().map(|line| line.strip_suffix(" hostile").unwrap().parse::<usize>().unwrap());
    assert!(numbers.eq(0..FLOOD_LINES));
}

#[test]
fn pages_of_a_file_in_the_pipe_are_text() {
    let _leaks = isolated!();
    assert_eq!(printed(&Scene::of("splice_to_output")), "content of a file");
}

#[test]
fn terminal_is_not_controlled_by_what_is_printed() {
    let _leaks = isolated!();
    let shown = "plain ä\t.\\u001b]0;title\\u0007\\u001b[2J\\u009b2J\rover\\u202eturned\\u001b[6n\\u0005\\u0008\\u007f\\xff\n\\xe2\\x80";
    assert_eq!(printed(&Scene::of("control_terminal")), shown);
    // Without a jail, the plugin has the destination itself.
    let (run, mut reader) = piped(&Scene::of("control_terminal").unjailed());
    let host = run.start().unwrap();
    read(&host);
    drop(host);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes.windows(4).any(|bytes| bytes == b"\x1b[2J"), "{bytes:?}");
}

#[test]
fn worker_that_closes_its_output_works_on() {
    let _leaks = isolated!();
    Scene::of("close_output").has_no_effect();
}

/// A host whose attacked message kills its worker.
fn dying(run: HostBuilder) -> Host {
    run.max_attempts(1).start().unwrap()
}

#[test]
fn last_words_of_a_worker_arrive() {
    let _leaks = isolated!();
    let scene = Scene::of("last_words");
    let (run, reader) = piped(&scene);
    let host = dying(run);
    assert!(matches!(read(&host), Attacked::Failed(_)));
    drop(host);
    assert_eq!(rest(reader), "last words");
}

#[test]
fn workers_of_another_fork_server_print() {
    let leaks = isolated!();
    let scene = Scene::of("last_words");
    let (run, reader) = piped(&scene);
    let host = dying(run);
    let server = Process::get(host.fork_server_pid() as i32).unwrap();
    assert!(server.kill() && server.wait_for_end(LONG));
    wait_until("there is another fork server", || host.fork_server_pid() != server.pid as u32);
    assert!(matches!(read(&host), Attacked::Failed(_)));
    drop((host, scene));
    leaks.bury_orphans();
    assert_eq!(rest(reader), "last words");
}

/// The leak check sees the relay's descriptors.
#[test]
fn pipe_that_nobody_reads_holds_up_no_stop() {
    let _leaks = isolated!();
    let scene = Scene::of("flood_output");
    let (run, reader) = piped(&scene);
    let host = run.start().unwrap();
    submit(&host);
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let writer = File::options().write(true).open(path).unwrap();
    wait_until("the pipe is full", || {
        let mut polled = [PollFd::new(&writer, PollFlags::OUT)];
        poll(&mut polled, Some(&Timespec::default())).unwrap() == 0
    });
    drop(writer);
    host.stop_within(Duration::ZERO);
    drop(host);
    let text = rest(reader);
    assert!(text.starts_with("00000000 hostile\n00000001 hostile\n"), "{}", &text[..100]);
}

#[test]
fn reader_that_is_gone_harms_nobody() {
    let _leaks = isolated!();
    let scene = Scene::of("flood_output");
    let (run, reader) = piped(&scene);
    drop(reader);
    assert_eq!(scene.answer_of(run), "unseen");
}

#[test]
fn program_that_a_plugin_left_holds_up_no_stop() {
    let leaks = isolated!();
    let scene = Scene::of("leave_program_that_prints").with(|sandbox| sandbox.exec = true);
    assert_eq!(printed(&scene), "");
    // Its bystander is no orphan.
    drop(scene);
    leaks.bury_orphans();
}
