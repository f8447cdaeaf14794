//! No process can be started, ended, or changed.

use crate::common::isolated;
use crate::scene::{Scene, refused, succeed_without_a_jail};

refused! {
    program_cannot_be_run: "exec_true",
    program_cannot_be_run_by_the_loader: "exec_loader",
    plugins_file_cannot_be_run: "exec_plugin",
    file_of_the_room_cannot_be_run: "exec_room",
    file_in_memory_cannot_be_run: "exec_memfd",
    process_cannot_fork: "fork",
    process_cannot_fork_by_the_library: "fork_by_library",
    process_cannot_be_cloned: "clone_process",
    process_cannot_be_cloned_as_by_vfork: "clone_vfork",
    fork_server_cannot_be_given_a_child: "clone_sibling",
    process_cannot_be_cloned_into_a_namespace: "clone_namespace",
    process_cannot_be_cloned_by_clone3: "clone3_process",
    host_cannot_be_killed: "kill_host",
    fork_server_cannot_be_killed: "kill_server",
    sibling_cannot_be_killed: "kill_sibling",
    sibling_cannot_be_stopped: "stop_sibling",
    stranger_cannot_be_killed: "kill_bystander",
    own_group_cannot_be_signalled: "kill_group",
    hosts_group_cannot_be_signalled: "kill_hosts_group",
    all_processes_cannot_be_signalled: "kill_everybody",
    sibling_cannot_be_killed_by_tgkill: "tgkill_sibling",
    sibling_cannot_be_killed_by_tkill: "tkill_sibling",
    sibling_cannot_be_killed_by_a_queued_signal: "queue_signal",
    sibling_cannot_be_killed_by_a_descriptor: "pidfd_signal",
    sibling_cannot_be_killed_by_its_folder: "pidfd_signal_by_proc",
    sibling_cannot_be_killed_by_its_named_folder: "pidfd_signal_by_path",
    hosts_descriptors_cannot_be_taken: "pidfd_get",
    sibling_cannot_be_made_the_owner_of_a_descriptors_signal: "signal_by_owner",
    session_cannot_be_left: "leave_session",
    group_cannot_be_left: "leave_group",
    sibling_cannot_be_moved_to_another_group: "move_sibling",
    worker_cannot_outlive_its_host: "outlive_host",
    process_cannot_become_dumpable: "be_dumpable",
    orphans_cannot_be_adopted: "be_subreaper",
    user_cannot_be_changed: "change_user",
    group_of_the_user_cannot_be_changed: "change_group",
    siblings_priority_cannot_be_changed: "priority_of_sibling",
    hosts_priority_cannot_be_changed: "priority_of_host",
    own_priority_cannot_be_raised: "own_priority",
    siblings_io_priority_cannot_be_changed: "io_priority",
    sibling_cannot_be_bound_to_a_cpu: "affinity_of_sibling",
    process_cannot_run_in_real_time: "real_time",
    siblings_limits_cannot_be_set: "limits_of_sibling",
    hosts_limits_cannot_be_read: "limits_of_host",
}

/// What `exec` allows stays in the jail: it does not allow more files, sockets or signals.
#[test]
fn jail_that_allows_programs_refuses_the_rest() {
    let _leaks = isolated!();
    for attack in ["read_secret", "socket_inet", "kill_sibling", "clone_namespace", "sibling_memory"] {
        Scene::of(attack).with(|sandbox| sandbox.exec = true).assert_refused();
    }
}

/// Nothing of the run is left when it ends: that is what the check looks for.
#[test]
fn child_of_a_worker_ends_with_the_run() {
    let _leaks = isolated!();
    Scene::of("leave_child").with(|sandbox| sandbox.exec = true).has_no_effect();
}

#[test]
fn attacks_on_processes_succeed_without_a_jail() {
    let _leaks = isolated!();
    succeed_without_a_jail(&[
        "fork",
        "fork_by_library",
        "clone_process",
        "clone_vfork",
        "clone3_process",
        "kill_group",
        "kill_hosts_group",
        "kill_everybody",
        "leave_group",
        "be_dumpable",
        "priority_of_sibling",
        "io_priority",
        "affinity_of_sibling",
        "limits_of_host",
    ]);
}
