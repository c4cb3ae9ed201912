//! Crops and pads of 8-bit pictures, around the centre, filled with black.

use super::{Backend, Picture};

/// The centre of `picture` at `height` × `width`; where it is smaller, black surrounds it.
///
/// The two backends put an odd pixel of padding on opposite sides.
pub(super) fn center_crop(picture: &Picture, height: u32, width: u32, backend: Backend) -> Picture {
    let offset = |old: u32, new: u32| match (backend, i64::from(old), i64::from(new)) {
        (_, old, new) if old >= new => (old - new) / 2,
        // The padding before the picture: rounded down in torchvision, up in NumPy.
        (Backend::Torchvision, old, new) => -((new - old) / 2),
        (Backend::Pillow, old, new) => -((new - old + 1) / 2),
    };
    window(
        picture,
        offset(picture.height, height),
        offset(picture.width, width),
        height,
        width,
        [0; 3],
    )
}

/// `picture` in the middle of a square as long as its longer edge.
pub(super) fn pad_to_square(picture: &Picture, fill: [u8; 3]) -> Picture {
    let edge = picture.height.max(picture.width);
    let offset = |old: u32| -i64::from((edge - old) / 2);
    window(picture, offset(picture.height), offset(picture.width), edge, edge, fill)
}

/// `height` × `width` pixels from (`top`, `left`) on; what lies outside the picture is `fill`.
fn window(
    picture: &Picture,
    top: i64,
    left: i64,
    height: u32,
    width: u32,
    fill: [u8; 3],
) -> Picture {
    let (old_width, old_height) = (i64::from(picture.width), i64::from(picture.height));
    let mut rgb = fill.repeat(width as usize * height as usize);
    let from = left.clamp(0, old_width);
    let to = (left + i64::from(width)).clamp(from, old_width);
    for (row, line) in rgb.chunks_exact_mut(width as usize * 3).enumerate() {
        let y = top + row as i64;
        if !(0..old_height).contains(&y) || from == to {
            continue;
        }
        let source = ((y * old_width + from) * 3) as usize..((y * old_width + to) * 3) as usize;
        let at = ((from - left) * 3) as usize;
        line[at..at + source.len()].copy_from_slice(&picture.rgb[source]);
    }
    Picture { width, height, rgb }
}
