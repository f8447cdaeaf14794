//! Runs whose workers are jailed: what happens to them happens as without a jail, and the doors beside the
//! rules for files and system calls are shut. `tests/hostile` has the attacks.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cobuf_host::{
    Death, Host, ProcessRole, Sandbox, SandboxError, SandboxMode, StartError, StartMethod, StreamError,
    WorkerLimits,
};

use libc::c_long;

use crate::common::{
    COBUF, Delivered, LONG, Process, all_items, cobuf, filling, index, interception, isolated, next_batch,
    next_item, plugin, random_stream, refusals, small, wait_for_ready, wait_until,
};
use crate::harness::VARIABLES;

/// A file of a process in `/proc`, as text.
fn of_process(pid: u32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether processes have entered their jail. A worker that was just started is about to.
fn are_jailed(pids: &[u32]) -> bool {
    pids.iter().all(|&pid| of_process(pid, "status").contains("Seccomp:\t2"))
}

fn workers(host: &Host) -> Vec<u32> {
    let workers =
        host.processes().into_iter().filter(|process| matches!(process.role, ProcessRole::Worker(_)));
    workers.map(|process| process.pid).collect()
}

#[test]
fn workers_are_jailed_and_nobody_else() {
    let _leaks = isolated!();
    let host = random_stream(20).sandbox(Sandbox::default()).start().unwrap();
    let jailed = workers(&host);
    assert_eq!(jailed.len(), 2);
    for process in host.processes() {
        let status = of_process(process.pid, "status");
        let expected = if jailed.contains(&process.pid) { "Seccomp:\t2" } else { "Seccomp:\t0" };
        assert!(status.contains(expected), "{process:?}: {status}");
    }
    assert!(of_process(std::process::id(), "status").contains("Seccomp:\t0"));
    for pid in jailed {
        let status = of_process(pid, "status");
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        // To read and write files of others: what the rules for files allow.
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
        assert_eq!(u64::from_str_radix(effective, 16).unwrap() & !0b110, 0, "{effective}");
        let limits = of_process(pid, "limits");
        let of = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert_eq!(of("Max core file size").split_whitespace().nth(4), Some("1"), "{limits}");
        let files: Vec<_> =
            of("Max open files").split_whitespace().skip(3).take(2).map(str::to_owned).collect();
        assert_eq!(files[0], files[1]);
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        assert!(descriptors <= 5, "{descriptors} descriptors");
    }
    assert_eq!(all_items(&host.batches()).filter(Result::is_ok).count(), 20);
}

#[test]
fn processes_of_a_jailed_run_get_variables_by_a_list() {
    let _leaks = isolated!();
    let [hidden, given] = VARIABLES;
    let all = |host: &Host| -> Vec<String> {
        host.processes().iter().map(|process| of_process(process.pid, "environ")).collect()
    };
    // More messages than slots: the commander stays.
    let free = random_stream(100).start().unwrap();
    assert!(all(&free).iter().all(|variables| variables.contains(hidden) && variables.contains(given)));
    drop(free);
    let env = vec![given.to_owned()];
    let host = random_stream(100).sandbox(Sandbox { env, ..Sandbox::default() }).start().unwrap();
    for variables in all(&host) {
        assert!(!variables.contains(hidden) && variables.contains(given), "{variables}");
        assert!(variables.contains("PATH="), "{variables}");
    }
}

#[test]
fn jailed_workers_and_their_fork_server_are_replaced() {
    let leaks = isolated!();
    let run = || random_stream(60).slots(6);
    let expected = Delivered::of(&run().start().unwrap().batches());
    let host = run().sandbox(Sandbox::default()).start().unwrap();
    let batches = host.batches();
    let mut delivered = Delivered::default();
    for take_server in [false, true] {
        wait_for_ready(&host, 6);
        let victim = if take_server { host.fork_server_pid() } else { workers(&host)[0] };
        let process = Process::get(victim as i32).unwrap();
        assert!(process.kill() && process.wait_for_end(LONG));
        (0..6).for_each(|_| delivered.add(&next_batch(&batches)));
        wait_until("there are other workers", || {
            let now = workers(&host);
            now.len() == 2 && !now.contains(&victim)
        });
    }
    all_items(&batches).for_each(|item| delivered.add(&item.unwrap()));
    assert_eq!(delivered, expected);
    wait_until("all workers are jailed", || are_jailed(&workers(&host)));
    host.stop();
    leaks.bury_orphans();
}

#[test]
fn stack_of_a_jailed_worker_that_hangs_is_captured() {
    let _leaks = isolated!();
    let messages = [index(0).with("random", true).with("loop_forever", true), index(1).with("random", true)];
    let host = filling(messages, &small()).sandbox(Sandbox::default()).max_attempts(1);
    let host = host.message_timeout(Duration::from_secs(1)).start().unwrap();
    let batches = host.batches();
    let Some(Err(StreamError::Batch(error))) = next_item(&batches) else { panic!("an error is expected") };
    let stack = error.attempts()[0].stack.as_ref().unwrap();
    assert!(stack.to_string().contains("fill_producer::misbehave"), "{stack}");
    assert_eq!(next_batch(&batches).sequence(), 1);
}

#[test]
fn producer_is_swapped_in_a_jailed_run() {
    let _leaks = isolated!();
    let host = random_stream(60).slots(6).sandbox(Sandbox::default()).start().unwrap();
    wait_for_ready(&host, 6);
    let before = workers(&host);
    let batches = host.batches();
    std::thread::scope(|scope| {
        let swap = scope.spawn(|| host.swap_producer(&plugin("fill-producer")));
        let mut items = 0;
        for item in all_items(&batches) {
            item.unwrap();
            items += 1;
            if items == 50 {
                break;
            }
        }
        let first = swap.join().unwrap().unwrap();
        assert!((6..60).contains(&first), "{first}");
    });
    wait_until("only the new workers are left", || workers(&host).iter().all(|pid| !before.contains(pid)));
    wait_until("all workers are jailed", || are_jailed(&workers(&host)));
}

#[test]
fn wrong_sandboxes_are_refused_before_anything_starts() {
    let _leaks = isolated!();
    let refused = |sandbox: Sandbox| match random_stream(4).sandbox(sandbox).check() {
        Err(StartError::Sandbox(error)) => error,
        other => panic!("{other:?}"),
    };
    let read = vec!["no/such/file".into()];
    let error = refused(Sandbox { read, ..Sandbox::default() });
    assert!(
        matches!(&error, SandboxError::Path { setting: "read", path, .. } if path.is_absolute()),
        "{error}"
    );
    let extra_syscalls = vec!["opne".to_owned()];
    let error = refused(Sandbox { extra_syscalls, ..Sandbox::default() });
    assert!(matches!(&error, SandboxError::Syscall { name } if name == "opne"), "{error}");
    let forked = random_stream(4).start_method(StartMethod::Fork).sandbox(Sandbox::default()).check();
    assert!(matches!(forked, Err(StartError::Sandbox(SandboxError::StartMethod))));
}

#[test]
fn sandbox_that_is_off_is_none() {
    let _leaks = isolated!();
    let host = random_stream(100).sandbox(Sandbox::default()).sandbox_mode(SandboxMode::Off).start().unwrap();
    assert!(host.sandbox().is_none());
    assert!(workers(&host).iter().all(|&pid| of_process(pid, "status").contains("Seccomp:\t0")));
}

#[test]
fn jailed_worker_that_exceeds_a_limit_is_ended_and_replaced() {
    let _leaks = isolated!();
    let memory = WorkerLimits { memory_bytes: Some(64 << 20), ..WorkerLimits::default() };
    let cpu = WorkerLimits { cpu_seconds: Some(1), ..WorkerLimits::default() };
    let leaking = index(0).with("leak_bytes", 128_u64 << 20).with("loop_forever", true);
    let burning = index(0).with("burn_seconds", 3600);
    for (message, limits) in [(leaking, memory), (burning, cpu)] {
        let run = filling([message, index(1)], &small()).workers(1).worker_limits(limits).max_attempts(2);
        let host = run.sandbox(Sandbox::default()).start().unwrap();
        let batches = host.batches();
        let Some(Err(StreamError::Batch(error))) = next_item(&batches) else {
            panic!("an error is expected")
        };
        assert_eq!(error.attempts().len(), 2);
        for attempt in error.attempts() {
            let by_limit = match attempt.death {
                Death::MemoryLimit { limit_bytes, .. } => limits.memory_bytes == Some(limit_bytes),
                Death::CpuLimit { limit_seconds } => limits.cpu_seconds == Some(limit_seconds),
                _ => false,
            };
            assert!(by_limit, "{attempt:?}");
        }
        assert_eq!(next_batch(&batches).sequence(), 1);
        wait_until("each death is made good", || host.statistics().worker_restarts == 2);
    }
}

/// In a container everything is often root's; elsewhere little is.
#[test]
fn run_of_a_user_who_is_not_root_is_jailed() {
    let _leaks = isolated!();
    if !rustix::process::getuid().is_root() {
        eprintln!("left out: only root can become another user; the other tests of this file were another's");
        return;
    }
    const NOBODY: u32 = 65534;
    // The folder of this test's temporary files may be in one that is root's alone.
    let folder = tempfile::Builder::new().prefix("test-of-cobuf-").tempdir_in("/tmp").unwrap();
    let pipeline = pipeline(folder.path());
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // Where this test was built may be its builder's alone.
    let program = copied(Path::new(COBUF), folder.path());
    let mut command = crate::harness::command(refusals::text(&program));
    command.arg("run").arg(&pipeline).args(["--json", "--sandbox"]).current_dir(folder.path());
    command.env("TMPDIR", folder.path()).env("HOME", folder.path()).uid(NOBODY).gid(NOBODY);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["batches"], &report["sandbox"]["files"]), (&4.into(), &"landlock".into()), "{said}");
    assert_eq!(report["sandbox"]["system_calls"], "seccomp");
}

/// A copy in this folder that every user may run.
fn copied(file: &Path, folder: &Path) -> PathBuf {
    let copy = folder.join(file.file_name().unwrap());
    fs::copy(file, &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    copy
}

/// A pipeline of four messages, in this folder, with its plugins.
fn pipeline(folder: &Path) -> PathBuf {
    let pipeline = format!(
        "[commander]\nplugin = {:?}\nconfig = {{ messages = [{{ random = true }}], repeat = 4 }}\n\
         [producer]\nplugin = {:?}\nconfig = {{ arrays = [{{ name = \"x\", dtype = \"u32\", shape = [4] }}] }}\n",
        copied(plugin("list-commander").path(), folder),
        copied(plugin("fill-producer").path(), folder),
    );
    let path = folder.join("run.toml");
    fs::write(&path, pipeline).unwrap();
    path
}

/// Runs the command with this option, while this call of a plugin's process, or of the host, fails: the
/// exit code, the report and what was said.
fn run_without(call: c_long, error: i32, option: &str) -> (Option<i32>, String, String) {
    let folder = refusals::folder();
    let mut command = cobuf();
    command.arg("run").arg(pipeline(folder.path())).args(["--json", option]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (child, ended) = interception::start(command, Some(&[call]), move |_| Some(error));
    let output = child.wait_with_output().unwrap();
    // Closed once no process of the run is left.
    ended.recv_timeout(LONG).unwrap_err();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn kernel_without_landlock_is_refused_or_said() {
    let _leaks = isolated!();
    let call = libc::SYS_landlock_create_ruleset;
    for error in [libc::ENOSYS, libc::EOPNOTSUPP] {
        let (code, _, said) = run_without(call, error, "--sandbox");
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("the kernel cannot enforce the sandbox: it has no Landlock"), "{said}");
        let (code, report, said) = run_without(call, error, "--sandbox=best-effort");
        assert_eq!(code, Some(0), "{said}");
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let sandbox = &report["sandbox"];
        assert_eq!((&sandbox["files"], &sandbox["network"]), (&"nothing".into(), &"seccomp".into()));
    }
}

#[test]
fn step_into_a_jail_that_fails_ends_the_start() {
    let _leaks = isolated!();
    for (call, error, reason) in [
        (libc::SYS_landlock_add_rule, libc::ENOMEM, "for the sandbox's setting read"),
        (
            libc::SYS_landlock_restrict_self,
            libc::E2BIG,
            "cannot restrict the files that the process can open",
        ),
        (libc::SYS_seccomp, libc::EINVAL, "cannot restrict the system calls of the process"),
        (libc::SYS_capget, libc::EPERM, "cannot read the process's capabilities"),
        (libc::SYS_capset, libc::EPERM, "cannot give up the process's capabilities"),
    ] {
        // Also with the other mode: the kernel said that it can.
        for option in ["--sandbox", "--sandbox=best-effort"] {
            let (code, _, said) = run_without(call, error, option);
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains("the sandbox: ") && said.contains(reason), "{said}");
        }
    }
}
