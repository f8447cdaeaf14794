//! One call of a plugin in C: what the plugin reports while it runs, and the result.
//!
//! Errors are kept in a list. Each text of the plugin's own is added as the context of the text
//! before it. Of errors in the host's functions only the first is kept, because the others follow
//! from it. A call with an error has failed, whatever it returns.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};

use abi_stable::std_types::RStr;
use cobuf_plugin_api::lengths::Lengths;
use cobuf_plugin_api::{
    ArraySpec, DType, Dictionary, Report, ReportKind, Rng, Schema, SlotError, StopFlag, Value, codec,
    generator,
};

use super::head::{CallHead, OK, RENEW};
use crate::plugin::open::library::{Logging, leave_if_copy};

/// A call. The plugin holds a pointer to it until the call returns, and sees only the head.
#[repr(C)]
pub(super) struct Call<'a> {
    head: CallHead,
    part: Part<'a>,
    logging: Logging,
    stop: Option<StopFlag>,
    /// This field and those below are only for the thread that was called; the fields above do not
    /// change.
    errors: RefCell<Vec<String>>,
    arrays: RefCell<Vec<ArraySpec>>,
    rng: RefCell<Option<Rng>>,
    rows: Cell<Option<usize>>,
    /// The batch's lengths; only a call of `produce` has them.
    lengths: RefCell<Option<Lengths<'a>>>,
    metadata: RefCell<Dictionary>,
}

/// The function of the plugin that is called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    Schema,
    Open,
    /// With the schema of the slots and the message's seed.
    Produce(&'a Schema, u64),
    Close,
}

impl Part<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Open => "open",
            Self::Produce(..) => "produce",
            Self::Close => "close",
        }
    }
}

impl<'a> Call<'a> {
    /// `host` points to the table of functions that the plugin can call.
    pub(super) fn new(host: *const c_void, part: Part<'a>, logging: Logging, stop: Option<StopFlag>) -> Self {
        Self {
            head: CallHead { host, log_level: logging.max_level.into() },
            part,
            logging,
            stop,
            errors: RefCell::default(),
            arrays: RefCell::default(),
            rng: RefCell::default(),
            rows: Cell::default(),
            lengths: RefCell::default(),
            metadata: RefCell::default(),
        }
    }

    /// The same call, with the batch's lengths.
    pub(super) fn with_lengths(self, lengths: Lengths<'a>) -> Self {
        Self { lengths: RefCell::new(Some(lengths)), ..self }
    }

    /// May be called from any thread.
    pub(super) fn log(&self, level: u32, text: &str) {
        let level = level.clamp(1, 5) as u8;
        if level <= self.logging.max_level {
            (self.logging.sink.emit)(level, RStr::from_str("c"), RStr::from_str(text));
        }
    }

    /// May be called from any thread.
    pub(super) fn stop_requested(&self) -> bool {
        self.stop.is_some_and(StopFlag::is_set)
    }

    /// Adds an error of the plugin's own, as the context of the earlier ones.
    pub(super) fn fail(&self, text: String) {
        self.errors.borrow_mut().push(text);
    }

    /// The value that a function of the host returned; `None` if it failed, which makes the whole
    /// call fail.
    pub(super) fn take<T>(&self, result: anyhow::Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let mut errors = self.errors.borrow_mut();
        if errors.is_empty() {
            errors.extend(error.chain().map(ToString::to_string).collect::<Vec<_>>().into_iter().rev());
        }
        None
    }

    /// Declares an array; each bit of `axes` stands for an axis that is at most as long as
    /// declared.
    pub(super) fn declare(&self, name: &str, dtype: u32, shape: &[usize], axes: u32) -> anyhow::Result<()> {
        anyhow::ensure!(
            matches!(self.part, Part::Schema),
            "arrays are declared in schema, not in {}",
            self.part.name()
        );
        let dtype = DType::ALL.get(dtype as usize).copied().ok_or_else(|| {
            anyhow::anyhow!("array {name:?} has the element type {dtype}, expected COBUF_BOOL to COBUF_F64")
        })?;
        let at_most = (0..u32::BITS).filter(|axis| axes & 1 << axis != 0).map(|axis| axis as usize);
        self.arrays.borrow_mut().push(ArraySpec::new(name, dtype, shape).at_most(at_most));
        Ok(())
    }

    pub(super) fn fill_randomly(&self, bytes: &mut [u8]) -> anyhow::Result<()> {
        use cobuf_plugin_api::rand::Rng as _;
        let (_, seed) = self.producing("random numbers")?;
        self.rng.borrow_mut().get_or_insert_with(|| generator(seed)).fill_bytes(bytes);
        Ok(())
    }

    pub(super) fn set_rows(&self, rows: usize) -> anyhow::Result<()> {
        let (schema, _) = self.producing("rows")?;
        let most = schema.rows();
        anyhow::ensure!(most.is_some_and(|most| rows <= most), SlotError::Rows { rows, most });
        self.rows.set(Some(rows));
        Ok(())
    }

    pub(super) fn set_shape(&self, name: &str, shape: &[usize]) -> anyhow::Result<()> {
        let (schema, _) = self.producing("shapes")?;
        let unknown = || SlotError::Unknown { name: name.to_owned(), known: schema.names() };
        let array = schema.index_of(name).ok_or_else(unknown)?;
        let mut lengths = self.lengths.borrow_mut();
        Ok(lengths.as_mut().map_or(Ok(()), |lengths| lengths.set(array, shape, self.rows.get()))?)
    }

    pub(super) fn put(&self, key: &str, value: Value) -> anyhow::Result<()> {
        self.producing("metadata")?;
        self.metadata.borrow_mut().insert(key, value);
        Ok(())
    }

    /// The slot's schema and the message's seed. Only a call of `produce` has them.
    fn producing(&self, what: &str) -> anyhow::Result<(&'a Schema, u64)> {
        match self.part {
            Part::Produce(schema, seed) => Ok((schema, seed)),
            other => anyhow::bail!(
                "{what} belong to a message: they can be had in produce, not in {}",
                other.name()
            ),
        }
    }

    /// The result of the call; `returned` is what the plugin's function returned.
    pub(super) fn end(self, returned: c_int) -> Result<Said, Report> {
        leave_if_copy();
        let mut chain = self.errors.into_inner();
        chain.reverse();
        if returned != OK && chain.is_empty() {
            chain.push(format!(
                "the plugin's function {:?} returned {returned} and did not say why; \
                 have it return cobuf_fail(call, \"…\")",
                self.part.name()
            ));
        }
        if !chain.is_empty() {
            return Err(Report { kind: ReportKind::Error, chain, renew: returned == RENEW });
        }
        let metadata = self.metadata.into_inner();
        let encoded =
            if metadata.is_empty() { Ok(Vec::new()) } else { codec::encode("the metadata", &metadata) };
        let metadata = encoded.map_err(|error| Report::from_error(&error.into()))?;
        Ok(Said { arrays: self.arrays.into_inner(), rows: self.rows.get(), metadata })
    }
}

/// The values that a plugin reported in a call that succeeded.
pub(super) struct Said {
    pub(super) arrays: Vec<ArraySpec>,
    pub(super) rows: Option<usize>,
    /// Encoded; empty if there is none.
    pub(super) metadata: Vec<u8>,
}
