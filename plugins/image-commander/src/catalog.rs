//! The classes and pictures of a folder, in an order that is the same on every machine.

use std::fs::{self, DirEntry, FileType, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cobuf_plugin_api::prelude::*;

/// The endings of pictures' names, in lower case.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// The classes and pictures of a folder.
#[derive(Debug)]
pub(crate) struct Catalog {
    /// The names of the class folders, sorted by their bytes. A class's label is its index here.
    pub(crate) classes: Vec<String>,
    /// The pictures of all classes, sorted by the bytes of their paths.
    pub(crate) pictures: Vec<Picture>,
}

/// A picture's file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Picture {
    /// The path inside the folder, `class/…/name`.
    pub(crate) path: String,
    pub(crate) label: i64,
}

impl Catalog {
    /// Lists a folder.
    ///
    /// # Errors
    /// The path is not a folder, the folder has no classes or no pictures, an entry cannot be read,
    /// or the name of a class, a folder or a picture is not UTF-8.
    pub(crate) fn read(folder: &str) -> Result<Self> {
        let metadata = fs::metadata(folder).with_context(|| {
            format!("folder {:?} cannot be read; it is looked for at {}", folder, shown(folder))
        })?;
        ensure!(
            metadata.is_dir(),
            "folder {folder:?} is a file, expected a folder with a subfolder for each class"
        );
        let mut walk = Walk { pictures: Vec::new(), ancestors: vec![identity(&metadata)] };
        let classes = classes(Path::new(folder))?;
        ensure!(
            !classes.is_empty(),
            "folder {folder:?} has no subfolders; expected one for each class, with pictures in it"
        );
        for (label, class) in (0..).zip(&classes) {
            walk.folder(&Path::new(folder).join(class), class, label)?;
        }
        let mut pictures = walk.pictures;
        ensure!(
            !pictures.is_empty(),
            "folder {folder:?} has no pictures in its subfolders {}; looked for files that end in .jpg, .jpeg or .png",
            few(&classes)
        );
        pictures.sort_unstable();
        Ok(Self { classes, pictures })
    }
}

/// The path as an absolute path, for messages.
fn shown(folder: &str) -> String {
    std::path::absolute(folder).unwrap_or_default().display().to_string()
}

/// The first few names of many.
fn few(names: &[String]) -> String {
    const MOST: usize = 5;
    let more = if names.len() > MOST { ", …" } else { "" };
    format!("{}{more}", names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", "))
}

/// The names of the class folders, sorted.
fn classes(folder: &Path) -> Result<Vec<String>> {
    let (mut classes, mut strays) = (Vec::new(), 0);
    for entry in entries(folder)? {
        let path = entry.path();
        if file_type(&entry)?.is_dir() {
            classes.push(utf8_name(&entry)?);
        } else if is_picture(&path) {
            strays += 1;
        }
    }
    if strays > 0 {
        log::warn!(
            "{strays} pictures lie in folder {folder:?} itself, in no class's subfolder; they are left out"
        );
    }
    classes.sort_unstable();
    Ok(classes)
}

/// A walk through the folders of all classes.
struct Walk {
    pictures: Vec<Picture>,
    /// Device and inode of each folder from the outermost to the parent of the current one. A
    /// symlink that leads back to one of them is a cycle.
    ancestors: Vec<(u64, u64)>,
}

impl Walk {
    /// Lists the pictures of a folder and its subfolders. `inside` is the folder's path inside the
    /// outermost one.
    fn folder(&mut self, folder: &Path, inside: &str, label: i64) -> Result<()> {
        let metadata = fs::metadata(folder).with_context(|| format!("folder {folder:?} cannot be read"))?;
        if self.ancestors.contains(&identity(&metadata)) {
            return Ok(());
        }
        self.ancestors.push(identity(&metadata));
        for entry in entries(folder)? {
            let path = entry.path();
            if file_type(&entry)?.is_dir() {
                self.folder(&path, &format!("{inside}/{}", utf8_name(&entry)?), label)?;
            } else if is_picture(&path) {
                self.pictures.push(Picture { path: format!("{inside}/{}", utf8_name(&entry)?), label });
            }
        }
        self.ancestors.pop();
        Ok(())
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The entries of a folder, without hidden ones, in any order.
fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let failed = || format!("folder {folder:?} cannot be listed");
    let mut entries =
        fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).with_context(failed)?;
    entries.retain(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    Ok(entries)
}

/// The type of a file, or of a symlink's target. A symlink without a target counts as itself. It,
/// and what else is no regular file, such as a pipe, is listed by its name like a picture: the
/// producer finds that it cannot be used, and does what its configuration says.
fn file_type(entry: &DirEntry) -> Result<FileType> {
    let path = entry.path();
    let link = entry.file_type().with_context(|| format!("{path:?} cannot be read"))?;
    Ok(if link.is_symlink() { fs::metadata(path).map_or(link, |target| target.file_type()) } else { link })
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn utf8_name(entry: &DirEntry) -> Result<String> {
    entry.file_name().into_string().ok().with_context(|| not_utf8(&entry.path()))
}

fn not_utf8(path: &Path) -> String {
    format!("the name of {path:?} is not UTF-8, which messages cannot carry; rename it")
}

#[cfg(test)]
mod tests;
