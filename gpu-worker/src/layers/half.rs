//! What half precision needs beside its kind.

use tch::{Kind, Tensor};

/// Keeps what float16 cannot hold within its range, as the reference does; other kinds stay as they are.
pub fn clamp_half(xs: Tensor) -> Tensor {
    const MOST: f64 = 65504.0 - 1000.0;
    if xs.kind() == Kind::Half { xs.clamp(-MOST, MOST) } else { xs }
}
