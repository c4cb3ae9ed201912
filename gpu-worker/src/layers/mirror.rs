//! Padding with the picture's own mirror image.

use tch::{Kind, Tensor};

/// `[batch, channels, height, width]` with both sides a multiple of `multiple`: the right and the lower edge are mirrored,
/// the outermost pixel itself not repeated, as libtorch's reflection has it; where that is all of the picture it goes on
/// to and fro.
pub fn pad_to_multiple(xs: &Tensor, multiple: i64) -> Tensor {
    let (_, _, height, width) = xs.size4().expect("xs is [batch, channels, height, width]");
    pad_side(&pad_side(xs, 2, height, multiple), 3, width, multiple)
}

fn pad_side(xs: &Tensor, dim: i64, size: i64, multiple: i64) -> Tensor {
    let padded = (size + multiple - 1) / multiple * multiple;
    if padded == size {
        return xs.shallow_clone();
    }
    let period = (2 * (size - 1)).max(1);
    let places: Vec<i64> =
        (0..padded).map(|at| at % period).map(|at| at.min(period - at).min(size - 1)).collect();
    xs.index_select(dim, &Tensor::from_slice(&places).to_kind(Kind::Int64).to_device(xs.device()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_to_and_fro() {
        let row = |size: i64| Tensor::arange(size, (Kind::Int64, tch::Device::Cpu));
        let padded = |size: i64, multiple: i64| {
            let xs = row(size).view([1, 1, 1, size]).expand([1, 1, multiple, size], false);
            let padded = pad_to_multiple(&xs, multiple);
            Vec::<i64>::try_from(padded.select(2, 0).flatten(0, -1)).unwrap()
        };
        assert_eq!(padded(4, 4), [0, 1, 2, 3]);
        assert_eq!(padded(5, 4), [0, 1, 2, 3, 4, 3, 2, 1]);
        assert_eq!(padded(3, 8), [0, 1, 2, 1, 0, 1, 2, 1]);
        assert_eq!(padded(2, 4), [0, 1, 0, 1]);
        assert_eq!(padded(1, 4), [0, 0, 0, 0]);
    }
}
