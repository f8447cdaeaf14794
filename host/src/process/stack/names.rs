//! Stacks of processes for people: names functions and lines. Runs in the host's supervisor thread.
//!
//! ```text
//!   RawStack, from the fork server         Stack
//!     (libfoo.so, 0x1234) ── addr2line ──► foo::inner at src/lib.rs:12  debug info, with inlining
//!                                          foo::outer in libfoo.so      the symbol table only
//!                                          libfoo.so+0x1234             neither
//! ```
//!
//! Invariant: if a file cannot be read, only names are missing, never the stack.
//!
//! Files are mapped while they are searched and must not be truncated meanwhile. The run's own
//! copies of plugins never are.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::interpreter;
#[cfg(feature = "stacks")]
use super::symbols::Module;
use crate::limits::MAX_STACK_FRAMES;
use crate::record::raw_stack::{RawStack, RawThread};

/// The stacks of a process's threads, with the names of functions.
///
/// Its text has one line for each thread, and under it one line for each function, innermost first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Those of an interpreter in the process come first, if it has one; then the main thread.
    pub threads: Vec<StackThread>,
    /// How many threads are missing: there were too many, or they ran and could not be stopped.
    pub left_out: u32,
}

/// The stack of one thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackThread {
    /// Its name, of which the kernel keeps 15 bytes.
    pub name: String,
    /// Innermost first: `foo::inner at src/lib.rs:12`, `clock_nanosleep in libc.so.6` or
    /// `libfoo.so+0x1234`. An interpreter's: `read at slides.py:12`.
    pub frames: Vec<String>,
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, StackThread { name, frames }) in self.threads.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}thread {name}")?;
            frames.iter().try_for_each(|frame| write!(f, "\n    {frame}"))?;
        }
        match self.left_out {
            0 => Ok(()),
            missing => write!(f, "\nand {missing} more, not shown"),
        }
    }
}

/// Names the functions in a raw stack.
pub(crate) fn resolve(raw: &RawStack) -> Stack {
    let modules: Vec<Module> = raw.modules.iter().map(|path| Module::open(path)).collect();
    let plugin: Vec<bool> = raw.modules.iter().map(|path| is_plugin(path)).collect();
    let native = raw.threads.iter().map(|thread| {
        let mut thread = resolve_thread(thread, &modules, &plugin);
        if !raw.trace.is_empty() {
            interpreter::cut_outside(&mut thread.frames);
        }
        thread
    });
    let scripts = interpreter::threads(&raw.trace).into_iter();
    let scripts = scripts.map(|thread| StackThread { name: thread.name, frames: thread.frames });
    let threads = scripts.chain(native).collect();
    Stack { threads, left_out: raw.left_out }
}

/// `plugin` says which of the modules are plugins.
fn resolve_thread(
    RawThread { name, frames }: &RawThread,
    modules: &[Module],
    plugin: &[bool],
) -> StackThread {
    // Whatever is outside of the plugin's outermost function is the same in every worker.
    let outermost = frames.iter().rposition(|&(module, _)| plugin.get(module as usize).is_some_and(|&is| is));
    let raw = outermost.map_or(&frames[..], |outermost| &frames[..=outermost]);
    let mut frames = Vec::new();
    for (index, &(module, address)) in raw.iter().enumerate() {
        match usize::try_from(module).ok().and_then(|module| modules.get(module)) {
            // A return address is behind its call, so it may belong to the next line or function
            // already.
            Some(module) => module.name(address, address.saturating_sub(u64::from(index > 0)), &mut frames),
            None => frames.push(format!("{address:#x}")),
        }
    }
    if let Some(handler) = frames.iter().position(|frame| frame.starts_with(CRASH_HANDLER)) {
        // Removes the handler, the functions that it called, and the code that it would return to.
        frames.drain(..frames.len().min(handler + 2));
    }
    if let Some(boundary) =
        frames.iter().position(|frame| is_boundary(frame)).filter(|&boundary| boundary > 0)
    {
        frames.truncate(boundary);
    } else if raw.len() >= MAX_STACK_FRAMES {
        frames.push("and more".to_owned());
    }
    StackThread { name: name.clone(), frames }
}

/// The function in which a crashed process waits until its stack is captured.
const CRASH_HANDLER: &str = "cobuf_host::process::crash::on_crash";

/// Whether this function of a plugin in Rust calls the author's code: the frames outside of it are
/// the same in every plugin.
fn is_boundary(frame: &str) -> bool {
    ["cobuf_plugin_api::instance::", "cobuf_plugin_api::shims::"].iter().any(|ours| frame.starts_with(ours))
}

/// Whether a file is a run's copy of a plugin, by its name: `libnoise-<digest>-0.so`.
fn is_plugin(module: &Path) -> bool {
    let name = module.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    let parts = name.strip_suffix(".so").and_then(|stem| stem.rsplit_once('-'));
    let digest = parts.and_then(|(rest, _)| rest.rsplit_once('-')).map_or("", |(_, digest)| digest);
    digest.len() == DIGEST_DIGITS && digest.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The digits of the digest in the name of a plugin's copy.
const DIGEST_DIGITS: usize = 32;

/// Without the feature `stacks`, a file's names are not read.
#[cfg(not(feature = "stacks"))]
struct Module(String);

#[cfg(not(feature = "stacks"))]
impl Module {
    fn open(path: &std::path::Path) -> Self {
        Self(path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned())
    }

    fn name(&self, address: u64, _lookup: u64, lines: &mut Vec<String>) {
        lines.push(format!("{}+{address:#x}", self.0));
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn raw(modules: Vec<PathBuf>, frames: Vec<(u32, u64)>) -> RawStack {
        RawStack {
            modules,
            threads: vec![RawThread { name: "main".to_owned(), frames }],
            left_out: 2,
            trace: String::new(),
        }
    }

    #[test]
    fn a_stack_ends_at_the_boundary_to_the_plugin_s_code() {
        assert!(is_boundary(
            "cobuf_plugin_api::instance::ProducerInstance<P>::produce at src/instance.rs:53"
        ));
        assert!(is_boundary("cobuf_plugin_api::shims::producer_produce in libfill_producer.so"));
        assert!(!is_boundary("cobuf_plugin_api::slot::Slot::array in libfill_producer.so"));
    }

    #[test]
    fn stack_ends_at_the_outermost_function_of_a_plugin() {
        let copy = "/tmp/cobuf-run-x/libslide-0123456789abcdef0123456789ABCDEF-0.so";
        for name in [copy.to_owned(), format!("{copy} (deleted)")] {
            let modules = vec![
                PathBuf::from("/nowhere/libc.so"),
                PathBuf::from(&name),
                PathBuf::from("/nowhere/cobuf"),
            ];
            // A host function that the plugin called, the plugin, a library that calls it back.
            let frames = vec![(0, 1), (2, 2), (1, 3), (0, 4), (1, 5), (2, 6), (2, 7), (0, 8)];
            let stack = resolve(&raw(modules, frames));
            assert_eq!(stack.threads[0].frames.len(), 5, "{stack}");
            assert!(stack.threads[0].frames[4].ends_with("+0x5"), "{stack}");
        }
        for other in ["/nowhere/libslide.so", "/nowhere/libslide-0.so", "[vdso]", "libx-0123-0.so"] {
            assert!(!is_plugin(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn frames_without_a_readable_file_are_shown_by_address() {
        let modules =
            ["/nowhere/libgone.so (deleted)", "[vdso]", "/dev/null", "Cargo.toml"].map(PathBuf::from);
        let stack = resolve(&raw(modules.into(), vec![(0, 0x1234), (1, 0x10), (2, 1), (3, 0), (9, 0xff)]));
        assert_eq!(
            stack.to_string(),
            "thread main\n    libgone.so (deleted)+0x1234\n    [vdso]+0x10\n    null+0x1\n    Cargo.toml+0x0\n    0xff\n\
             and 2 more, not shown"
        );
    }

    #[cfg(feature = "stacks")]
    #[test]
    fn a_return_address_is_named_by_its_call() {
        let file = std::env::current_exe().unwrap();
        let loader = addr2line::Loader::new(&file).unwrap();
        // Every function is preceded by another one or by padding. Only in the innermost frame does
        // its first address belong to it.
        let code = loader.get_section_range(b".text").unwrap();
        let start = (code.begin..code.end)
            .filter_map(|address| loader.find_symbol_info(address).map(|symbol| (address, symbol)))
            .find(|(address, symbol)| {
                symbol.address() == *address && symbol.name().contains("a_return_address_is_named")
            });
        let (address, _) = start.unwrap();
        let stack = resolve(&raw(vec![file], vec![(0, address), (0, address)]));
        assert!(stack.threads[0].frames[0].contains("a_return_address_is_named_by_its_call"), "{stack}");
        assert!(!stack.threads[0].frames[1].contains("a_return_address_is_named_by_its_call"), "{stack}");
    }
}
