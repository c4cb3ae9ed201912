//! The instructions of a pickle that describe plain data, as bytes are taken off one by one.

use super::machine::PickleError;

/// One instruction with its argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Opcode<'a> {
    /// Begins a tuple, a list or a dictionary.
    Mark,
    Stop,
    Pop,
    PopMark,
    Dup,
    None,
    Bool(bool),
    Int(i64),
    /// A number that is no part of a tensor's description; its value does not matter.
    Number,
    Text(&'a str),
    Bytes,
    EmptyList,
    EmptyTuple,
    EmptyDict,
    /// Of the last so many values; `None`: back to the mark.
    Tuple(Option<usize>),
    List,
    Dict,
    Append,
    Appends,
    SetItem,
    SetItems,
    /// A name: module and attribute.
    Global(&'a str, &'a str),
    /// A name whose parts are on the stack.
    StackGlobal,
    Reduce,
    /// Makes an object from a class and a tuple.
    NewObject,
    Build,
    PersistentId,
    Put(u32),
    /// Into the next free place.
    Memoize,
    Get(u32),
    /// Nothing to do.
    Skip,
}

/// Bytes that are being read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes that were not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], PickleError> {
        let count = usize::try_from(count).map_err(|_| PickleError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(PickleError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(PickleError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u64, PickleError> {
        Ok(u64::from(self.array::<1>()?[0]))
    }

    fn long(&mut self) -> Result<u32, PickleError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn text(&mut self, count: u64) -> Result<Opcode<'a>, PickleError> {
        let text = std::str::from_utf8(self.take(count)?).map_err(|_| PickleError::Text)?;
        Ok(Opcode::Text(text))
    }

    /// Up to the end of the line, which belongs to it.
    fn line(&mut self) -> Result<&'a str, PickleError> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or(PickleError::Truncated)? as u64 + 1)?;
        std::str::from_utf8(&line[..line.len() - 1]).map_err(|_| PickleError::Text)
    }

    /// A little-endian number of any length, in two's complement.
    fn big(&mut self, count: u64) -> Result<Opcode<'a>, PickleError> {
        let bytes = self.take(count)?;
        if bytes.len() > 8 {
            return Ok(Opcode::Number);
        }
        let is_negative = bytes.last().is_some_and(|&byte| byte & 0x80 != 0);
        let mut wide = if is_negative { [0xFF; 8] } else { [0; 8] };
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(Opcode::Int(i64::from_le_bytes(wide)))
    }

    /// The next instruction.
    pub(super) fn next(&mut self) -> Result<Opcode<'a>, PickleError> {
        let code = self.array::<1>()?[0];
        Ok(match code {
            b'(' => Opcode::Mark,
            b'.' => Opcode::Stop,
            b'0' => Opcode::Pop,
            b'1' => Opcode::PopMark,
            b'2' => Opcode::Dup,
            b'N' => Opcode::None,
            0x88 => Opcode::Bool(true),
            0x89 => Opcode::Bool(false),
            b'J' => Opcode::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'K' => Opcode::Int(self.byte()? as i64),
            b'M' => Opcode::Int(i64::from(u16::from_le_bytes(self.array()?))),
            0x8A => {
                let count = self.byte()?;
                self.big(count)?
            }
            0x8B => {
                let count = u64::from(self.long()?);
                self.big(count)?
            }
            b'G' => {
                self.array::<8>()?;
                Opcode::Number
            }
            b'X' => {
                let count = u64::from(self.long()?);
                self.text(count)?
            }
            0x8C => {
                let count = self.byte()?;
                self.text(count)?
            }
            0x8D => {
                let count = u64::from_le_bytes(self.array()?);
                self.text(count)?
            }
            // Strings of Python 2; keys and names in old files are ASCII.
            b'U' => {
                let count = self.byte()?;
                self.text(count)?
            }
            b'T' => {
                let count = u64::from(self.long()?);
                self.text(count)?
            }
            b'C' => {
                let count = self.byte()?;
                self.take(count)?;
                Opcode::Bytes
            }
            b'B' => {
                let count = u64::from(self.long()?);
                self.take(count)?;
                Opcode::Bytes
            }
            0x8E => {
                let count = u64::from_le_bytes(self.array()?);
                self.take(count)?;
                Opcode::Bytes
            }
            b']' => Opcode::EmptyList,
            b')' => Opcode::EmptyTuple,
            b'}' => Opcode::EmptyDict,
            b't' => Opcode::Tuple(None),
            0x85..=0x87 => Opcode::Tuple(Some(usize::from(code - 0x84))),
            b'l' => Opcode::List,
            b'd' => Opcode::Dict,
            b'a' => Opcode::Append,
            b'e' => Opcode::Appends,
            b's' => Opcode::SetItem,
            b'u' => Opcode::SetItems,
            b'c' => Opcode::Global(self.line()?, self.line()?),
            0x93 => Opcode::StackGlobal,
            b'R' => Opcode::Reduce,
            0x81 => Opcode::NewObject,
            b'b' => Opcode::Build,
            b'Q' => Opcode::PersistentId,
            b'q' => Opcode::Put(self.byte()? as u32),
            b'r' => Opcode::Put(self.long()?),
            0x94 => Opcode::Memoize,
            b'h' => Opcode::Get(self.byte()? as u32),
            b'j' => Opcode::Get(self.long()?),
            0x80 => {
                let version = self.byte()?;
                if !(2..=5).contains(&version) {
                    return Err(PickleError::Protocol { version });
                }
                Opcode::Skip
            }
            0x95 => {
                self.array::<8>()?;
                Opcode::Skip
            }
            code => return Err(PickleError::Instruction { code }),
        })
    }
}
