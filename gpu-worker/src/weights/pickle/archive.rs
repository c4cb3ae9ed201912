//! The directory of a zip archive, as far as PyTorch writes one: members that are stored as they are, zip64 included.
//!
//! Format: PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5.3.

use std::ops::Range;

/// Bytes at the end of a file in which its directory is found: the end record, the zip64 records and the longest comment.
pub const END_BYTES: u64 = END_RECORD as u64 + ZIP64_LOCATOR as u64 + ZIP64_END as u64 + 0xFFFF;
/// Bytes at a member's beginning that tell where its data begin: its header, with the longest name and extra field.
pub const LOCAL_BYTES: u64 = LOCAL_HEADER as u64 + 2 * 0xFFFF;

const END_RECORD: usize = 22;
const ZIP64_LOCATOR: usize = 20;
const ZIP64_END: usize = 56;
const LOCAL_HEADER: usize = 30;
const CENTRAL_HEADER: usize = 46;
/// A larger directory is refused before it is read.
const MAX_DIRECTORY_BYTES: u64 = 64 << 20;
const ZIP64_EXTRA: u16 = 1;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArchiveError {
    #[error("it has no directory at its end")]
    NoDirectory,
    #[error("its directory is not where its end says")]
    DirectoryRange,
    #[error("its directory of {bytes} bytes is over the limit of {MAX_DIRECTORY_BYTES}")]
    DirectoryTooLarge { bytes: u64 },
    #[error("entry {entry} of its directory is cut off or no entry")]
    Entry { entry: u64 },
    #[error("its directory has {found} entries, its end says {expected}")]
    Entries { expected: u64, found: u64 },
    #[error("the name of entry {entry} is not UTF-8")]
    Name { entry: u64 },
    #[error("member {name:?} is listed twice")]
    Duplicate { name: String },
    #[error("member {name:?} is encrypted")]
    Encrypted { name: String },
    #[error("the header of member {name:?} is cut off or no header")]
    Header { name: String },
    #[error("member {name:?} reaches beyond the file")]
    Beyond { name: String },
}

/// Where the directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    pub range: Range<u64>,
    pub entries: u64,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Bytes as they are in the archive.
    pub bytes: u64,
    /// Where its header begins.
    pub header: u64,
    /// Not compressed.
    pub is_stored: bool,
}

/// Whether a file that begins so is an archive.
pub fn is_archive(beginning: &[u8]) -> bool {
    beginning.starts_with(b"PK\x03\x04")
}

/// Finds the directory; `tail` are the last [`END_BYTES`] of the file, or all of it, and `size` is its length.
pub fn find_directory(tail: &[u8], size: u64) -> Result<Directory, ArchiveError> {
    let tail_start = size.checked_sub(tail.len() as u64).ok_or(ArchiveError::NoDirectory)?;
    let is_end = |&at: &usize| {
        let comment = u16_at(tail, at + 20).map(usize::from);
        tail[at..].starts_with(b"PK\x05\x06") && comment == Some(tail.len() - at - END_RECORD)
    };
    let last = tail.len().checked_sub(END_RECORD).ok_or(ArchiveError::NoDirectory)?;
    let at = (0..=last).rev().find(is_end).ok_or(ArchiveError::NoDirectory)?;
    let mut entries = u16_at(tail, at + 10).map(u64::from).ok_or(ArchiveError::NoDirectory)?;
    let mut bytes = u32_at(tail, at + 12).map(u64::from).ok_or(ArchiveError::NoDirectory)?;
    let mut start = u32_at(tail, at + 16).map(u64::from).ok_or(ArchiveError::NoDirectory)?;
    let mut end = tail_start + at as u64;
    if entries == 0xFFFF || bytes == 0xFFFF_FFFF || start == 0xFFFF_FFFF {
        let locator = at.checked_sub(ZIP64_LOCATOR).ok_or(ArchiveError::NoDirectory)?;
        if !tail[locator..].starts_with(b"PK\x06\x07") {
            return Err(ArchiveError::NoDirectory);
        }
        let record = u64_at(tail, locator + 8).and_then(|at| at.checked_sub(tail_start));
        let record = record.and_then(|at| usize::try_from(at).ok()).filter(|&at| at < locator);
        let record = record.ok_or(ArchiveError::NoDirectory)?;
        if !tail[record..].starts_with(b"PK\x06\x06") {
            return Err(ArchiveError::NoDirectory);
        }
        let field = |offset| u64_at(tail, record + offset).ok_or(ArchiveError::NoDirectory);
        (entries, bytes, start) = (field(32)?, field(40)?, field(48)?);
        end = tail_start + record as u64;
    }
    if start.checked_add(bytes).is_none_or(|found| found > end) {
        return Err(ArchiveError::DirectoryRange);
    }
    if bytes > MAX_DIRECTORY_BYTES {
        return Err(ArchiveError::DirectoryTooLarge { bytes });
    }
    Ok(Directory { range: start..start + bytes, entries })
}

/// Reads the bytes of the directory.
pub fn parse_directory(bytes: &[u8], directory: &Directory) -> Result<Vec<Member>, ArchiveError> {
    let mut members: Vec<Member> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let entry = members.len() as u64;
        let (member, length) = parse_entry(rest, entry)?;
        rest = &rest[length..];
        members.push(member);
    }
    let (found, expected) = (members.len() as u64, directory.entries);
    if found != expected {
        return Err(ArchiveError::Entries { expected, found });
    }
    let mut names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(ArchiveError::Duplicate { name: pair[0].to_owned() });
    }
    Ok(members)
}

fn parse_entry(bytes: &[u8], entry: u64) -> Result<(Member, usize), ArchiveError> {
    let wrong = ArchiveError::Entry { entry };
    if !bytes.starts_with(b"PK\x01\x02") || bytes.len() < CENTRAL_HEADER {
        return Err(wrong);
    }
    let short = |at| u16_at(bytes, at).unwrap_or(0);
    let long = |at| u64::from(u32_at(bytes, at).unwrap_or(0));
    let (flags, method) = (short(8), short(10));
    let (mut packed, mut unpacked, mut header) = (long(20), long(24), long(42));
    let (name, extra, comment) =
        (usize::from(short(28)), usize::from(short(30)), usize::from(short(32)));
    let length = CENTRAL_HEADER + name + extra + comment;
    if bytes.len() < length {
        return Err(wrong);
    }
    let text = &bytes[CENTRAL_HEADER..CENTRAL_HEADER + name];
    let text = std::str::from_utf8(text).map_err(|_| ArchiveError::Name { entry })?.to_owned();
    if flags & 1 == 1 {
        return Err(ArchiveError::Encrypted { name: text });
    }
    let extra = &bytes[CENTRAL_HEADER + name..CENTRAL_HEADER + name + extra];
    if [packed, unpacked, header].contains(&0xFFFF_FFFF) {
        // Only the fields that did not fit are there, in this order.
        let mut fields = zip64_fields(extra);
        for field in [&mut unpacked, &mut packed, &mut header] {
            if *field == 0xFFFF_FFFF {
                *field = fields.next().ok_or(ArchiveError::Entry { entry })?;
            }
        }
    }
    let is_stored = method == 0 && packed == unpacked;
    Ok((Member { name: text, bytes: packed, header, is_stored }, length))
}

/// The numbers of the zip64 extra field.
fn zip64_fields(mut extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut found: &[u8] = &[];
    while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let end = (4 + usize::from(length)).min(extra.len());
        if id == ZIP64_EXTRA {
            found = &extra[4..end];
            break;
        }
        extra = &extra[end..];
    }
    found.chunks_exact(8).filter_map(|bytes| u64_at(bytes, 0))
}

impl Member {
    /// Its name inside of the folder that all members of a checkpoint are in.
    pub fn name_in_folder(&self) -> Option<&str> {
        self.name.split_once('/').map(|(_, name)| name)
    }

    /// The range that holds the whole member at least, header included.
    pub fn reach(&self, size: u64) -> Range<u64> {
        let start = self.header.min(size);
        start..start.saturating_add(LOCAL_BYTES).saturating_add(self.bytes).min(size)
    }

    /// Where its data are in a file of `size` bytes, given its beginning from [`Self::header`] on.
    pub fn data_range(&self, beginning: &[u8], size: u64) -> Result<Range<u64>, ArchiveError> {
        let wrong = || ArchiveError::Header { name: self.name.clone() };
        if !beginning.starts_with(b"PK\x03\x04") {
            return Err(wrong());
        }
        let name = u16_at(beginning, 26).ok_or_else(wrong)?;
        let extra = u16_at(beginning, 28).ok_or_else(wrong)?;
        let offset = LOCAL_HEADER as u64 + u64::from(name) + u64::from(extra);
        let start = self.header.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(self.bytes));
        match (start, end) {
            (Some(start), Some(end)) if end <= size => Ok(start..end),
            _ => Err(ArchiveError::Beyond { name: self.name.clone() }),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
