//! The metrics at an address: a small HTTP server on one thread, which no client can hold up.
//!
//! ```text
//!   asking ── a whole head ──► answering ── all sent ──► closing ── the client's end ──► gone
//!      └──────────── after LIFETIME, or if a newer client needs its place ────────────────┘
//! ```
//!
//! No read or write waits. At most `MOST_CLIENTS` connections are open; the newest one takes the place
//! of the oldest. A client that sends nothing, never reads or sends without an end is closed after a
//! few seconds. Nothing of what it sends is kept beyond the head of its request.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::series::{Format, Series};
use crate::cancel::Cancel;

/// The most connections at a time.
const MOST_CLIENTS: usize = 16;
/// How long a connection may last.
const LIFETIME: Duration = Duration::from_secs(5);
/// The most bytes of a request's head.
const MOST_HEAD_BYTES: usize = 16 * 1024;
/// The most lines of a request's head.
const MOST_HEADERS: usize = 64;
/// How long no client is accepted after the system has refused one, such as for want of descriptors.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers until the end.
pub(super) fn serve(listener: TcpListener, series: &Series, end: &Cancel) {
    let mut server = Server { listener, clients: Vec::new(), paused_until: None };
    while !end.is_cancelled() {
        server.wait(end);
        server.accept();
        let now = Instant::now();
        server.clients.retain_mut(|client| client.until > now && client.go_on(series).is_ok());
    }
    // A fork of the application may have the socket, too: from now on nobody listens there.
    let _ = rustix::net::shutdown(&server.listener, rustix::net::Shutdown::Both);
}

struct Server {
    listener: TcpListener,
    /// Oldest first.
    clients: Vec<Client>,
    paused_until: Option<Instant>,
}

impl Server {
    /// Waits for a client, something of a client, the end, or a time that has come.
    fn wait(&mut self, end: &Cancel) {
        let now = Instant::now();
        self.paused_until = self.paused_until.filter(|&until| until > now);
        let next = self.clients.iter().map(|client| client.until).chain(self.paused_until).min();
        let limit = next.map(|next| next.saturating_duration_since(now) + Duration::from_millis(1));
        let limit = limit
            .map(|limit| Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() });
        let mut polled = vec![PollFd::new(end, PollFlags::IN)];
        if self.paused_until.is_none() {
            polled.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        polled.extend(self.clients.iter().map(|client| PollFd::new(&client.stream, client.waits_for())));
        // An interrupted wait is a short one.
        let _ = poll(&mut polled, limit.as_ref());
    }

    fn accept(&mut self) {
        if self.paused_until.is_some() {
            return;
        }
        match self.listener.accept().and_then(|(stream, _)| Client::new(stream)) {
            Ok(client) => {
                if self.clients.len() == MOST_CLIENTS {
                    self.clients.remove(0);
                }
                self.clients.push(client);
            }
            Err(error) if is_for_later(&error) || error.kind() == ErrorKind::ConnectionAborted => {}
            Err(_) => self.paused_until = Some(Instant::now() + PAUSE),
        }
    }
}

/// A connection.
struct Client {
    stream: TcpStream,
    until: Instant,
    stage: Stage,
}

enum Stage {
    /// The head of a request, as far as it has come.
    Asking(Vec<u8>),
    /// The rest of an answer.
    Answering(Vec<u8>),
    /// All was sent. Bytes that were not read would have the system cut the answer off.
    Closing,
}

impl Client {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, until: Instant::now() + LIFETIME, stage: Stage::Asking(Vec::new()) })
    }

    fn waits_for(&self) -> PollFlags {
        match self.stage {
            Stage::Answering(_) => PollFlags::OUT,
            Stage::Asking(_) | Stage::Closing => PollFlags::IN,
        }
    }

    /// Does one step, without a wait. An error is the end of the connection.
    fn go_on(&mut self, series: &Series) -> io::Result<()> {
        match self.step(series) {
            Err(error) if is_for_later(&error) => Ok(()),
            done => done,
        }
    }

    fn step(&mut self, series: &Series) -> io::Result<()> {
        let mut bytes = [0; 4096];
        match &mut self.stage {
            Stage::Asking(head) => {
                let count = some(self.stream.read(&mut bytes)?)?;
                head.extend_from_slice(&bytes[..count]);
                if let Some(answer) = answer(head, series) {
                    self.stage = Stage::Answering(answer);
                }
            }
            Stage::Answering(rest) => {
                let count = some(self.stream.write(rest)?)?;
                rest.drain(..count);
                if rest.is_empty() {
                    self.stream.shutdown(Shutdown::Write)?;
                    self.stage = Stage::Closing;
                }
            }
            Stage::Closing => drop(some(self.stream.read(&mut bytes)?)?),
        }
        Ok(())
    }
}

/// No bytes are the end of a connection.
fn some(count: usize) -> io::Result<usize> {
    if count == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The answer to a request, once its head is whole or cannot become one.
fn answer(head: &[u8], series: &Series) -> Option<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if head.len() < MOST_HEAD_BYTES => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Some(plain(
                "431 Request Header Fields Too Large",
                "",
                "the head of the request is too large\n",
            ));
        }
        Err(_) => return Some(plain("400 Bad Request", "", "this is no request of HTTP/1.1\n")),
    }
    let path = request.path.unwrap_or_default().split(['?', '#']).next().unwrap_or_default();
    let with_body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Some(plain("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "only GET is answered\n")),
    };
    if path != "/metrics" {
        return Some(plain("404 Not Found", "", "the metrics of this run are at /metrics\n"));
    }
    let format = format_for(request.headers);
    let text = series.text(format, true);
    let mut whole = response("200 OK", format.content_type(), "", text.len());
    if with_body {
        whole.extend_from_slice(text.as_bytes());
    }
    Some(whole)
}

/// OpenMetrics for those that ask for it, as Prometheus does; otherwise the older text.
fn format_for(headers: &[httparse::Header<'_>]) -> Format {
    let mut accepted = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept"));
    let names_it = |header: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(header.value).to_ascii_lowercase();
        value.contains("application/openmetrics-text")
    };
    if accepted.any(names_it) { Format::OpenMetrics } else { Format::Prometheus }
}

fn plain(status: &str, headers: &str, text: &str) -> Vec<u8> {
    let mut whole = response(status, "text/plain; charset=utf-8", headers, text.len());
    whole.extend_from_slice(text.as_bytes());
    whole
}

fn response(status: &str, content_type: &str, headers: &str, length: usize) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n"
    )
    .into_bytes()
}
