//! What the settings of a sandbox allow works.

use crate::common::isolated;
use crate::scene::Scene;
use std::fs;

fn succeeds(scene: &Scene) {
    let answer = scene.answer();
    assert!(answer.starts_with("SUCCEEDED: "), "{answer}");
}

#[test]
fn file_of_a_readable_folder_is_read() {
    let _leaks = isolated!();
    let scene = Scene::of("use_readable");
    succeeds(&scene);
    scene.assert_untouched();
    Scene::of("use_readable").with(|sandbox| sandbox.read.clear()).assert_refused();
}

#[test]
fn file_is_written_to_a_writable_folder() {
    let _leaks = isolated!();
    let scene = Scene::of("use_room");
    succeeds(&scene);
    assert_eq!(fs::read_to_string(scene.path("room/made")).unwrap(), "made");
    scene.assert_untouched();
    Scene::of("use_room").with(|sandbox| sandbox.write.clear()).assert_refused();
}

#[test]
fn threads_are_started() {
    let _leaks = isolated!();
    let scene = Scene::of("thread");
    succeeds(&scene);
    scene.assert_untouched();
}

#[test]
fn program_is_run_if_programs_are_allowed() {
    let _leaks = isolated!();
    let scene = Scene::of("use_exec").with(|sandbox| sandbox.exec = true);
    succeeds(&scene);
    scene.assert_untouched();
    Scene::of("use_exec").assert_refused();
}

#[test]
fn tcp_port_is_connected_to_if_the_network_is_allowed() {
    let _leaks = isolated!();
    for attack in ["connect_tcp", "listen_tcp", "send_udp"] {
        succeeds(&Scene::of(attack).with(|sandbox| sandbox.network = true));
    }
}

#[test]
fn sockets_of_the_listed_families_and_of_no_others_are_made() {
    let _leaks = isolated!();
    succeeds(&Scene::of("socket_listed").with(|sandbox| sandbox.network = true));
    Scene::of("socket_unlisted").with(|sandbox| sandbox.network = true).assert_refused();
    Scene::of("socket_listed").assert_refused();
    Scene::of("socket_unlisted").assert_refused();
}

/// A second wall behind the filter of system calls: what `extra_syscalls` opens there, the rules for
/// paths, ports and signals still refuse.
#[test]
fn calls_that_were_allowed_still_reach_nothing_outside() {
    let _leaks = isolated!();
    for (attack, calls) in [
        ("seize_host", &["ptrace"][..]),
        ("attach_sibling", &["ptrace"]),
        ("read_host", &["process_vm_readv"]),
        ("write_sibling", &["process_vm_writev"]),
        ("pidfd_get", &["pidfd_open", "pidfd_getfd"]),
        ("kill_bystander", &["kill"]),
        ("kill_sibling", &["kill"]),
        ("tgkill_sibling", &["tgkill"]),
        ("queue_signal", &["rt_sigqueueinfo", "rt_tgsigqueueinfo"]),
        ("pidfd_signal", &["pidfd_open", "pidfd_send_signal"]),
        ("connect_tcp", &["socket", "connect"]),
        ("listen_tcp", &["socket", "bind", "listen"]),
        ("pair_send_abstract", &["socketpair"]),
        ("exec_true", &["execve"]),
        ("exec_plugin", &["execveat"]),
        ("mount", &["mount"]),
        ("open_by_handle", &["name_to_handle_at"]),
    ] {
        let calls = calls.iter().map(|&call| call.to_owned()).collect();
        Scene::of(attack).with(|sandbox| sandbox.extra_syscalls = calls).assert_refused();
    }
}
