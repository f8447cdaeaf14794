//! Fills the arrays of a batch.

use cobuf_plugin_api::Rng;
use cobuf_plugin_api::ndarray::{ArrayViewMut, Dimension};
use cobuf_plugin_api::prelude::*;

use crate::number::{Fill, Number};

/// The content of the elements.
pub(crate) enum Filling<'rng> {
    Value(Number),
    Random(&'rng mut Rng),
}

/// Calls a generic function with the element type of a [`DType`].
macro_rules! with_element_type {
    ($dtype:expr, $function:ident($( $argument:expr ),*)) => {{
        use cobuf_plugin_api::half::{bf16, f16};
        match $dtype {
            DType::Bool => $function::<bool>($( $argument ),*),
            DType::U8 => $function::<u8>($( $argument ),*),
            DType::U16 => $function::<u16>($( $argument ),*),
            DType::U32 => $function::<u32>($( $argument ),*),
            DType::U64 => $function::<u64>($( $argument ),*),
            DType::I8 => $function::<i8>($( $argument ),*),
            DType::I16 => $function::<i16>($( $argument ),*),
            DType::I32 => $function::<i32>($( $argument ),*),
            DType::I64 => $function::<i64>($( $argument ),*),
            DType::F16 => $function::<f16>($( $argument ),*),
            DType::Bf16 => $function::<bf16>($( $argument ),*),
            DType::F32 => $function::<f32>($( $argument ),*),
            DType::F64 => $function::<f64>($( $argument ),*),
        }
    }};
}
pub(crate) use with_element_type;

/// Fills all arrays, in the schema's order.
pub(crate) fn fill(slot: &mut Slot<'_>, mut filling: Filling<'_>) -> Result<()> {
    for array in slot.schema().arrays() {
        with_element_type!(array.dtype(), fill_array(slot, array, &mut filling))?;
    }
    Ok(())
}

fn fill_array<T: Fill>(slot: &mut Slot<'_>, array: &ArraySpec, filling: &mut Filling<'_>) -> Result<()> {
    // A view whose number of axes is not known here takes ndarray hundreds of instructions. Tiny
    // batches, which are counted in instructions, have one axis.
    match array.shape().len() {
        1 => fill_view(slot.array::<T, Ix1>(array.name())?, array, filling),
        _ => fill_view(slot.array::<T, IxDyn>(array.name())?, array, filling),
    }
}

fn fill_view<T: Fill, D: Dimension>(
    mut elements: ArrayViewMut<'_, T, D>,
    array: &ArraySpec,
    filling: &mut Filling<'_>,
) -> Result<()> {
    match filling {
        Filling::Value(number) => elements.fill(element(*number, array)?),
        Filling::Random(rng) => elements.map_inplace(|element| *element = T::random(rng)),
    }
    Ok(())
}

fn element<T: Fill>(number: Number, array: &ArraySpec) -> Result<T> {
    T::from_number(number).with_context(|| {
        format!(
            "the value {number} does not fit array {:?}, whose dtype {} holds {}; take such a value or another dtype",
            array.name(),
            T::DTYPE,
            T::holds()
        )
    })
}
