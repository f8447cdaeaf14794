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
