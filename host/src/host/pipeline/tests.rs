//! Pipeline files as texts.

use super::*;
use crate::host::builder::Workers;

fn after(settings: &[&str]) -> String {
    let mut config = Dictionary::new().with("size", 1);
    settings.iter().for_each(|setting| set_entry(&mut config, setting).unwrap());
    config.to_string()
}

fn read(text: &str) -> Result<Pipeline, toml::de::Error> {
    toml::from_str(text)
}

const PLUGINS: &str = "[commander]\nplugin = \"c\"\n[producer]\nplugin = \"p\"\n[run]\n";

#[test]
fn setting_changes_one_entry() {
    assert_eq!(after(&["size=2"]), r#"{"size":2}"#);
    assert_eq!(after(&["crop=random"]), r#"{"size":1,"crop":"random"}"#);
    assert_eq!(
        after(&["augment.noise = 0.5", "augment.shift=1"]),
        r#"{"size":1,"augment":{"noise":0.5,"shift":1}}"#
    );
    assert_eq!(after(&["size=[1, 2]", "path=a=b"]), r#"{"size":[1,2],"path":"a=b"}"#);
}

#[test]
fn dates_are_text_wherever_they_stand() {
    let config = "config = { at = [07:32:00, { from = 1979-05-27T07:32:00Z }], day = 2024-05-01, n = 1 }";
    let pipeline = read(&PLUGINS.replacen("[producer]", &format!("{config}\n[producer]"), 1)).unwrap();
    assert_eq!(
        pipeline.config(PluginKind::Commander).to_string(),
        r#"{"at":["07:32:00",{"from":"1979-05-27T07:32:00Z"}],"day":"2024-05-01","n":1}"#
    );
    assert_eq!(after(&["size=2024-05-01T10:00:00.5-03:00"]), r#"{"size":"2024-05-01T10:00:00.5-03:00"}"#);
    assert_eq!(after(&["days=[2024-05-01]"]), r#"{"size":1,"days":["2024-05-01"]}"#);
    let config = config_from_toml("[a]\nb = 2024-05-01\n").unwrap();
    assert_eq!(config.to_string(), r#"{"a":{"b":"2024-05-01"}}"#);
}

#[test]
fn setting_without_key_or_value_is_refused() {
    let mut config = Dictionary::new();
    let error = set_entry(&mut config, "size").unwrap_err();
    assert_eq!(error.to_string(), "the setting \"size\" has no \"=\", expected KEY=VALUE");
    assert!(set_entry(&mut config, "a..b=1").is_err());
    let error = read(PLUGINS).unwrap().set("slots=3").unwrap_err();
    assert!(error.to_string().ends_with("must begin with \"producer.\" or \"commander.\""), "{error}");
}

#[test]
fn old_key_for_the_order_is_still_read() {
    for key in ["ordered", "deterministic"] {
        let pipeline = read(&format!("{PLUGINS}{key} = false")).unwrap();
        assert_eq!(pipeline.run.ordered, Some(false), "{key}");
    }
}

#[test]
fn number_of_workers_is_a_number_or_auto() {
    let workers = |value: &str| read(&format!("{PLUGINS}workers = {value}"));
    assert_eq!(workers("3").unwrap().run.workers.unwrap().0, Workers::Fixed(3));
    assert_eq!(workers("\"auto\"").unwrap().run.workers.unwrap().0, Workers::auto());
    for wrong in ["-1", "\"many\"", "1.5"] {
        let error = workers(wrong).unwrap_err().to_string();
        assert!(error.contains("expected a number or \"auto\""), "{error}");
    }
}

#[test]
fn negative_time_names_its_key() {
    let pipeline = read(&format!("{PLUGINS}start_timeout_seconds = -1.0")).unwrap();
    let error = pipeline.builder().unwrap_err().to_string();
    assert_eq!(error, "start_timeout_seconds is -1, expected a number of seconds that is not negative");
}

#[test]
fn python_objects_get_the_files_interpreter() {
    let folder = tempfile::tempdir().unwrap();
    let (at, root) = (folder.path().join("p.toml"), folder.path().canonicalize().unwrap());
    let read = |python: &str| {
        let plugins = PLUGINS.replace("\"p\"", "\"slides.py:Slides\"");
        std::fs::write(&at, format!("{plugins}[python]\n{python}")).unwrap();
        Pipeline::read(&at)
    };
    let object = || match Plugin::relative_to(&root, "slides.py:Slides").of_kind(PluginKind::Producer) {
        Plugin::Python(object) => object,
        other => panic!("{other:?}"),
    };
    let mut pipeline = read("interpreter = \"v/bin/python\"\npreload = [\"torch\"]").unwrap();
    let expected = object().preload(["torch"]).interpreter(root.join("v/bin/python"));
    assert_eq!(pipeline.plugin(PluginKind::Producer), Plugin::Python(expected));
    assert_eq!(pipeline.plugin(PluginKind::Commander), Plugin::Named("c".to_owned()));
    pipeline.set_interpreter("/other");
    let expected = object().preload(["torch"]).interpreter("/other");
    assert_eq!(pipeline.plugin(PluginKind::Producer), Plugin::Python(expected));
    // Looked for on the PATH.
    let expected = object().interpreter("python3.12");
    let named = read("interpreter = \"python3.12\"").unwrap();
    assert_eq!(named.plugin(PluginKind::Producer), Plugin::Python(expected));
    assert!(read("interpretter = \"x\"").is_err());
}

#[test]
fn unknown_key_is_refused() {
    let error = read(&format!("{PLUGINS}slotz = 3")).unwrap_err().to_string();
    assert!(error.contains("slotz"), "{error}");
}
