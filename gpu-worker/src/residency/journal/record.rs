//! The lines of a state file: a checksum, a blank, a record in JSON. Pure: bytes in, records out.
//!
//! A process that is killed while it writes leaves a torn last line; that is no fault. Any other bad line is one.

use prost::Message;
use proto::Eviction;
use serde::{Deserialize, Serialize};

use crate::residency::{learned::LearnedCost, policy::ModelPolicy};

/// Grows with every change that an older program would misread.
pub const VERSION: u32 = 1;
/// Hexadecimal digits of the checksum before the blank.
const CHECKSUM_DIGITS: usize = 8;

/// One thing that a worker keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// First of every file.
    File { version: u32, worker: String },
    /// The whole policy of a model; the last one counts.
    Policy { model_id: String, policy: ModelPolicy },
    /// A budget that was set at run time, while the flag said `flag` bytes.
    Budget { bytes: u64, flag: u64 },
    /// A model that left.
    Eviction(KeptEviction),
    /// What was measured of a model; the last one counts.
    Cost(LearnedCost),
}

/// An eviction as the contract has it, so that fields which are added to it later are kept too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptEviction {
    /// For those who read the file.
    pub model_id: String,
    /// The encoded message in hexadecimal digits.
    message: String,
}

impl KeptEviction {
    pub fn of(eviction: &Eviction) -> Self {
        let message = eviction.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { model_id: eviction.model_id.clone(), message }
    }

    /// `None` when its bytes are no eviction.
    pub fn message(&self) -> Option<Eviction> {
        let digits = self.message.as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        Eviction::decode(bytes?.as_slice()).ok()
    }
}

impl Record {
    /// The line of this record, its end included.
    pub fn line(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("records are plain data");
        format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let (checksum, json) = line.split_at_checked(CHECKSUM_DIGITS)?;
        let json = json.strip_prefix(b" ")?;
        let checksum = u32::from_str_radix(std::str::from_utf8(checksum).ok()?, 16).ok()?;
        if checksum != crc32fast::hash(json) {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}

/// What a file said.
#[derive(Debug, Default, PartialEq)]
pub struct Contents {
    pub records: Vec<Record>,
    /// Bytes of the good lines at its start.
    pub good_bytes: u64,
    /// Why the rest cannot be read; a torn last line is no reason.
    pub broken: Option<Broken>,
}

/// Why a file is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("line {line} is damaged")]
    Line { line: usize },
    #[error("its first line is no version")]
    NoVersion,
    #[error("it is of version {found}, and this program knows {VERSION}")]
    Version { found: u32 },
}

/// Reads all good lines, up to the first damaged one.
pub fn read(bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let line = contents.records.len() + 1;
        let record = Record::parse(&rest[..end]);
        rest = &rest[end + 1..];
        match record {
            Some(Record::File { version, .. }) if version != VERSION => {
                contents.broken = Some(Broken::Version { found: version });
                return contents;
            }
            Some(record) if line == 1 && !matches!(record, Record::File { .. }) => {
                contents.broken = Some(Broken::NoVersion);
                return contents;
            }
            Some(record) => {
                contents.records.push(record);
                contents.good_bytes += end as u64 + 1;
            }
            // The last line may have reached the disk in part.
            None if rest.is_empty() && line > 1 => return contents,
            None => {
                contents.broken = Some(Broken::Line { line });
                return contents;
            }
        }
    }
    contents
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn eviction(model_id: &str, at_unix_ms: u64) -> Record {
        let eviction =
            Eviction { model_id: model_id.to_owned(), at_unix_ms, ..Eviction::default() };
        Record::Eviction(KeptEviction::of(&eviction))
    }

    fn records() -> Vec<Record> {
        let policy = ModelPolicy { pinned: Some(true), ..ModelPolicy::default() };
        vec![
            Record::File { version: VERSION, worker: "cpu".to_owned() },
            Record::Policy { model_id: "org/ä \"name\"\n".to_owned(), policy },
            Record::Budget { bytes: u64::MAX, flag: 1 },
            Record::Cost(LearnedCost {
                model_id: "a".to_owned(),
                load_ms: Some(0.1),
                ..LearnedCost::default()
            }),
            eviction("org/last", 7),
        ]
    }

    fn written(records: &[Record]) -> Vec<u8> {
        records.iter().flat_map(Record::line).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = written(&records());
        let contents = read(&bytes);
        assert_eq!((contents.records, contents.broken), (records(), None));
        assert_eq!(contents.good_bytes, bytes.len() as u64);
        let Record::Eviction(kept) = eviction("m", 3) else { unreachable!() };
        assert_eq!(kept.message().map(|message| message.at_unix_ms), Some(3));
    }

    #[test]
    fn a_last_line_that_is_cut_anywhere_costs_only_itself() {
        let all = records();
        let bytes = written(&all);
        let before = written(&all[..all.len() - 1]).len();
        for end in before..bytes.len() {
            let contents = read(&bytes[..end]);
            assert_eq!(contents.records, all[..all.len() - 1], "cut at {end}");
            assert_eq!((contents.good_bytes, contents.broken), (before as u64, None));
        }
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_named_and_those_before_it_are_good() {
        let all = records();
        let mut bytes = written(&all);
        let second = all[0].line().len() + 20;
        bytes[second] ^= 1;
        let contents = read(&bytes);
        assert_eq!(contents.broken, Some(Broken::Line { line: 2 }));
        assert_eq!(contents.records, all[..1]);
    }

    #[test]
    fn another_version_or_none_is_no_state_of_ours() {
        let newer = Record::File { version: 9, worker: String::new() }.line();
        assert_eq!(read(&newer).broken, Some(Broken::Version { found: 9 }));
        assert_eq!(read(&eviction("m", 1).line()).broken, Some(Broken::NoVersion));
        assert_eq!(read(b"hello\n").broken, Some(Broken::Line { line: 1 }));
        assert_eq!(read(b""), Contents::default());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            read(&bytes);
        }

        #[test]
        fn a_flipped_bit_never_changes_a_record(at in 0_usize..400, bit in 0_u8..8) {
            let all = records();
            let mut bytes = written(&all);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            for record in read(&bytes).records {
                prop_assert!(all.contains(&record), "{record:?}");
            }
        }
    }
}
