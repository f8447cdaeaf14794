//! Descriptors that a worker has from its host: by the socket of events it reaches the host and no other
//! process, and what plugins print to is the application's still.

use crate::common::isolated;
use crate::scene::{Scene, refused};
use cobuf_host::ReportKind;
use rustix::fs::{OFlags, fcntl_getfl};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;

refused! {
    requests_to_others_cannot_be_read: "steal_requests",
    sockets_of_the_run_cannot_be_shut_down: "shut_sockets",
    event_cannot_be_sent_with_the_siblings_number: "forge_sender",
}

#[test]
fn garbage_on_the_runs_sockets_has_no_effect() {
    let _leaks = isolated!();
    Scene::of("garbage_on_sockets").has_no_effect();
}

#[test]
fn sockets_of_the_run_reach_only_the_host() {
    let _leaks = isolated!();
    Scene::of("inherited_send").has_no_effect();
}

#[test]
fn full_socket_that_does_not_wait_has_no_effect() {
    let _leaks = isolated!();
    Scene::of("unblock_inherited").has_no_effect();
}

/// The check for what is left looks at the host's descriptors.
#[test]
fn descriptors_that_are_given_to_the_host_are_closed() {
    let _leaks = isolated!();
    Scene::of("send_descriptors").has_no_effect();
}

#[test]
fn worker_with_a_false_trace_of_scripts_is_ended() {
    let _leaks = isolated!();
    Scene::of("hang_with_false_trace").ends_its_worker(ReportKind::Timeout);
}

#[test]
#[ignore = "open: it is cut"]
fn file_that_plugins_print_to_cannot_be_cut() {
    let _leaks = isolated!();
    let scene = Scene::of("cut_output");
    let path = scene.path("log");
    fs::write(&path, "what was there before").unwrap();
    let file = File::options().append(true).open(&path).unwrap();
    let answer = scene.answer_of(scene.builder().plugin_output(file));
    assert_eq!(fs::read_to_string(&path).unwrap(), "what was there before", "{answer}");
}

#[test]
#[ignore = "open: the flag is set for all that write to it"]
fn pipe_that_plugins_print_to_cannot_be_made_one_that_does_not_wait() {
    let _leaks = isolated!();
    for attack in ["unblock_output", "unblock_output_by_ioctl"] {
        let scene = Scene::of(attack);
        let (_reader, writer) = io::pipe().unwrap();
        let shared = writer.try_clone().unwrap();
        let answer = scene.answer_of(scene.builder().plugin_output(writer));
        assert!(!fcntl_getfl(shared.as_fd()).unwrap().contains(OFlags::NONBLOCK), "{answer}");
    }
}

#[test]
#[ignore = "open: it can, by /proc/self/fd/2"]
fn pipe_that_plugins_print_to_cannot_be_read() {
    let _leaks = isolated!();
    let scene = Scene::of("read_output_pipe");
    let (_reader, writer) = io::pipe().unwrap();
    let answer = scene.answer_of(scene.builder().plugin_output(writer));
    assert!(answer.starts_with("refused: "), "{answer}");
}
