//! No other process's memory can be reached, nor memory that no limit counts.

use crate::common::{application, isolated, run_as_application, test_name};
use crate::scene::{Scene, refused, succeed_without_a_jail};

refused! {
    hosts_memory_cannot_be_opened: "host_memory",
    fork_servers_memory_cannot_be_opened: "server_memory",
    siblings_memory_cannot_be_opened: "sibling_memory",
    own_memory_cannot_be_opened: "own_memory",
    hosts_memory_cannot_be_read: "read_host",
    siblings_memory_cannot_be_read: "read_sibling",
    fork_servers_memory_cannot_be_read: "read_server",
    hosts_memory_cannot_be_written: "write_host",
    siblings_memory_cannot_be_written: "write_sibling",
    host_cannot_be_seized: "seize_host",
    fork_server_cannot_be_seized: "seize_server",
    sibling_cannot_be_seized: "seize_sibling",
    host_cannot_be_traced: "attach_host",
    fork_server_cannot_be_traced: "attach_server",
    sibling_cannot_be_traced: "attach_sibling",
    worker_cannot_have_itself_traced: "be_traced",
    worker_cannot_be_compared_with_the_host: "compare_host",
    hosts_pages_cannot_be_moved: "move_pages_of_host",
    hosts_locks_cannot_be_found: "robust_list_of_host",
    siblings_pages_cannot_be_dropped: "advise_sibling",
    file_in_memory_cannot_be_made: "memory_file",
    secret_memory_cannot_be_made: "secret_memory",
    page_faults_cannot_be_handled: "fault_handler",
    anonymous_memory_cannot_be_shared: "shared_memory",
    segment_cannot_be_mapped_a_second_time: "remap_segment",
}

/// Runs a test once more with a secret in its environment, in which it makes the attack.
fn with_secret(test: &str, attack: impl FnOnce()) {
    if application().is_some() {
        return attack();
    }
    let output = run_as_application(test, "", &[("SECRET_OF_THE_HOST", "a token")]);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}", said.concat());
}

#[test]
fn secret_in_the_hosts_environment_is_not_handed_on() {
    let _leaks = isolated!();
    with_secret(&test_name!(), || Scene::of("environment").assert_refused());
}

#[test]
fn secret_in_the_hosts_environment_is_found_without_a_jail() {
    let _leaks = isolated!();
    with_secret(&test_name!(), || succeed_without_a_jail(&["environment"]));
}

#[test]
fn attacks_on_memory_succeed_without_a_jail() {
    let _leaks = isolated!();
    succeed_without_a_jail(&[
        "own_memory",
        "robust_list_of_host",
        "memory_file",
        "shared_memory",
        "remap_segment",
    ]);
}
