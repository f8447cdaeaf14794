//! A producer that does what no plugin should, and says what its process is like: for tests, which build it.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, process, thread};

use cobuf_plugin_api::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The status with which to end the process that asks for the schema.
    exit_in_schema: Option<i32>,
    /// The status with which to end the worker that makes the producer.
    exit_in_new: Option<i32>,
    /// Whether the producer is never made.
    #[serde(default)]
    hang_in_new: bool,
    /// The number of the incarnation of a worker whose producer is never made.
    hang_in_incarnation: Option<u32>,
    /// Whether a second producer of the same process is never made.
    #[serde(default)]
    hang_after_panic: bool,
    /// Whether every process gets another schema.
    #[serde(default)]
    unsteady: bool,
    /// Whether the producer panics when it is dropped.
    #[serde(default)]
    panic_in_drop: bool,
}

#[derive(Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    /// The environment variable to tell in the metadata.
    variable: Option<String>,
    /// A file to wait for before anything is done.
    until_file: Option<PathBuf>,
    /// Whether to ask at the terminal.
    #[serde(default)]
    ask: bool,
    /// What to print on the standard output.
    print: Option<String>,
    /// Whether to start a program and not to wait for it.
    #[serde(default)]
    start_program: bool,
    /// The text of a panic in a thread of the plugin's own.
    panic_in_thread: Option<String>,
    /// Whether to panic.
    #[serde(default)]
    panic: bool,
    /// Whether to break what later messages need, too.
    #[serde(default, rename = "break")]
    break_handle: bool,
    /// Whether to ask for a new producer if that is broken.
    #[serde(default)]
    renew: bool,
}

#[derive(Serialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
struct Told {
    variable: Option<String>,
    folder: PathBuf,
    /// What follows the process's name in /proc/self/stat.
    stat: String,
}

pub struct OddProducer {
    config: Config,
    /// A handle that no message can use any more.
    broken: bool,
}

impl Producer for OddProducer {
    type Config = Config;
    type Message = Message;

    fn schema(config: &Config) -> Result<Schema> {
        if let Some(status) = config.exit_in_schema {
            process::exit(status);
        }
        let rows = if config.unsteady { process::id() as usize } else { 1 };
        Ok(Schema::new([ArraySpec::new("x", DType::U8, [rows])])?)
    }

    fn new(config: Config, context: &WorkerContext) -> Result<Self> {
        if let Some(status) = config.exit_in_new {
            process::exit(status);
        }
        static MADE: AtomicBool = AtomicBool::new(false);
        let again = MADE.swap(true, Ordering::Relaxed);
        let hang = config.hang_in_new
            || config.hang_in_incarnation == Some(context.incarnation())
            || config.hang_after_panic && again;
        while hang {
            thread::park();
        }
        Ok(Self { config, broken: false })
    }

    fn produce(&mut self, message: Message, slot: &mut Slot<'_>, _: &mut ProduceContext<'_>) -> Result<()> {
        assert!(!message.panic, "asked to panic");
        while message.until_file.as_ref().is_some_and(|file| !file.exists()) {
            thread::sleep(std::time::Duration::from_millis(1));
        }
        self.broken |= message.break_handle;
        if self.broken {
            let error = anyhow!("the handle is broken");
            return Err(if message.renew { renew(error) } else { error }).context("cannot read the tile");
        }
        if message.ask {
            let mut terminal = File::open("/dev/tty").context("there is no terminal")?;
            terminal.read_exact(&mut [0]).context("nobody answers")?;
        }
        if let Some(text) = message.print {
            println!("{text}");
        }
        if message.start_program {
            process::Command::new("sleep").arg("1000").spawn()?;
        }
        if let Some(text) = message.panic_in_thread {
            let panicked = thread::spawn(move || panic!("{text}")).join();
            ensure!(panicked.is_err(), "the thread has not panicked");
        }
        let stat = fs::read_to_string("/proc/self/stat")?;
        let stat = stat.rsplit_once(')').context("stat has a name")?.1.to_owned();
        let variable = message.variable.and_then(|name| env::var(name).ok());
        slot.set_metadata(&Told { variable, folder: env::current_dir()?, stat })?;
        slot.array::<u8, Ix1>("x")?.fill(0);
        Ok(())
    }
}

impl Drop for OddProducer {
    fn drop(&mut self) {
        assert!(!self.config.panic_in_drop, "asked to panic when dropped");
    }
}

cobuf_plugin_api::export_producer!(OddProducer);
