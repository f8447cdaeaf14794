//! No socket can be made, and a pair of sockets reaches nothing else.

use crate::common::isolated;
use crate::scene::{refused, succeed_without_a_jail};

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
    socket_of_a_pair_cannot_be_connected_to_another_socket: "pair_connect",
    socket_of_a_pair_cannot_be_bound: "pair_bind",
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
