//! Checks whether this is a complete ELF shared library for this machine, and finds its manifest.
//! It reads the bytes before `dlopen`, because the loader maps a truncated file and dies of SIGBUS
//! in it.

use cobuf_plugin_api::manifest::MANIFEST_SECTION;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, FileKind, ReadRef};

/// The ELF machine number of the machine that this host was built for.
const MACHINE: elf::Machine = if cfg!(target_arch = "x86_64") {
    elf::EM_X86_64
} else if cfg!(target_arch = "aarch64") {
    elf::EM_AARCH64
} else {
    elf::EM_NONE
};

const NO_LIBRARY: &str =
    "it is an executable or an object file, not a shared library; build it with crate-type = [\"cdylib\"]";

/// The bytes of the manifest's section; `None` if the library has none. The error says why the file
/// is not a usable library.
pub(super) fn manifest_section(bytes: &[u8]) -> Result<Option<&[u8]>, String> {
    if bytes.is_empty() {
        return Err("it is empty; build or copy it again".to_owned());
    }
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf64) => {}
        Ok(other) => {
            return Err(format!(
                "it is a file of kind {other:?}, expected a 64-bit ELF shared library (.so)"
            ));
        }
        Err(_) => return Err("it is not an ELF file, expected a shared library (.so)".to_owned()),
    }
    let broken =
        |reason: object::Error| format!("it is truncated or damaged ({reason}); build or copy it again");
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    if endian != Endianness::default() {
        return Err(format!(
            "it was built for a machine with another byte order; build it for {}",
            std::env::consts::ARCH
        ));
    }
    if header.e_type(endian) != elf::ET_DYN {
        return Err(NO_LIBRARY.to_owned());
    }
    if header.e_machine(endian) != MACHINE {
        return Err(format!(
            "it was built for another machine (ELF machine {}, this is {}); build it for {}",
            header.e_machine(endian).0,
            MACHINE.0,
            std::env::consts::ARCH
        ));
    }
    let truncated = |what: &str, end: u64| {
        format!(
            "it is truncated: its {what} reach to byte {end}, the file has {}; build or copy it again",
            bytes.len()
        )
    };
    for segment in header.program_headers(endian, bytes).map_err(broken)? {
        let end = segment.p_offset(endian).saturating_add(segment.p_filesz(endian));
        if end > bytes.len() as u64 {
            return Err(truncated("segments", end));
        }
        for entry in segment.dynamic(endian, bytes).map_err(broken)?.unwrap_or_default() {
            // A position-independent executable differs from a shared library only in this flag,
            // for which the loader refuses it.
            if entry.tag(endian) == elf::DT_FLAGS_1 && entry.val(endian) & elf::DF_1_PIE.0 != 0 {
                return Err(NO_LIBRARY.to_owned());
            }
        }
    }
    let headers_end = header.e_shoff(endian).saturating_add(
        u64::from(header.e_shnum(endian)).saturating_mul(u64::from(header.e_shentsize(endian))),
    );
    if headers_end > bytes.len() as u64 {
        return Err(truncated("section headers", headers_end));
    }
    let sections = header.sections(endian, bytes).map_err(broken)?;
    let Some((_, section)) = sections.section_by_name(endian, MANIFEST_SECTION.as_bytes()) else {
        return Ok(None);
    };
    let (offset, size) = (section.sh_offset(endian), section.sh_size(endian));
    bytes
        .read_bytes_at(offset, size)
        .map(Some)
        .map_err(|()| truncated("sections", offset.saturating_add(size)))
}
