//! The safetensors format: a JSON header, then the bytes of all arrays.
//!
//! ```text
//!   length of the header (8 bytes) │ {"__metadata__":{"message":"{…}",…},"image":{"dtype":"F32",…},…} │ image │ label │ …
//! ```
//!
//! The arrays with the largest elements come first, so that each is aligned in a mapped file, as the
//! format's own writer does it. That writer needs a second copy of the batch in memory, or a name of
//! its own in the folder; this one does not. The same batch always gives the same bytes.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Result, ensure};
use cobuf_host::{DType, Schema};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use super::content::{ABOUT, Array, Content};

/// What the length of the header is a multiple of.
const ALIGNMENT: usize = 8;

/// Refuses an array whose name the format needs.
pub(super) fn check(schema: &Schema) -> Result<()> {
    ensure!(
        schema.index_of(ABOUT).is_none(),
        "--save: the array {ABOUT:?} cannot have this name in a file; name it differently"
    );
    Ok(())
}

fn dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::U16 => Dtype::U16,
        DType::U32 => Dtype::U32,
        DType::U64 => Dtype::U64,
        DType::I8 => Dtype::I8,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::F16 => Dtype::F16,
        DType::Bf16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
    }
}

pub(super) fn write(mut file: impl Write, content: &Content<'_>) -> Result<()> {
    let mut arrays: Vec<&Array<'_>> = content.arrays.iter().collect();
    arrays.sort_by_key(|array| std::cmp::Reverse(array.spec.dtype().size()));
    let mut header = header(content, &arrays)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for array in arrays {
        file.write_all(array.bytes)?;
    }
    Ok(file.flush()?)
}

/// The header, without what fills it up.
fn header(content: &Content<'_>, arrays: &[&Array<'_>]) -> Result<Vec<u8>> {
    let about = &content.about;
    // A map of texts, as the format wants it.
    let texts = BTreeMap::from([
        ("arrays", serde_json::to_string(about.arrays)?),
        ("message", about.message.to_string()),
        ("metadata", about.metadata.to_string()),
        ("sequence", about.sequence.to_string()),
    ]);
    let mut header = BTreeMap::from([(ABOUT, serde_json::to_value(texts)?)]);
    let mut end = 0;
    for Array { spec, shape, bytes } in arrays {
        let data_offsets = (end, end + bytes.len());
        end = data_offsets.1;
        let info = TensorInfo { dtype: dtype(spec.dtype()), shape: shape.clone(), data_offsets };
        header.insert(spec.name(), serde_json::to_value(info)?);
    }
    Ok(serde_json::to_vec(&header)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::save::content::About;
    use cobuf_host::{ArraySpec, Dictionary};
    use safetensors::SafeTensors;

    #[test]
    fn file_is_read_by_the_formats_own_reader() {
        let specs = DType::ALL.iter().map(|dtype| ArraySpec::new(dtype.name(), *dtype, [3, 2]).at_most([0]));
        let specs: Vec<ArraySpec> = specs.collect();
        let bytes: Vec<u8> = (0..64).collect();
        let arrays = specs.iter().map(|spec| Array {
            spec,
            shape: vec![1, 2],
            bytes: &bytes[..2 * spec.dtype().size()],
        });
        let message = Dictionary::new().with("päth", "a\"b");
        let about = About { sequence: 7, message, metadata: Dictionary::new(), arrays: &specs };
        let content = Content { arrays: arrays.collect(), about };
        let mut file = Vec::new();
        write(&mut file, &content).unwrap();
        let (_, header) = SafeTensors::read_metadata(&file).unwrap();
        let texts = header.metadata().as_ref().unwrap();
        assert_eq!((texts["sequence"].as_str(), texts["message"].as_str()), ("7", r#"{"päth":"a\"b"}"#));
        let read = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(read.len(), DType::ALL.len());
        for spec in &specs {
            let tensor = read.tensor(spec.name()).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (dtype(spec.dtype()), &[1, 2][..]));
            assert_eq!(tensor.data(), &bytes[..2 * spec.dtype().size()]);
            assert_eq!(
                tensor.data().as_ptr().align_offset(spec.dtype().size()),
                file.as_ptr().align_offset(8),
                "aligned"
            );
        }
    }

    #[test]
    fn reserved_name_is_refused() {
        let schema = Schema::new([ArraySpec::new(ABOUT, DType::U8, [1])]).unwrap();
        assert!(check(&schema).unwrap_err().to_string().contains("cannot have this name"));
    }
}
