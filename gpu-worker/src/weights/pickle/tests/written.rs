//! Checkpoints as `torch.save` writes them, put together by hand.

/// A pickle, instruction by instruction, as Python's C implementation writes protocol 2.
#[derive(Clone, Default)]
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub fn text(self, text: &str) -> Self {
        self.op(b"X").op(&(text.len() as u32).to_le_bytes()).op(text.as_bytes())
    }

    pub fn name(self, module: &str, attribute: &str) -> Self {
        self.op(format!("c{module}\n{attribute}\n").as_bytes())
    }

    pub fn int(self, value: i64) -> Self {
        match value {
            0..=255 => self.op(&[b'K', value as u8]),
            -0x8000_0000..=0x7FFF_FFFF => self.op(b"J").op(&(value as i32).to_le_bytes()),
            _ => self.op(&[0x8A, 8]).op(&value.to_le_bytes()),
        }
    }

    pub fn tuple(self, values: &[i64]) -> Self {
        values.iter().fold(self.op(b"("), |pickle, &value| pickle.int(value)).op(b"t")
    }

    pub fn storage(self, class: &str, key: &str, elements: i64) -> Self {
        let parts = self.op(b"(").text("storage").name("torch", class).text(key).text("cpu");
        parts.int(elements).op(b"tQ")
    }

    /// One entry of a dictionary: a tensor on a storage of its own.
    pub fn tensor(
        self,
        name: &str,
        class: &str,
        key: &str,
        sizes: (&[i64], &[i64]),
        n: i64,
    ) -> Self {
        let (shape, strides) = sizes;
        self.text(name)
            .name("torch._utils", "_rebuild_tensor_v2")
            .op(b"(")
            .storage(class, key, n)
            .int(0)
            .tuple(shape)
            .tuple(strides)
            .op(b"\x89")
            .name("collections", "OrderedDict")
            .op(b")RtR")
    }

    pub fn dict(self) -> Self {
        self.name("collections", "OrderedDict").op(b")Rq\x00(")
    }

    pub fn end(self) -> Vec<u8> {
        self.op(b"u.").0
    }
}

/// An archive of members that are stored as they are, aligned by an extra field as PyTorch does.
pub fn archive(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let header = bytes.len() as u32;
        let padding = 8_u16;
        let sizes = [0_u32, data.len() as u32, data.len() as u32];
        let fields = |out: &mut Vec<u8>, extra: u16| {
            out.extend([0; 8]);
            sizes.iter().for_each(|size| out.extend(size.to_le_bytes()));
            out.extend((name.len() as u16).to_le_bytes());
            out.extend(extra.to_le_bytes());
        };
        bytes.extend(b"PK\x03\x04\0\0");
        fields(&mut bytes, padding);
        bytes.extend(name.as_bytes());
        bytes.extend(b"FB\x04\0ZZZZ");
        bytes.extend(data);
        directory.extend(b"PK\x01\x02\0\0\0\0");
        fields(&mut directory, 0);
        directory.extend([0; 10]);
        directory.extend(header.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, length, count) = (bytes.len() as u32, directory.len() as u32, members.len() as u16);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

pub fn checkpoint(pickle: Vec<u8>, storages: &[(&str, usize)]) -> Vec<u8> {
    let names: Vec<String> = storages.iter().map(|(key, _)| format!("model/data/{key}")).collect();
    let mut members = vec![("model/data.pkl", pickle), ("model/byteorder", b"little".to_vec())];
    members.extend(names.iter().zip(storages).map(|(name, &(_, n))| (name.as_str(), vec![7; n])));
    archive(&members)
}
