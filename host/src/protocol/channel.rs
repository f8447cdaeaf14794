//! The two sockets of a run: requests to the fork server, events to the host.
//!
//! Requests have one writer and are framed by their length. Events have many writers, so their
//! socket keeps each datagram whole (`SOCK_SEQPACKET`): one event, one send. If the socket is full,
//! the sender waits; the host always reads. It believes of a process what that has to say, see
//! `senders`.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::{Event, Request};
use super::senders::Senders;
use crate::limits::MAX_EVENT_BYTES;

/// Sends a request to the fork server.
pub(crate) fn send_request(mut control: &UnixStream, request: &Request) -> io::Result<()> {
    let body = encode(request)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(body);
    control.write_all(&frame)
}

/// Reads the next request; `None` once the host has closed its end.
pub(crate) fn receive_request(mut control: &UnixStream) -> io::Result<Option<Request>> {
    let mut length = [0; 4];
    match control.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    control.read_exact(&mut body)?;
    decode(&body).map(Some)
}

/// Sends a descriptor after a request that announces it. `None` if there is none, as the kernel may
/// refuse to have one more under way.
pub(crate) fn send_descriptor(control: &UnixStream, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptor.as_slice())) {
        return Err(io::Error::other("there is no space for a descriptor"));
    }
    // A descriptor can only be sent together with a byte.
    loop {
        match sendmsg(control, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            sent => return sent.map(drop).map_err(Into::into),
        }
    }
}

/// Receives the descriptor that a request has announced, if there is one.
pub(crate) fn receive_descriptor(control: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    loop {
        let mut place = [IoSliceMut::new(&mut byte)];
        match recvmsg(control, &mut place, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => match received?.bytes {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => break,
            },
        }
    }
    Ok(ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

/// The end of the events' socket that the fork server and its processes have.
#[derive(Debug)]
pub(crate) struct EventSender(OwnedFd);

/// The host's end of the events' socket.
#[derive(Debug)]
pub(crate) struct EventReceiver {
    socket: OwnedFd,
    buffer: Vec<u8>,
    senders: Senders,
}

/// A new socket for events.
pub(crate) fn event_channel() -> io::Result<(EventSender, EventReceiver)> {
    let (sender, receiver) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    // From now on the kernel says with each event which process has sent it.
    set_socket_passcred(&receiver, true)?;
    let buffer = vec![0; MAX_EVENT_BYTES];
    Ok((EventSender(sender), EventReceiver { socket: receiver, buffer, senders: Senders::default() }))
}

impl From<OwnedFd> for EventSender {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl From<EventSender> for OwnedFd {
    fn from(sender: EventSender) -> Self {
        sender.0
    }
}

impl AsFd for EventSender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl EventSender {
    /// A second descriptor of the same socket.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Sends an event. Fails if the host is gone, or if the event has more than
    /// [`MAX_EVENT_BYTES`].
    pub(crate) fn send(&self, event: &Event) -> io::Result<()> {
        let body = encode(event)?;
        if body.len() > MAX_EVENT_BYTES {
            return Err(io::Error::other(format!(
                "the event has {} bytes, at most {MAX_EVENT_BYTES} can be sent",
                body.len()
            )));
        }
        loop {
            match send(&self.0, &body, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                // The open file is that of all processes of the run, and a plugin has made it one that does
                // not wait.
                Err(rustix::io::Errno::AGAIN) => {
                    wait(&mut [PollFd::new(&self.0, PollFlags::OUT)], None)?;
                }
                sent => return sent.map(drop).map_err(Into::into),
            }
        }
    }
}

/// The result of [`EventReceiver::receive`].
#[derive(Debug)]
pub(crate) enum Received {
    /// An event.
    Event(Event),
    /// Another thread of this process has put a request into the supervisor's mailbox.
    Mail,
    /// Nothing came before the deadline.
    TimedOut,
    /// The fork server has ended, and all its events were read.
    Closed,
}

/// The descriptors that [`EventReceiver::receive`] watches in addition to the socket.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Watched<'a> {
    /// The fork server's pidfd: readable once it has ended.
    pub(crate) server: Option<BorrowedFd<'a>>,
    /// Readable when there is mail.
    pub(crate) mail: Option<BorrowedFd<'a>>,
}

impl AsFd for EventReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl EventReceiver {
    /// Believes what the fork server says, and the processes of which it says that it has forked them.
    pub(crate) fn trust(&mut self, server: u32) {
        self.senders.trust(server);
    }

    /// Waits for the next event, until the deadline or until a watched descriptor is readable.
    ///
    /// Without a fork server to watch, `Closed` means that the fork server and every process that
    /// it forked have ended.
    pub(crate) fn receive(
        &mut self,
        watched: Watched<'_>,
        deadline: Option<Instant>,
    ) -> io::Result<Received> {
        loop {
            if let Some(event) = self.senders.next() {
                return Ok(Received::Event(event));
            }
            let mut fds = ArrayVec::<_, 3>::from_iter([PollFd::new(&self.socket, PollFlags::IN)]);
            let others = [watched.server, watched.mail].into_iter().flatten();
            fds.extend(others.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            wait(&mut fds, deadline)?;
            let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
            let (event, server) = (ready(0), watched.server.is_some() && ready(1));
            let mail = watched.mail.is_some() && ready(fds.len() - 1);
            drop(fds);
            if mail {
                return Ok(Received::Mail);
            } else if event {
                match self.take()? {
                    None => return Ok(Received::Closed),
                    Some((sender, length)) => self.senders.take(sender, decode(&self.buffer[..length]))?,
                }
            } else if server {
                return Ok(Received::Closed);
            } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Received::TimedOut);
            }
        }
    }
}

impl EventReceiver {
    /// Reads a datagram into the buffer: its sender's number and its length; `None` at the end.
    fn take(&mut self) -> io::Result<Option<(u32, usize)>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        loop {
            let mut place = [IoSliceMut::new(&mut self.buffer)];
            match recvmsg(&self.socket, &mut place, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(received) => {
                    let sender = ancillary.drain().find_map(|message| match message {
                        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid),
                        _ => None,
                    });
                    // An empty datagram has a sender; the end has none.
                    let sender = sender.map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
                    return Ok(match (sender, received.bytes) {
                        (None, 0) => None,
                        (sender, length) => Some((sender.unwrap_or(0), length)),
                    });
                }
            }
        }
    }
}

/// poll(2) until the deadline; interrupted calls are repeated.
pub(crate) fn wait(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    loop {
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.map_err(Into::into),
        }
    }
}

pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec_named(message).map_err(io::Error::other)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    rmp_serde::from_slice(bytes).map_err(io::Error::other)
}
