//! Whole streams, as a host receives them.

use std::collections::HashSet;
use std::fs;

use cobuf_plugin_api::Value;
use cobuf_plugin_api::testing::CommanderHarness;
use tempfile::TempDir;

use super::*;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/images");

fn config(folder: &str) -> Dictionary {
    Dictionary::new().with("folder", folder).with("batch_size", 4).with("epochs", 3)
}

fn split(part: &str) -> Dictionary {
    Dictionary::new().with("part", part).with("test_fraction", 0.5)
}

fn stream(config: &Dictionary, seed: u64) -> Vec<Dictionary> {
    CommanderHarness::<ImageCommander>::open(config, seed).unwrap().take(1000).unwrap()
}

fn list<'a>(message: &'a Dictionary, key: &str) -> &'a [Value] {
    match message.get(key) {
        Some(Value::List(values)) => values,
        other => panic!("{key} is {other:?}"),
    }
}

/// The paths of one epoch, in their order.
fn paths(stream: &[Dictionary], epoch: i64) -> Vec<String> {
    let of_epoch = stream.iter().filter(|message| message.get("epoch") == Some(&Value::Int(epoch)));
    of_epoch.flat_map(|message| list(message, "paths")).map(|path| format!("{path:?}")).collect()
}

fn error(config: &Dictionary) -> String {
    CommanderHarness::<ImageCommander>::open(config, 0).unwrap_err().to_string()
}

#[test]
fn message_has_paths_and_labels() {
    let messages = stream(&config(SAMPLES).with("shuffle", false).with("epochs", 1), 0);
    let path = |name: &str| format!("{SAMPLES}/{name}");
    assert_eq!(
        messages[2].to_string(),
        format!(
            r#"{{"epoch":0,"batch":2,"paths":["{}","{}","{}","{}"],"labels":[0,0,1,1]}}"#,
            path("circle/08.jpg"),
            path("circle/09.png"),
            path("square/00.jpg"),
            path("square/01.png")
        )
    );
    assert_eq!(messages.len(), 8);
    assert_eq!(list(&messages[7], "labels"), [2, 2].map(|label: i64| Value::Int(label)));
}

#[test]
fn each_epoch_has_every_picture_once_in_its_own_order() {
    let stream = stream(&config(SAMPLES), 7);
    let epochs = [0, 1, 2].map(|epoch| paths(&stream, epoch));
    for epoch in &epochs {
        assert_eq!((epoch.len(), epoch.iter().collect::<HashSet<_>>().len()), (30, 30));
    }
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
}

#[test]
fn messages_after_a_skip_are_those_of_the_whole_stream() {
    let config = config(SAMPLES);
    let open = || CommanderHarness::<ImageCommander>::open(&config, 7).unwrap();
    let whole = open().take(30).unwrap();
    let mut commander = open();
    commander.take(3).unwrap();
    commander.skip(17).unwrap();
    assert_eq!(commander.take(13).unwrap(), whole[17..]);
    let endless = Dictionary::new().with("folder", SAMPLES).with("batch_size", 4);
    let mut endless = CommanderHarness::<ImageCommander>::open(&endless, 7).unwrap();
    // Asking for all messages in between would take years.
    endless.skip(1 << 60).unwrap();
    assert!(endless.next_message().unwrap().is_some());
}

#[test]
fn shuffled_label_stays_with_its_picture() {
    for message in stream(&config(SAMPLES), 7) {
        for (path, label) in list(&message, "paths").iter().zip(list(&message, "labels")) {
            let classes = ["/circle/", "/square/", "/triangle/"];
            let class = classes.iter().position(|class| format!("{path:?}").contains(class)).unwrap();
            assert_eq!(*label, Value::from(class));
        }
    }
}

#[test]
fn shuffle_is_a_function_of_seed_and_epoch() {
    assert_eq!(stream(&config(SAMPLES), 7), stream(&config(SAMPLES), 7));
    assert_ne!(paths(&stream(&config(SAMPLES), 7), 0), paths(&stream(&config(SAMPLES), 8), 0));
    // The order of an epoch is the same in batches of another size.
    let larger = stream(&config(SAMPLES).with("batch_size", 30), 7);
    assert_eq!(paths(&larger, 2), paths(&stream(&config(SAMPLES), 7), 2));
}

#[test]
fn order_never_changes() {
    let first = &stream(&config("../../examples/images").with("batch_size", 3), 0)[0];
    assert_eq!(
        first.to_string(),
        concat!(
            r#"{"epoch":0,"batch":0,"paths":["../../examples/images/triangle/03.png","#,
            r#""../../examples/images/triangle/09.png","../../examples/images/circle/04.jpg"],"labels":[2,2,0]}"#
        )
    );
}

#[test]
fn parts_make_up_the_whole() {
    let part = |part| {
        let stream = stream(&config(SAMPLES).with("split", split(part)), 0);
        paths(&stream, 0).into_iter().collect::<HashSet<_>>()
    };
    let (train, test) = (part("train"), part("test"));
    assert!(train.is_disjoint(&test) && !train.is_empty() && !test.is_empty());
    assert_eq!(&train | &test, part("all"));
}

#[test]
fn new_picture_leaves_the_others_in_their_parts() {
    let folder = TempDir::new().unwrap();
    let add = |name: String| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    };
    let test_part = || {
        let config = config(folder.path().to_str().unwrap()).with("split", split("test"));
        paths(&stream(&config, 0), 0).into_iter().collect::<HashSet<_>>()
    };
    (0..50).for_each(|number| add(format!("b/{number}.jpg")));
    let before = test_part();
    (0..50).for_each(|number| add(format!("a/{number}.jpg")));
    (50..60).for_each(|number| add(format!("b/{number}.jpg")));
    let after = test_part();
    assert!(before.is_subset(&after));
    for path in after.difference(&before) {
        assert!(path.contains("/a/") || path.contains("/b/5"), "{path} has moved");
    }
}

#[test]
fn labels_do_not_depend_on_the_part() {
    let folder = TempDir::new().unwrap();
    for class in ["a", "b", "c"] {
        fs::create_dir(folder.path().join(class)).unwrap();
    }
    fs::write(folder.path().join("c/1.jpg"), "").unwrap();
    // The one picture is in one of the two parts.
    let open = |part| {
        let config = config(folder.path().to_str().unwrap()).with("split", split(part));
        CommanderHarness::<ImageCommander>::open(&config, 0)
    };
    let mut commander = open("train").or_else(|_| open("test")).unwrap();
    let message = commander.next_message().unwrap().unwrap();
    assert_eq!(list(&message, "labels"), [Value::Int(2)]);
}

#[test]
fn stream_has_the_configured_length() {
    let total = |config: &Dictionary| CommanderHarness::<ImageCommander>::open(config, 0).unwrap().total();
    assert_eq!(total(&config(SAMPLES)), Some(24));
    assert_eq!(total(&config(SAMPLES).with("drop_last", true)), Some(21));
    let endless = Dictionary::new().with("folder", SAMPLES);
    assert_eq!(total(&endless), None);
    assert_eq!(stream(&endless, 0).len(), 1000);
}

#[test]
fn wrong_configurations_are_refused() {
    let samples = || config(SAMPLES);
    assert_eq!(error(&samples().with("batch_size", 0)), "batch_size is 0, expected at least 1 picture");
    assert!(error(&samples().with("epochs", 0)).starts_with("epochs is 0"));
    let too_large = error(&samples().with("batch_size", 31).with("drop_last", true));
    assert!(too_large.starts_with("there are 30 pictures, less than batch_size 31"), "{too_large}");
    for fraction in [-0.1, 1.5, f64::NAN] {
        let error = error(&samples().with("split", split("test").with("test_fraction", fraction)));
        assert!(error.starts_with(&format!("split.test_fraction is {fraction}, expected")), "{error}");
    }
    let empty = error(&samples().with("split", split("test").with("test_fraction", 0.0)));
    assert!(empty.starts_with("none of the 30 pictures"), "{empty}");
    assert!(empty.contains("falls into the test part with test_fraction 0;"), "{empty}");
    let unknown = error(&samples().with("split", split("test").with("fraction", 0.5)));
    assert!(unknown.contains("\"split.fraction\" that is not known"), "{unknown}");
    assert!(
        error(&samples().with("split", split("validation")))
            .contains("expected one of `train`, `test`, `all`")
    );
}
