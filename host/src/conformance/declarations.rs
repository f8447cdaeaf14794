//! The tests of what both kinds of plugin declare, and of wrong configurations.

use cobuf_plugin_api::{Dictionary, PluginKind, Report, ReportKind, Schema, codec};
use serde_json::Value as Json;

use super::mutations::{self, Mutation, STRANGER};
use super::report::{Outcome, Verdict};
use super::room::{Course, Room};
use super::subject::{Subject, Tests};
use crate::host::error::StartError;
use crate::protocol::examination::{Note, Task};

pub(super) fn test(tests: &mut Tests<'_>) -> Result<(), StartError> {
    let mut schema = Json::Null;
    tests.make("load", "it can be loaded", &[], load)?;
    tests.make(
        "config-schema",
        "its configuration has a JSON Schema that is the same each time",
        &["load"],
        |subject| config_schema(subject, &mut schema),
    )?;
    let title = match tests.subject.file.manifest.kind {
        PluginKind::Producer => "it accepts the configuration and always declares the same arrays for it",
        PluginKind::Commander => "it accepts the configuration",
    };
    tests.make("configuration", title, &["load"], configuration)?;
    tests.make(
        "config-errors",
        "a wrong configuration is an error that names the field",
        &["config-schema", "configuration"],
        |subject| config_errors(subject, &schema),
    )
}

fn load(subject: &Subject<'_>) -> Result<Verdict, StartError> {
    let course = Room::open(subject)?.examine(Task::Declare { configured: false })?;
    // A note from it shows that it was loaded.
    Ok(match course.trouble() {
        Some(trouble) if course.notes.is_empty() => Verdict::failed(trouble),
        _ => Verdict::passed("all symbols found; the layouts match this host's"),
    })
}

fn config_schema(subject: &Subject<'_>, schema: &mut Json) -> Result<Verdict, StartError> {
    let mut room = Room::open(subject)?;
    let mut said: Vec<String> = Vec::new();
    for _ in 0..2 {
        let course = room.examine(Task::Declare { configured: false })?;
        if let Some(trouble) = course.trouble() {
            return Ok(Verdict::failed(trouble));
        }
        for note in course.notes {
            match note {
                Note::ConfigSchema(Ok(text)) => said.push(text),
                Note::ConfigSchema(Err(report)) => return Ok(Verdict::failed(told(&report))),
                _ => {}
            }
        }
    }
    let parsed: Json = match serde_json::from_str(&said[0]) {
        Ok(parsed) => parsed,
        Err(error) => return Ok(Verdict::failed(format!("it is not JSON: {error}"))),
    };
    if !parsed.is_object() {
        return Ok(Verdict::failed(format!("it is {parsed}, expected an object")));
    }
    if said.iter().any(|text| *text != said[0]) {
        return Ok(Verdict::failed("it differs when asked for again"));
    }
    let fields = parsed.get("properties").and_then(Json::as_object).map_or(0, |fields| fields.len());
    *schema = parsed;
    Ok(Verdict::passed(format!("{fields} fields")))
}

fn configuration(subject: &Subject<'_>) -> Result<Verdict, StartError> {
    let mut room = Room::open(subject)?;
    let mut schemas: Vec<Option<Schema>> = Vec::new();
    for _ in 0..2 {
        let course = room.examine(Task::Declare { configured: true })?;
        if let Some(trouble) = course.trouble() {
            return Ok(Verdict::failed(trouble));
        }
        for note in course.notes {
            match note {
                Note::Configured(Ok(schema)) => schemas.push(schema),
                Note::Configured(Err(report)) => return Ok(refused(subject, &report)),
                _ => {}
            }
        }
    }
    // A commander may leave it to its constructor to refuse the configuration.
    let course = room.examine(Task::Configure { configs: vec![subject.config.clone()] })?;
    match (course.notes.first(), course.trouble()) {
        (_, Some(trouble)) => return Ok(Verdict::failed(trouble)),
        (Some(Note::Configured(Err(report))), None) => return Ok(refused(subject, report)),
        _ => {}
    }
    if let Some(other) = schemas.iter().find(|schema| **schema != schemas[0]) {
        let text = |schema: &Option<Schema>| schema.as_ref().map_or_else(String::new, Schema::to_string);
        return Ok(Verdict::failed(format!(
            "it declares {}, and another time {}",
            text(&schemas[0]),
            text(other)
        )));
    }
    Ok(Verdict::passed(
        schemas.into_iter().flatten().next().map_or_else(String::new, |schema| schema.to_string()),
    ))
}

/// A plugin may well need more than the empty configuration.
fn refused(subject: &Subject<'_>, report: &Report) -> Verdict {
    if subject.settings.config.is_none() && report.kind == ReportKind::Error {
        Verdict::skipped(format!(
            "it does not accept the empty configuration ({report}); give one with --config"
        ))
    } else {
        Verdict::failed(told(report))
    }
}

fn config_errors(subject: &Subject<'_>, schema: &Json) -> Result<Verdict, StartError> {
    let good = subject.settings.config.clone().unwrap_or_default();
    let mut wrong = mutations::of_config(&good, schema);
    let typed = wrong.len();
    if !mutations::takes_any_field(schema) {
        let dictionary = good.with(STRANGER, 1);
        wrong.push(Mutation { what: format!("with {STRANGER:?}"), field: STRANGER.to_owned(), dictionary });
    }
    let mut room = Room::open(subject)?;
    let encoded = wrong.iter().map(|one| encode(&one.dictionary)).collect();
    let answers = answer_each(&mut room, encoded)?;
    let problems = wrong.iter().zip(answers).enumerate().filter_map(|(index, (wrong, answer))| {
        let Mutation { what, field, .. } = wrong;
        let (outcome, problem) = match answer {
            Err(trouble) => (Outcome::Failed, trouble),
            Ok(Ok(())) if index >= typed => (Outcome::Warned, "is taken as if nothing were wrong".to_owned()),
            Ok(Ok(())) => (Outcome::Failed, "is taken as if nothing were wrong".to_owned()),
            Ok(Err(report)) if report.kind != ReportKind::Error => (Outcome::Failed, told(&report)),
            Ok(Err(report)) if !report.to_string().contains(field.as_str()) => {
                (Outcome::Warned, format!("gives an error that does not name the field: {report}"))
            }
            Ok(Err(_)) => return None,
        };
        Some((outcome, format!("the configuration {what}: {problem}")))
    });
    let problems = problems.collect();
    Ok(Verdict::of(problems, format!("{} wrong configurations, {} errors", wrong.len(), wrong.len())))
}

/// A plugin's answer to a configuration, or what happened to its process.
type Answer = Result<Result<(), Report>, String>;

/// The plugin's answer to each configuration, or what happened to its process. After a death,
/// another process continues with the next configuration.
fn answer_each(room: &mut Room, mut configs: Vec<Vec<u8>>) -> Result<Vec<Answer>, StartError> {
    let mut answers = Vec::new();
    while !configs.is_empty() {
        let course = room.examine(Task::Configure { configs: configs.clone() })?;
        let trouble = course.trouble();
        let Course { notes, .. } = course;
        let mut done = notes.len();
        answers.extend(notes.into_iter().map(|note| match note {
            Note::Configured(answer) => Ok(answer.map(drop)),
            other => Err(format!("the examiner noted {other:?} instead of an answer")),
        }));
        if done < configs.len() {
            answers.push(Err(trouble.unwrap_or_else(|| "is not answered".to_owned())));
            done += 1;
        }
        configs.drain(..done);
    }
    Ok(answers)
}

/// Encodes a dictionary that was made from good ones.
pub(super) fn encode(dictionary: &Dictionary) -> Vec<u8> {
    // Dictionaries can always be encoded.
    codec::encode("a dictionary", dictionary).unwrap_or_default()
}

/// Such as `panic: …`; an error's own words without a prefix.
pub(super) fn told(report: &Report) -> String {
    match report.kind {
        ReportKind::Error => report.to_string(),
        kind => format!("{kind}: {report}"),
    }
}
