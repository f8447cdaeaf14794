//! The functions behind a plugin's root module: they take raw types, call safe code, and never
//! unwind.
#![expect(unsafe_code, reason = "turns the host's raw pointers into references; the plugin boundary")]

use std::slice;

use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::{RSlice, RSliceMut, RStr, RString, RVec};

use crate::abi::{
    CommanderInfo, CommanderModule, CommanderModuleRef, Instance, Job, LengthsExtension, LogSink,
    OpenedCommander, Outcome, Produced, ProducerModule, ProducerModuleRef, RawArray, RawState,
    ResumeExtension, WorkerInfo,
};
use crate::codec;
use crate::commander::Commander;
use crate::instance::{self, CommanderInstance, Place, ProducerInstance};
use crate::logging;
use crate::panics::{self, guard};
use crate::producer::Producer;
use crate::report::Report;
use crate::state::SavedState;

/// The most bytes of an error report that cross the boundary. The host cuts a report further, to
/// the room that its memory has.
const MAX_REPORT_BYTES: usize = 64 * 1024;

/// The header through which the host finds a producer's root module; `export_producer!` calls it.
pub const fn producer_header<P: Producer>() -> LibHeader {
    extern "C" fn root<P: Producer>() -> RootModuleResult {
        __call_root_module_loader(producer_module::<P>)
    }
    // SAFETY: `root` returns a `ProducerModuleRef`, the type named here.
    unsafe { LibHeader::from_constructor::<ProducerModuleRef>(root::<P>, CheckTypeLayout::Yes) }
}

/// The header through which the host finds a commander's root module; `export_commander!` calls it.
pub const fn commander_header<C: Commander>() -> LibHeader {
    extern "C" fn root<C: Commander>() -> RootModuleResult {
        __call_root_module_loader(commander_module::<C>)
    }
    // SAFETY: `root` returns a `CommanderModuleRef`, the type named here.
    unsafe { LibHeader::from_constructor::<CommanderModuleRef>(root::<C>, CheckTypeLayout::Yes) }
}

fn producer_module<P: Producer>() -> ProducerModuleRef {
    ProducerModule {
        install,
        config_schema: config_schema::<P::Config>,
        schema: producer_schema::<P>,
        open: producer_open::<P>,
        produce: producer_produce::<P>,
        close: close::<ProducerInstance<P>>,
        query: producer_query::<P>,
    }
    .leak_into_prefix()
}

fn commander_module<C: Commander>() -> CommanderModuleRef {
    CommanderModule {
        install,
        config_schema: config_schema::<C::Config>,
        check: commander_check::<C>,
        open: commander_open::<C>,
        next: commander_next::<C>,
        close: close::<CommanderInstance<C>>,
        query: commander_query::<C>,
    }
    .leak_into_prefix()
}

/// Runs a call from the host under the guard.
fn outcome<T>(body: impl FnOnce() -> anyhow::Result<T>) -> Outcome<T> {
    guard(body).map_err(|report: Report| RVec::from(report.encode(MAX_REPORT_BYTES))).into()
}

extern "C" fn install(sink: LogSink, max_level: u8) {
    logging::install(sink, max_level);
    panics::install_hook();
}

extern "C" fn producer_query<P: Producer>(id: RStr<'_>) -> *const () {
    if id.as_str() == LengthsExtension::ID { (&raw const *lengths::<P>()).cast() } else { std::ptr::null() }
}

const fn lengths<P: Producer>() -> &'static LengthsExtension {
    &LengthsExtension { produce: producer_produce_lengths::<P> }
}

extern "C" fn commander_query<C: Commander>(id: RStr<'_>) -> *const () {
    if id.as_str() == ResumeExtension::ID { (&raw const *resume::<C>()).cast() } else { std::ptr::null() }
}

const fn resume<C: Commander>() -> &'static ResumeExtension {
    &ResumeExtension { skip: commander_skip::<C>, save: commander_save::<C>, restore: commander_restore::<C> }
}

extern "C" fn config_schema<T: schemars::JsonSchema>() -> Outcome<RString> {
    outcome(|| Ok(codec::config_schema::<T>().into()))
}

extern "C" fn producer_schema<P: Producer>(config: RSlice<'_, u8>) -> Outcome<RVec<u8>> {
    outcome(|| Ok(rmp_serde::to_vec_named(&instance::schema::<P>(config.as_slice())?)?.into()))
}

extern "C" fn producer_open<P: Producer>(config: RSlice<'_, u8>, worker: WorkerInfo) -> Outcome<Instance> {
    outcome(|| Ok(into_raw(ProducerInstance::<P>::open(config.as_slice(), worker)?)))
}

unsafe extern "C" fn producer_produce<P: Producer>(producer: Instance, job: Job<'_>) -> Outcome<Produced> {
    // SAFETY: the host keeps to this function's contract, which is the same.
    unsafe { produce::<P>(producer, job, &mut []) }
}

unsafe extern "C" fn producer_produce_lengths<P: Producer>(
    producer: Instance,
    job: Job<'_>,
    lengths: RSliceMut<'_, usize>,
) -> Outcome<Produced> {
    // SAFETY: as in `producer_produce`.
    unsafe { produce::<P>(producer, job, lengths.into_mut_slice()) }
}

/// # Safety
/// As [`ProducerModule::produce`].
unsafe fn produce<P: Producer>(producer: Instance, job: Job<'_>, lengths: &mut [usize]) -> Outcome<Produced> {
    // SAFETY: the host passes a pointer that `producer_open::<P>` returned, from one thread, and
    // has not closed it.
    let producer = unsafe { &mut *producer.cast::<ProducerInstance<P>>() };
    outcome(|| {
        let arrays = job.arrays.as_slice().iter().map(|array: &RawArray| {
            // SAFETY: the host's worker holds the slot's claim. So these bytes are writable and
            // initialised, and nothing else uses them until this call returns.
            unsafe { slice::from_raw_parts_mut(array.data, array.bytes) }
        });
        let place = Place { sequence: job.sequence, attempt: job.attempt, seed: job.seed };
        let said = producer.produce(place, job.message.as_slice(), arrays, lengths)?;
        Ok(Produced { rows: said.rows.unwrap_or(usize::MAX), metadata: said.metadata.into() })
    })
}

extern "C" fn commander_check<C: Commander>(config: RSlice<'_, u8>) -> Outcome<()> {
    outcome(|| {
        codec::decode_config::<C::Config>(config.as_slice())?;
        Ok(())
    })
}

extern "C" fn commander_open<C: Commander>(
    config: RSlice<'_, u8>,
    info: CommanderInfo,
) -> Outcome<OpenedCommander> {
    outcome(|| {
        let commander = CommanderInstance::<C>::open(config.as_slice(), info)?;
        let total = commander.total().unwrap_or(u64::MAX);
        Ok(OpenedCommander { instance: into_raw(commander), total })
    })
}

unsafe extern "C" fn commander_next<C: Commander>(commander: Instance, sequence: u64) -> Outcome<RVec<u8>> {
    // SAFETY: the host passes a pointer that `commander_open::<C>` returned, from one thread, and
    // has not closed it.
    let commander = unsafe { &mut *commander.cast::<CommanderInstance<C>>() };
    outcome(|| Ok(commander.next(sequence)?.unwrap_or_default().into()))
}

unsafe extern "C" fn commander_skip<C: Commander>(commander: Instance, from: u64, to: u64) -> Outcome<()> {
    // SAFETY: as in `commander_next`.
    let commander = unsafe { &mut *commander.cast::<CommanderInstance<C>>() };
    outcome(|| commander.skip(from, to))
}

unsafe extern "C" fn commander_save<C: Commander>(commander: Instance, sequence: u64) -> Outcome<RawState> {
    // SAFETY: as in `commander_next`.
    let commander = unsafe { &mut *commander.cast::<CommanderInstance<C>>() };
    outcome(|| {
        let state = commander.save(sequence)?;
        let (version, bytes) = state.as_ref().map_or((0, &[][..]), |state| (state.version(), state.bytes()));
        Ok(RawState { present: state.is_some(), version, bytes: bytes.into() })
    })
}

unsafe extern "C" fn commander_restore<C: Commander>(
    commander: Instance,
    sequence: u64,
    version: u32,
    state: RSlice<'_, u8>,
) -> Outcome<()> {
    // SAFETY: as in `commander_next`.
    let commander = unsafe { &mut *commander.cast::<CommanderInstance<C>>() };
    outcome(|| commander.restore(sequence, &SavedState::from_bytes(version, state.to_vec())))
}

fn into_raw<T>(value: T) -> Instance {
    Box::into_raw(Box::new(value)).cast()
}

unsafe extern "C" fn close<T>(instance: Instance) -> Outcome<()> {
    outcome(|| {
        // SAFETY: the host passes a pointer that `into_raw::<T>` returned, once, and does not use
        // it again.
        drop(unsafe { Box::from_raw(instance.cast::<T>()) });
        Ok(())
    })
}

/// The export macro needs the name as a literal; here it is compared with abi_stable's.
const _: () = {
    let (name, literal) =
        (abi_stable::library::ROOT_MODULE_LOADER_NAME.as_bytes(), crate::__root_module_symbol!().as_bytes());
    assert!(name.len() == literal.len());
    let mut index = 0;
    while index < name.len() {
        assert!(name[index] == literal[index]);
        index += 1;
    }
};
