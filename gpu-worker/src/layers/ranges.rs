//! A first-fit allocator of ranges of whole units. Pure: it hands out numbers, not memory.

/// The free ranges of `0..capacity`, sorted and never adjacent.
#[derive(Clone, Debug)]
pub(super) struct Ranges {
    capacity: i64,
    free: Vec<(i64, i64)>,
}

impl Ranges {
    pub(super) fn new(capacity: i64) -> Self {
        let free = if capacity > 0 { vec![(0, capacity)] } else { Vec::new() };
        Self { capacity, free }
    }

    /// The start of the lowest free range of `length` units, which is then taken.
    pub(super) fn take(&mut self, length: i64) -> Option<i64> {
        let idx = self.free.iter().position(|&(start, end)| end - start >= length)?;
        let (start, end) = self.free[idx];
        if end - start == length {
            self.free.remove(idx);
        } else {
            self.free[idx].0 = start + length;
        }
        Some(start)
    }

    /// Gives back a range that [`Self::take`] returned.
    pub(super) fn give_back(&mut self, start: i64, length: i64) {
        let mut range = (start, start + length);
        let idx = self.free.partition_point(|&(free_start, _)| free_start < start);
        debug_assert!(idx == 0 || self.free[idx - 1].1 <= range.0, "the range was taken");
        debug_assert!(idx == self.free.len() || range.1 <= self.free[idx].0, "the range was taken");
        if idx < self.free.len() && self.free[idx].0 == range.1 {
            range.1 = self.free.remove(idx).1;
        }
        if idx > 0 && self.free[idx - 1].1 == range.0 {
            self.free[idx - 1].1 = range.1;
        } else {
            self.free.insert(idx, range);
        }
    }

    /// Units that nobody has.
    pub(super) fn free(&self) -> i64 {
        self.free.iter().map(|(start, end)| end - start).sum()
    }

    pub(super) fn is_unused(&self) -> bool {
        self.free == [(0, self.capacity)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hole_is_filled_before_the_tail() {
        let mut ranges = Ranges::new(10);
        assert_eq!((ranges.take(4), ranges.take(4)), (Some(0), Some(4)));
        ranges.give_back(0, 4);
        assert_eq!((ranges.take(3), ranges.take(2), ranges.take(2)), (Some(0), Some(8), None));
    }

    #[test]
    fn neighbours_given_back_become_one_range() {
        let mut ranges = Ranges::new(9);
        for _ in 0..3 {
            ranges.take(3);
        }
        for start in [0, 6, 3] {
            ranges.give_back(start, 3);
        }
        assert_eq!(ranges.take(9), Some(0));
    }

    proptest! {
        #[test]
        fn ranges_in_use_never_overlap_and_all_come_back(
            capacity in 1_i64..64,
            actions in prop::collection::vec((any::<bool>(), 1_i64..16), 0..200),
        ) {
            let mut ranges = Ranges::new(capacity);
            let mut taken: Vec<(i64, i64)> = Vec::new();
            for (take, number) in actions {
                if take {
                    match ranges.take(number) {
                        Some(start) => {
                            prop_assert!(start >= 0 && start + number <= capacity);
                            prop_assert!(taken.iter().all(|&(s, n)| start + number <= s || s + n <= start));
                            taken.push((start, number));
                        }
                        None => {
                            let mut used = vec![false; capacity as usize];
                            for &(start, length) in &taken {
                                used[start as usize..(start + length) as usize].fill(true);
                            }
                            let longest = used.split(|&used| used).map(<[bool]>::len).max().unwrap_or(0);
                            prop_assert!((longest as i64) < number, "refused although it fits");
                        }
                    }
                } else if !taken.is_empty() {
                    let (start, length) = taken.swap_remove(number as usize % taken.len());
                    ranges.give_back(start, length);
                }
            }
            for (start, length) in taken {
                ranges.give_back(start, length);
            }
            prop_assert!(ranges.is_unused());
        }
    }
}
