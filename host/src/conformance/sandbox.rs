//! Finds the tightest sandbox in which a producer works.
//!
//! ```text
//!   watched, in no jail:   the producer does the messages ──► what it asked for ──► the sandbox that allows it
//!   jailed, once a try:    the same messages, without what it may have asked for in vain
//! ```
//!
//! Code that asks for something and goes on without it is usual: a library looks for a GPU, or for a service
//! by a socket. So whatever opens a wide door (the network, programs, further system calls, files of the
//! system) is only proposed if the messages fail without it.

use cobuf_plugin_api::Dictionary;

use super::declarations::{encode, told};
use super::producer::{plain, runs};
use super::room::{Course, Room};
use super::subject::Subject;
use crate::host::error::StartError;
use crate::jail::{Sandbox, SandboxNeeds};
use crate::protocol::examination::{Script, Task};

/// A sandbox that fits a producer, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxProposal {
    /// What the producer asked for, beside what every program may do.
    pub needs: SandboxNeeds,
    /// The tightest sandbox found in which it produces the messages.
    pub sandbox: Sandbox,
    /// The settings that it does not need, although it asked for what they allow; `"files of the system"` for
    /// those in `/etc`, `/proc` and the like.
    pub unneeded: Vec<&'static str>,
    /// How many messages it produced.
    pub messages: usize,
    /// Whether it produces them in the proposed sandbox; why not.
    pub works: Result<(), String>,
    /// The same for the sandbox that was given, if one was.
    pub given: Option<Result<(), String>>,
}

/// A door that may be shut again: its setting, and how.
type Door = (&'static str, fn(&mut Sandbox));

const DOORS: [Door; 4] = [
    ("files of the system", Sandbox::forget_system),
    ("extra_syscalls", |sandbox| sandbox.extra_syscalls.clear()),
    ("network", |sandbox| sandbox.network = false),
    ("exec", |sandbox| sandbox.exec = false),
];

pub(super) fn propose(subject: &Subject<'_>) -> Result<SandboxProposal, StartError> {
    let given = subject.settings.sandbox.as_ref();
    let script = script(subject);
    let (course, needs) = Room::open(subject)?.watch(Task::Produce(script.clone()))?;
    let free = outcomes(&course);
    let done = free.iter().filter(|outcome| outcome.is_ok()).count();
    if course.trouble().is_some() || done == 0 {
        let first = free.into_iter().find_map(Result::err);
        let reason = course.trouble().or(first).unwrap_or_else(|| "it produces no message".to_owned());
        return Err(StartError::NotProduced { reason });
    }
    let works = |sandbox: &Sandbox| -> Result<Result<(), String>, StartError> {
        let course = Room::jailed(subject, sandbox)?.examine(Task::Produce(script.clone()))?;
        Ok(same(&free, &course))
    };
    let Sandbox { env, mode, .. } = given.cloned().unwrap_or_default();
    let mut sandbox = Sandbox { env, mode, ..needs.fitting() };
    let fits = works(&sandbox)?;
    let mut unneeded = Vec::new();
    for (setting, shut) in DOORS {
        let mut tighter = sandbox.clone();
        shut(&mut tighter);
        if tighter != sandbox && fits.is_ok() && works(&tighter)?.is_ok() {
            sandbox = tighter;
            unneeded.push(setting);
        }
    }
    let given = given.map(works).transpose()?;
    Ok(SandboxProposal { needs, sandbox, unneeded, messages: done, works: fits, given })
}

fn script(subject: &Subject<'_>) -> Script {
    let none = [Dictionary::new()];
    let messages = if subject.messages.is_empty() { &none[..] } else { &subject.messages };
    Script {
        messages: messages.iter().map(encode).collect(),
        runs: (0..messages.len()).map(|message| plain(subject, message)).collect(),
        close: true,
        ..Script::default()
    }
}

/// Whether each message was produced, or why not.
fn outcomes(course: &Course) -> Vec<Result<(), String>> {
    runs(course).map(|ran| ran.as_ref().map(drop).map_err(told)).collect()
}

/// Whether a course has produced what was produced before.
fn same(before: &[Result<(), String>], course: &Course) -> Result<(), String> {
    if let Some(trouble) = course.trouble() {
        return Err(trouble);
    }
    let now = outcomes(course);
    let pairs = before.iter().zip(now).enumerate();
    let worse = pairs.filter(|(_, (before, _))| before.is_ok());
    let mut failed = worse.filter_map(|(index, (_, now))| Some(format!("message {index}: {}", now.err()?)));
    failed.next().map_or(Ok(()), Err)
}
