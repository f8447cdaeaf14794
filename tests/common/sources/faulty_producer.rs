//! A producer with one fault, as its configuration says: for tests of `cobuf check`, which build it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, mem, process, thread};

use cobuf_plugin_api::prelude::*;
use cobuf_plugin_api::Value;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// What it does wrong.
    #[serde(default)]
    fault: String,
    /// Added to each element; a number, which is looked at by hand.
    #[serde(default)]
    #[schemars(with = "Option<u8>")]
    level: Option<Value>,
    /// Fields that there are not.
    #[serde(flatten)]
    #[schemars(skip)]
    rest: Dictionary,
}

impl Config {
    fn has(&self, fault: &str) -> bool {
        self.fault == fault
    }

    fn level(&self) -> Result<u8> {
        match &self.level {
            None => Ok(0),
            Some(Value::Int(level)) => Ok(u8::try_from(*level).context("level is too large")?),
            Some(_) if self.has("abort-on-config") => process::abort(),
            Some(_) if self.has("any-type") => Ok(0),
            Some(_) if self.has("nameless-error") => bail!("no"),
            Some(other) => bail!("level is {other}, expected a number"),
        }
    }
}

#[derive(Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    index: Value,
}

pub struct FaultyProducer(Config);

static PANICKED: AtomicBool = AtomicBool::new(false);

impl Producer for FaultyProducer {
    type Config = Config;
    type Message = Message;

    fn schema(config: &Config) -> Result<Schema> {
        config.level()?;
        if let (Some((field, _)), false) = (config.rest.iter().next(), config.has("any-field")) {
            bail!("there is no field {field:?}");
        }
        let rows = if config.has("schema") { process::id() as usize } else { 100 };
        Ok(Schema::new([ArraySpec::new("x", DType::U8, [rows]), ArraySpec::new("y", DType::F32, [rows, 3])])?)
    }

    fn new(config: Config, _: &WorkerContext) -> Result<Self> {
        if config.has("leak-on-opening") {
            mem::forget(vec![1_u8; 4096]);
        }
        ensure!(!PANICKED.load(Ordering::Relaxed), "it was made again after a panic");
        Ok(Self(config))
    }

    fn produce(&mut self, message: Message, slot: &mut Slot<'_>, context: &mut ProduceContext<'_>) -> Result<()> {
        let (fault, level) = (self.0.fault.as_str(), self.0.level()?);
        let index = match (message.index, fault) {
            (Value::Int(index), _) => index as u8,
            (Value::String(_), "hang") => loop {
                thread::park();
            },
            (Value::String(_), "abort") => process::abort(),
            (Value::String(_), "panic") => panic!("no text"),
            (Value::String(_), "panic-for-good") => {
                PANICKED.store(true, Ordering::Relaxed);
                panic!("no text");
            }
            (other, _) => bail!("index is {other}, expected an integer"),
        };
        if self.0.has("metadata-time") {
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
            slot.set_metadata(&Dictionary::new().with("took", nanos))?;
        }
        let mut x = slot.array::<u8, Ix1>("x")?;
        let end = x.as_mut_ptr().wrapping_add(x.len());
        let before = x[42];
        x.fill(index.wrapping_add(level));
        let mut y = slot.array::<f32, Ix2>("y")?;
        y.mapv_inplace(|_| context.rng().random());
        match fault {
            "unwritten" => x[42] = before,
            "time" => x[7] = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u8,
            // Not one byte of it, which another process may have too.
            "pid" => y[[2, 1]] = process::id() as f32,
            "worker" => x[7] = context.worker().worker() as u8,
            "attempt" => x[7] = context.attempt() as u8,
            // SAFETY: there is none; that is the fault.
            "past-end" => unsafe { end.add(1).write(1) },
            // SAFETY: as above.
            "far-past-end" => unsafe { end.add(200).write(1) },
            // SAFETY: as above.
            "before-start" => unsafe { x.as_mut_ptr().sub(1).write(1) },
            "leak" => mem::forget(vec![1_u8; 4096]),
            "descriptors" => mem::forget(fs::File::open("/dev/null")?),
            "crash" if index == 1 => process::abort(),
            _ => {}
        }
        Ok(())
    }
}

impl Drop for FaultyProducer {
    fn drop(&mut self) {
        assert!(!self.0.has("panic-in-drop"), "asked to panic when dropped");
    }
}

cobuf_plugin_api::export_producer!(FaultyProducer);
