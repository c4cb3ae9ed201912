//! What an idle worker uses, measured whenever the last model has left: growth of it is a leak. Pure.

/// The measurements of one worker; bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// After the first full unload: by then libtorch has set up what it keeps.
    first: Option<u64>,
    last: Option<u64>,
}

impl Baseline {
    pub fn see(&mut self, bytes: u64) {
        self.first.get_or_insert(bytes);
        self.last = Some(bytes);
    }

    /// The newest measurement.
    pub fn bytes(&self) -> Option<u64> {
        self.last
    }

    /// Bytes by which the idle worker has grown since its first full unload.
    pub fn growth(&self) -> u64 {
        self.last.unwrap_or(0).saturating_sub(self.first.unwrap_or(0))
    }

    /// Whether only a restart gives the memory back.
    pub fn is_beyond(&self, limit: u64) -> bool {
        self.growth() > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_counts_from_the_first_full_unload() {
        let mut baseline = Baseline::default();
        assert!(!baseline.is_beyond(0));
        for (bytes, growth, is_beyond) in
            [(100, 0, false), (90, 0, false), (110, 10, false), (111, 11, true), (100, 0, false)]
        {
            baseline.see(bytes);
            assert_eq!((baseline.growth(), baseline.is_beyond(10)), (growth, is_beyond), "{bytes}");
        }
        assert_eq!(baseline.bytes(), Some(100));
    }
}
