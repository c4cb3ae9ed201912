//! Packs tensors into few large allocations.

/// Tensors begin at multiples of this many bytes: a cache line on the host, a coalesced read on a GPU.
pub(super) const ALIGNMENT: u64 = 256;

/// One allocation and what lies where in it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chunk {
    pub(super) bytes: u64,
    /// Index of a tensor, and its offset in bytes.
    pub(super) places: Vec<(usize, u64)>,
}

/// Keeps the order. A chunk is at most `limit` bytes, unless it is one tensor that is larger.
pub(super) fn pack(sizes: impl IntoIterator<Item = u64>, limit: u64) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for (idx, size) in sizes.into_iter().enumerate() {
        match chunks.last_mut() {
            Some(chunk)
                if chunk.bytes.next_multiple_of(ALIGNMENT).saturating_add(size) <= limit =>
            {
                let offset = chunk.bytes.next_multiple_of(ALIGNMENT);
                chunk.places.push((idx, offset));
                chunk.bytes = offset + size;
            }
            _ => chunks.push(Chunk { bytes: size, places: vec![(idx, 0)] }),
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_tensors_and_starts_a_new_chunk_at_the_limit() {
        let chunks = pack([10, 300, 0, 4000, 5, 1000], 1024);
        let places: Vec<_> =
            chunks.iter().map(|chunk| (chunk.bytes, chunk.places.clone())).collect();
        assert_eq!(
            places,
            [
                (768, vec![(0, 0), (1, 256), (2, 768)]),
                (4000, vec![(3, 0)]),
                (5, vec![(4, 0)]),
                (1000, vec![(5, 0)]),
            ]
        );
    }

    #[test]
    fn nothing_needs_no_chunk() {
        assert_eq!(pack([], 1024), []);
    }
}
