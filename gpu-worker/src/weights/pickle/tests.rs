//! Checkpoints as `torch.save` writes them, and what is done to them.

use proptest::prelude::*;

mod written;

use self::written::{Pickle, archive, checkpoint};
use super::*;

fn two_tensors() -> Pickle {
    Pickle::new().dict().tensor("embed.weight", "FloatStorage", "0", (&[2, 3], &[3, 1]), 6).tensor(
        "step",
        "LongStorage",
        "1",
        (&[], &[]),
        1,
    )
}

fn good() -> Vec<u8> {
    checkpoint(two_tensors().end(), &[("0", 24), ("1", 8)])
}

fn error(bytes: &[u8]) -> String {
    parse_archive(bytes).unwrap_err().to_string()
}

#[test]
fn names_types_shapes_and_places_are_read() {
    let bytes = good();
    let found = parse_archive(&bytes).unwrap();
    let names: Vec<(&str, Dtype, u64)> =
        found.tensors.iter().map(|t| (t.name.as_str(), t.dtype, t.bytes())).collect();
    assert_eq!(names, [("embed.weight", Dtype::F32, 24), ("step", Dtype::I64, 8)]);
    assert_eq!((&found.tensors[0].shape, &found.tensors[0].strides), (&vec![2, 3], &vec![3, 1]));
    let storage = &found.storages["0"];
    let Place::Header(header) = storage.place else { panic!("in the archive") };
    let size = bytes.len() as u64;
    let member = Member { name: "m".to_owned(), bytes: storage.bytes, header, is_stored: true };
    let range = member.data_range(&bytes[header as usize..], size).unwrap();
    assert_eq!(bytes[range.start as usize..range.end as usize], [7; 24]);
}

#[test]
fn tied_tensors_share_their_storage_and_count_once() {
    // The second tensor is built from what the memo kept of the first one's storage.
    let pickle = Pickle::new()
        .dict()
        .text("a")
        .name("torch._utils", "_rebuild_tensor_v2")
        .op(b"(")
        .storage("HalfStorage", "0", 4)
        .op(b"q\x05")
        .int(0)
        .tuple(&[4])
        .tuple(&[1])
        .op(b"\x89NtRq\x06")
        .text("b")
        .op(b"h\x06")
        .text("half of it")
        .name("torch._utils", "_rebuild_tensor_v2")
        .op(b"(h\x05")
        .int(2)
        .tuple(&[2])
        .tuple(&[1])
        .op(b"\x89NtR");
    let found = parse_archive(&checkpoint(pickle.end(), &[("0", 8)])).unwrap();
    assert_eq!((found.tensors.len(), found.distinct().count(), found.storages.len()), (3, 2, 1));
}

#[test]
fn a_nested_state_dict_and_parameters_are_found() {
    let pickle = Pickle::new()
        .op(b"}(")
        .text("epoch")
        .int(3)
        .text("state_dict")
        .op(b"}(")
        .text("w")
        .name("torch._utils", "_rebuild_parameter")
        .op(b"(")
        .name("torch._utils", "_rebuild_tensor_v2")
        .op(b"(")
        .storage("BFloat16Storage", "0", 1)
        .int(0)
        .tuple(&[1])
        .tuple(&[1])
        .op(b"\x88NtR\x88NtRu");
    let found = parse_archive(&checkpoint(pickle.end(), &[("0", 2)])).unwrap();
    assert_eq!(found.tensors[0].name, "state_dict.w");
    assert_eq!(found.tensors[0].dtype, Dtype::BF16);
}

#[test]
fn what_would_be_executed_is_refused_by_name() {
    for (module, attribute) in
        [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("torch.hub", "download")]
    {
        let pickle = Pickle::new().name(module, attribute).op(b"(").text("x").op(b"tR.").0;
        let message = error(&checkpoint(pickle, &[]));
        assert!(message.contains(&format!("{module}.{attribute}")), "{message}");
    }
    let message = error(&checkpoint(Pickle::new().op(b"(i").0, &[]));
    assert!(message.contains("0x69"), "{message}");
}

/// A description, the storages that are there, and what is said.
type Case<'a> = (Vec<u8>, &'a [(&'a str, usize)], &'a str);

#[test]
fn descriptions_that_contradict_themselves_are_refused() {
    let one = |sizes, n| Pickle::new().dict().tensor("w", "FloatStorage", "0", sizes, n).end();
    let cases: [Case<'_>; 18] = [
        (one((&[7], &[1]), 6), &[("0", 24)], "beyond"),
        (one((&[2, 3], &[4, 1]), 6), &[("0", 24)], "beyond"),
        (one((&[i64::MAX, i64::MAX], &[0, 0]), 6), &[("0", 24)], "do not belong"),
        (one((&[2, 2], &[i64::MAX, i64::MAX]), 6), &[("0", 24)], "beyond"),
        (one((&[2], &[]), 6), &[("0", 24)], "do not belong"),
        (one((&[1], &[1]), i64::MAX), &[("0", 24)], "beyond"),
        (one((&[-1], &[1]), 6), &[("0", 24)], "a count"),
        (one((&[6], &[1]), 6), &[("0", 23)], "23 bytes"),
        (one((&[6], &[1]), 6), &[("1", 24)], "not in the archive"),
        (Pickle::new().dict().end(), &[], "no tensors"),
        (Pickle::new().op(b"N.").0, &[], "no tensors"),
        (Pickle::new().op(b".").0, &[], "nothing to work on"),
        (Pickle::new().op(b"h\x09.").0, &[], "value 9"),
        (Pickle::new().op(b"a.").0, &[], "nothing to work on"),
        (Pickle::new().op(b"NQ.").0, &[], "a tuple"),
        (Pickle::new().op(b"NNR.").0, &[], "a name"),
        (vec![0x80, 77, b'.'], &[], "protocol 77"),
        (Vec::new(), &[], "cut off"),
    ];
    for (pickle, storages, expected) in cases {
        let message = error(&checkpoint(pickle, storages));
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let both = Pickle::new().dict().tensor("a", "FloatStorage", "0", (&[6], &[1]), 6).tensor(
        "b",
        "FloatStorage",
        "0",
        (&[5], &[1]),
        5,
    );
    assert!(error(&checkpoint(both.end(), &[("0", 24)])).contains("two ways"));
}

#[test]
fn huge_counts_cost_nothing() {
    // Texts, bytes and numbers of gigabytes that aren't there.
    for instruction in [
        b"X\xff\xff\xff\xff".as_slice(),
        b"B\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\x7f",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        assert!(error(&checkpoint(Pickle::new().op(instruction).0, &[])).contains("cut off"));
    }
}

#[test]
fn nesting_and_cycles_need_no_stack() {
    let deep = (0..300_000).fold(Pickle::new(), |pickle, _| pickle.op(b"(")).op(b"]");
    let deep = (0..300_000).fold(deep, |pickle, _| pickle.op(b"l")).op(b".");
    assert!(error(&checkpoint(deep.0, &[])).contains("no tensors"));
    let cycle = Pickle::new().op(b"}q\x00").text("self").op(b"h\x00s.");
    assert!(error(&checkpoint(cycle.0, &[])).contains("no tensors"));
}

#[test]
fn a_value_that_multiplies_itself_is_stopped() {
    // Each dictionary holds the one before ten times: walked naively, 10^9 entries.
    let mut pickle = Pickle::new().op(b"}q\x00");
    for level in 0..9_u8 {
        pickle = pickle.op(b"}(");
        for key in 0..10 {
            pickle = pickle.text(&key.to_string()).op(&[b'h', level]);
        }
        pickle = pickle.op(b"u").op(&[b'q', level + 1]);
    }
    assert!(parse_archive(&checkpoint(pickle.op(b".").0, &[])).is_err());
    // A long list that is copied with every use.
    let mut pickle = Pickle::new().op(b"(");
    pickle = (0..30_000).fold(pickle, |pickle, _| pickle.op(b"N")).op(b"tq\x01");
    for _ in 0..1_000 {
        pickle = pickle.name("torch", "Size").op(b"(h\x01tR0");
    }
    assert!(error(&checkpoint(pickle.op(b"N.").0, &[])).contains("too many values"));
}

#[test]
fn an_archive_that_is_damaged_is_named() {
    let bytes = good();
    assert!(is_archive(&bytes) && !is_archive(b"\x80\x02\x8a\x0a"));
    for end in 0..bytes.len() {
        assert!(parse_archive(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(error(b"").contains("no directory"));
    let big = archive(&[("m/data.pkl", two_tensors().end()), ("m/byteorder", b"big".to_vec())]);
    assert!(error(&big).contains("big-endian"));
    let twice = archive(&[("m/data.pkl", vec![]), ("m/data.pkl", vec![])]);
    assert!(error(&twice).contains("twice"));
    assert!(error(&archive(&[("m/other", vec![])])).contains("no data.pkl"));
}

#[test]
fn a_storage_that_is_not_where_the_directory_says_is_refused() {
    let bytes = good();
    let is_entry = |at: &usize| {
        bytes[*at..].starts_with(b"PK\x01\x02") && bytes[*at + 46..].starts_with(b"model/data/0")
    };
    let entry = (0..bytes.len()).find(is_entry).unwrap();
    for (header, says) in [
        (bytes.len() as u32 - 4, "no header"),
        (u32::MAX - 1, "no header"),
        (entry as u32, "no header"),
    ] {
        let mut moved = bytes.clone();
        moved[entry + 42..entry + 46].copy_from_slice(&header.to_le_bytes());
        assert!(error(&moved).contains(says), "{header}: {}", error(&moved));
    }
}

#[test]
fn sizes_beyond_four_gigabytes_stand_in_the_zip64_field() {
    let huge = 5_u64 << 30;
    let mut entry = b"PK\x01\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    entry.extend([0xFF; 8]);
    entry.extend(3_u16.to_le_bytes());
    entry.extend(28_u16.to_le_bytes());
    entry.extend([0; 10]);
    entry.extend([0xFF; 4]);
    entry.extend(b"m/0");
    entry.extend([1, 0, 24, 0]);
    for number in [huge, huge, 7] {
        entry.extend(number.to_le_bytes());
    }
    let directory = Directory { range: 0..entry.len() as u64, entries: 1 };
    let members = parse_directory(&entry, &directory).unwrap();
    assert_eq!((members[0].bytes, members[0].header, members[0].is_stored), (huge, 7, true));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_archive(&bytes);
        let _ = machine::run(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic_or_reach_outside(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = good();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(found) = parse_archive(&bytes) {
            for tensor in &found.tensors {
                let steps = tensor.shape.iter().zip(&tensor.strides);
                let last: u64 = steps.map(|(&n, &stride)| n.saturating_sub(1) * stride).sum();
                let end = (tensor.offset + last + 1) * tensor.dtype.bytes();
                let bytes = found.storages[&tensor.storage].bytes;
                prop_assert!(tensor.shape.contains(&0) || end <= bytes, "{tensor:?} of {bytes}");
            }
        }
    }

    #[test]
    fn no_order_of_instructions_makes_it_panic(
        codes in proptest::collection::vec(prop::sample::select(b"(.012N\x88K\x05]}t\x85\x86l\x64aesuRbQq\x00h\x00\x94\x93\x81".to_vec()), 0..200),
    ) {
        let _ = machine::run(&codes);
    }
}

/// Name, type, shape, strides and offset.
type Told<'a> = (&'a str, Dtype, &'a [u64], &'a [u64], u64);

#[test]
fn what_torch_save_writes_is_read() {
    let zip = include_bytes!("../../../tests/fixtures/pickles/zip.bin");
    let found = parse_archive(zip).unwrap();
    let expected: [Told<'_>; 10] = [
        ("embeddings.weight", Dtype::F32, &[3, 4], &[4, 1], 0),
        ("decoder.weight", Dtype::F32, &[3, 4], &[4, 1], 0),
        ("transposed", Dtype::F32, &[5, 2], &[1, 5], 0),
        ("parameter", Dtype::F16, &[6], &[1], 0),
        ("bfloat16", Dtype::BF16, &[2, 2], &[2, 1], 0),
        ("position_ids", Dtype::I64, &[7], &[1], 0),
        ("scalar", Dtype::F64, &[], &[], 0),
        ("mask", Dtype::Bool, &[2], &[1], 0),
        ("empty", Dtype::F32, &[0, 3], &[3, 1], 0),
        ("part", Dtype::F32, &[3], &[1], 4),
    ];
    let told = found.tensors.iter().map(|t| {
        let (shape, strides) = (t.shape.as_slice(), t.strides.as_slice());
        (t.name.as_str(), t.dtype, shape, strides, t.offset)
    });
    assert_eq!(told.collect::<Vec<Told<'_>>>(), expected);
    // The tied weight is there once.
    let bytes: u64 = found.distinct().map(TensorRecord::bytes).sum();
    assert_eq!(bytes, 48 + 40 + 12 + 8 + 56 + 8 + 2 + 12);
    let nested =
        parse_archive(include_bytes!("../../../tests/fixtures/pickles/nested.bin")).unwrap();
    assert_eq!(nested.tensors[0].name, "state_dict.embeddings.weight");
    assert!(!is_archive(include_bytes!("../../../tests/fixtures/pickles/legacy.bin")));
}
