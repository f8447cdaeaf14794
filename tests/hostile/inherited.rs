//! Descriptors that a worker has from its host: by the socket of events it reaches the host and no other
//! process. What it prints to is in `output.rs`.

use crate::common::isolated;
use crate::scene::{Scene, refused};
use cobuf_host::ReportKind;

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
