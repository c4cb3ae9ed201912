//! The header of a safetensors file: names, dtypes, shapes and byte ranges, checked before anything is read.
//!
//! Format: <https://huggingface.co/docs/safetensors>. Parsed here and not by the `safetensors` crate because an error has
//! to name the tensor, duplicate names have to be refused, and the header alone (a range read from the Hub) is enough.
//! Knows nothing about libtorch, so the fuzz target compiles it alone.

use std::{borrow::Cow, collections::BTreeMap, collections::HashSet, fmt, ops::Range};

use safetensors::Dtype;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IntoDeserializer, MapAccess, Visitor, value::StrDeserializer},
};

/// Bytes of the little-endian length that comes before the header.
pub const PREFIX_BYTES: u64 = 8;
/// A larger header is refused before it is read; the format's own limit.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
/// libtorch's operators work on at most this many dimensions.
const MAX_DIMENSIONS: usize = 64;
const METADATA: &str = "__metadata__";

/// What a checkpoint file contains, in the order of its bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    pub tensors: Vec<TensorInfo>,
    /// Free text the writer left, such as `format = pt`.
    pub metadata: BTreeMap<String, String>,
    /// Length a complete file has.
    pub file_bytes: u64,
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<i64>,
    /// Bytes of the file, from its start.
    pub range: Range<u64>,
}

impl TensorInfo {
    /// Number of elements; 1 for a scalar.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product::<i64>().unsigned_abs()
    }

    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl Header {
    /// Bytes of all tensors together, as stored.
    pub fn total_bytes(&self) -> u64 {
        self.tensors.iter().map(TensorInfo::bytes).sum()
    }

    /// Elements of all tensors together.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(TensorInfo::elements).sum()
    }

    /// The file must end exactly where the last tensor ends.
    pub fn check_file_bytes(&self, found: u64) -> Result<(), HeaderError> {
        let expected = self.file_bytes;
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => Err(HeaderError::Truncated { expected, found }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(HeaderError::TrailingBytes { expected, found }),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("the file is cut off: {found} bytes of {expected}")]
    Truncated { expected: u64, found: u64 },
    #[error("the file goes on after its last tensor: {found} bytes, expected {expected}")]
    TrailingBytes { expected: u64, found: u64 },
    #[error("a header of {bytes} bytes is over the limit of {MAX_HEADER_BYTES}")]
    TooLarge { bytes: u64 },
    #[error("the header is not UTF-8")]
    Utf8(#[source] std::str::Utf8Error),
    #[error("the header is not valid: {0}")]
    Json(#[source] serde_json::Error),
    #[error("tensor {tensor} is listed twice")]
    Duplicate { tensor: String },
    #[error("tensor {tensor} has the unknown dtype {dtype}")]
    UnknownDtype { tensor: String, dtype: String },
    #[error("tensor {tensor} has {dimensions} dimensions, at most {MAX_DIMENSIONS} are possible")]
    TooManyDimensions { tensor: String, dimensions: usize },
    #[error("tensor {tensor} of shape {shape:?} has more bytes than can be counted")]
    Overflow { tensor: String, shape: Vec<u64> },
    #[error(
        "tensor {tensor} of shape {shape:?} and dtype {dtype} needs {expected} bytes, its offsets span {found}"
    )]
    Size { tensor: String, shape: Vec<u64>, dtype: Dtype, expected: u64, found: u64 },
    #[error("tensor {tensor} has {dtype} elements that do not end at a byte")]
    PartialByte { tensor: String, dtype: Dtype },
    #[error("tensor {tensor} has offsets {begin}..{end}, which are backwards or out of range")]
    Offsets { tensor: String, begin: u64, end: u64 },
    #[error("tensor {tensor} begins at {begin}, inside of tensor {other}, which ends at {end}")]
    Overlap { tensor: String, begin: u64, other: String, end: u64 },
    #[error("{bytes} bytes before tensor {tensor} belong to no tensor")]
    Hole { tensor: String, bytes: u64 },
}

/// Length of the header that follows the first 8 bytes of a file; refused if over [`MAX_HEADER_BYTES`].
pub fn header_length_prefix(prefix: [u8; 8]) -> Result<u64, HeaderError> {
    let bytes = u64::from_le_bytes(prefix);
    if bytes > MAX_HEADER_BYTES { Err(HeaderError::TooLarge { bytes }) } else { Ok(bytes) }
}

/// Parses a whole file in memory, and checks that its tensors cover it exactly.
pub fn parse_file(bytes: &[u8]) -> Result<Header, HeaderError> {
    let header = parse_header(bytes)?;
    header.check_file_bytes(bytes.len() as u64)?;
    Ok(header)
}

/// Parses the beginning of a file: the 8 bytes of length, the header, and whatever follows.
pub fn parse_header(bytes: &[u8]) -> Result<Header, HeaderError> {
    let found = bytes.len() as u64;
    let prefix =
        bytes.first_chunk().ok_or(HeaderError::Truncated { expected: PREFIX_BYTES, found })?;
    let data_start = PREFIX_BYTES + header_length_prefix(*prefix)?;
    // Bounded by the limit on headers, so it fits any address space.
    let json = bytes
        .get(PREFIX_BYTES as usize..data_start as usize)
        .ok_or(HeaderError::Truncated { expected: data_start, found })?;
    let json = std::str::from_utf8(json).map_err(HeaderError::Utf8)?;
    let RawHeader { metadata, tensors } = serde_json::from_str(json).map_err(HeaderError::Json)?;

    let mut names = HashSet::with_capacity(tensors.len());
    if let Some((name, _)) = tensors.iter().find(|(name, _)| !names.insert(name)) {
        return Err(HeaderError::Duplicate { tensor: name.clone().into_owned() });
    }
    let mut tensors = tensors
        .into_iter()
        .map(|(name, raw)| tensor_info(name.into_owned(), raw, data_start))
        .collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by(|a, b| {
        (a.range.start, a.range.end, &a.name).cmp(&(b.range.start, b.range.end, &b.name))
    });
    let file_bytes = check_cover(&tensors, data_start)?;
    Ok(Header { tensors, metadata, file_bytes })
}

/// The tensors must follow each other without overlaps and without holes. Answers where they end.
fn check_cover(tensors: &[TensorInfo], data_start: u64) -> Result<u64, HeaderError> {
    let mut end = data_start;
    let mut previous: Option<&TensorInfo> = None;
    for tensor in tensors {
        let begin = tensor.range.start;
        if begin > end {
            return Err(HeaderError::Hole { tensor: tensor.name.clone(), bytes: begin - end });
        }
        if let (true, Some(previous)) = (begin < end, previous) {
            let (tensor, other) = (tensor.name.clone(), previous.name.clone());
            return Err(HeaderError::Overlap { tensor, begin, other, end });
        }
        end = tensor.range.end;
        previous = Some(tensor);
    }
    Ok(end)
}

fn tensor_info(
    name: String,
    raw: RawTensor<'_>,
    data_start: u64,
) -> Result<TensorInfo, HeaderError> {
    let RawTensor { dtype, shape, data_offsets: [begin, end] } = raw;
    let name_of_dtype: StrDeserializer<'_, serde::de::value::Error> =
        dtype.as_ref().into_deserializer();
    let Ok(dtype) = Dtype::deserialize(name_of_dtype) else {
        return Err(HeaderError::UnknownDtype { tensor: name, dtype: dtype.into_owned() });
    };
    if shape.len() > MAX_DIMENSIONS {
        return Err(HeaderError::TooManyDimensions { tensor: name, dimensions: shape.len() });
    }
    let Some(expected_bits) = count_bits(&shape, dtype) else {
        return Err(HeaderError::Overflow { tensor: name, shape });
    };
    if expected_bits % 8 != 0 {
        return Err(HeaderError::PartialByte { tensor: name, dtype });
    }
    let range = (begin <= end).then_some((begin, end)).and_then(|(begin, end)| {
        // No file is longer than a signed 64-bit offset.
        let end = data_start.checked_add(end).filter(|&end| i64::try_from(end).is_ok())?;
        Some(data_start.checked_add(begin)?..end)
    });
    let Some(range) = range else {
        return Err(HeaderError::Offsets { tensor: name, begin, end });
    };
    let (expected, found) = (expected_bits / 8, end - begin);
    if expected != found {
        return Err(HeaderError::Size { tensor: name, shape, dtype, expected, found });
    }
    // Each dimension is at most the product of all, which was checked.
    let shape = shape.iter().map(|&size| size as i64).collect();
    Ok(TensorInfo { name, dtype, shape, range })
}

/// Bits of a tensor, `None` if they, or the strides of an empty tensor, do not fit into an `i64`.
fn count_bits(shape: &[u64], dtype: Dtype) -> Option<u64> {
    let bits = shape
        .iter()
        .try_fold(dtype.bitsize() as u64, |bits, &size| bits.checked_mul(size.max(1)))?;
    i64::try_from(bits).ok()?;
    Some(if shape.contains(&0) { 0 } else { bits })
}

struct RawHeader<'a> {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(Cow<'a, str>, RawTensor<'a>)>,
}

#[derive(Deserialize)]
struct RawTensor<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Borrows from the header where a text has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for RawHeader<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawHeaderVisitor)
    }
}

struct RawHeaderVisitor;

impl<'de> Visitor<'de> for RawHeaderVisitor {
    type Value = RawHeader<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut metadata, mut tensors) = (None, Vec::new());
        while let Some(Name(name)) = map.next_key()? {
            let named = |error: A::Error| A::Error::custom(format_args!("{name}: {error}"));
            if name == METADATA {
                if metadata.replace(map.next_value().map_err(named)?).is_some() {
                    return Err(A::Error::custom(format_args!("{METADATA} is listed twice")));
                }
            } else {
                let tensor = map.next_value().map_err(named)?;
                tensors.push((name, tensor));
            }
        }
        Ok(RawHeader { metadata: metadata.unwrap_or_default(), tensors })
    }
}
