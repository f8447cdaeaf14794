//! File systems, files, names and limits as they are now and then: no locks, no room, pipes, links,
//! names that are not UTF-8. A run works, or its error names the thing.

use crate::common::refusals::{assert_contains, assert_says, folder, good, said, start_error, text};
use crate::common::seccomp::Refusal;
use crate::common::{
    COBUF, Delivered, application, array, cobuf, filling, host, index, isolated, next_batch, plugin, refused,
    run_as_application, small, start_as_application, succeed, test_name,
};
use cobuf_host::{
    Checkpoint, Dictionary, Host, HostBuilder, OnFailure, Plugin, ProcessSetup, ReportKind, Source,
    StartError,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The system's number of the advice to populate memory; see madvise(2).
const MADV_POPULATE_WRITE: u32 = 23;

/// The folders of runs in this test's folder for temporary files.
fn run_folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir()).unwrap().map(|entry| entry.unwrap());
    let runs = entries.filter(|entry| entry.file_name().as_bytes().starts_with(b"cobuf-run-"));
    runs.map(|entry| entry.path()).collect()
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// The sequence numbers of a whole stream.
fn delivered(host: &Host) -> Vec<u64> {
    Delivered::of(&host.batches()).sequences
}

/// A pipeline of three messages. Its plugins are files in the folder, named relative to it.
fn pipeline_in(folder: &Path) -> String {
    for name in ["list-commander", "fill-producer"] {
        fs::copy(plugin(name).path(), folder.join(format!("lib{name}.so"))).unwrap();
    }
    "[commander]\nplugin = \"liblist-commander.so\"\nconfig = { messages = [{ index = 0 }], repeat = 3 }\n\
     [producer]\nplugin = \"libfill-producer.so\"\n\
     config = { arrays = [{ name = \"x\", dtype = \"u32\", shape = [4] }] }\n\
     [run]\nworkers = 1\n"
        .to_owned()
}

#[track_caller]
fn assert_three_batches(command: &mut Command) {
    let report = succeed(command.args(["--report", "json"]));
    assert!(report.contains("\"batches\":3,"), "{report}");
}

#[test]
fn run_starts_where_nothing_can_be_locked() {
    let _leaks = isolated!();
    // Left by a dead run: without locks nobody knows that.
    let left = std::env::temp_dir().join("cobuf-run-left");
    fs::create_dir(&left).unwrap();
    for error in [libc::ENOSYS, libc::ENOLCK, libc::EOPNOTSUPP, libc::EIO, libc::EINVAL] {
        Refusal::of(libc::SYS_flock, error).install();
        let host = good().start().unwrap();
        assert_eq!(run_folders().len(), 2, "{error}");
        assert_eq!(delivered(&host), [0]);
        drop(host);
        assert_eq!(run_folders(), std::slice::from_ref(&left), "{error}");
    }
    let library = plugin("fill-producer");
    succeed(cobuf().arg("inspect").arg(library.path()));
    assert_eq!(run_folders(), std::slice::from_ref(&left));
    fs::remove_dir(left).unwrap();
}

#[test]
fn folder_without_a_lock_is_left_alone_by_processes_that_can_lock() {
    let _leaks = isolated!();
    if application().is_some() {
        Refusal::of(libc::SYS_flock, libc::ENOSYS).install();
        let host = good().limit(1).start().unwrap();
        println!("started");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        assert_eq!(run_folders().len(), 1);
        assert_eq!(delivered(&host), [0]);
        return;
    }
    let mut unlocked = start_as_application(&test_name!(), "start");
    let mut unlocked = unlocked.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(unlocked.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("started")));
    assert_eq!(delivered(&good().start().unwrap()), [0]);
    assert_eq!(run_folders().len(), 1);
    writeln!(unlocked.stdin.take().unwrap()).unwrap();
    assert!(unlocked.wait().unwrap().success(), "{:?}", said.map(Result::unwrap).collect::<Vec<_>>());
    assert!(run_folders().is_empty());
}

#[test]
fn new_folder_that_is_always_locked_by_others_is_an_error() {
    let _leaks = isolated!();
    Refusal::of(libc::SYS_flock, libc::EWOULDBLOCK).install();
    let error = start_error(good());
    assert!(matches!(error, StartError::RunFolder { .. }), "{error:?}");
    assert_says(&error, &["cannot make the run's folder in ", "(TMPDIR)", "100 new folders"]);
    // The others are said to own them.
    assert_eq!(run_folders().len(), 100);
    run_folders().iter().for_each(|folder| fs::remove_dir(folder).unwrap());
}

#[test]
fn unusable_folder_for_temporary_files_is_named() {
    let _leaks = isolated!();
    if application().is_some() {
        match good().start() {
            Ok(_) => println!("it has started"),
            Err(error) => println!("refused: {error:?}: {}", said(&error)),
        }
        return;
    }
    let folder = folder();
    let (file, lost, missing) =
        (folder.path().join("file"), folder.path().join("lost"), folder.path().join("missing"));
    fs::write(&file, "").unwrap();
    symlink("nowhere", &lost).unwrap();
    let told = |temporary: &Path| {
        let output = run_as_application(&test_name!(), "start", &[("TMPDIR", text(temporary))]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (temporary, reason) in [(file, "Not a directory"), (lost, "No such file"), (missing, "No such file")]
    {
        let named = format!("cannot make the run's folder in {} (TMPDIR); set TMPDIR", temporary.display());
        assert_contains(&told(&temporary), &["refused: RunFolder", &named, reason]);
    }
    // As if it were not set.
    assert_contains(&told(Path::new("")), &["it has started"]);
}

/// Runs a script with the command as its `$0`, in a mount namespace of its own in which it may
/// mount; `None` if this machine gives none.
fn in_mounts(script: &str, folder: &Path) -> Option<String> {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "bash", "-c", script, COBUF]).current_dir(folder);
    let output = command.stdin(Stdio::null()).output().expect("util-linux is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.starts_with("unshare: ") || said.starts_with("mount: ") {
        println!("left out: {said}");
        return None;
    }
    assert_eq!(output.status.code(), Some(2), "{said}");
    Some(said)
}

#[test]
fn mount_of_temporary_files_is_named() {
    let _leaks = isolated!();
    let folder = folder();
    fs::write(folder.path().join("p.toml"), pipeline_in(folder.path())).unwrap();
    let mount = folder.path().join("tmp");
    fs::create_dir(&mount).unwrap();
    let place = text(&mount);
    let copied = format!("/libfill-producer.so into {place}/");
    let cases = [
        (
            "noexec",
            format!("plugins cannot be loaded from {place} (TMPDIR), because it is mounted noexec; set"),
        ),
        ("ro", format!("cannot make the run's folder in {place} (TMPDIR); set TMPDIR to a folder")),
        ("size=64k", copied),
        ("size=64k,nr_inodes=1", format!("cannot make the run's folder in {place} (TMPDIR)")),
    ];
    for (options, expected) in cases {
        let script =
            format!("mount -t tmpfs -o {options} none tmp && TMPDIR=$PWD/tmp exec \"$0\" run p.toml");
        if let Some(said) = in_mounts(&script, folder.path()) {
            assert_contains(&said, &[&expected]);
            assert!(
                options != "size=64k" || said.contains("; free some space there, or set TMPDIR"),
                "{said}"
            );
        }
    }
}

#[test]
fn mount_of_shared_memory_is_named() {
    let _leaks = isolated!();
    let folder = folder();
    fs::write(folder.path().join("p.toml"), pipeline_in(folder.path())).unwrap();
    let cases = [
        (
            "mount -t tmpfs -o ro none /dev/shm",
            "cannot create shared memory in /dev/shm; mount it writable: Read-only",
        ),
        ("mount -t tmpfs -o size=16k none /dev/shm", "bytes are free in /dev/shm; use fewer slots"),
        (
            "mount -t tmpfs -o nr_inodes=1 none /dev/shm",
            "cannot create shared memory in /dev/shm: No space left",
        ),
    ];
    for (mount, expected) in cases {
        if let Some(said) = in_mounts(&format!("{mount} && exec \"$0\" run p.toml"), folder.path()) {
            assert_contains(&said, &[expected]);
        }
    }
}

/// What the command says, which must be refused under this limit of a shell's `ulimit`.
fn refused_under(limit: &str, pipeline: &Path) -> String {
    let script = format!("ulimit -S {limit}; exec \"$0\" run \"$1\"");
    refused(Command::new("bash").args(["-c", &script, COBUF]).arg(pipeline).stdin(Stdio::null()))
}

#[test]
fn limits_of_a_shell_are_named() {
    let _leaks = isolated!();
    let folder = folder();
    let (pipeline, large) = (folder.path().join("p.toml"), folder.path().join("large.toml"));
    let content = pipeline_in(folder.path());
    fs::write(&pipeline, &content).unwrap();
    // 256 MB in slots, for which the limits are too low, but not for the plugins.
    fs::write(&large, content.replace("shape = [4]", "shape = [4000, 8000]") + "slots = 2\n").unwrap();
    assert_contains(
        &refused_under("-f 100", &pipeline),
        &["cannot copy the plugin ", "a file may have at most 102400 in this process (ulimit -f)"],
    );
    assert_contains(
        &refused_under("-f 200000", &large),
        &["the slots cannot be made: 257", "a file may have at most 204800000 in this process (ulimit -f)"],
    );
    let said = refused_under("-v 200000", &large);
    assert_contains(&said, &["the limit of address space in bytes is 204800000 in this process (ulimit -v)"]);
}

#[test]
fn checkpoint_over_the_limit_of_a_files_size_is_an_error() {
    let _leaks = isolated!();
    if application().is_none() {
        let test = start_as_application(&test_name!(), "limited");
        let mut limited = Command::new("bash");
        limited
            .args(["-c", "ulimit -S -f 0; exec \"$0\" \"$@\""])
            .arg(test.get_program())
            .args(test.get_args());
        limited.envs(test.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
        let output = limited.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    // Standard output is a pipe, which has no limit.
    let checkpoint: Checkpoint = serde_json::from_str(CHECKPOINT).unwrap();
    let error = checkpoint.write(std::env::temp_dir().join("c")).unwrap_err();
    assert_says(
        &error,
        &["cannot write the checkpoint ", "a file may have at most 0 in this process (ulimit -f)"],
    );
}

const CHECKPOINT: &str = r#"{"format":1,"identity":{"seed":0,"commander":{"name":"c","version":"1","config":{}},
    "producer":{"name":"p","version":"1","config":{}}},"done":[],"commander":null,"application":null}"#;

#[test]
fn slots_are_reserved_where_the_kernel_knows_no_advice() {
    let _leaks = isolated!();
    for error in [libc::EINVAL, libc::ENOSYS, libc::EPERM] {
        let only_if = Some((2, MADV_POPULATE_WRITE));
        Refusal { call: libc::SYS_madvise, error, only_if }.install();
        let host = filling([index(0)], &[array("x", "u8", &[3 << 20])]).workers(1).start().unwrap();
        assert_eq!(delivered(&host), [0], "{error}");
    }
}

#[test]
fn shared_memory_that_cannot_be_made_is_named() {
    let _leaks = isolated!();
    // Of opening for reading and writing a new file, which only shared memory is here.
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let only_if = Some((2, flags.cast_unsigned()));
    let reasons = [
        (libc::EROFS, "; mount it writable: Read-only file system"),
        (libc::EACCES, "; let this user write to it"),
        (libc::EMFILE, "; the limit of open files is "),
    ];
    for (error, reason) in reasons {
        Refusal { call: libc::SYS_openat, error, only_if }.install();
        let error = start_error(good());
        assert_says(&error, &["the slots cannot be made: cannot create shared memory in /dev/shm", reason]);
    }
}

#[test]
fn names_need_not_be_utf_8() {
    let _leaks = isolated!();
    let folder = folder();
    let odd = folder.path().join(OsStr::from_bytes(b"\xff\xfe odd"));
    fs::create_dir(&odd).unwrap();
    let pipeline = odd.join(OsStr::from_bytes(b"p\xff.toml"));
    fs::write(&pipeline, pipeline_in(&odd)).unwrap();
    let library = odd.join(OsStr::from_bytes(b"libodd\xff.so"));
    fs::copy(plugin("fill-producer").path(), &library).unwrap();
    // The pipeline's folder is the working directory of plugins; copies are in that of TMPDIR.
    assert_three_batches(cobuf().arg("run").arg(&pipeline).env("TMPDIR", &odd).current_dir(&odd));
    // Plugins by their names.
    let named = fs::read_to_string(&pipeline).unwrap().replace("lib", "").replace(".so", "");
    let named_pipeline = folder.path().join("named.toml");
    fs::write(&named_pipeline, named).unwrap();
    assert_three_batches(cobuf().arg("run").arg(&named_pipeline).env("COBUF_PLUGIN_PATH", &odd));
    // A fork server, and a library, of odd names.
    let server = odd.join("cobuf");
    symlink(COBUF, &server).unwrap();
    let setup = ProcessSetup { working_directory: Some(odd.clone()), ..ProcessSetup::default() };
    let host = good().producer(Plugin::file(&library)).fork_server(server).process_setup(setup);
    assert_eq!(delivered(&host.start().unwrap()), [0]);
    let declared = succeed(cobuf().arg("inspect").arg(&library).env("TMPDIR", &odd));
    assert!(declared.contains("fill-producer"), "{declared}");
}

#[test]
fn crash_in_a_run_of_an_odd_name_is_reported() {
    let _leaks = isolated!();
    let folder = folder();
    let odd = folder.path().join(OsStr::from_bytes(b"\xff odd"));
    fs::create_dir(&odd).unwrap();
    let pipeline = odd.join("p.toml");
    fs::write(&pipeline, pipeline_in(&odd).replace("index = 0", "abort = true")).unwrap();
    let output = cobuf().arg("run").arg(&pipeline).env("TMPDIR", &odd).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    // The plugin's functions have their names.
    assert_contains(&said, &["signal 6 (SIGABRT)", "misbehave"]);
}

#[test]
fn pipeline_may_be_a_pipe() {
    let leaks = isolated!();
    let folder = folder();
    let content = pipeline_in(folder.path());
    let file = folder.path().join("p.toml");
    fs::write(&file, &content).unwrap();
    // Without a name: paths begin at the working directory.
    let mut substituted = Command::new("bash");
    substituted.args(["-c", "exec \"$0\" run <(cat p.toml) \"$@\"", COBUF]).current_dir(folder.path());
    assert_three_batches(&mut substituted);
    leaks.bury_orphans();
    let mut piped = Command::new("bash");
    piped.args(["-c", "cat p.toml | \"$0\" run /dev/stdin \"$@\"", COBUF]).current_dir(folder.path());
    assert_three_batches(&mut piped);
    // A file as standard input, and a pipe with a name: paths begin at theirs.
    let input = File::open(&file).unwrap();
    assert_three_batches(cobuf().args(["run", "/dev/stdin"]).stdin(input));
    let named = folder.path().join("pipe");
    pipe(&named);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            File::options().write(true).open(&named).unwrap().write_all(content.as_bytes()).unwrap();
        });
        assert_three_batches(cobuf().arg("run").arg(&named));
    });
    let said = refused(cobuf().args(["run", "/dev/zero"]));
    assert_contains(
        &said,
        &["cannot read the pipeline file /dev/zero", "it is a device, expected a file or a pipe"],
    );
}

#[test]
fn checkpoint_at_a_link_is_written_to_its_target_by_the_command() {
    let leaks = isolated!();
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("p.toml"), pipeline_in(folder.path())).unwrap();
    fs::create_dir(path("store")).unwrap();
    symlink("second", path("first")).unwrap();
    symlink("store/real", path("second")).unwrap();
    let run = |arguments: &[&str]| succeed(cobuf().arg("run").arg(path("p.toml")).args(arguments));
    run(&["--batches", "2", "--checkpoint", text(&path("first"))]);
    assert_eq!(Checkpoint::read(path("store/real")).unwrap().delivered(), 2);
    assert!(["first", "second"].iter().all(|link| fs::symlink_metadata(path(link)).unwrap().is_symlink()));
    run(&["--resume", text(&path("first")), "--checkpoint", text(&path("first"))]);
    assert_eq!(Checkpoint::read(path("store/real")).unwrap().delivered(), 3);
    assert_eq!(fs::read_dir(path("store")).unwrap().count(), 1);
    // Another run may resume from a pipe.
    let script = "exec \"$0\" run p.toml --resume <(cat first) --checkpoint other --report json";
    let report = succeed(Command::new("bash").args(["-c", script, COBUF]).current_dir(folder.path()));
    assert!(report.contains("\"batches\":3,"), "{report}");
    leaks.bury_orphans();
}

/// A run of a message that fails, with dead letters in this file.
fn with_dead_letters(path: &Path) -> HostBuilder {
    let messages = [index(0), index(1).with("error", "no"), index(2)];
    filling(messages, &small()).workers(1).dead_letters(path).on_failure(ReportKind::Error, OnFailure::Skip)
}

#[test]
fn dead_letters_at_a_link_are_in_its_target() {
    let _leaks = isolated!();
    let folder = folder();
    let (link, target) = (folder.path().join("link"), folder.path().join("letters"));
    symlink("letters", &link).unwrap();
    assert_eq!(delivered(&with_dead_letters(&link).start().unwrap()), [0, 2]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap().lines().count(), 2);
    let host = with_dead_letters(&folder.path().join("others")).source(Source::Replay(link)).start().unwrap();
    assert!(delivered(&host).is_empty());
}

#[test]
fn dead_letters_may_go_to_a_pipe_that_is_read() {
    let _leaks = isolated!();
    let folder = folder();
    let path = folder.path().join("pipe");
    pipe(&path);
    // Without a reader it would be waited for.
    let error = start_error(with_dead_letters(&path));
    assert_says(&error, &["cannot write the dead letters ", "a pipe that no process reads"]);
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read_to_string(&path).unwrap());
        // A reader that is not there yet is the same as none.
        let host = std::iter::repeat_with(|| with_dead_letters(&path).start()).find_map(Result::ok).unwrap();
        assert_eq!(delivered(&host), [0, 2]);
        drop(host);
        reader.join().unwrap()
    });
    assert_eq!(read.lines().count(), 2, "{read}");
    assert_eq!(delivered(&with_dead_letters(Path::new("/dev/null")).start().unwrap()), [0, 2]);
    let error = start_error(with_dead_letters(Path::new("/dev/full")));
    assert_says(&error, &["cannot write the dead letters /dev/full", "No space left on device"]);
    let error =
        start_error(with_dead_letters(&folder.path().join("x")).source(Source::Replay("/dev/zero".into())));
    assert_says(&error, &["cannot read the dead letters /dev/zero", "it is a device"]);
}

#[test]
fn configuration_may_have_dates() {
    let _leaks = isolated!();
    let folder = folder();
    let pipeline = folder.path().join("p.toml");
    let content = pipeline_in(folder.path()).replace("index = 0", "index = 0, log = 2024-05-01");
    fs::write(&pipeline, content).unwrap();
    let output = cobuf().arg("run").arg(&pipeline).env("RUST_LOG", "info").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_contains(&said, &["2024-05-01"]);
}

#[test]
fn what_is_no_picture_among_pictures_is_left_out_by_name() {
    let _leaks = isolated!();
    let folder = folder();
    let class = folder.path().join("images/class");
    fs::create_dir_all(&class).unwrap();
    let examples = crate::common::repository().join("examples/images");
    let pictures =
        fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let picture = pictures.flat_map(|class| fs::read_dir(class).unwrap()).next().unwrap().unwrap().path();
    fs::copy(&picture, class.join("good.jpg")).unwrap();
    pipe(&class.join("pipe.jpg"));
    symlink("/dev/zero", class.join("endless.png")).unwrap();
    let size =
        Dictionary::new().with("height", 8).with("width", 8).with("batch_size", 4).with("on_corrupt", "skip");
    let pictures = Dictionary::new().with("folder", text(&folder.path().join("images"))).with("epochs", 1);
    let host = host()
        .commander(plugin("image-commander"))
        .commander_config(pictures.with("batch_size", 4))
        .producer(plugin("image-producer"))
        .producer_config(size)
        .workers(1)
        .start()
        .unwrap();
    let batch = next_batch(&host.batches());
    assert_eq!(batch.rows(), Some(1));
    let left_out = batch.metadata::<Dictionary>().unwrap().to_string();
    assert_contains(&left_out, &["pipe.jpg", "endless.png"]);
    assert_eq!(left_out.matches("it is not a regular file").count(), 2, "{left_out}");
}
