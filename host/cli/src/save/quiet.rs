//! A file that keeps its first error, and from then on only counts: for a writer that prints errors
//! by itself when it is dropped, past the terminal's thread.

use std::io::{self, Seek, SeekFrom, Write};

/// A file with such an error, if there was one.
pub(super) struct Quiet<W> {
    inner: W,
    position: u64,
    end: u64,
    error: Option<io::Error>,
}

impl<W: Write + Seek> Quiet<W> {
    /// An empty file.
    pub(super) fn new(inner: W) -> Self {
        Self { inner, position: 0, end: 0, error: None }
    }

    /// Whether everything was written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.error.map_or(Ok(()), Err)
    }

    fn attempt(&mut self, act: impl FnOnce(&mut W) -> io::Result<()>) {
        if self.error.is_none() {
            self.error = act(&mut self.inner).err();
        }
    }
}

impl<W: Write + Seek> Write for Quiet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(|inner| inner.write_all(bytes));
        self.position += bytes.len() as u64;
        self.end = self.end.max(self.position);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(Write::flush);
        Ok(())
    }
}

impl<W: Write + Seek> Seek for Quiet<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
        };
        let target = target.ok_or(io::ErrorKind::InvalidInput)?;
        self.attempt(|inner| inner.seek(SeekFrom::Start(target)).map(drop));
        self.position = target;
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn first_error_is_kept_and_positions_go_on() {
        let mut small = [0; 4];
        let mut file = Quiet::new(Cursor::new(&mut small[..]));
        file.write_all(b"abc").unwrap();
        file.write_all(b"def").unwrap();
        file.seek(SeekFrom::Start(1)).unwrap();
        file.write_all(b"x").unwrap();
        assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), 6);
        assert!(file.seek(SeekFrom::Current(-7)).is_err());
        assert_eq!(file.finish().unwrap_err().kind(), io::ErrorKind::WriteZero);
        assert_eq!(small[..3], *b"abc", "nothing is written after an error");
        let mut file = Quiet::new(Cursor::new(Vec::new()));
        file.write_all(b"abc").unwrap();
        file.finish().unwrap();
    }
}
