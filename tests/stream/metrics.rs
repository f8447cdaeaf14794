//! A run's counters for Prometheus: they are the statistics, never go down, and no client holds the run
//! up.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use cobuf_host::{Host, MetricsTarget, ProcessRole, Rank, StartError};

use crate::common::forked::in_fork;
use crate::common::{
    Delivered, LONG, Logs, Process, all_items, array, filling, index, isolated, next_batch, random_stream,
    repeating, wait_until,
};

fn at_any_port() -> MetricsTarget {
    "127.0.0.1:0".parse().unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// The whole answer to these bytes.
fn ask(address: SocketAddr, request: &str) -> String {
    let (mut stream, mut answer) = (connect(address), String::new());
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: SocketAddr, accept: &str) -> String {
    ask(address, &format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"))
}

/// Each series with its own labels, without those of the run, and its value.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| line.starts_with("cobuf_"));
    let parsed = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = name.split_once('{').unwrap();
        let own = labels.trim_end_matches('}').split(',');
        let own: Vec<&str> = own
            .filter(|label| !["run=", "producer=", "commander="].iter().any(|run| label.starts_with(run)))
            .collect();
        (format!("{name}{{{}}}", own.join(",")), value.parse().unwrap())
    });
    let parsed: Vec<(String, f64)> = parsed.collect();
    let (count, map) = (parsed.len(), BTreeMap::from_iter(parsed));
    assert_eq!(map.len(), count, "a series is there twice: {text}");
    map
}

fn in_file(path: &Path) -> BTreeMap<String, f64> {
    series(&fs::read_to_string(path).unwrap())
}

#[test]
fn file_has_the_statistics_of_the_whole_run_at_its_end() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.prom");
    std::env::set_current_dir(folder.path()).unwrap();
    let messages = [index(0), index(1).with("error", "bad pixels"), index(2).with("rows", 3), index(3)];
    let host = filling(messages, &[array("x", "f32", &[16, 3]), array("y", "u8", &[16])])
        .metrics("run.prom".parse().unwrap())
        .start()
        .unwrap();
    // It is there from the start.
    wait_until("the file is written", || !fs::read_to_string(&path).unwrap().is_empty());
    assert_eq!(in_file(&path)["cobuf_running{}"], 1.0);
    assert_eq!(host.metrics_address(), None);
    // The path was relative, and stays the one that it was.
    std::env::set_current_dir("/").unwrap();
    assert_eq!(all_items(&host.batches()).count(), 4);
    drop(host.checkpoint());
    host.stop();
    let (now, found) = (host.statistics(), in_file(&path));
    let value = |name: &str| *found.get(name).unwrap_or_else(|| panic!("{name} in {found:#?}"));
    assert_eq!((now.delivered, now.errors), (3, 1));
    assert_eq!((value("cobuf_batches_total{}"), value("cobuf_errors_total{}")), (3.0, 1.0));
    assert_eq!(value("cobuf_running{}"), 0.0);
    assert_eq!(value("cobuf_rows_total{}"), 16.0 + 3.0 + 16.0);
    assert_eq!(value("cobuf_delivered_bytes_total{}"), 35.0 * 13.0);
    assert_eq!(value("cobuf_workers{}"), 2.0);
    assert_eq!(value(r#"cobuf_slots{state="free"}"#), now.slots.free as f64);
    assert_eq!(value(r#"cobuf_restarts_total{role="worker"}"#), 0.0);
    assert_eq!(value("cobuf_produce_seconds_count{}"), 4.0);
    assert_eq!(value(r#"cobuf_produce_seconds_bucket{le="+Inf"}"#), 4.0);
    for (name, seconds) in [
        ("cobuf_exposed_wait_seconds_total{}", now.exposed_wait),
        ("cobuf_consumer_wait_seconds_total{}", now.consumer_wait),
        ("cobuf_commander_wait_seconds_total{}", now.commander_wait),
        ("cobuf_worker_busy_seconds_total{}", now.worker_busy),
        ("cobuf_produce_seconds_sum{}", now.worker_busy),
    ] {
        assert!(value(name) >= seconds.as_secs_f64() - 1e-9, "{name}: {} and {seconds:?}", value(name));
    }
    assert!(value("cobuf_checkpoint_timestamp_seconds{}") > 1.7e9);
    assert!(found.iter().any(|(name, value)| name.starts_with("cobuf_limited_by{part=") && *value == 1.0));
    // Nothing but the file is left of it.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn counters_never_go_down_and_a_client_gets_the_format_that_it_asks_for() {
    let _leaks = isolated!();
    let host = repeating().workers(2).metrics(at_any_port()).start().unwrap();
    let (address, batches) = (host.metrics_address().unwrap(), host.batches());
    let mut before = BTreeMap::new();
    for round in 0..200 {
        if round % 50 == 7 {
            let mut processes = host.processes().into_iter();
            let worker = processes.find(|process| matches!(process.role, ProcessRole::Worker(_)));
            // It may be on its way.
            worker.and_then(|worker| Process::get(worker.pid as i32)).map(|process| process.kill());
        }
        drop(next_batch(&batches));
        let answer = get(address, ["*/*", "application/openmetrics-text;version=1.0.0,*/*;q=0.1"][round % 2]);
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", text.len())), "{head}");
        let openmetrics = round % 2 == 1;
        assert_eq!(text.ends_with("# EOF\n"), openmetrics, "{text}");
        assert_eq!(
            head.contains("Content-Type: application/openmetrics-text; version=1.0.0"),
            openmetrics,
            "{head}"
        );
        assert_eq!(head.contains("Content-Type: text/plain; version=0.0.4"), !openmetrics, "{head}");
        let now = series(text);
        for (name, value) in now.iter().filter(|(name, _)| is_counter(name)) {
            assert!(
                before.get(name).is_none_or(|before| before <= value),
                "{name}: {value} after {before:#?}"
            );
        }
        assert_eq!(now["cobuf_batches_total{}"], (round + 1) as f64);
        before = now;
    }
    wait_until("a worker is restarted", || host.statistics().worker_restarts >= 1);
    assert!(series(&get(address, "*/*"))[r#"cobuf_restarts_total{role="worker"}"#] >= 1.0);
}

fn is_counter(name: &str) -> bool {
    ["_total{", "_bucket{", "_count{", "_sum{"].iter().any(|end| name.contains(end))
}

#[test]
fn no_client_holds_up_the_others_or_the_stop() {
    let _leaks = isolated!();
    let host = repeating().metrics(at_any_port()).start().unwrap();
    let address = host.metrics_address().unwrap();
    // More than there are places for, and all keep their mouths shut.
    let silent: Vec<TcpStream> = (0..64).map(|_| connect(address)).collect();
    // One that sends without an end, one that asks and never reads, one that sends a byte and no more.
    let mut endless = connect(address);
    endless.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while sent < 8 << 20 {
        match endless.write(&[b'x'; 65536]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // It was closed.
            Err(_) => break,
        }
    }
    let unread: Vec<TcpStream> = (0..4).map(|_| connect(address)).collect();
    for mut client in &unread {
        client.write_all("GET /metrics HTTP/1.1\r\n\r\n".repeat(100).as_bytes()).unwrap();
    }
    let mut slow = connect(address);
    slow.write_all(b"G").unwrap();
    for _ in 0..5 {
        assert!(get(address, "*/*").contains("cobuf_running"));
        drop(next_batch(&host.batches()));
    }
    let since = Instant::now();
    host.stop();
    assert!(since.elapsed() < Duration::from_secs(20), "the stop took {:?}", since.elapsed());
    assert_eq!(host.metrics_address(), None);
    assert!(TcpStream::connect(address).is_err(), "nobody listens after the stop");
    drop((silent, endless, unread, slow));
}

#[test]
fn wrong_requests_are_answered_with_a_sentence() {
    let _leaks = isolated!();
    let host = repeating().metrics(at_any_port()).start().unwrap();
    let address = host.metrics_address().unwrap();
    for (request, status, sentence) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found", "the metrics of this run are at /metrics"),
        (
            "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "405 Method Not Allowed",
            "only GET is answered",
        ),
        ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "200 OK", "cobuf_running"),
        ("\x16\x03\x01\x02 no text\r\n\r\n", "400 Bad Request", "this is no request of HTTP/1.1"),
        (&format!("GET /metrics HTTP/1.1\r\nA: {}", "x".repeat(20_000)), "431 Request Header", "too large"),
        (
            &format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100)),
            "431 Request Header",
            "too large",
        ),
    ] {
        let answer = ask(address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:.40}: {answer}");
        assert!(answer.contains(sentence), "{request:.40}: {answer}");
    }
    let head = ask(address, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn address_that_is_taken_refuses_the_start() {
    let _leaks = isolated!();
    let first = repeating().metrics(at_any_port()).start().unwrap();
    let taken = first.metrics_address().unwrap();
    let refused = repeating().metrics(MetricsTarget::Address(taken.to_string())).start().unwrap_err();
    assert!(matches!(refused, StartError::Metrics(_)));
    let expected = format!("cannot report metrics at {taken}; another program has this port");
    assert!(refused.to_string().starts_with(&expected), "{refused}");
    first.stop();
    // It is free at once.
    drop(repeating().metrics(MetricsTarget::Address(taken.to_string())).start().unwrap());
}

#[test]
fn file_that_cannot_be_written_refuses_the_start() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    for path in ["/dev/full".into(), folder.path().join("missing/run.prom"), folder.path().to_owned()] {
        let refused = repeating().metrics(MetricsTarget::File(path.clone())).start().unwrap_err().to_string();
        assert_eq!(refused, format!("cannot write metrics to the file {}", path.display()));
    }
    let ranked = repeating().rank(Rank::new(1, 3).unwrap());
    let refused = ranked.metrics("run.prom".parse().unwrap()).start().unwrap_err().to_string();
    assert!(refused.contains("each of the 3 ranks needs a file of its own"), "{refused}");
}

#[test]
fn run_whose_folder_is_removed_warns_once_and_goes_on() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone/run.prom");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let host = random_stream(60).metrics(MetricsTarget::File(path.clone())).start().unwrap();
    wait_until("the file is written", || !fs::read_to_string(&path).unwrap().is_empty());
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert_eq!(Delivered::of(&host.batches()).sequences.len(), 60);
    host.stop();
    let warned = logs.wait_for("cannot write metrics to the file");
    assert_eq!(warned.level, "WARN");
    assert!(
        warned.message.ends_with("No such file or directory (os error 2); the run goes on"),
        "{warned:?}"
    );
    assert!(!path.parent().unwrap().exists());
}

#[test]
fn ranks_have_files_and_labels_of_their_own() {
    let _leaks = isolated!();
    let folder = tempfile::tempdir().unwrap();
    let named = MetricsTarget::File(folder.path().join("rank-{rank}.prom"));
    let hosts: Vec<Host> = (0..2)
        .map(|rank| {
            random_stream(20).rank(Rank::new(rank, 2).unwrap()).metrics(named.clone()).start().unwrap()
        })
        .collect();
    for (rank, host) in hosts.iter().enumerate() {
        assert_eq!(Delivered::of(&host.batches()).sequences.len(), 10);
        host.stop();
        let found = in_file(&folder.path().join(format!("rank-{rank}.prom")));
        assert_eq!(found[&format!("cobuf_batches_total{{rank=\"{rank}\"}}")], 10.0);
    }
}

#[test]
fn fork_of_the_application_neither_answers_nor_keeps_the_port() {
    let _leaks = isolated!();
    let host = random_stream(60).metrics(at_any_port()).start().unwrap();
    let address = host.metrics_address().unwrap();
    let handles = (host,);
    assert!(in_fork(&handles, |(host,)| {
        host.stop();
        drop(host);
    }));
    assert!(get(address, "*/*").contains("cobuf_batches_total"));
    let (done, mut wait) = std::io::pipe().map(|(reader, writer)| (writer, reader)).unwrap();
    let (host,) = handles;
    // A fork that lives on, with its copy of the socket, until the pipe is closed.
    std::thread::scope(|scope| {
        let ends = (wait.try_clone().unwrap(), done.try_clone().unwrap());
        let forked = scope.spawn(move || {
            in_fork(&ends, |(mut wait, done)| {
                drop(done);
                let _ = wait.read(&mut [0]);
            })
        });
        assert_eq!(Delivered::of(&host.batches()).sequences.len(), 60);
        host.stop();
        drop(TcpListener::bind(address).expect("the port is free"));
        (&done).write_all(b"x").unwrap();
        assert!(forked.join().unwrap());
    });
    drop(wait.read(&mut []));
}
