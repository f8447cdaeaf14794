//! The reports of `cobuf bench` and `cobuf-bench`: the parts that both have, and their checks.

use std::process::Output;

use serde_json::Value;

/// The report of a benchmark that went well, with what every report names.
pub(crate) fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    for key in ["cobuf", "date", "cpu", "kernel"] {
        assert!(report[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {report}");
    }
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(report["cores"].as_u64().is_some_and(|cores| cores > 0));
    report
}

/// Asserts that samples are of so many rounds, in bounds, and numbers that can be.
#[track_caller]
fn assert_samples(samples: &Value, rounds: usize) {
    let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
    let all: Option<Vec<f64>> = samples["rounds"].as_array().expect("a list").iter().map(number).collect();
    let all = all.unwrap_or_else(|| panic!("{samples}"));
    assert_eq!(all.len(), rounds, "{samples}");
    let [min, median, max] = ["min", "median", "max"].map(|key| number(&samples[key]).expect("a number"));
    assert!(min > 0.0 && min <= median && median <= max, "{samples}");
}

/// The figures of a case or of a pipeline, each of so many rounds.
#[track_caller]
pub(crate) fn figures(of: &Value, rounds: usize) -> &[Value] {
    let figures = of["figures"].as_array().expect("a list");
    for figure in figures {
        assert!(figure["what"].is_string() && figure["unit"].is_string(), "{figure}");
        assert_samples(&figure["measured"], rounds);
        for baseline in figure["baselines"].as_array().expect("a list") {
            assert!(baseline["what"].is_string(), "{baseline}");
            assert_samples(&baseline["measured"], rounds);
            assert_samples(&baseline["ratio"], rounds);
        }
        let goal = &figure["goal"];
        let bounds = ["at_most", "at_least"].iter().filter(|key| goal[**key].is_number()).count();
        assert!(goal.is_null() || (bounds == 1 && goal["met"].is_boolean()), "{figure}");
    }
    figures
}
