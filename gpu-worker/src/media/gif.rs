//! The first frame of a GIF, coloured as Pillow colours it: a transparent pixel keeps the colour
//! its index has in the palette, where other decoders blank it.

use gif::{ColorOutput, DecodeOptions, MemoryLimit};

use super::{Limits, MediaError, Picture, picture::corrupt, sniff::Format};

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, MediaError> {
    let invalid = |error: gif::DecodingError| corrupt(Format::Gif, error);
    let screen =
        |at: usize| Some(u32::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    if let (Some(width), Some(height)) = (screen(6), screen(8)) {
        limits.check(width, height)?;
    }

    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(bytes).map_err(invalid)?;
    let (screen_width, screen_height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let global_palette = decoder.global_palette().map(<[u8]>::to_vec);

    let info = decoder
        .next_frame_info()
        .map_err(invalid)?
        .ok_or_else(|| corrupt(Format::Gif, "it has no frame"))?;
    let (left, top) = (u32::from(info.left), u32::from(info.top));
    let (frame_width, frame_height) = (u32::from(info.width), u32::from(info.height));
    let transparent = info.transparent;
    let palette = info.palette.clone().or(global_palette).unwrap_or_default();

    // A frame that leaves the screen widens it, as in Pillow.
    let width = screen_width.max(left + frame_width);
    let height = screen_height.max(top + frame_height);
    limits.check(width, height)?;
    if frame_width == 0 || frame_height == 0 {
        return Err(corrupt(Format::Gif, "its first frame is empty"));
    }
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices).map_err(invalid)?;

    let colour = |index: u8| match palette.get(usize::from(index) * 3..usize::from(index) * 3 + 3) {
        Some(rgb) => [rgb[0], rgb[1], rgb[2]],
        // An index beyond the palette is a level of grey, as in Pillow.
        None => [index; 3],
    };
    let colours: Vec<[u8; 3]> = (0..=255).map(colour).collect();
    let around = colours[usize::from(transparent.unwrap_or(0))];
    let mut rgb = around.repeat(width as usize * height as usize);
    for (row, line) in indices.chunks_exact(frame_width as usize).enumerate() {
        let at = ((top as usize + row) * width as usize + left as usize) * 3;
        let pixels = rgb[at..at + line.len() * 3].as_chunks_mut::<3>().0;
        for (pixel, &index) in pixels.iter_mut().zip(line) {
            *pixel = colours[usize::from(index)];
        }
    }
    Ok(Picture { width, height, rgb })
}
