//! A repository as they were before `tokenizer.json` and safetensors gives the same vectors as a new one.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use crate::harness::{
    assert_near,
    models::copy_of,
    system::Setup,
    zoo::{self, SENTENCES, list, numbers},
};

/// `torch.save` before version 1.6 of float32 tensors.
fn legacy(header: &Map<String, Value>, data: &[u8]) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    };
    let int = |out: &mut Vec<u8>, value: usize| {
        out.push(b'J');
        out.extend((value as u32).to_le_bytes());
    };
    let tuple = |out: &mut Vec<u8>, values: &[usize]| {
        out.push(b'(');
        values.iter().for_each(|&value| int(out, value));
        out.push(b't');
    };
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.\x80\x02}");
    text(&mut file, "little_endian");
    file.extend(b"\x88s.\x80\x02}(");
    let (mut keys, mut storages) = (b"\x80\x02](".to_vec(), Vec::new());
    for (name, tensor) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        assert_eq!(tensor["dtype"], "F32");
        let sizes = |field: &str| -> Vec<usize> {
            list(&tensor[field])
                .iter()
                .map(|size| size.as_u64().expect("a size") as usize)
                .collect()
        };
        let (shape, range) = (sizes("shape"), sizes("data_offsets"));
        let strides: Vec<usize> =
            (0..shape.len()).map(|dim| shape[dim + 1..].iter().product()).collect();
        let elements: usize = shape.iter().product();
        text(&mut file, name);
        file.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut file, "storage");
        file.extend(b"ctorch\nFloatStorage\n");
        text(&mut file, name);
        text(&mut file, "cpu");
        int(&mut file, elements);
        file.extend(b"NtQK\0");
        tuple(&mut file, &shape);
        tuple(&mut file, &strides);
        file.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        text(&mut keys, name);
        storages.extend((elements as u64).to_le_bytes());
        storages.extend(&data[range[0]..range[1]]);
    }
    file.extend(b"u.");
    keys.extend(b"e.");
    file.extend(keys);
    file.extend(storages);
    file
}

fn make_old(folder: &Path) {
    fs::remove_file(folder.join("tokenizer.json")).expect("removed");
    let new = folder.join("model.safetensors");
    let bytes = fs::read(&new).expect("weights");
    let (length, rest) = bytes.split_first_chunk().expect("a header's length");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header = serde_json::from_slice(header).expect("a header");
    fs::write(folder.join("pytorch_model.bin"), legacy(&header, data)).expect("written");
    fs::remove_file(new).expect("removed");
}

#[tokio::test]
async fn vectors_from_vocab_txt_and_a_pickle_are_those_of_newer_files() {
    let hub = tempfile::tempdir().expect("a folder");
    copy_of(SENTENCES, hub.path(), "it/old");
    let folder = hub.path().join("it/old");
    let pooling = "1_Pooling/config.json";
    fs::create_dir_all(folder.join("1_Pooling")).expect("a folder");
    fs::copy(zoo::folder(SENTENCES).join(pooling), folder.join(pooling)).expect("copied");
    make_old(&folder);
    let system = Setup::of(&[hub.path(), &zoo::hub()]).start().await;
    let expected = zoo::parity(SENTENCES);
    let texts: Vec<&Value> =
        list(&expected["sentences"]).iter().map(|sentence| &sentence["text"]).collect();
    let ask = json!({
        "model_id": "it/old", "task": "feature-extraction", "inputs": {"text": texts},
        "options": {"truncate": true},
    });
    let output = system.api().output(&ask).await;
    for (sentence, found) in list(&expected["sentences"]).iter().zip(list(&output["batch"])) {
        let vector = numbers(&sentence["vector"]);
        assert_near("old files", &numbers(&found["embedding"]), &vector, 1e-4);
    }
}
