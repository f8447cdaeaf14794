//! What `Examination::propose_sandbox` says of an attack that succeeds without a jail: what would have to be
//! allowed for it. The attack's message fails whatever comes of it, so no wide door is proposed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cobuf_host::SandboxNeeds;
use cobuf_host::conformance::Examination;

use crate::common::{COBUF, index, isolated};
use crate::messages::ATTACKED;
use crate::scene::Scene;

/// What a producer asks for that makes this attack in one of its messages.
fn needs_of(scene: Scene, attack: &str) -> SandboxNeeds {
    let scene = scene.unjailed();
    let messages = (0..=ATTACKED).map(|number| index(number).with("server", 1).with("workers", Vec::new()));
    let messages = messages.map(|message| message.with("segments", Vec::new()).with("segment_bytes", 0));
    let examination = Examination::of(scene.plugin()).fork_server(COBUF).config(scene.config());
    let proposal = examination.messages(messages).propose_sandbox().unwrap();
    let produced = if attack.is_empty() { ATTACKED + 1 } else { ATTACKED };
    assert_eq!((proposal.messages as u64, &proposal.works), (produced, &Ok(())), "{attack}");
    let sandbox = &proposal.sandbox;
    assert!(!sandbox.network && !sandbox.exec && sandbox.extra_syscalls.is_empty(), "{attack}: {sandbox:?}");
    proposal.needs
}

/// Asserts that an attack asks for these files, and for nothing else.
fn assert_files(attack: &'static str, read: &[&str], write: &[&str]) {
    let scene = Scene::of(attack);
    let paths = |names: &[&str]| -> BTreeSet<PathBuf> {
        names.iter().map(|name| scene.path(name).canonicalize().unwrap()).collect()
    };
    let (read, write) = (paths(read), paths(write));
    let needs = needs_of(scene, attack);
    assert_eq!((&needs.read, &needs.write), (&read, &write), "{attack}: {needs:?}");
    assert!(
        needs.calls.is_empty() && needs.network.is_empty() && needs.programs.is_empty(),
        "{attack}: {needs:?}"
    );
}

#[test]
fn files_that_are_read_and_written_are_named() {
    let _leaks = isolated!();
    assert_files("", &[], &[]);
    assert_files("read_secret", &["outside/secret"], &[]);
    assert_files("read_beside_room", &["outside/secret"], &[]);
    assert_files("read_by_root", &["outside/secret"], &[]);
    assert_files("use_readable", &["readable/data"], &[]);
    assert_files("write_victim", &[], &["outside/victim"]);
    assert_files("truncate_victim", &[], &["outside/victim"]);
    assert_files("create_outside", &[], &["outside"]);
    assert_files("use_room", &[], &["room"]);
    assert_files("make_folder", &[], &["outside"]);
    assert_files("make_link", &[], &["outside"]);
    assert_files("unlink_victim", &[], &["outside"]);
    assert_files("rename_victim", &[], &["outside"]);
    // Without a name, it leaves nothing there.
    assert_files("create_unnamed", &[], &["/tmp"]);
}

#[test]
fn doors_that_are_opened_are_named() {
    let _leaks = isolated!();
    let of = |attack: &'static str| needs_of(Scene::of(attack), attack);
    assert!(of("thread").threads && !of("read_secret").threads);
    assert!(of("connect_tcp").network.contains("connect"));
    assert!(of("use_exec").programs.iter().any(|program| program.starts_with('/')));
    assert!(of("chmod_readable").calls.iter().any(|call| call.contains("chmod")));
    // Its constructor does that.
    assert!(of("").never.contains("to list the root folder"));
    assert!(of("open_own_score").never.iter().any(|what| what.contains("oom_score_adj")));
}
