//! A picture in square windows: cutting, putting together, and who sees whom when the windows are shifted
//! (Liu et al., 2021, <https://arxiv.org/abs/2103.14030>).

use tch::{Device, Kind, Tensor};

/// `[batch, height, width, dim]` to `[batch × windows, side × side, dim]`, row by row; `side` divides both.
pub fn partition(xs: &Tensor, side: i64) -> Tensor {
    let (batch, height, width, dim) = xs.size4().expect("xs is [batch, height, width, dim]");
    xs.reshape([batch, height / side, side, width / side, side, dim]).transpose(2, 3).reshape([
        -1,
        side * side,
        dim,
    ])
}

/// What [`partition`] made to `[batch, height, width, dim]`.
pub fn merge(windows: &Tensor, side: i64, [height, width]: [i64; 2]) -> Tensor {
    let dim = windows.size()[2];
    windows
        .reshape([-1, height / side, width / side, side, side, dim])
        .transpose(2, 3)
        .reshape([-1, height, width, dim])
}

/// `[windows, side × side, side × side]`, true where two places of a window lie apart in the picture: they were brought
/// together by rolling it up and left by `shift`.
pub fn strangers(side: i64, shift: i64, [height, width]: [i64; 2], device: Device) -> Tensor {
    let parts = |edge: i64| {
        let places = Tensor::arange(edge, (Kind::Int64, device));
        places.ge(edge - side).to_kind(Kind::Int64) + places.ge(edge - shift).to_kind(Kind::Int64)
    };
    let regions = parts(height).unsqueeze(1) * 3 + parts(width).unsqueeze(0);
    let windows = partition(&regions.reshape([1, height, width, 1]), side).squeeze_dim(2);
    windows.unsqueeze(1).ne_tensor(&windows.unsqueeze(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_is_put_together_again() {
        let xs = Tensor::arange(2 * 6 * 4 * 3, (Kind::Float, Device::Cpu)).view([2, 6, 4, 3]);
        let windows = partition(&xs, 2);
        assert_eq!(windows.size(), [12, 4, 3]);
        assert!(merge(&windows, 2, [6, 4]).equal(&xs));
    }

    #[test]
    fn only_windows_at_the_ends_hold_strangers() {
        let strangers = strangers(4, 2, [8, 8], Device::Cpu);
        let counts = strangers.to_kind(Kind::Int64).sum_dim_intlist([1, 2].as_slice(), false, None);
        // Of 16 places two halves, and in the corner four quarters.
        assert_eq!(Vec::<i64>::try_from(counts).unwrap(), [0, 128, 128, 192]);
    }
}
