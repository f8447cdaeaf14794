//! What plugins leave beside their batches: logs, printed text, threads, programs.

use crate::common::packages::odd_host;
use crate::common::{
    Logs, Process, all_items, application, filling, isolated, list, next_batch, run_as_application, small,
    test_name,
};
use cobuf_host::{Dictionary, HostBuilder, StartMethod};
use std::os::unix::process::ExitStatusExt;

#[test]
fn logs_name_plugin_and_worker() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let messages = ["one thing", "another thing"].map(|text| Dictionary::new().with("log", text));
    let host = filling(messages, &small()).workers(1).start().unwrap();
    for text in ["one thing", "another thing"] {
        let record = logs.wait_for(text);
        assert_eq!((record.message.as_str(), record.level.as_str()), (text, "INFO"));
        assert_eq!(
            (record.target.as_str(), record.plugin.as_deref()),
            ("cobuf::plugin", Some("fill-producer"))
        );
        assert_eq!(record.worker, Some(0));
    }
    assert_eq!(all_items(&host.batches()).count(), 2);
}

#[test]
fn overlong_log_record_is_delivered_in_part() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let text = format!("a long story{}", "é".repeat(200_000));
    let builder = filling([Dictionary::new().with("log", text.as_str())], &small());
    let host = builder.workers(1).message_capacity(1 << 20).start().unwrap();
    let record = logs.wait_for("a long story");
    assert!(text.starts_with(&record.message) && record.message.len() > 10_000, "{}", record.message.len());
    assert_eq!(next_batch(&host.batches()).sequence(), 0);
}

/// A host with the odd producer and this message.
fn odd(message: Dictionary) -> HostBuilder {
    odd_host().commander_config(list([message]))
}

#[test]
fn panic_in_a_thread_of_the_plugin_is_logged() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let host = odd(Dictionary::new().with("panic_in_thread", "lost a thread")).start().unwrap();
    let record = logs.wait_for("lost a thread");
    assert_eq!(
        (record.level.as_str(), record.plugin.as_deref(), record.worker),
        ("ERROR", Some("odd-producer"), Some(0))
    );
    assert!(record.message.contains("panicked at ") && record.message.contains("src/lib.rs:"), "{record:?}");
    assert_eq!(next_batch(&host.batches()).sequence(), 0);
}

#[test]
fn panic_of_a_producer_in_drop_does_no_harm() {
    let _leaks = isolated!();
    let host = odd(Dictionary::new()).producer_config(Dictionary::new().with("panic_in_drop", true));
    let host = host.start().unwrap();
    assert_eq!(all_items(&host.batches()).count(), 1);
    host.stop();
    assert_eq!(host.statistics().worker_restarts, 0);
}

#[test]
fn program_started_by_a_plugin_ends_with_the_run() {
    let leaks = isolated!();
    for method in [StartMethod::ForkServer, StartMethod::Fork] {
        let host = odd(Dictionary::new().with("start_program", true)).start_method(method).start().unwrap();
        next_batch(&host.batches());
        drop(host);
        leaks.bury_orphans();
    }
}

#[test]
fn program_started_by_a_plugin_ends_with_a_killed_host() {
    let leaks = isolated!();
    if application().is_some() {
        let hosts = [StartMethod::ForkServer, StartMethod::Fork].map(|method| {
            let host =
                odd(Dictionary::new().with("start_program", true)).start_method(method).start().unwrap();
            next_batch(&host.batches());
            host
        });
        let programs = Process::descendants_of(Process::own_pid());
        let programs: Vec<_> = programs.into_iter().filter(|process| process.name == "sleep").collect();
        println!("{} programs", programs.len());
        Process::get(Process::own_pid()).unwrap().kill();
        drop(hosts);
    }
    let killed = run_as_application(&test_name!(), "", &[]);
    assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
    assert!(String::from_utf8_lossy(&killed.stdout).contains("2 programs"), "{killed:?}");
    leaks.bury_orphans();
}

/// The standard output belongs to the application: what reads it is not to find a plugin's words in
/// between.
#[test]
fn output_of_a_plugin_goes_to_standard_error() {
    let _leaks = isolated!();
    if application().is_some() {
        for method in [StartMethod::ForkServer, StartMethod::Fork] {
            let host = odd(Dictionary::new().with("print", format!("printed by {method:?}")));
            next_batch(&host.start_method(method).start().unwrap().batches());
        }
        return;
    }
    let ended = run_as_application(&test_name!(), "", &[]);
    let [out, err] = [&ended.stdout, &ended.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(ended.status.success() && out.contains("1 passed"), "{out}\n{err}");
    assert!(!out.contains("printed by"), "{out}");
    assert!(err.contains("printed by ForkServer") && err.contains("printed by Fork\n"), "{err}");
}
