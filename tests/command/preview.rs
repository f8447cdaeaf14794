//! `cobuf preview`: what it draws, in a file and in terminals, and what it says of arrays that are no
//! pictures.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::Command;

use super::pipeline::{output, stderr, stdout};
use crate::common::terminal::Terminal;
use crate::common::{cobuf, isolated, plugin};
use tempfile::TempDir;

/// A pipeline of these arrays and messages, in a folder of its own.
fn pipeline(arrays: &str, messages: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[commander]\nplugin = {:?}\nconfig = {{ messages = [{messages}] }}\n\
         [producer]\nplugin = {:?}\nconfig = {{ arrays = [{arrays}] }}\n",
        plugin("list-commander").path(),
        plugin("fill-producer").path(),
    );
    fs::write(folder.path().join("it.toml"), text).unwrap();
    folder
}

fn preview(folder: &TempDir, arguments: &str) -> Command {
    let mut command = cobuf();
    command.current_dir(folder.path()).args(["preview", "it.toml"]).args(arguments.split_whitespace());
    command.env("TERM", "xterm-256color").env_remove("COLORTERM").env_remove("NO_COLOR");
    command
}

/// Width, height and pixels of a PNG file.
fn read(path: &Path) -> (u32, u32, Vec<[u8; 3]>) {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    (info.width, info.height, bytes.chunks(3).map(|pixel| pixel.try_into().unwrap()).collect())
}

const MASK: &str =
    r#"{ name = "mask", dtype = "u8", shape = [3, 16, 16] }, { name = "label", dtype = "i64", shape = [3] }"#;

#[test]
fn contact_sheet_has_a_square_for_each_row() {
    let _leaks = isolated!();
    let folder = pipeline(MASK, "{ index = 1 }, { index = 2 }");
    let output = output(&mut preview(&folder, "--batches 2 -o sheet.png"));
    assert!(output.status.success() && stdout(&output).is_empty(), "{}", stderr(&output));
    let (_, _, pixels) = read(&folder.path().join("sheet.png"));
    // Three masks of 16 × 16, eight times as large, in the colours of classes 1 and 2.
    for colour in [[230, 57, 70], [46, 196, 182]] {
        assert_eq!(pixels.iter().filter(|&&pixel| pixel == colour).count(), 3 * 128 * 128);
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn strange_arrays_are_shown_and_never_end_the_command() {
    let _leaks = isolated!();
    let folder = pipeline(
        r#"{ name = "seven", dtype = "u8", shape = [2, 9, 9, 7] }, { name = "one", dtype = "f16", shape = [2, 1, 1, 1] },
           { name = "first", dtype = "bf16", shape = [2, 3, 20, 20] }, { name = "thin", dtype = "u16", shape = [2, 1, 4000, 1] },
           { name = "flag", dtype = "bool", shape = [2] }, { name = "volume", dtype = "f64", shape = [2, 3, 4, 5, 6] },
           { name = "a\nb\u001b[31m", dtype = "u64", shape = [2, 50] },
           { name = "boxes", dtype = "f32", shape = [9, 4], at_most = [0] }"#,
        r#"{ random = true }, { rows = 0, shapes = { boxes = [0, 4] } }, { error = "no pixels" }"#,
    );
    for arguments in ["--batches 3", "--batches 3 -o sheet.png"] {
        let output = output(&mut preview(&folder, arguments));
        assert_eq!(output.status.code(), Some(1), "a batch failed: {}", stderr(&output));
        assert!(!stderr(&output).contains("panic"), "{}", stderr(&output));
        if arguments.contains("-o") {
            continue;
        }
        let text = stdout(&output);
        assert!(!text.contains('\u{1b}'), "no colours outside of a terminal, nor those of a name");
        for part in [
            "seven u8 (2, 9, 9, 7): 0 is dark, 255 is bright; the first 3 of 7 channels",
            "first bf16 (2, 3, 20, 20): 0 is dark, 1 is bright; channels first",
            "boxes f32 (9, 4): min ",
            "boxes f32 (0, 4): empty",
            "volume f64 (2, 3, 4, 5, 6): min ",
            "asked to fail: no pixels",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

#[test]
fn terminal_of_any_width_and_colours_shows_pictures() {
    let _leaks = isolated!();
    let folder = pipeline(MASK, "{ index = 1 }");
    for columns in [20, 80, 160] {
        for (variable, value, coloured) in [
            ("COLORTERM", "truecolor", true),
            ("LANG", "C", true),
            ("NO_COLOR", "1", false),
            ("TERM", "dumb", false),
        ] {
            let mut command = preview(&folder, "");
            command.env(variable, value);
            let (code, pictures) = Terminal::start(columns, command).end();
            assert_eq!(code, Some(0));
            let last = pictures.last().unwrap();
            assert!(!last.wrapped, "{:?}", last.lines);
            assert!(
                last.shows("label i64 (3,)") && last.shows(if coloured { "▀▀▀▀" } else { "----" }),
                "{:?}",
                last.lines
            );
            assert_eq!(last.coloured, coloured, "{variable}");
        }
    }
}

#[test]
fn nothing_to_show_is_said() {
    let _leaks = isolated!();
    let folder = pipeline(MASK, "");
    let empty = output(&mut preview(&folder, ""));
    assert_eq!(empty.status.code(), Some(2));
    assert!(stderr(&empty).contains("it.toml has no batch to look at"), "{}", stderr(&empty));
    let folder = pipeline(MASK, "{ index = 1 }");
    let unwritten = output(&mut preview(&folder, "-o nowhere/sheet.png"));
    assert_eq!(unwritten.status.code(), Some(1));
    assert!(
        stderr(&unwritten).contains("cannot write the report: nowhere/sheet.png: "),
        "{}",
        stderr(&unwritten)
    );
}
