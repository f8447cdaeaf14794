use std::fs;
use std::io::{self, PipeReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::fs::fcntl_getfl;
use rustix::io::ioctl_fionread;

use super::*;

fn relay_to_pipe() -> (Relay, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    (Relay::start(Some(writer.into())).unwrap(), reader)
}

fn process_of(relay: &Relay) -> fs::File {
    fs::File::from(relay.pipe().unwrap())
}

fn rest(mut reader: impl Read) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn everything_arrives_before_the_end_also_of_a_process_that_lives_on() {
    let (relay, reader) = relay_to_pipe();
    let (mut dead, mut alive) = (process_of(&relay), process_of(&relay));
    dead.write_all(b"one ").unwrap();
    drop(dead);
    let text = "x".repeat(20_000);
    alive.write_all(text.as_bytes()).unwrap();
    let reading = thread::spawn(|| rest(reader));
    relay.end();
    let arrived = reading.join().unwrap();
    assert!(arrived == format!("one {text}") || arrived == format!("{text}one "), "{}", arrived.len());
    assert_eq!(alive.write(b"more").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    relay.end();
    drop(relay);
}

#[test]
fn character_may_come_in_pieces() {
    let (relay, mut reader) = relay_to_pipe();
    let mut process = process_of(&relay);
    let mut shown = |bytes: &[u8], expected: &str| {
        process.write_all(bytes).unwrap();
        let mut read = vec![0; expected.len()];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), expected);
    };
    shown(b"a\xe4\xb8", "a");
    shown(b"\x96\xc2", "世");
    shown(b"\x9b2J\xf0\x9f", "\\u009b2J");
    shown(b"x\xc0", "\\xf0\\x9fx\\xc0");
    process.write_all(b"\xe2").unwrap();
    drop(process);
    relay.end();
    assert_eq!(rest(reader), "\\xe2");
}

#[test]
fn destination_keeps_its_flags_and_holds_up_no_end() {
    let (_reader, mut writer) = io::pipe().unwrap();
    let before = fcntl_getfl(&writer).unwrap();
    let relay = Relay::start(Some(writer.try_clone().unwrap().into())).unwrap();
    let room = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![b'x'; room]).unwrap();
    process_of(&relay).write_all(b"for nobody").unwrap();
    relay.end();
    assert_eq!(fcntl_getfl(&writer).unwrap(), before);
    assert_eq!(ioctl_fionread(&_reader).unwrap(), room as u64, "no more than before");
}

#[test]
fn processes_go_on_without_a_destination() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let (socket, other) = UnixStream::pair().unwrap();
    drop(other);
    for destination in [None, Some(writer.into()), Some(socket.into())] {
        let relay = Relay::start(destination).unwrap();
        // More than a pipe takes.
        process_of(&relay).write_all(&[b'x'; 1 << 20]).unwrap();
    }
}

#[test]
fn socket_and_file_are_destinations() {
    let (socket, other) = UnixStream::pair().unwrap();
    let relay = Relay::start(Some(socket.into())).unwrap();
    process_of(&relay).write_all(b"by a socket").unwrap();
    relay.end();
    assert_eq!(rest(other), "by a socket");
    let (socket, other) = UnixDatagram::pair().unwrap();
    socket.shutdown(Shutdown::Read).unwrap();
    let relay = Relay::start(Some(socket.into())).unwrap();
    process_of(&relay).write_all(b"by a datagram").unwrap();
    relay.end();
    let mut text = [0; 32];
    let bytes = other.recv(&mut text).unwrap();
    assert_eq!(&text[..bytes], b"by a datagram");
    // At the place where the application is, not at the beginning.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"before, ").unwrap();
    let relay = Relay::start(Some(file.try_clone().unwrap().into())).unwrap();
    process_of(&relay).write_all(b"between, ").unwrap();
    relay.end();
    file.write_all(b"after").unwrap();
    io::Seek::rewind(&mut file).unwrap();
    assert_eq!(rest(file), "before, between, after");
}

/// An application in C may end at SIGPIPE, or count it.
#[test]
fn thread_takes_no_signal_of_a_pipe_without_a_reader() {
    let relay = Relay::start(None).unwrap();
    let file = |task: &fs::DirEntry, name: &str| fs::read_to_string(task.path().join(name)).ok();
    let is_blocked = || {
        fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap).any(|task| {
            let status =
                file(&task, "status").filter(|_| file(&task, "comm").as_deref() == Some("cobuf-output\n"));
            status.is_some_and(|status| {
                let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
                u64::from_str_radix(blocked, 16).unwrap() & 1 << (libc::SIGPIPE - 1) != 0
            })
        })
    };
    // Other tests of this process have such threads, too, which do the same.
    let mut process = process_of(&relay);
    process.write_all(&[b'x'; 1 << 20]).unwrap();
    assert!(is_blocked());
}
