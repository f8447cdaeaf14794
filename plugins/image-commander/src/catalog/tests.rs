//! Catalogs of many kinds of folders.

use super::*;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// A folder with empty files at these paths. A path that ends in `/` is a folder.
fn folder(paths: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for path in paths {
        let path = (folder.path().join(path), path.ends_with('/'));
        match path {
            (path, true) => fs::create_dir_all(path).unwrap(),
            (path, false) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
        }
    }
    folder
}

fn read(folder: &Path) -> Result<Catalog> {
    Catalog::read(folder.to_str().unwrap())
}

/// The pictures found, as `path=label`.
fn found(folder: &TempDir) -> Vec<String> {
    let pictures = read(folder.path()).unwrap().pictures;
    pictures.iter().map(|picture| format!("{}={}", picture.path, picture.label)).collect()
}

fn error(folder: &Path) -> String {
    format!("{:#}", read(folder).unwrap_err())
}

#[test]
fn pictures_are_found_in_byte_order() {
    let folder = folder(&[
        "b/2.jpg",
        "b/10.png",
        "b/Z.JPEG",
        "b/a.PnG",
        "b/deep/er/x.jpg",
        "b-c/1.jpg",
        "a/1.jpg",
        "a/1.jpg.txt",
        "a/jpg",
        "a/.hidden.jpg",
        "a/.thumbnails/1.jpg",
        ".git/1.jpg",
        "stray.jpg",
        "a/ü.png",
    ]);
    // Sorted by bytes: "-" is before "/", then come digits, capitals, small letters, and all that
    // is not ASCII.
    assert_eq!(
        found(&folder),
        [
            "a/1.jpg=0",
            "a/ü.png=0",
            "b-c/1.jpg=2",
            "b/10.png=1",
            "b/2.jpg=1",
            "b/Z.JPEG=1",
            "b/a.PnG=1",
            "b/deep/er/x.jpg=1"
        ]
    );
}

#[test]
fn class_without_pictures_counts() {
    let folder = folder(&["ant/", "bee/1.jpg", "cat/notes.txt", "dog/1.jpg"]);
    assert_eq!(found(&folder), ["bee/1.jpg=1", "dog/1.jpg=3"]);
    assert_eq!(read(folder.path()).unwrap().classes, ["ant", "bee", "cat", "dog"]);
}

#[test]
fn symlinks_are_followed_but_not_in_circles() {
    let (folder, elsewhere) = (folder(&["a/1.jpg"]), folder(&["more/2.jpg", "one.png"]));
    symlink(elsewhere.path().join("more"), folder.path().join("b")).unwrap();
    symlink(elsewhere.path().join("one.png"), folder.path().join("a/linked.png")).unwrap();
    symlink("..", folder.path().join("a/up")).unwrap();
    symlink(".", folder.path().join("a/again")).unwrap();
    symlink("loop.jpg", folder.path().join("a/loop.jpg")).unwrap();
    symlink("nowhere", folder.path().join("a/gone.jpg")).unwrap();
    assert_eq!(found(&folder), ["a/1.jpg=0", "a/gone.jpg=0", "a/linked.png=0", "a/loop.jpg=0", "b/2.jpg=1"]);
}

#[test]
fn what_is_no_regular_file_is_listed_by_its_name() {
    let folder = folder(&["a/1.jpg"]);
    let path = |name: &str| folder.path().join(name);
    assert!(std::process::Command::new("mkfifo").arg(path("a/pipe.jpg")).status().unwrap().success());
    symlink("/dev/zero", path("a/endless.png")).unwrap();
    symlink("nowhere", path("a/lost.jpg")).unwrap();
    symlink("1.jpg", path("a/link.jpg")).unwrap();
    assert_eq!(
        found(&folder),
        ["a/1.jpg=0", "a/endless.png=0", "a/link.jpg=0", "a/lost.jpg=0", "a/pipe.jpg=0"]
    );
}

#[test]
fn name_that_is_not_utf8_is_refused_by_name() {
    for path in [&b"a/caf\xe9.jpg"[..], b"caf\xe9/1.jpg", b"a/caf\xe9/1.jpg"] {
        let folder = folder(&["a/1.jpg"]);
        let path = folder.path().join(OsStr::from_bytes(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        let error = error(folder.path());
        assert!(error.contains(r"caf\xE9"), "{error}");
        assert!(error.ends_with("is not UTF-8, which messages cannot carry; rename it"), "{error}");
    }
    let other_file = folder(&["a/1.jpg"]);
    fs::write(other_file.path().join("a").join(OsStr::from_bytes(b"caf\xe9.txt")), "").unwrap();
    assert_eq!(found(&other_file), ["a/1.jpg=0"]);
}

#[test]
fn folder_without_pictures_is_refused_with_the_expectation() {
    let folder = folder(&["file", "no-classes/1.jpg", "no-pictures/a/1.gif", "no-pictures/b/"]);
    let path = |name: &str| folder.path().join(name);
    assert!(error(&path("file")).ends_with("is a file, expected a folder with a subfolder for each class"));
    assert!(
        error(&path("no-classes"))
            .ends_with("has no subfolders; expected one for each class, with pictures in it")
    );
    assert!(error(&path("no-pictures")).ends_with(
        "has no pictures in its subfolders a, b; looked for files that end in .jpg, .jpeg or .png"
    ));
    let missing = format!("{:#}", Catalog::read("no/such/folder").unwrap_err());
    let at = std::env::current_dir().unwrap().join("no/such/folder");
    assert_eq!(
        missing,
        format!(
            "folder \"no/such/folder\" cannot be read; it is looked for at {}: No such file or directory (os error 2)",
            at.display()
        )
    );
}
