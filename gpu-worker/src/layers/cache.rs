//! Keys and values of running sequences: one arena per residency, with a bound in bytes.
//!
//! A sequence reserves what it may need at most before it starts, so that it never runs out on the way. Memory is
//! taken in chunks when a reservation needs it and given back with a chunk's last slot: an idle residency holds none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};

use super::ranges::Ranges;

/// What one token's keys and values are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    pub layers: i64,
    pub kv_heads: i64,
    pub head_dim: i64,
    pub kind: Kind,
}

impl CacheShape {
    /// Bytes that one cached token takes over all layers.
    pub fn bytes_per_token(&self) -> u64 {
        self.elements_per_token() as u64 * self.kind.elt_size_in_bytes() as u64
    }

    fn elements_per_token(&self) -> i64 {
        self.layers * 2 * self.kv_heads * self.head_dim
    }
}

/// Chunks are at least this large, unless the bound is smaller.
const CHUNK_BYTES: u64 = 64 << 20;

pub struct KvArena {
    shape: CacheShape,
    device: Device,
    chunk_tokens: i64,
    max_tokens: i64,
    chunks: Arc<Mutex<Chunks>>,
}

#[derive(Default)]
struct Chunks {
    next_id: u64,
    all: Vec<Chunk>,
}

struct Chunk {
    id: u64,
    tokens: i64,
    ranges: Ranges,
    /// `[tokens × elements per token]`; a slot is a contiguous part of it.
    memory: Tensor,
}

impl KvArena {
    /// An empty arena that will never hold more than `max_bytes`.
    pub fn new(shape: CacheShape, device: Device, max_bytes: u64) -> Self {
        let tokens_in =
            |bytes: u64| i64::try_from(bytes / shape.bytes_per_token().max(1)).unwrap_or(i64::MAX);
        Self {
            shape,
            device,
            chunk_tokens: tokens_in(CHUNK_BYTES).max(1),
            max_tokens: tokens_in(max_bytes),
            chunks: Arc::default(),
        }
    }

    /// Room for a sequence of up to `tokens` tokens, or `None` while the arena is too full for it.
    /// More than [`Self::max_tokens`] never fits.
    pub fn reserve(&self, tokens: i64) -> Option<KvSlot> {
        let tokens = tokens.max(1);
        let mut chunks = lock(&self.chunks);
        let fits = chunks.all.iter_mut().find_map(|chunk| {
            let start = chunk.ranges.take(tokens)?;
            Some((chunk.id, start, chunk.memory.shallow_clone()))
        });
        let (chunk_id, start, memory) = match fits {
            Some(found) => found,
            None => self.grow(&mut chunks, tokens)?,
        };
        drop(chunks);
        let layers = self.layers(&memory, start, tokens);
        Some(KvSlot { layers, tokens, start, chunk_id, chunks: Arc::clone(&self.chunks) })
    }

    /// The longest sequence that fits into an empty arena.
    pub fn max_tokens(&self) -> i64 {
        self.max_tokens
    }

    /// What fits into all slots that are there now.
    pub fn reserved_tokens(&self) -> i64 {
        lock(&self.chunks).all.iter().map(|chunk| chunk.tokens - chunk.ranges.free()).sum()
    }

    /// Bytes of slots for so many tokens.
    pub fn bytes_of(&self, tokens: i64) -> u64 {
        tokens as u64 * self.shape.bytes_per_token()
    }

    /// Bytes that the arena holds now.
    pub fn bytes_used(&self) -> u64 {
        let tokens: i64 = lock(&self.chunks).all.iter().map(|chunk| chunk.tokens).sum();
        self.bytes_of(tokens)
    }

    fn grow(&self, chunks: &mut Chunks, tokens: i64) -> Option<(u64, i64, Tensor)> {
        let held: i64 = chunks.all.iter().map(|chunk| chunk.tokens).sum();
        let room = self.max_tokens - held;
        if tokens > room {
            return None;
        }
        let chunk_tokens = tokens.max(self.chunk_tokens.min(room));
        let elements = chunk_tokens * self.shape.elements_per_token();
        let memory = Tensor::empty([elements], (self.shape.kind, self.device));
        let mut ranges = Ranges::new(chunk_tokens);
        let start = ranges.take(tokens)?;
        let id = chunks.next_id;
        chunks.next_id += 1;
        chunks.all.push(Chunk { id, tokens: chunk_tokens, ranges, memory: memory.shallow_clone() });
        Some((id, start, memory))
    }

    /// Every layer's keys and values, each `[kv_heads, tokens, head_dim]` and contiguous: attention over one sequence
    /// then reads memory in order.
    fn layers(&self, memory: &Tensor, start: i64, tokens: i64) -> Vec<(Tensor, Tensor)> {
        let CacheShape { layers, kv_heads, head_dim, .. } = self.shape;
        let per_token = self.shape.elements_per_token();
        let slot = memory
            .narrow(0, start * per_token, tokens * per_token)
            .view([layers, 2, kv_heads, tokens, head_dim]);
        (0..layers)
            .map(|layer| {
                let layer = slot.select(0, layer);
                (layer.select(0, 0), layer.select(0, 1))
            })
            .collect()
    }
}

/// One sequence's part of the arena; dropping it gives the room back.
pub struct KvSlot {
    layers: Vec<(Tensor, Tensor)>,
    tokens: i64,
    start: i64,
    chunk_id: u64,
    chunks: Arc<Mutex<Chunks>>,
}

impl KvSlot {
    /// How many tokens fit.
    pub fn tokens(&self) -> i64 {
        self.tokens
    }

    /// Writes the keys and values (`[tokens, kv_heads, head_dim]`) of the tokens from position `at` on.
    pub(super) fn write(&self, layer: usize, at: i64, k: &Tensor, v: &Tensor) {
        let (keys, values) = &self.layers[layer];
        let n_tokens = k.size()[0];
        keys.narrow(1, at, n_tokens).copy_(&k.transpose(0, 1));
        values.narrow(1, at, n_tokens).copy_(&v.transpose(0, 1));
    }

    /// Takes over the first `tokens` tokens of another slot.
    pub fn copy_from(&self, other: &Self, tokens: i64) {
        for ((keys, values), (other_keys, other_values)) in self.layers.iter().zip(&other.layers) {
            keys.narrow(1, 0, tokens).copy_(&other_keys.narrow(1, 0, tokens));
            values.narrow(1, 0, tokens).copy_(&other_values.narrow(1, 0, tokens));
        }
    }

    /// Keys and values of the positions `from..to`, each `[1, kv_heads, to - from, head_dim]`, without a copy.
    pub(super) fn read(&self, layer: usize, from: i64, to: i64) -> (Tensor, Tensor) {
        let (keys, values) = &self.layers[layer];
        (
            keys.narrow(1, from, to - from).unsqueeze(0),
            values.narrow(1, from, to - from).unsqueeze(0),
        )
    }
}

impl Drop for KvSlot {
    fn drop(&mut self) {
        self.layers.clear();
        let mut chunks = lock(&self.chunks);
        if let Some(idx) = chunks.all.iter().position(|chunk| chunk.id == self.chunk_id) {
            let chunk = &mut chunks.all[idx];
            chunk.ranges.give_back(self.start, self.tokens);
            if chunk.ranges.is_unused() {
                chunks.all.swap_remove(idx);
            }
        }
    }
}

/// Gives every beam the cache of its parent. A parent's first child takes the slot itself; further ones copy it into
/// slots that nobody goes on from.
pub fn reorder(slots: Vec<KvSlot>, parents: &[usize], tokens: i64) -> Vec<KvSlot> {
    let mut old: Vec<Option<KvSlot>> = slots.into_iter().map(Some).collect();
    let mut heir: Vec<Option<usize>> = vec![None; old.len()];
    let mut new: Vec<Option<KvSlot>> = Vec::with_capacity(old.len());
    for (beam, &parent) in parents.iter().enumerate() {
        let slot = old[parent].take();
        if slot.is_some() {
            heir[parent] = Some(beam);
        }
        new.push(slot);
    }
    let mut free: Vec<KvSlot> = old.into_iter().flatten().collect();
    for beam in 0..new.len() {
        if new[beam].is_some() {
            continue;
        }
        let from = heir[parents[beam]].and_then(|heir| new[heir].as_ref());
        if let (Some(slot), Some(from)) = (free.pop(), from) {
            slot.copy_from(from, tokens);
            new[beam] = Some(slot);
        }
    }
    new.into_iter().flatten().collect()
}

/// The books stay right across a panic elsewhere: nothing panics between two changes to them.
fn lock(chunks: &Mutex<Chunks>) -> MutexGuard<'_, Chunks> {
    chunks.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> CacheShape {
        CacheShape { layers: 2, kv_heads: 2, head_dim: 4, kind: Kind::Float }
    }

    fn arena(max_tokens: u64) -> KvArena {
        KvArena::new(shape(), Device::Cpu, max_tokens * shape().bytes_per_token())
    }

    #[test]
    fn an_idle_arena_holds_no_memory() {
        let arena = arena(100);
        assert_eq!(arena.bytes_used(), 0);
        let slots = (arena.reserve(60).unwrap(), arena.reserve(40).unwrap());
        assert_eq!(arena.bytes_used(), 100 * shape().bytes_per_token());
        drop(slots);
        assert_eq!(arena.bytes_used(), 0);
    }

    #[test]
    fn never_holds_more_than_its_bound() {
        let arena = arena(100);
        assert!(arena.reserve(101).is_none());
        let first = arena.reserve(70).unwrap();
        assert!(arena.reserve(31).is_none());
        assert_eq!(arena.reserved_tokens(), 70);
        drop(first);
        assert!(arena.reserve(100).is_some());
    }

    #[test]
    fn what_one_slot_writes_no_other_slot_sees() {
        let arena = arena(16);
        let (one, two) = (arena.reserve(8).unwrap(), arena.reserve(8).unwrap());
        let full = |value: f64| Tensor::full([8, 2, 4], value, (Kind::Float, Device::Cpu));
        for layer in 0..2 {
            one.write(layer, 0, &full(1.0), &full(2.0));
            two.write(layer, 0, &full(3.0), &full(4.0));
        }
        for layer in 0..2 {
            for (slot, expected) in [(&one, (1.0, 2.0)), (&two, (3.0, 4.0))] {
                let (keys, values) = slot.read(layer, 2, 8);
                assert_eq!(keys.size(), [1, 2, 6, 4]);
                assert_eq!(
                    (
                        keys.mean(Kind::Float).double_value(&[]),
                        values.mean(Kind::Float).double_value(&[])
                    ),
                    expected
                );
            }
        }
    }
}
