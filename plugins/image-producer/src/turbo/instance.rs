//! An instance of libjpeg-turbo's decoder: all calls of the C library.
//!
//! An [`Instance`] owns the library's, which no other code has, and calls it from one thread at a time.
//! The library reports errors by return values, and keeps within the buffers whose sizes it is told.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

use cobuf_plugin_api::prelude::*;
use turbojpeg_sys as sys;

use super::window::Window;

/// The most scans of a progressive file; a small file of many scans of a large picture would take long.
const MAX_SCANS: c_int = 500;
/// Bytes of a pixel: red, green, blue.
const CHANNELS: usize = 3;
/// How the library's warnings begin (`jerror.h`). They are about damage that it repairs as well as it can.
const WARNINGS: [&str; 6] = [
    "Corrupt JPEG data",
    "Premature end of JPEG file",
    "Inconsistent progression sequence",
    "Invalid SOS parameters for sequential JPEG",
    "Unknown Adobe color transform code",
    "Warning: ",
];

#[derive(Debug)]
pub(super) struct Instance(NonNull<c_void>);

impl Instance {
    /// `max_bytes` bounds what it allocates.
    pub(super) fn new(max_bytes: u64) -> Result<Self> {
        // SAFETY: the number is one of the library's.
        let handle = unsafe { sys::tj3Init(sys::TJINIT_TJINIT_DECOMPRESS as c_int) };
        let instance = Self(NonNull::new(handle).context("libjpeg-turbo cannot start: no memory")?);
        let megabytes = c_int::try_from(max_bytes.div_ceil(1 << 20)).unwrap_or(c_int::MAX);
        instance.set(sys::TJPARAM_TJPARAM_MAXMEMORY, megabytes)?;
        instance.set(sys::TJPARAM_TJPARAM_SCANLIMIT, MAX_SCANS)?;
        Ok(instance)
    }

    /// The width and height of the file whose header was read, in pixels.
    pub(super) fn size(&self) -> (i64, i64) {
        let get = |parameter| i64::from(self.get(parameter));
        (get(sys::TJPARAM_TJPARAM_JPEGWIDTH), get(sys::TJPARAM_TJPARAM_JPEGHEIGHT))
    }

    pub(super) fn read_header(&mut self, file: &[u8]) -> Result<()> {
        // SAFETY: the instance is ours, and the file's bytes are as many as said.
        let status =
            unsafe { sys::tj3DecompressHeader(self.0.as_ptr(), file.as_ptr(), file.len() as sys::size_t) };
        self.check(status).context("the header cannot be decoded")
    }

    /// Whether the file whose header was read can become RGB.
    pub(super) fn becomes_rgb(&self) -> bool {
        let colors = [sys::TJCS_TJCS_RGB, sys::TJCS_TJCS_YCbCr, sys::TJCS_TJCS_GRAY];
        colors.map(|color| color as c_int).contains(&self.get(sys::TJPARAM_TJPARAM_COLORSPACE))
            && self.get(sys::TJPARAM_TJPARAM_LOSSLESS) == 0
            && self.get(sys::TJPARAM_TJPARAM_PRECISION) == 8
    }

    /// The width in pixels of the blocks at which a region may begin; `None` if the file has colours of
    /// a resolution of which the library decodes no regions.
    pub(super) fn block_width(&self) -> Option<u32> {
        match self.get(sys::TJPARAM_TJPARAM_SUBSAMP) {
            sys::TJSAMP_TJSAMP_444
            | sys::TJSAMP_TJSAMP_GRAY
            | sys::TJSAMP_TJSAMP_440
            | sys::TJSAMP_TJSAMP_441 => Some(8),
            sys::TJSAMP_TJSAMP_422 | sys::TJSAMP_TJSAMP_420 => Some(16),
            sys::TJSAMP_TJSAMP_411 => Some(32),
            _ => None,
        }
    }

    /// Sets what is decoded of the file whose header was read.
    pub(super) fn set_window(&mut self, divisor: u32, window: Window, whole: (u32, u32)) -> Result<()> {
        // The library checks a region against the scale, so the last file's region goes first.
        self.set_region(sys::tjregion { x: 0, y: 0, w: 0, h: 0 })?;
        let factor = sys::tjscalingfactor { num: 1, denom: divisor as c_int };
        // SAFETY: the instance is ours.
        self.check(unsafe { sys::tj3SetScalingFactor(self.0.as_ptr(), factor) })?;
        if (window.width, window.height) == whole {
            return Ok(());
        }
        let [x, y, w, h] =
            [window.left, window.top, window.width, window.height].map(|pixels| pixels as c_int);
        self.set_region(sys::tjregion { x, y, w, h })
    }

    fn set_region(&mut self, region: sys::tjregion) -> Result<()> {
        // SAFETY: the instance is ours.
        self.check(unsafe { sys::tj3SetCroppingRegion(self.0.as_ptr(), region) })
    }

    /// Decodes the window of a file into `rgb`. Both were set after the file's header was read.
    pub(super) fn decode(&mut self, file: &[u8], window: Window, rgb: &mut Vec<u8>) -> Result<()> {
        rgb.clear();
        // Zeros, so that pixels that are left out never show an earlier picture.
        rgb.resize(window.width as usize * window.height as usize * CHANNELS, 0);
        // SAFETY: the instance is ours, and the file's bytes are as many as said. The scale and the region
        // that were set for this file's header give `window.height` rows of `window.width` pixels, without
        // padding since the pitch is 0: as many bytes as `rgb` has.
        let status = unsafe {
            sys::tj3Decompress8(
                self.0.as_ptr(),
                file.as_ptr(),
                file.len() as sys::size_t,
                rgb.as_mut_ptr(),
                0,
                sys::TJPF_TJPF_RGB as c_int,
            )
        };
        self.check(status).context("the pixels cannot be decoded")
    }

    fn get(&self, parameter: sys::TJPARAM) -> c_int {
        // SAFETY: the instance is ours, and the number is one of the library's.
        unsafe { sys::tj3Get(self.0.as_ptr(), parameter as c_int) }
    }

    fn set(&self, parameter: sys::TJPARAM, value: c_int) -> Result<()> {
        // SAFETY: as above.
        self.check(unsafe { sys::tj3Set(self.0.as_ptr(), parameter as c_int, value) })
    }

    /// An error, unless all went well or the library only warns: it goes on after a warning, and then
    /// returns the same status as after an error, with the message of what came last.
    fn check(&self, status: c_int) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the instance is ours.
        let text = unsafe { sys::tj3GetErrorStr(self.0.as_ptr()) };
        // SAFETY: the library's text ends with a zero, and stays until the thread's next call.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        ensure!(WARNINGS.iter().any(|warning| text.starts_with(warning)), "libjpeg-turbo: {text}");
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: the instance is ours, and it is not used afterwards.
        unsafe { sys::tj3Destroy(self.0.as_ptr()) };
    }
}
