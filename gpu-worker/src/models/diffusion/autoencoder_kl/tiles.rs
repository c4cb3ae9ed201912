//! Pictures that are too large to be worked on at once: in overlapping tiles that fade into each other.
//!
//! Reference: `_tiled_encode` and `tiled_decode` of `diffusers/models/autoencoders/autoencoder_kl.py`.

use tch::Tensor;

/// A picture, or its latents, on its way through the autoencoder tile by tile.
pub struct Tiles {
    /// `[batch, channels, height, width]`, what is cut into tiles.
    whole: Tensor,
    tiling: Tiling,
    /// Down and across.
    counts: [i64; 2],
    /// Row by row.
    made: Vec<Tensor>,
}

/// How tiles are cut and put together; all are square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tiling {
    /// Of what is cut.
    pub side: i64,
    /// From where one tile begins to where the next one does.
    pub stride: i64,
    /// Over so much of what is made of them neighbours fade into each other.
    pub fade: i64,
    /// So much of what is made of a tile is kept, from its beginning on.
    pub kept: i64,
}

impl Tiling {
    /// Of sides that the autoencoder was trained on, of what is cut and of what is made of it. A quarter overlaps.
    /// `None`: they are too short.
    pub(super) fn of(cut: i64, made: i64) -> Option<Self> {
        let quarter = |side: i64| (side as f64 * 0.25) as i64;
        let stride = (cut as f64 * 0.75) as i64;
        let (fade, side) = (quarter(made), cut);
        (stride > 0 && made > fade).then(|| Self { side, stride, fade, kept: made - fade })
    }
}

impl Tiles {
    pub(super) fn new(whole: &Tensor, tiling: Tiling) -> Self {
        let (_, _, height, width) = whole.size4().expect("pictures have four dimensions");
        let counts = [height, width].map(|side| (side + tiling.stride - 1) / tiling.stride);
        Self { whole: whole.shallow_clone(), tiling, counts, made: Vec::new() }
    }

    /// Down times across.
    pub fn count(&self) -> usize {
        (self.counts[0] * self.counts[1]) as usize
    }

    pub fn is_complete(&self) -> bool {
        self.made.len() == self.count()
    }

    /// Height and width of the next tile, as it is cut.
    pub fn next_size(&self) -> [i64; 2] {
        self.place().map(|(_, length)| length)
    }

    /// The next tile.
    pub(super) fn cut(&self) -> Tensor {
        let [(top, height), (left, width)] = self.place();
        self.whole.narrow(2, top, height).narrow(3, left, width)
    }

    /// Where the next tile begins and how long it is, down and across. Those at the end are shorter.
    fn place(&self) -> [(i64, i64); 2] {
        let at = self.made.len() as i64;
        let (_, _, height, width) = self.whole.size4().expect("pictures have four dimensions");
        [(at / self.counts[1], height), (at % self.counts[1], width)].map(|(at, side)| {
            let begin = at * self.tiling.stride;
            (begin, self.tiling.side.min(side - begin))
        })
    }

    /// Takes what was made of the next tile.
    pub(super) fn push(&mut self, made: Tensor) {
        self.made.push(made);
    }

    /// Puts all together; every tile must be there.
    pub fn join(self) -> Tensor {
        let Tiling { fade, kept, .. } = self.tiling;
        let across = self.counts[1] as usize;
        let mut rows = Vec::new();
        for (at, tile) in self.made.iter().enumerate() {
            // A neighbour's end has itself been faded by then, as in the reference.
            if at >= across {
                fade_in(tile, &self.made[at - across], 2, fade);
            }
            if at % across > 0 {
                fade_in(tile, &self.made[at - 1], 3, fade);
            }
            if at % across == 0 {
                rows.push(Vec::new());
            }
            let (_, _, height, width) = tile.size4().expect("tiles have four dimensions");
            let kept = tile.narrow(2, 0, kept.min(height)).narrow(3, 0, kept.min(width));
            rows.last_mut().expect("a row was begun").push(kept);
        }
        let rows: Vec<Tensor> = rows.iter().map(|row| Tensor::cat(row, 3)).collect();
        Tensor::cat(&rows, 2)
    }
}

/// Writes into the first `fade` lines of `tile` along `dim` how the last ones of `before` fade into them.
fn fade_in(tile: &Tensor, before: &Tensor, dim: i64, fade: i64) {
    let length = |tensor: &Tensor| tensor.size()[dim as usize];
    let fade = fade.min(length(tile)).min(length(before));
    if fade == 0 {
        return;
    }
    let shares: Vec<f64> = (0..fade).map(|at| at as f64 / fade as f64).collect();
    let weights = |shares: &[f64]| {
        let mut shape = [1; 4];
        shape[dim as usize] = fade;
        Tensor::from_slice(shares).view(shape).to_kind(tile.kind()).to_device(tile.device())
    };
    let rest: Vec<f64> = shares.iter().map(|share| 1.0 - share).collect();
    let mut begin = tile.narrow(dim, 0, fade);
    let end = before.narrow(dim, length(before) - fade, fade);
    let faded = end * weights(&rest) + &begin * weights(&shares);
    begin.copy_(&faded);
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const TILING: Tiling = Tiling { side: 4, stride: 3, fade: 4, kept: 12 };

    #[test]
    fn a_quarter_overlaps() {
        assert_eq!(Tiling::of(4, 16), Some(TILING));
        let encoding = Tiling { side: 16, stride: 12, fade: 1, kept: 3 };
        assert_eq!(Tiling::of(16, 4), Some(encoding));
        assert_eq!(Tiling::of(1, 8), None);
        assert_eq!(Tiling::of(0, 0), None);
    }

    #[test]
    fn tiles_cover_the_whole_once_and_what_is_alike_has_no_seams() {
        for (height, width, counts) in [(4, 5, [2, 2]), (3, 10, [1, 4]), (7, 1, [3, 1])] {
            let whole = Tensor::ones([1, 2, height, width], (Kind::Float, Device::Cpu));
            let mut tiles = Tiles::new(&whole, TILING);
            assert_eq!(tiles.counts, counts);
            while !tiles.is_complete() {
                let tile = tiles.cut();
                assert_eq!(tile.size()[2..], tiles.next_size());
                tiles.push(tile.upsample_nearest2d(tiles.next_size().map(|n| n * 4), None, None));
            }
            assert_eq!(tiles.made.len(), tiles.count());
            let joined = tiles.join();
            assert_eq!(joined.size(), [1, 2, height * 4, width * 4]);
            assert!((joined - 1.0).abs().max().double_value(&[]) < 1e-6);
        }
    }
}
