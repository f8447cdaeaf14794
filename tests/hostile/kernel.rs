//! The machine cannot be changed, and the parts of the kernel that programs seldom need cannot be
//! reached.

use crate::common::isolated;
use crate::scene::{refused, succeed_without_a_jail};

refused! {
    file_system_cannot_be_mounted: "mount",
    file_system_cannot_be_unmounted: "unmount",
    file_system_cannot_be_opened: "open_file_system",
    mounts_cannot_be_copied: "open_tree",
    mount_cannot_be_moved: "move_mount",
    root_cannot_be_changed: "change_root",
    root_cannot_be_exchanged: "pivot_root",
    user_namespace_cannot_be_made: "unshare_user",
    mount_namespace_cannot_be_made: "unshare_mounts",
    network_namespace_cannot_be_made: "unshare_network",
    namespace_cannot_be_entered: "enter_namespace",
    kernels_security_modules_cannot_be_listed: "list_modules",
    kernels_log_cannot_be_read: "kernel_log",
    machines_name_cannot_be_set: "host_name",
    kernel_module_cannot_be_loaded: "load_module",
    kernel_modules_file_cannot_be_loaded: "load_module_file",
    machine_cannot_be_restarted: "restart_machine",
    file_cannot_be_swapped_to: "swap_on",
    bpf_program_cannot_be_loaded: "load_program",
    bpf_map_cannot_be_made: "make_map",
    io_privileges_cannot_be_raised: "io_privileges",
    io_ports_cannot_be_opened: "io_ports",
    segment_descriptors_cannot_be_changed: "descriptor_table",
    key_cannot_be_added: "add_key",
    keys_cannot_be_read: "read_keys",
    key_cannot_be_requested: "request_key",
    personality_cannot_be_changed: "change_personality",
    privileges_cannot_be_had_again: "new_privileges",
    filter_cannot_be_switched_off: "filter_off",
    capability_cannot_be_kept_over_exec: "ambient_capability",
    secure_bits_cannot_be_changed: "secure_bits",
    program_cannot_be_moved: "move_program",
    time_stamps_cannot_be_forbidden: "time_stamps_off",
    ring_for_io_cannot_be_made: "ring",
    context_for_io_cannot_be_made: "old_ring",
    siblings_events_cannot_be_counted: "count_events",
    capabilities_cannot_be_taken: "all_capabilities",
    filter_with_a_listener_cannot_be_installed: "listening_filter",
    clock_cannot_be_set: "set_clock",
    terminal_cannot_be_typed_into: "type_for_user",
    terminal_cannot_be_taken: "take_terminal",
}

#[test]
fn attacks_on_the_kernel_succeed_without_a_jail() {
    let _leaks = isolated!();
    succeed_without_a_jail(&["change_personality"]);
}
