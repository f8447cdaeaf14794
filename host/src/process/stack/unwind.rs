//! From registers to frames: the process's memory, the files mapped in it with their unwind tables,
//! and the walk.
//!
//! No value that is read is trusted: the memory is a plugin's and may contain anything.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, FrameAddress, MayAllocateDuringUnwind, Module, UnwindRegsNative,
    Unwinder, UnwinderNative,
};
use object::Endianness;
use object::elf::{FileHeader64, PT_GNU_EH_FRAME, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

use super::threads::{Blocked, Registers, Traced};
use crate::limits::{MAX_STACK_FRAMES, MAX_STACK_NAME_BYTES, MAX_UNWIND_TABLE_BYTES};

/// A process's memory.
pub(super) struct Memory {
    file: File,
    areas: Vec<Area>,
}

/// A line of /proc/PID/maps.
pub(super) struct Area {
    pub(super) range: Range<u64>,
    /// The offset in the file of the byte at the range's start.
    pub(super) offset: u64,
    pub(super) inode: u64,
    /// As the kernel says it, which need not be UTF-8.
    pub(super) path: OsString,
}

impl Memory {
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        let maps = fs::read(format!("/proc/{pid}/maps"))?;
        let areas = maps.split(|&byte| byte == b'\n').filter_map(Area::parse).collect();
        Ok(Self { file: File::open(format!("/proc/{pid}/mem"))?, areas })
    }

    /// Reads as many of these bytes as can be read.
    fn read(&self, address: u64, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], address.wrapping_add(done as u64)) {
                Ok(read) if read > 0 => done += read,
                _ => break,
            }
        }
        bytes.truncate(done);
        bytes
    }

    fn read_word(&self, address: u64) -> Result<u64, ()> {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, address).map_err(drop)?;
        Ok(u64::from_ne_bytes(word))
    }

    /// How many bytes there are from this address to the end of the mapped area that contains it.
    fn mapped_from(&self, address: u64) -> u64 {
        let area = self.areas.iter().find(|area| area.range.contains(&address));
        area.map_or(0, |area| area.range.end - address)
    }
}

impl Area {
    /// Parses `7f0c2a028000-7f0c2a1bd000 r-xp 00028000 fd:01 3932  /usr/lib/libc.so.6`.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let number = |text| u64::from_str_radix(text, 16).ok();
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let mut text = || fields.next().and_then(|field| str::from_utf8(field).ok());
        let (start, end) = text()?.split_once('-')?;
        let range = number(start)?..number(end)?;
        text()?; // its access
        let offset = number(text()?)?;
        text()?; // its device
        let inode = text()?.parse().ok()?;
        let path = OsStr::from_bytes(fields.next().unwrap_or_default().trim_ascii_start()).to_owned();
        Some(Self { range, offset, inode, path })
    }
}

// Files in memory.

/// A file that is mapped as the loader does it.
struct Image {
    path: OsString,
    range: Range<u64>,
    inode: u64,
    /// Set once a frame is in it.
    used: Option<Used>,
}

/// The facts about an image that has frames.
#[derive(Clone, Copy)]
struct Used {
    /// Its index in [`RawStack::modules`](crate::record::raw_stack::RawStack::modules).
    module: u32,
    /// The difference between an address in memory and the file's own address.
    bias: u64,
}

fn images(areas: &[Area]) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    for area in areas.iter().filter(|area| area.path.as_bytes().starts_with(b"/") || area.path == "[vdso]") {
        match images.last_mut() {
            Some(image) if area.offset > 0 && image.inode == area.inode && image.path == area.path => {
                image.range.end = area.range.end;
            }
            _ => images.push(Image {
                path: area.path.clone(),
                range: area.range.clone(),
                inode: area.inode,
                used: None,
            }),
        }
    }
    images
}

/// The facts from the head of a mapped ELF file.
struct Head {
    bias: u64,
    /// The range of `.eh_frame_hdr`, in the file's own addresses.
    unwind_header: Option<Range<u64>>,
}

impl Head {
    fn read(memory: &Memory, start: u64) -> Option<Self> {
        let bytes = memory.read(start, 8192);
        let header = FileHeader64::<Endianness>::parse(&*bytes).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, &*bytes).ok()?;
        let first = segments.iter().find(|segment| segment.p_type(endian) == PT_LOAD)?;
        let bias = start.wrapping_add(first.p_offset(endian)).wrapping_sub(first.p_vaddr(endian));
        let tables = segments.iter().find(|segment| segment.p_type(endian) == PT_GNU_EH_FRAME);
        let unwind_header = tables.map(|segment| {
            let at = segment.p_vaddr(endian);
            at..at.saturating_add(segment.p_memsz(endian))
        });
        Some(Self { bias, unwind_header })
    }

    /// The unwind tables, as far as the file has any. Without them framehop follows frame pointers.
    fn tables(&self, memory: &Memory, base: u64) -> ExplicitModuleSectionInfo<Vec<u8>> {
        let mut sections =
            ExplicitModuleSectionInfo { base_svma: base.wrapping_sub(self.bias), ..Default::default() };
        let Some(at) = self.unwind_header.clone() else { return sections };
        let header =
            memory.read(self.bias.wrapping_add(at.start), (at.end - at.start).min(MAX_UNWIND_TABLE_BYTES));
        // Version 1, and a pointer to .eh_frame as all linkers write it: 4 bytes, signed, relative
        // to its own address.
        let &[1, 0x1b, _, _, a, b, c, d, ..] = &*header else { return sections };
        let distance = i64::from(i32::from_le_bytes([a, b, c, d]));
        let frames = at.start.wrapping_add(4).wrapping_add_signed(distance);
        let address = self.bias.wrapping_add(frames);
        // Its length is not in memory. The bytes after it do no harm, because entries are found
        // through the header.
        let bytes = memory.read(address, memory.mapped_from(address).min(MAX_UNWIND_TABLE_BYTES));
        sections.eh_frame_svma = Some(frames..frames.wrapping_add(bytes.len() as u64));
        sections.eh_frame = Some(bytes);
        sections.eh_frame_hdr_svma = Some(at);
        sections.eh_frame_hdr = Some(header);
        sections
    }
}

// Walking.

/// Walks stacks; remembers the tables of the files that it has met.
pub(super) struct Walker<'a> {
    memory: &'a Memory,
    deadline: Instant,
    images: Vec<Image>,
    unwinder: UnwinderNative<Vec<u8>, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    /// The names of the images with frames.
    pub(super) modules: Vec<PathBuf>,
    name_bytes: usize,
}

impl<'a> Walker<'a> {
    pub(super) fn new(memory: &'a Memory, deadline: Instant) -> Self {
        let images = images(&memory.areas);
        let (unwinder, cache) = (UnwinderNative::new(), CacheNative::new());
        Self { memory, deadline, images, unwinder, cache, modules: Vec::new(), name_bytes: 0 }
    }

    pub(super) fn thread(&mut self, thread: &Traced, pid: i32) -> Option<Vec<(u32, u64)>> {
        if thread.is_stopped() {
            return Some(self.walk(Registers::of_stopped(thread.tid)?));
        }
        let blocked = Blocked::read(pid, thread.tid)?;
        let frames = self.walk(Registers::of_blocked(blocked));
        // The thread may have continued meanwhile; then its stack has changed during the walk.
        (Blocked::read(pid, thread.tid) == Some(blocked)).then_some(frames)
    }

    fn walk(&mut self, registers: Registers) -> Vec<(u32, u64)> {
        let Registers { ip, others: mut registers } = registers;
        let mut frames = Vec::new();
        let mut next = Some(FrameAddress::from_instruction_pointer(ip));
        while let Some(frame) = next {
            frames.push(self.place(frame));
            if frames.len() == MAX_STACK_FRAMES || Instant::now() >= self.deadline {
                break;
            }
            if let Some(interrupted) = self.interrupted(frame, &registers) {
                registers = interrupted.others;
                // Like a return address: one byte after the instruction that it stands for.
                next = FrameAddress::from_return_address(interrupted.ip.saturating_add(1));
                continue;
            }
            let read = &mut |address| self.memory.read_word(address);
            let caller = self.unwinder.unwind_frame(frame, &mut registers, &mut self.cache, read);
            // An error ends the part of the stack that can be known.
            next = caller.ok().flatten().and_then(FrameAddress::from_return_address);
        }
        frames
    }

    /// The registers that a signal interrupted, if this frame is the code that a signal handler
    /// returns to. The kernel has left them on the stack (`struct ucontext` of the kernel's
    /// <asm/ucontext.h>), and framehop does not know that.
    #[cfg(target_arch = "x86_64")]
    fn interrupted(&self, frame: FrameAddress, registers: &UnwindRegsNative) -> Option<Registers> {
        /// `mov $15, %rax; syscall`: rt_sigreturn, as every C library has it and every debugger
        /// looks for it.
        const RETURN: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
        /// The offsets of the saved registers from the stack pointer at that code.
        const RBP: u64 = 120;
        const RSP: u64 = 160;
        const RIP: u64 = 168;
        if self.memory.read(frame.address(), RETURN.len() as u64) != RETURN {
            return None;
        }
        let saved = |offset: u64| self.memory.read_word(registers.sp().wrapping_add(offset)).ok();
        let ip = saved(RIP)?;
        Some(Registers { ip, others: UnwindRegsNative::new(ip, saved(RSP)?, saved(RBP)?) })
    }

    /// On other machines the kernel's code for this has unwind tables that framehop can follow.
    #[cfg(not(target_arch = "x86_64"))]
    fn interrupted(&self, _frame: FrameAddress, _registers: &UnwindRegsNative) -> Option<Registers> {
        None
    }

    /// The frame's file and its address in that file; opens the file's tables on first use.
    fn place(&mut self, frame: FrameAddress) -> (u32, u64) {
        let lookup = frame.address_for_lookup();
        let Some(index) = self.images.iter().position(|image| image.range.contains(&lookup)) else {
            return (self.module("[no file]".into()), frame.address());
        };
        let Used { module, bias } = match self.images[index].used {
            Some(used) => used,
            None => self.open(index),
        };
        (module, frame.address().wrapping_sub(bias))
    }

    fn open(&mut self, index: usize) -> Used {
        let Image { path, range, .. } = &self.images[index];
        let (mut path, range) = (path.clone(), range.clone());
        let used = match Head::read(self.memory, range.start) {
            Some(head) => {
                let tables = head.tables(self.memory, range.start);
                let start = range.start;
                self.unwinder.add_module(Module::new(path.display().to_string(), range, start, tables));
                Used { module: self.module(path), bias: head.bias }
            }
            // The file's own addresses are not known, so its plain name would lead to a wrong
            // function.
            None => {
                path.push(" (no ELF header)");
                Used { module: self.module(path), bias: 0 }
            }
        };
        self.images[index].used = Some(used);
        used
    }

    fn module(&mut self, path: OsString) -> u32 {
        let fits = self.name_bytes + path.len() <= MAX_STACK_NAME_BYTES;
        let path = PathBuf::from(if fits { path } else { "[too many names]".into() });
        let index = self.modules.iter().position(|module| *module == path).unwrap_or_else(|| {
            self.name_bytes += path.as_os_str().len();
            self.modules.push(path);
            self.modules.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }
}
