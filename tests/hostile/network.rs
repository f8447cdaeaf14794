//! No socket can be made, and those that a worker has reach nothing but its host.

use crate::common::isolated;
use crate::scene::{Scene, refused, succeed_without_a_jail};

refused! {
    unix_socket_cannot_be_made: "socket_unix",
    tcp_socket_cannot_be_made: "socket_inet",
    udp_socket_cannot_be_made: "socket_udp",
    ipv6_socket_cannot_be_made: "socket_inet6",
    raw_socket_cannot_be_made: "socket_raw",
    ping_socket_cannot_be_made: "socket_ping",
    netlink_socket_cannot_be_made: "socket_netlink",
    packet_socket_cannot_be_made: "socket_packet",
    vsock_socket_cannot_be_made: "socket_vsock",
    bluetooth_socket_cannot_be_made: "socket_bluetooth",
    cipher_socket_cannot_be_made: "socket_alg",
    key_socket_cannot_be_made: "socket_key",
    xdp_socket_cannot_be_made: "socket_xdp",
    multipath_socket_cannot_be_made: "socket_mptcp",
    tcp_port_cannot_be_connected_to: "connect_tcp",
    tcp_port_cannot_be_listened_at: "listen_tcp",
    udp_datagram_cannot_be_sent: "send_udp",
    socket_of_a_pair_cannot_send_to_another_socket: "pair_send",
    socket_of_a_pair_cannot_send_a_message_to_another_socket: "pair_sendmsg",
    socket_of_a_pair_cannot_send_to_an_abstract_name: "pair_send_abstract",
    requests_to_others_cannot_be_read: "steal_requests",
    socket_of_a_pair_cannot_be_connected_to_another_socket: "pair_connect",
    socket_of_a_pair_cannot_be_bound: "pair_bind",
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
fn attacks_by_sockets_succeed_without_a_jail() {
    let _leaks = isolated!();
    succeed_without_a_jail(&[
        "socket_unix",
        "socket_inet",
        "socket_udp",
        "socket_netlink",
        "connect_tcp",
        "listen_tcp",
        "send_udp",
        "pair_send",
        "pair_sendmsg",
        "pair_send_abstract",
        "pair_connect",
        "pair_bind",
    ]);
}
