//! Memory that tensors can be views of: a mapped file, or fresh anonymous pages.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{Mutex, PoisonError},
    thread,
};

use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};

/// Copying out of the page cache is bound by memory: more threads than this gain nothing.
const MAX_READERS: usize = 4;
/// What one thread reads at a time.
const READ_BYTES: usize = 8 << 20;

/// Pages that are unmapped when the last owner is gone. Hands out no references: tensors may write to it.
pub struct Region {
    map: MmapRaw,
    is_file: bool,
}

impl Region {
    /// Maps the first `bytes` of a file, private and writable: an in-place operation copies the page and leaves the file alone.
    ///
    /// Only for files that nobody truncates (immutable cache blobs); see [`super::sigbus`] for what happens otherwise.
    pub fn of_file(file: &File, bytes: usize) -> io::Result<Self> {
        // SAFETY: no reference into the map is ever made, so a file that changes is a changed value and not undefined behaviour.
        let map = unsafe { MmapOptions::new().len(bytes).no_reserve_swap().map_copy(file)? };
        Ok(Self { map: MmapRaw::from(map), is_file: true })
    }

    /// Zeroed pages of their own, in huge pages where the system has them: faulting pages in costs more than filling them.
    pub fn anonymous(bytes: usize) -> io::Result<Self> {
        let map = MmapMut::map_anon(bytes.max(1))?;
        // Only advice: a kernel without huge pages refuses it.
        if let Err(error) = map.advise(Advice::HugePage) {
            tracing::trace!(%error, "no huge pages");
        }
        Ok(Self { map: MmapRaw::from(map), is_file: false })
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_file(&self) -> bool {
        self.is_file
    }

    pub(super) fn as_mut_ptr(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// Reads `range.len()` bytes of `file`, from `file_offset` on, into `range` of this region.
    pub fn fill(&mut self, range: Range<usize>, file: &File, file_offset: u64) -> io::Result<()> {
        if range.start > range.end || range.end > self.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the range is not inside the region",
            ));
        }
        // SAFETY: inside the mapping (just checked), initialised by the kernel, and `&mut self` says that no view exists.
        let target = unsafe {
            std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(range.start), range.len())
        };
        read_parallel(target, file, file_offset)
    }

    /// Makes the pages of a mapped file resident, so that the first forward does not wait for them one by one.
    pub fn prefault(&self) {
        match self.map.advise(Advice::PopulateRead) {
            Ok(()) => {}
            // A kernel before 5.14 does not know the advice: it reads ahead, and the first forward faults the pages in.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                if let Err(error) = self.map.advise(Advice::WillNeed) {
                    tracing::debug!(%error, "the mapped weights are not read ahead");
                }
            }
            Err(error) => tracing::warn!(%error, "the mapped weights cannot be made resident"),
        }
    }
}

fn read_parallel(target: &mut [u8], file: &File, file_offset: u64) -> io::Result<()> {
    if target.len() <= READ_BYTES {
        return file.read_exact_at(target, file_offset);
    }
    let readers = thread::available_parallelism().map_or(1, |n| n.get().min(MAX_READERS));
    let parts = Mutex::new(target.chunks_mut(READ_BYTES).zip((file_offset..).step_by(READ_BYTES)));
    let read = || {
        loop {
            let part = parts.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((part, offset)) = part else { return Ok(()) };
            file.read_exact_at(part, offset)?;
        }
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (1..readers).map(|_| scope.spawn(read)).collect();
        let own = read();
        readers.into_iter().fold(own, |answer, reader| {
            answer.and(reader.join().expect("reading a file does not panic"))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn fills_a_region_from_a_file_in_parallel() {
        let bytes: Vec<u8> = (0..3 * READ_BYTES + 17).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut region = Region::anonymous(bytes.len()).unwrap();
        region.fill(0..bytes.len() - 5, &file, 5).unwrap();
        let filled = crate::memory::shim::view(
            &region.into(),
            0,
            &[bytes.len() as i64 - 5],
            tch::Kind::Uint8,
        );
        assert!(Vec::<u8>::try_from(filled.unwrap()).unwrap() == bytes[5..]);
    }

    #[test]
    fn a_read_past_the_end_or_outside_of_the_region_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10).unwrap();
        let mut region = Region::anonymous(100).unwrap();
        assert_eq!(region.fill(0..11, &file, 0).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(region.fill(0..101, &file, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
