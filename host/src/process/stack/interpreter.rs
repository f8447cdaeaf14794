//! The trace of an interpreter as stacks: the frames of scripts, which a captured stack lacks.
//!
//! ```text
//!   Current thread 0x00007f12 (most recent call first):      0x00007f12, interpreted
//!     File "/home/ann/slides.py", line 12 in read      ──►       read at /home/ann/slides.py:12
//!     File "…/cobuf/_worker.py", line 99 in produce              (and nothing outside of it)
//! ```
//!
//! The text is that of CPython's `faulthandler`. A line that is written otherwise is kept as it is.

use crate::record::raw_stack::RawStack;

/// Where frames begin that are the same in every worker.
const OWN: &str = "/cobuf/_worker.py";
/// Parts of the paths of libraries: the author's code is rarely there.
const LIBRARIES: [&str; 4] = ["/site-packages/", "/dist-packages/", "/lib/python", "<frozen "];

/// A thread of an interpreter, and its frames, innermost first.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) name: String,
    pub(super) frames: Vec<String>,
}

/// The function of the interpreter that runs scripts.
const RUNS_SCRIPTS: &str = "_PyEval_EvalFrameDefault";

/// Cuts a captured stack where the interpreter begins, whose trace says the rest.
pub(super) fn cut_outside(frames: &mut Vec<String>) {
    if let Some(begins) = frames.iter().position(|frame| frame.starts_with(RUNS_SCRIPTS)) {
        frames.truncate(begins.max(1));
    }
}

/// The threads of a trace that have frames, the one that was asked first.
pub(super) fn threads(trace: &str) -> Vec<Thread> {
    let mut threads: Vec<Thread> = Vec::new();
    let mut current = 0;
    for line in trace.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(frame) = line.strip_prefix(' ') {
            if let Some(thread) = threads.last_mut() {
                thread.frames.push(frame_of(frame.trim()));
            }
            continue;
        }
        if line.starts_with("Current") {
            current = threads.len();
        }
        let number = line.split_ascii_whitespace().find(|word| word.starts_with("0x")).unwrap_or(line);
        threads.push(Thread { name: format!("{number}, interpreted"), frames: Vec::new() });
    }
    if current < threads.len() {
        threads[..=current].rotate_right(1);
    }
    threads.retain(|thread| !thread.frames.is_empty());
    for Thread { frames, .. } in &mut threads {
        if let Some(boundary @ 1..) = frames.iter().position(|frame| frame.contains(OWN)) {
            frames.truncate(boundary);
        }
    }
    threads
}

/// `File "/x.py", line 12 in f` as `f at /x.py:12`.
fn frame_of(line: &str) -> String {
    let parse = || {
        let (file, rest) = line.strip_prefix("File \"")?.rsplit_once("\", line ")?;
        let (number, name) = rest.split_once(" in ")?;
        Some(format!("{name} at {file}:{number}"))
    };
    parse().unwrap_or_else(|| line.to_owned())
}

/// The innermost function of the author, if a captured stack has an interpreter's trace with one.
pub(crate) fn place_in(stack: Option<&RawStack>) -> Option<String> {
    place(&stack?.trace)
}

fn place(trace: &str) -> Option<String> {
    let mut frames = threads(trace).into_iter().next()?.frames;
    let authors = |frame: &String| !LIBRARIES.iter().any(|part| frame.contains(part));
    Some(frames.swap_remove(frames.iter().position(authors).unwrap_or(0)))
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    const CRASH: &str = "Fatal Python error: Segmentation fault

Thread 0x00007f01 (most recent call first):
  File \"/usr/lib/python3.12/threading.py\", line 355 in wait

Current thread 0x00007f02 (most recent call first):
  File \"/usr/lib/python3.12/ctypes/__init__.py\", line 519 in string_at
  File \"/home/ann/my \"new\" slides.py\", line 12 in read
  File \"/x/cobuf/_worker.py\", line 99 in produce
  File \"<string>\", line 1 in <module>

Extension modules: numpy._core (total: 1)";

    #[test]
    fn thread_that_was_asked_comes_first_and_ends_where_the_author_s_code_begins() {
        let threads = threads(CRASH);
        assert_eq!(threads.len(), 2, "{threads:?}");
        assert_eq!(threads[0].name, "0x00007f02, interpreted");
        let frames = [
            "string_at at /usr/lib/python3.12/ctypes/__init__.py:519",
            "read at /home/ann/my \"new\" slides.py:12",
        ];
        assert_eq!(threads[0].frames, frames);
        assert_eq!(threads[1].frames, ["wait at /usr/lib/python3.12/threading.py:355"]);
    }

    #[test]
    fn captured_stack_ends_where_the_interpreter_begins() {
        let cut = |frames: &[&str]| {
            let mut frames = frames.iter().map(ToString::to_string).collect();
            cut_outside(&mut frames);
            frames
        };
        let eval = "_PyEval_EvalFrameDefault at Python/ceval.c:4769";
        assert_eq!(
            cut(&["pause in libc.so.6", "ffi_call", eval, "call1", eval]),
            ["pause in libc.so.6", "ffi_call"]
        );
        assert_eq!(cut(&[eval, "call1"]), [eval]);
        assert_eq!(cut(&["read", "main"]), ["read", "main"]);
    }

    #[test]
    fn place_is_the_innermost_function_outside_of_libraries() {
        assert_eq!(place(CRASH).unwrap(), "read at /home/ann/my \"new\" slides.py:12");
        assert_eq!(
            place("Thread 0x1:\n  File \"/lib/python3/a.py\", line 1 in f").unwrap(),
            "f at /lib/python3/a.py:1"
        );
        assert_eq!(
            place("Thread 0x1 (most recent call first):\n  <no Python frame>").unwrap(),
            "<no Python frame>"
        );
        for nothing in ["", "no thread", "\n\n  frame without a thread"] {
            assert_eq!(place(nothing), None, "{nothing:?}");
        }
    }
}
