//! An instance of libjpeg-turbo's decoder: all calls of the C library.
//!
//! An [`Instance`] owns the library's handle, which no other code has, and calls it from one thread at a
//! time, for one file. The library reports errors by return values. It is not told the size of the pixels'
//! buffer, but what to decode, of a file whose header it has read: as much as the buffer has room for.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

use cobuf_plugin_api::prelude::*;
use turbojpeg_sys as sys;

use super::window::Window;
use crate::region::CHANNELS;

/// The most scans of a progressive file; a small file of many scans of a large picture would take long.
const MAX_SCANS: c_int = 500;
/// How the library's warnings begin (`jerror.h`). They are about damage that it repairs as well as it can.
const WARNINGS: [&str; 6] = [
    "Corrupt JPEG data",
    "Premature end of JPEG file",
    "Inconsistent progression sequence",
    "Invalid SOS parameters for sequential JPEG",
    "Unknown Adobe color transform code",
    "Warning: ",
];

/// A decoder of one file.
#[derive(Debug)]
pub(super) struct Instance<'file> {
    handle: NonNull<c_void>,
    file: &'file [u8],
}

impl<'file> Instance<'file> {
    /// Reads a file's header. `max_bytes` bounds what the library allocates.
    ///
    /// # Errors
    /// There is no memory, or the header is corrupt.
    pub(super) fn open(file: &'file [u8], max_bytes: u64) -> Result<Self> {
        // SAFETY: the number is one of the library's.
        let handle = unsafe { sys::tj3Init(sys::TJINIT_TJINIT_DECOMPRESS as c_int) };
        let handle = NonNull::new(handle).context("libjpeg-turbo cannot start: no memory")?;
        let instance = Self { handle, file };
        let megabytes = c_int::try_from(max_bytes.div_ceil(1 << 20)).unwrap_or(c_int::MAX);
        instance.set(sys::TJPARAM_TJPARAM_MAXMEMORY, megabytes)?;
        instance.set(sys::TJPARAM_TJPARAM_SCANLIMIT, MAX_SCANS)?;
        // SAFETY: the handle is ours, and the file's bytes are as many as said.
        let status = unsafe {
            sys::tj3DecompressHeader(instance.handle.as_ptr(), file.as_ptr(), file.len() as sys::size_t)
        };
        instance.check(status)?;
        Ok(instance)
    }

    /// The width and height of the picture in pixels; 0 if the file has no picture.
    pub(super) fn size(&self) -> (u32, u32) {
        let get = |parameter| u32::try_from(self.get(parameter)).unwrap_or(0);
        (get(sys::TJPARAM_TJPARAM_JPEGWIDTH), get(sys::TJPARAM_TJPARAM_JPEGHEIGHT))
    }

    /// The width and height of the picture made smaller by a divisor.
    pub(super) fn size_by(&self, divisor: u32) -> (u32, u32) {
        let (width, height) = self.size();
        (width.div_ceil(divisor), height.div_ceil(divisor))
    }

    /// Whether the picture can become RGB.
    pub(super) fn becomes_rgb(&self) -> bool {
        let colors = [sys::TJCS_TJCS_RGB, sys::TJCS_TJCS_YCbCr, sys::TJCS_TJCS_GRAY];
        colors.map(|color| color as c_int).contains(&self.get(sys::TJPARAM_TJPARAM_COLORSPACE))
            && self.get(sys::TJPARAM_TJPARAM_LOSSLESS) == 0
            && self.get(sys::TJPARAM_TJPARAM_PRECISION) == 8
    }

    /// The width in pixels of the blocks at which a window may begin; `None` if the picture has colours of
    /// a resolution of which the library decodes no windows.
    pub(super) fn block_width(&self) -> Option<u32> {
        match self.get(sys::TJPARAM_TJPARAM_SUBSAMP) {
            sys::TJSAMP_TJSAMP_UNKNOWN => None,
            sys::TJSAMP_TJSAMP_411 => Some(32),
            // Those whose blocks have 8 pixels may also be written with 16, in factors that are not the
            // smallest, and the library does not say which.
            _ => Some(16),
        }
    }

    /// Decodes a window into `rgb`, of the picture made smaller by a divisor.
    ///
    /// # Errors
    /// The file is corrupt, the window is not within the picture, or it does not begin at a block.
    pub(super) fn decode(&mut self, divisor: u32, window: Window, rgb: &mut Vec<u8>) -> Result<()> {
        // A region of no width would be all that is right of it for the library.
        ensure!(window.width > 0 && window.height > 0, "the window has no pixels");
        let factor = sys::tjscalingfactor { num: 1, denom: divisor as c_int };
        // SAFETY: the handle is ours.
        self.check(unsafe { sys::tj3SetScalingFactor(self.handle.as_ptr(), factor) })?;
        if window != Window::of(self.size_by(divisor)) {
            let [x, y, w, h] =
                [window.left, window.top, window.width, window.height].map(|pixels| pixels as c_int);
            // SAFETY: the handle is ours.
            self.check(unsafe {
                sys::tj3SetCroppingRegion(self.handle.as_ptr(), sys::tjregion { x, y, w, h })
            })?;
        }
        rgb.clear();
        // Zeros, so that pixels that are left out never show an earlier picture.
        rgb.resize(window.width as usize * window.height as usize * CHANNELS, 0);
        // SAFETY: the handle is ours, and the file's bytes are as many as said. The scale and the region
        // were set for the header of the same bytes, and give `window.height` rows of `window.width`
        // pixels, without padding since the pitch is 0: as many bytes as `rgb` has.
        let status = unsafe {
            sys::tj3Decompress8(
                self.handle.as_ptr(),
                self.file.as_ptr(),
                self.file.len() as sys::size_t,
                rgb.as_mut_ptr(),
                0,
                sys::TJPF_TJPF_RGB as c_int,
            )
        };
        self.check(status)
    }

    fn get(&self, parameter: sys::TJPARAM) -> c_int {
        // SAFETY: the handle is ours, and the number is one of the library's.
        unsafe { sys::tj3Get(self.handle.as_ptr(), parameter as c_int) }
    }

    fn set(&self, parameter: sys::TJPARAM, value: c_int) -> Result<()> {
        // SAFETY: as above.
        self.check(unsafe { sys::tj3Set(self.handle.as_ptr(), parameter as c_int, value) })
    }

    /// An error, unless all went well or the library only warns: it goes on after a warning, and then
    /// returns the same status as after an error, with the message of what came last.
    fn check(&self, status: c_int) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the handle is ours.
        let text = unsafe { sys::tj3GetErrorStr(self.handle.as_ptr()) };
        // SAFETY: the library's text ends with a zero, and stays until the thread's next call.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        ensure!(WARNINGS.iter().any(|warning| text.starts_with(warning)), "libjpeg-turbo: {text}");
        Ok(())
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and it is not used afterwards.
        unsafe { sys::tj3Destroy(self.handle.as_ptr()) };
    }
}
