//! Files that users name: read if they have an end, replaced in one step.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::ulimit;

/// How many links may lead to a file, as many as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Reads a file, or a pipe until its writers have closed it. A device is refused, because it may
/// have no end.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Err(io::Error::other("it is a device, expected a file or a pipe"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces a file in one step. At every moment it is either the old one or the new one, even if
/// the machine fails. If the path is a link, the link stays, and its target is replaced.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_by(path, |file| file.write_all(content))
}

/// As [`replace`], with content that is written bit by bit.
pub(crate) fn replace_by<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<T> {
    let path = &target_of(path)?;
    let written = put(path, write, File::sync_all)?;
    // The new name is on the disk once its folder is synchronised.
    File::open(folder_of(path))?.sync_all()?;
    Ok(written)
}

/// Replaces a file as [`replace`] does, without a wait for the disk: for one that is soon replaced
/// again, and not missed if the machine fails.
#[cfg(feature = "metrics")]
pub(crate) fn refresh(path: &Path, content: &[u8]) -> io::Result<()> {
    put(&target_of(path)?, |file| file.write_all(content), |_| Ok(()))
}

/// Puts a new file in the place of another, once `settle` was called with it.
fn put<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    settle: fn(&File) -> io::Result<()>,
) -> io::Result<T> {
    // The name is always the same, so that a file that a death has left there goes the next time.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = BufWriter::new(WithinLimit { file: File::create_new(&new)?, bytes: 0 });
    let written = write(&mut file).and_then(|written| {
        file.flush()?;
        settle(&file.get_ref().file)?;
        fs::rename(&new, path)?;
        Ok(written)
    });
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}

/// A file that is checked against the limit of this process, beyond which a signal would end it.
struct WithinLimit {
    file: File,
    bytes: u64,
}

impl Write for WithinLimit {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ulimit::check_file_size(self.bytes.saturating_add(bytes.len() as u64))?;
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a file that does not exist yet, in one step: it is there with its content, or not at all.
/// The error is `AlreadyExists` if another process was faster.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    ulimit::check_file_size(content.len() as u64)?;
    let folder = folder_of(path);
    let everyone = fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().prefix(".cobuf-").permissions(everyone).tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// The file that a path leads to, which need not exist: the end of a chain of links.
fn target_of(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(data) if data.is_dir() => return Err(Errno::ISDIR.into()),
        Ok(data) if !data.is_file() => {
            return Err(io::Error::other("it is a pipe, a socket or a device, expected a regular file"));
        }
        _ => {}
    }
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            // A relative link begins at its own folder.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // It is no link, or does not exist.
            Err(error) if [Errno::INVAL, Errno::NOENT].contains(&errno(&error)) => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP.into())
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder, and the paths of these names in it.
    fn folder<const N: usize>(names: [&str; N]) -> (tempfile::TempDir, [PathBuf; N]) {
        let folder = tempfile::tempdir().unwrap();
        let paths = names.map(|name| folder.path().join(name));
        (folder, paths)
    }

    /// The entries of a folder, sorted.
    fn entries(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    fn is_link(path: &Path) -> bool {
        fs::symlink_metadata(path).unwrap().is_symlink()
    }

    #[test]
    fn target_of_a_link_is_replaced_and_the_link_stays() {
        let (folder, [near, far, file]) = folder(["near", "deep/far", "deep/real/file"]);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        symlink("deep/far", &near).unwrap();
        symlink("real/file", &far).unwrap();
        // At first the chain is dangling.
        for content in ["old", "new"] {
            replace(&near, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
            assert!(is_link(&near) && is_link(&far) && !is_link(&file));
        }
        replace(&file, b"direct").unwrap();
        assert_eq!(fs::read_to_string(&near).unwrap(), "direct");
        // Through a linked folder, and with an absolute target.
        symlink(folder.path().join("deep/real"), folder.path().join("shortcut")).unwrap();
        symlink(&file, folder.path().join("absolute")).unwrap();
        for path in ["shortcut/file", "absolute"] {
            replace(&folder.path().join(path), path.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), path);
        }
        assert_eq!(entries(folder.path()), ["absolute", "deep", "near", "shortcut"]);
        assert_eq!(entries(file.parent().unwrap()), ["file"]);
    }

    #[test]
    fn only_a_regular_file_is_replaced() {
        let (folder, [one, two, pipe, to_pipe, lost]) = folder(["one", "two", "pipe", "to-pipe", "lost"]);
        symlink("two", &one).unwrap();
        symlink("one", &two).unwrap();
        symlink("nowhere/at/all", &lost).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        symlink("pipe", &to_pipe).unwrap();
        let reason = |path: &Path| replace(path, b"x").unwrap_err().to_string();
        assert!(reason(&one).contains("Too many levels of symbolic links"));
        assert!(reason(folder.path()).contains("Is a directory"));
        assert!(reason(&lost).contains("No such file"));
        for path in [&pipe, &to_pipe, Path::new("/dev/null")] {
            assert!(reason(path).contains("expected a regular file"));
        }
        assert_eq!(entries(folder.path()), ["lost", "one", "pipe", "to-pipe", "two"]);
    }

    #[test]
    fn leftover_under_the_temporary_name_is_not_written_through() {
        let (_folder, [file, temporary, precious]) = folder(["file", "file.tmp", "precious"]);
        fs::write(&precious, "precious").unwrap();
        symlink("precious", &temporary).unwrap();
        replace(&file, b"new").unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert!(!temporary.exists() && !is_link(&file));
    }

    #[test]
    fn file_that_cannot_be_written_to_its_end_leaves_the_old_one() {
        let (folder, [file]) = folder(["file"]);
        fs::write(&file, "old").unwrap();
        let full = replace_by(&file, |new| {
            new.write_all(&[0; 100_000])?;
            Err::<(), _>(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            (fs::read_to_string(&file).unwrap(), entries(folder.path())),
            ("old".to_owned(), vec!["file".to_owned()])
        );
    }

    #[test]
    fn device_is_not_read() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "it is a device, expected a file or a pipe");
    }
}
