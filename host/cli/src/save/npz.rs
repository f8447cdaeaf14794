//! NumPy's format for several arrays: a zip archive, not compressed, with a file `NAME.npy` for each.
//!
//! ```text
//!   image.npy           \x93NUMPY, version 1.0, {'descr': '<f4', 'fortran_order': False, 'shape': (64, 8, 8), }, bytes
//!   label.npy           …
//!   __metadata__.npy    a text without dimensions ('<U…'): JSON; np.load reads it without pickle
//! ```
//!
//! The format is NEP 1, <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{Seek, Write};

use anyhow::{Result, bail};
use cobuf_host::{ArraySpec, DType, Schema, Shape};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::content::{ABOUT, Array, Content};
use super::quiet::Quiet;

/// What the length of everything before an array's bytes is a multiple of.
const ALIGNMENT: usize = 64;
/// Magic, version, and length of the header.
const PREAMBLE: usize = 10;

/// Refuses arrays that NumPy does not have, or could not tell apart.
pub(super) fn check(schema: &Schema) -> Result<()> {
    for array in schema.arrays() {
        descr(array)?;
        // NumPy leaves the extension out of the names.
        let name = array.name();
        let twin = schema.arrays().iter().find(|other| other.name().strip_suffix(".npy") == Some(name));
        if name.strip_suffix(".npy").unwrap_or(name) == ABOUT || twin.is_some() {
            bail!(
                "--save: the array {name:?} cannot have this name in a file of the format npz; give --format safetensors, or \
                 name it differently"
            );
        }
    }
    Ok(())
}

/// NumPy's name of the element type.
fn descr(array: &ArraySpec) -> Result<&'static str> {
    Ok(match array.dtype() {
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::Bf16 => bail!(
            "--save: the array {:?} has elements of type bf16, which NumPy does not have; give --format safetensors",
            array.name()
        ),
    })
}

pub(super) fn write(file: impl Write + Seek, content: &Content<'_>) -> Result<()> {
    let mut archive = ZipWriter::new(Quiet::new(file));
    for Array { spec, shape, bytes } in &content.arrays {
        entry(&mut archive, spec.name(), descr(spec)?, shape, bytes)?;
    }
    let text: Vec<u32> = serde_json::to_string(&content.about)?.chars().map(u32::from).collect();
    let bytes: Vec<u8> = text.iter().flat_map(|letter| letter.to_le_bytes()).collect();
    entry(&mut archive, ABOUT, &format!("<U{}", text.len()), &[], &bytes)?;
    Ok(archive.finish()?.finish()?)
}

fn entry(
    archive: &mut ZipWriter<impl Write + Seek>,
    name: &str,
    descr: &str,
    shape: &[usize],
    bytes: &[u8],
) -> Result<()> {
    let header = header(descr, shape);
    let large = header.len() + bytes.len() >= zip::ZIP64_BYTES_THR as usize;
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
    archive.start_file(format!("{name}.npy"), options)?;
    archive.write_all(&header)?;
    archive.write_all(bytes)?;
    Ok(())
}

fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {}, }}", Shape(shape));
    let length = (PREAMBLE + text.len() + 1).next_multiple_of(ALIGNMENT);
    text.extend(std::iter::repeat_n(' ', length - PREAMBLE - text.len() - 1));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    // An array has at most 32 dimensions, so this is far below the format's limit.
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arrays: &[ArraySpec]) -> String {
        check(&Schema::new(arrays).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn header_is_as_numpy_writes_it() {
        let header = header("<f4", &[64, 8, 8]);
        assert_eq!(header.len() % ALIGNMENT, 0);
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (64, 8, 8), }";
        assert_eq!(header[..PREAMBLE], *b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(std::str::from_utf8(&header[PREAMBLE..]).unwrap(), format!("{text:<117}\n"));
    }

    #[test]
    fn array_that_numpy_does_not_have_is_refused_by_its_name() {
        let text = refusal(&[ArraySpec::new("x", DType::U8, [1]), ArraySpec::new("y", DType::Bf16, [2])]);
        assert!(text.contains("\"y\" has elements of type bf16") && text.contains("--format safetensors"));
        for name in ["__metadata__", "__metadata__.npy"] {
            assert!(refusal(&[ArraySpec::new(name, DType::U8, [1])]).contains("cannot have this name"));
        }
        let twins = ["x.npy", "x"].map(|name| ArraySpec::new(name, DType::U8, [1]));
        assert!(refusal(&twins).contains("\"x\" cannot have this name"));
        let all = DType::ALL.iter().filter(|&&dtype| dtype != DType::Bf16);
        let all: Vec<ArraySpec> = all.map(|dtype| ArraySpec::new(dtype.name(), *dtype, [1])).collect();
        check(&Schema::new(all).unwrap()).unwrap();
    }
}
