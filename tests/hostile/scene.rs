//! A run whose producer attacks in one message, and what must hold afterwards.
//!
//! ```text
//!   test folder   outside/  secret, victim        no jail allows it
//!                 readable/ data                  the jail allows to read it
//!                 room/     data                  and to write here
//!   sockets       a TCP port, a Unix socket       nothing may come in
//!   processes     a bystander                     it must live on
//! ```

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use cobuf_host::{Commander, Dictionary, HostBuilder, Plugin, ReportKind, Sandbox};
use tempfile::TempDir;

use crate::common::compiled::hostile;
use crate::common::refusals::{folder, text};
use crate::common::{Process, host, wait_until};
use crate::messages::{ATTACKED, Attacked, read};

pub(crate) const SLOTS: usize = 16;

/// What stands in the files, and in the bystander's environment.
const CONTENT: &str = "content of a file";

pub(crate) struct Scene {
    folder: TempDir,
    attack: &'static str,
    /// The jail; `None` for an attack without one.
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) fill: &'static str,
    bystander: Child,
    listener: TcpListener,
    datagrams: UnixDatagram,
    /// With an abstract name, that of the folder.
    abstract_datagrams: UnixDatagram,
    plugin: Plugin,
}

impl Scene {
    /// A scene with a jail that allows to read one folder and to write in another one.
    pub(crate) fn of(attack: &'static str) -> Self {
        let folder = folder();
        let make = |name: &str, files: &[&str]| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            for file in files {
                fs::write(path.join(file), CONTENT).unwrap();
                fs::set_permissions(path.join(file), Permissions::from_mode(0o755)).unwrap();
            }
            path
        };
        make("outside", &["secret", "victim"]);
        let sandbox = Sandbox {
            read: vec![make("readable", &["data"])],
            write: vec![make("room", &["data"])],
            ..Sandbox::default()
        };
        let datagrams = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        let name = SocketAddr::from_abstract_name(text(folder.path())).unwrap();
        let abstract_datagrams = UnixDatagram::bind_addr(&name).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let bystander =
            Command::new("sleep").arg("1000").env("SECRET_OF_A_STRANGER", CONTENT).spawn().unwrap();
        let plugin = hostile();
        Self {
            folder,
            attack,
            sandbox: Some(sandbox),
            fill: "zeros",
            bystander,
            listener,
            datagrams,
            abstract_datagrams,
            plugin,
        }
    }

    /// The same without a jail.
    pub(crate) fn unjailed(mut self) -> Self {
        self.sandbox = None;
        self
    }

    /// The same with a jail that was changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Sandbox)) -> Self {
        change(self.sandbox.as_mut().expect("the scene has a jail"));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn plugin(&self) -> Plugin {
        self.plugin.clone()
    }

    /// What the attacker is told before it begins.
    pub(crate) fn config(&self) -> Dictionary {
        let path = |name: &str| text(&self.path(name)).to_owned();
        Dictionary::new()
            .with("attack", self.attack)
            .with("at", ATTACKED)
            .with("unjailed", self.sandbox.is_none())
            .with("outside", path("outside"))
            .with("readable", path("readable"))
            .with("room", path("room"))
            .with("address", path("socket"))
            .with("abstract_name", text(self.folder.path()))
            .with("fill", self.fill)
            .with("port", self.listener.local_addr().unwrap().port() as u64)
            .with("host", Process::own_pid())
            .with("bystander", self.bystander.id())
            .with("slots", SLOTS)
    }

    /// The run to be started.
    pub(crate) fn builder(&self) -> HostBuilder {
        let run =
            host().commander(Commander::Application).producer(self.plugin()).producer_config(self.config());
        let run = run.workers(2).slots(SLOTS);
        match &self.sandbox {
            Some(sandbox) => run.sandbox(sandbox.clone()),
            None => run,
        }
    }

    /// Runs it, and asserts all but how the attack ended: every other batch is right, and no process of
    /// the run has died.
    fn attacked(&self, run: HostBuilder) -> Attacked {
        let host = run.start().unwrap();
        let attacked = read(&host);
        let statistics = host.statistics();
        assert_eq!((statistics.worker_restarts, statistics.retries), (0, 0), "a worker died");
        host.stop();
        attacked
    }

    /// The text with which the attack's message failed.
    pub(crate) fn answer(&self) -> String {
        self.answer_of(self.builder())
    }

    /// The same of a run that was set up further.
    pub(crate) fn answer_of(&self, run: HostBuilder) -> String {
        match self.attacked(run) {
            Attacked::Failed(error) if error.kind() == ReportKind::Error => error.chain().join(": "),
            Attacked::Failed(error) => panic!("{}: {error}: {:?}", self.attack, error.chain()),
            Attacked::Unharmed => "unseen".to_owned(),
        }
    }

    /// Asserts that the attack is refused, and that nothing has come of it.
    pub(crate) fn assert_refused(self) {
        let answer = self.answer();
        assert!(answer.starts_with("refused: "), "{}: {answer}", self.attack);
        self.assert_untouched();
    }

    /// Asserts that an attack which gets no answer has no effect.
    pub(crate) fn has_no_effect(self) {
        assert_eq!(self.answer(), "unseen", "{}", self.attack);
        self.assert_untouched();
    }

    /// Asserts that each of its workers is ended at the attack, and that nothing else has come of it.
    pub(crate) fn ends_its_worker(self, kind: ReportKind) {
        let run = self.builder().max_attempts(1).message_timeout(Duration::from_secs(3));
        let host = run.start().unwrap();
        let Attacked::Failed(error) = read(&host) else { panic!("{} was without effect", self.attack) };
        assert_eq!((error.kind(), error.attempts().len()), (kind, 1), "{}: {:?}", self.attack, error.chain());
        wait_until("the worker is replaced", || host.statistics().worker_restarts == 1);
        host.stop();
        self.assert_untouched();
    }

    /// Asserts that the files are what they were, that nothing was sent, and that the bystander lives.
    pub(crate) fn assert_untouched(&self) {
        let attack = self.attack;
        for (folder, files) in [("outside", &["secret", "victim"][..]), ("readable", &["data"])] {
            let mut found: Vec<String> = names(&self.path(folder));
            found.sort();
            assert_eq!(found, files, "{attack}: {folder}");
            for file in files.iter().map(|file| self.path(folder).join(file)) {
                assert_eq!(fs::read_to_string(&file).unwrap(), CONTENT, "{attack}");
                assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o755, "{attack}");
            }
        }
        // Other tests run at the same time.
        let mark = format!("test-of-cobuf-hostile-{}", Process::own_pid());
        let strange = |name: &String| *name == mark;
        for folder in ["/tmp", "/dev/shm"] {
            assert!(!names(Path::new(folder)).iter().any(strange), "{attack}: {folder}");
        }
        for socket in [&self.datagrams, &self.abstract_datagrams] {
            socket.set_nonblocking(true).unwrap();
            let received = socket.recv(&mut [0]).map_err(|error| error.kind());
            assert_eq!(received, Err(std::io::ErrorKind::WouldBlock), "{attack}");
        }
        let connected = self.listener.accept().map(drop).map_err(|error| error.kind());
        assert_eq!(connected, Err(std::io::ErrorKind::WouldBlock), "{attack}");
        let bystander = Process::get(self.bystander.id() as i32).expect("it was not waited for");
        assert!(!bystander.zombie, "{attack}");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.bystander.kill();
        let _ = self.bystander.wait();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().filter_map(Result::ok);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Asserts that each of these attacks succeeds without a jail.
pub(crate) fn succeed_without_a_jail(attacks: &[&'static str]) {
    for attack in attacks {
        let answer = Scene::of(attack).unjailed().answer();
        assert!(answer.starts_with("SUCCEEDED: "), "{attack}: {answer}");
    }
}

/// A test for each attack that is refused.
macro_rules! refused {
    ($($(#[$attribute:meta])* $test:ident: $attack:literal,)*) => {
        $(
            $(#[$attribute])*
            #[test]
            fn $test() {
                let _leaks = $crate::common::isolated!();
                $crate::scene::Scene::of($attack).assert_refused();
            }
        )*
    };
}
pub(crate) use refused;
