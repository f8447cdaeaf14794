//! Plugins in C with axes that are at most n: their shapes, wrong ones, and an older side.

use crate::common::compiled::{build, ramp};
use crate::common::refusals::{assert_says, folder, start_error};
use crate::common::{
    batch_error, host, index, isolated, list, next_batch, next_item, outline, plugin, repository,
};
use cobuf_host::ndarray::{Ix1, Ix2};
use cobuf_host::{Dictionary, HostBuilder, Plugin, Value};
use tempfile::TempDir;

fn lengths(folder: &TempDir, arguments: &[&str]) -> Plugin {
    let source = repository().join("tests/common/sources/c/lengths.c");
    build(folder, "cc", &source, &[&["-std=c99"], arguments].concat())
}

fn producing(producer: Plugin, messages: impl IntoIterator<Item = Dictionary>) -> HostBuilder {
    let host = host().commander(plugin("list-commander")).commander_config(list(messages));
    host.producer(producer).producer_config(Dictionary::new()).workers(1)
}

fn shaped(name: &str, shape: &[i64]) -> Dictionary {
    Dictionary::new().with(name, shape.iter().copied().map(Value::from).collect::<Vec<_>>())
}

#[test]
fn arrays_of_a_plugin_in_c_have_the_shapes_that_it_sets() {
    let _leaks = isolated!();
    let folder = folder();
    let tokens: Vec<Value> = vec![5.into(), 3.into()];
    let both = shaped("boxes", &[17, 4]).with("row_count", 5).with("tokens", tokens);
    let host = producing(lengths(&folder, &[]), [both, shaped("boxes", &[0, 4]), index(0)]).start().unwrap();
    assert_eq!(host.schema().to_string(), "boxes f32 (≤200, 4), tokens u16 (8, ≤512), rows u8 (8,)");
    let batches = host.batches();
    let batch = next_batch(&batches);
    let boxes = batch.array::<f32, Ix2>("boxes").unwrap();
    assert_eq!((boxes.dim(), boxes[[16, 3]]), ((17, 4), 67.0), "packed");
    let tokens = batch.array::<u16, Ix2>("tokens").unwrap();
    assert_eq!((tokens.dim(), tokens[[4, 2]]), ((5, 3), 14), "packed");
    assert_eq!((batch.rows(), batch.array::<u8, Ix1>("rows").unwrap().len()), (Some(5), 5));
    drop(batch);
    let shapes = |batch: &cobuf_host::Batch| [0, 1, 2].map(|array| batch.shape_at(array).unwrap());
    assert_eq!(shapes(&next_batch(&batches)), [vec![0, 4], vec![8, 512], vec![8]]);
    assert_eq!(shapes(&next_batch(&batches)), [vec![200, 4], vec![8, 512], vec![8]]);
}

#[test]
fn wrong_shape_from_c_is_the_error_of_its_batch() {
    let _leaks = isolated!();
    let folder = folder();
    let library = lengths(&folder, &[]);
    for (message, said) in [
        (
            shaped("boxes", &[201, 4]),
            "array \"boxes\" was given length 201 along axis 0, expected at most 200",
        ),
        (
            shaped("boxes", &[-1, 4]),
            "length 18446744073709551615 (-1 if it is signed) along axis 0, expected at most 200",
        ),
        (shaped("boxes", &[i64::MAX, 4]), "length 9223372036854775807 along axis 0, expected at most 200"),
        (shaped("boxes", &[2, 3]), "array \"boxes\" was given length 3 along axis 1, expected 4"),
        (shaped("tokens", &[7, 3]), "array \"tokens\" was given length 7 along axis 0, expected 8"),
        (shaped("boxes", &[8]), "array \"boxes\" was given shape (8,), expected 2 axes"),
        (shaped("masks", &[8]), "the slot has no array \"masks\"; it has: boxes, tokens, rows"),
        (shaped("boxes", &[3, 4]).with("again", true), "was given shape (3, 4) after shape (3, 4)"),
        (
            index(1).with("axes", true),
            "array \"boxes\" was given a shape of 4294967295 axes, expected at most 32",
        ),
    ] {
        let host = producing(library.clone(), [index(0), message, index(2)]).start().unwrap();
        let batches = host.batches();
        next_batch(&batches);
        let error = batch_error(next_item(&batches));
        assert!(error.chain().join(": ").contains(said), "{:?}", error.chain());
        assert_eq!(outline(&batches), "2");
        assert_eq!(host.statistics().worker_restarts, 0);
    }
}

#[test]
fn wrong_declaration_in_c_is_named() {
    let _leaks = isolated!();
    let folder = folder();
    let library = lengths(&folder, &[]);
    for (field, said) in [
        ("axis", "array \"x\" has 2 dimensions, so axis 2 cannot be at most n"),
        ("early", "shapes belong to a message: they can be had in produce, not in schema"),
    ] {
        let config = Dictionary::new().with(field, true);
        let error = start_error(producing(library.clone(), []).producer_config(config));
        assert_says(&error, &["the producer lengths-producer-c cannot be set up: ", said]);
    }
}

/// With the variable of another name, a plugin is as one of before: the host does not find it. And
/// as one in a host of before: it finds no function there.
const BEFORE: &str = "-Dcobuf_producer_lengths=elsewhere";

#[test]
fn plugin_in_c_of_before_runs_and_host_of_before_is_named() {
    let _leaks = isolated!();
    let folder = folder();
    let items = Dictionary::new().with("length", 10).with("batch_size", 10).with("epochs", 1);
    let config = Dictionary::new().with("batch_size", 10).with("width", 8);
    let run = host().commander(plugin("index-commander")).commander_config(items);
    let host = run.producer(ramp(&folder, &[BEFORE])).producer_config(config).start().unwrap();
    assert_eq!(next_batch(&host.batches()).rows(), Some(10));
    drop(host);
    let library = lengths(&folder, &[BEFORE]);
    let plain = Dictionary::new().with("plain", true);
    let host = producing(library.clone(), [index(0)]).producer_config(plain).start().unwrap();
    assert_eq!(next_batch(&host.batches()).shape_at(0).unwrap(), [200, 4]);
    drop(host);
    let said = "array \"boxes\" has axes that are at most n, which this host does not know; update cobuf, or \
                declare fixed lengths";
    assert_says(&start_error(producing(library, [])), &[said]);
}
