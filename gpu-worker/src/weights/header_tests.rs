//! Every malformed file is a typed error that names the tensor, and no mutation of a valid one panics.

use std::{fs, path::Path};

use proptest::prelude::*;
use safetensors::{SafeTensors, tensor::TensorView};

use super::*;

/// A file of this header, written as text, and so many bytes of data.
fn file(header: impl AsRef<[u8]>, data: usize) -> Vec<u8> {
    let header = header.as_ref();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(std::iter::repeat_n(7, data));
    bytes
}

/// What a caller relies on: tensors cover the file from the header to the end, in order, inside of its bounds.
fn check_invariants(bytes: &[u8], header: &Header) {
    let mut end = None;
    for tensor in &header.tensors {
        let range = tensor.range.start as usize..tensor.range.end as usize;
        assert!(end.is_none_or(|end| end == range.start), "{tensor:?}");
        assert_eq!(
            bytes[range.clone()].len() as u64 * 8,
            tensor.elements() * tensor.dtype.bitsize() as u64
        );
        end = Some(range.end);
    }
    assert!(end.is_none_or(|end| end == bytes.len()));
}

#[test]
fn reads_names_dtypes_shapes_and_ranges_in_the_order_of_the_bytes() {
    let json = r#"{"__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [2, 2], "data_offsets": [2, 18]},
        "a\u0020x": {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]},
        "e": {"dtype": "I64", "shape": [0, 3], "data_offsets": [2, 2]}}   "#;
    let bytes = file(json, 18);
    let header = parse_file(&bytes).unwrap();
    let start = 8 + json.len() as u64;
    let found: Vec<_> = header
        .tensors
        .iter()
        .map(|tensor| {
            (tensor.name.as_str(), tensor.dtype, tensor.shape.clone(), tensor.range.clone())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("a x", Dtype::BF16, vec![], start..start + 2),
            ("e", Dtype::I64, vec![0, 3], start + 2..start + 2),
            ("b", Dtype::F32, vec![2, 2], start + 2..start + 18),
        ]
    );
    assert_eq!((header.total_bytes(), header.parameters()), (18, 5));
    assert_eq!(header.metadata["format"], "pt");
    assert_eq!(header.file_bytes, bytes.len() as u64);
}

#[test]
fn the_header_alone_is_enough_to_know_the_files_length() {
    let json = r#"{"a": {"dtype": "U8", "shape": [1000000], "data_offsets": [0, 1000000]}}"#;
    let header = parse_header(&file(json, 0)).unwrap();
    assert_eq!(header.file_bytes, 8 + json.len() as u64 + 1_000_000);
}

#[test]
fn malformed_files_are_errors_that_name_the_tensor() {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"w": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}"#)
    };
    let two = |first: &str, second: &str| {
        let tensor = |offsets: &str| {
            format!(r#"{{"dtype": "U8", "shape": [4], "data_offsets": {offsets}}}"#)
        };
        format!(r#"{{"v": {}, "w": {}}}"#, tensor(first), tensor(second))
    };
    let many_dimensions = format!("[{}1]", "1,".repeat(64));
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("empty", vec![], "cut off: 0 bytes of 8"),
        ("shorter than its prefix", vec![1, 0, 0], "cut off: 3 bytes of 8"),
        (
            "header of 2^63 bytes",
            (1u64 << 63).to_le_bytes().to_vec(),
            "9223372036854775808 bytes is over",
        ),
        ("header of 2^64 - 1 bytes", vec![255; 20], "18446744073709551615 bytes is over"),
        ("header over the limit", 100_000_001u64.to_le_bytes().to_vec(), "100000001 bytes is over"),
        ("header cut off", file("{}", 0)[..9].to_vec(), "cut off: 9 bytes of 10"),
        ("no header", file("", 0), "not valid: EOF"),
        ("not JSON", file("{\"w\"", 0), "w: EOF"),
        ("not an object", file("[]", 0), "expected an object of tensors"),
        ("not UTF-8", file(b"{\"\xff\": 1}", 0), "not UTF-8"),
        ("more after the object", file("{} {}", 0), "trailing characters"),
        ("tensor is no object", file(r#"{"w": 1}"#, 0), "w: invalid type"),
        (
            "no dtype",
            file(r#"{"w": {"shape": [], "data_offsets": [0, 4]}}"#, 4),
            "w: missing field `dtype`",
        ),
        (
            "no shape",
            file(r#"{"w": {"dtype": "F32", "data_offsets": [0, 4]}}"#, 4),
            "w: missing field `shape`",
        ),
        (
            "no offsets",
            file(r#"{"w": {"dtype": "F32", "shape": []}}"#, 4),
            "w: missing field `data_offsets`",
        ),
        ("three offsets", file(one("F32", "[]", "[0, 4, 8]"), 4), "w: trailing characters"),
        ("negative size", file(one("F32", "[-1]", "[0, 4]"), 4), "w: invalid value: integer `-1`"),
        (
            "fractional size",
            file(one("F32", "[1.5]", "[0, 4]"), 4),
            "w: invalid type: floating point",
        ),
        (
            "metadata is no text",
            file(r#"{"__metadata__": {"a": 1}}"#, 0),
            "__metadata__: invalid type",
        ),
        (
            "two metadata",
            file(r#"{"__metadata__": {}, "__metadata__": {}}"#, 0),
            "__metadata__ is listed twice",
        ),
        (
            "unknown dtype",
            file(one("F31", "[1]", "[0, 4]"), 4),
            "tensor w has the unknown dtype F31",
        ),
        (
            "lower-case dtype",
            file(one("f32", "[1]", "[0, 4]"), 4),
            "tensor w has the unknown dtype f32",
        ),
        (
            "too many dimensions",
            file(one("U8", &many_dimensions, "[0, 1]"), 1),
            "tensor w has 65 dimensions",
        ),
        (
            "product overflows",
            file(one("F32", "[4294967296, 4294967296]", "[0, 4]"), 4),
            "tensor w of shape",
        ),
        (
            "bytes overflow",
            file(one("F64", "[2305843009213693952]", "[0, 4]"), 4),
            "more bytes than can be counted",
        ),
        (
            "zero hides an overflow",
            file(one("U8", "[0, 9223372036854775807, 3]", "[0, 0]"), 0),
            "than can be counted",
        ),
        (
            "size over i64",
            file(one("U8", "[18446744073709551615]", "[0, 1]"), 1),
            "more bytes than can be counted",
        ),
        (
            "half a byte",
            file(one("F4", "[3]", "[0, 2]"), 2),
            "tensor w has F4 elements that do not end at a byte",
        ),
        (
            "fewer bytes than shape",
            file(one("F32", "[2]", "[0, 4]"), 4),
            "needs 8 bytes, its offsets span 4",
        ),
        (
            "more bytes than shape",
            file(one("F16", "[1]", "[0, 4]"), 4),
            "needs 2 bytes, its offsets span 4",
        ),
        ("backwards", file(one("F32", "[1]", "[4, 0]"), 4), "tensor w has offsets 4..0"),
        (
            "offsets overflow",
            file(one("U8", "[1]", "[18446744073709551614, 18446744073709551615]"), 1),
            "tensor w has offsets 18446744073709551614..18446744073709551615",
        ),
        ("data cut off", file(one("F32", "[1]", "[0, 4]"), 3), "cut off"),
        ("data goes on", file(one("F32", "[1]", "[0, 4]"), 5), "goes on after its last tensor"),
        ("data without tensors", file("{}", 1), "goes on after its last tensor"),
        (
            "hole in front",
            file(one("F32", "[1]", "[4, 8]"), 8),
            "4 bytes before tensor w belong to no tensor",
        ),
        (
            "hole between",
            file(two("[0, 4]", "[5, 9]"), 9),
            "1 bytes before tensor w belong to no tensor",
        ),
        ("overlap", file(two("[0, 4]", "[3, 7]"), 7), "inside of tensor v"),
        ("same range", file(two("[0, 4]", "[0, 4]"), 4), "tensor w begins at"),
        (
            "duplicate name",
            file(
                r#"{"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                    "w": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}"#,
                2,
            ),
            "tensor w is listed twice",
        ),
        (
            "duplicate name in other letters",
            file(
                r#"{"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                    "\u0077": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}"#,
                2,
            ),
            "tensor w is listed twice",
        ),
        ("deep nesting", file("[".repeat(100_000), 0), "not valid"),
        (
            "deep unknown field",
            file(format!(r#"{{"w": {{"x": {}"#, "[".repeat(100_000)), 0),
            "w: EOF",
        ),
    ];
    let answers = cases.iter().filter_map(|(case, bytes, expected)| {
        let message = parse_file(bytes).expect_err(case).to_string();
        (!message.contains(expected)).then(|| format!("{case}: {message}"))
    });
    assert_eq!(answers.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_file_without_tensors_is_valid() {
    assert_eq!(parse_file(&file("{}", 0)).unwrap().tensors, []);
}

#[test]
fn the_fuzz_corpus_is_accepted_or_refused_as_its_names_say() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/header");
    let mut n_files = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path).unwrap();
        let parsed = parse_file(&bytes);
        assert_eq!(parsed.is_ok(), name.starts_with("valid"), "{name}: {parsed:?}");
        if let Ok(header) = parsed {
            check_invariants(&bytes, &header);
        }
        n_files += 1;
    }
    assert!(n_files >= 10, "{n_files}");
}

/// One way to damage a file.
#[derive(Clone, Debug)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    Repeat(prop::sample::Index, u8),
    Prefix(u64),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if let Self::Prefix(length) = self {
            bytes.splice(..bytes.len().min(8), length.to_le_bytes());
        } else if !bytes.is_empty() {
            let n_bytes = bytes.len();
            match self {
                Self::Set(at, byte) => bytes[at.index(n_bytes)] = *byte,
                Self::Insert(at, inserted) => {
                    let at = at.index(n_bytes);
                    bytes.splice(at..at, inserted.iter().copied());
                }
                Self::Remove(at, count) => {
                    let at = at.index(n_bytes);
                    bytes.drain(at..n_bytes.min(at + usize::from(*count)));
                }
                Self::Truncate(at) => bytes.truncate(at.index(n_bytes)),
                Self::Repeat(at, count) => {
                    let at = at.index(n_bytes);
                    let part = bytes[at..n_bytes.min(at + usize::from(*count))].to_vec();
                    bytes.splice(at..at, part);
                }
                Self::Prefix(_) => unreachable!("handled above"),
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    let telling = prop::sample::select(br#"{}[]",:0123456789-.eFIBU\ "#.to_vec());
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (at(), telling).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (at(), prop::collection::vec(any::<u8>(), 1..6))
            .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (at(), any::<u8>()).prop_map(|(at, count)| Mutation::Remove(at, count)),
        at().prop_map(Mutation::Truncate),
        (at(), any::<u8>()).prop_map(|(at, count)| Mutation::Repeat(at, count)),
        prop_oneof![any::<u64>(), 0..400u64].prop_map(Mutation::Prefix),
    ]
}

/// A file as the reference implementation writes it.
fn valid_file() -> impl Strategy<Value = Vec<u8>> {
    let dtype = prop::sample::select(vec![
        Dtype::F32,
        Dtype::BF16,
        Dtype::I64,
        Dtype::U8,
        Dtype::BOOL,
        Dtype::F8_E4M3,
    ]);
    let tensor = (dtype, prop::collection::vec(0..4usize, 0..4));
    prop::collection::btree_map("[a-c.0-2\"é]{1,6}", tensor, 0..5).prop_map(|tensors| {
        let data = vec![1; 27 * 8];
        let views = tensors.iter().map(|(name, (dtype, shape))| {
            let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (name, TensorView::new(*dtype, shape.clone(), &data[..bytes]).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_files_are_read_as_the_reference_reads_them(bytes in valid_file()) {
        let header = parse_file(&bytes).unwrap();
        check_invariants(&bytes, &header);
        let reference = SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(header.tensors.len(), reference.len());
        for tensor in &header.tensors {
            let view = reference.tensor(&tensor.name).unwrap();
            let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
            prop_assert_eq!((tensor.dtype, &tensor.shape), (view.dtype(), &shape));
            prop_assert_eq!(&bytes[tensor.range.start as usize..tensor.range.end as usize], view.data());
        }
    }

    #[test]
    fn no_mutation_panics_or_is_accepted_where_the_reference_refuses(
        mut bytes in valid_file(),
        mutations in prop::collection::vec(mutation(), 1..5),
    ) {
        for mutation in &mutations {
            mutation.apply(&mut bytes);
        }
        if let Ok(header) = parse_file(&bytes) {
            check_invariants(&bytes, &header);
            prop_assert!(SafeTensors::deserialize(&bytes).is_ok());
        }
    }
}
