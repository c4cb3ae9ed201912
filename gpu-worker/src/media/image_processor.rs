//! A model's image processor: an RGB picture in, `[channels, height, width]` floats out, as the
//! reference's `AutoImageProcessor` makes them.

use std::borrow::Cow;

use super::{
    Picture, ProcessorError, Resample, crop,
    normalize::{Arithmetic, Levels},
    pillow_resize,
    processor_config::{self, Rule, Settings, Size, field},
    target_size::{WARP_FROM, target_size},
    torch_resize,
};

/// Whose arithmetic a processor follows. The two differ in single levels of many pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Pillow,
    Torchvision,
}

/// Built once per model; safe to use from many threads.
#[derive(Clone, Debug)]
pub struct ImageProcessor {
    settings: Settings,
    backend: Backend,
}

/// What a model's `pixel_values` hold for one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    /// `[channels, height, width]`.
    pub data: Vec<f32>,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    /// Height and width without the padding at the right and the bottom (the `pixel_mask`).
    pub valid: (usize, usize),
}

impl ImageProcessor {
    /// From `preprocessor_config.json` (or `processor_config.json` with the configuration nested)
    /// and, where that names no class, the model's `config.json`.
    ///
    /// The backend is the one `AutoImageProcessor` picks.
    pub fn from_config(
        preprocessor_config: &str,
        model_config: Option<&str>,
    ) -> Result<Self, ProcessorError> {
        let (class, settings) = processor_config::parse(preprocessor_config, model_config)?;
        Self { settings, backend: class.backend }.with_backend(class.backend)
    }

    /// The same processor with its backend pinned.
    pub fn with_backend(mut self, backend: Backend) -> Result<Self, ProcessorError> {
        let resample = self.settings.resample;
        if self.settings.resize && backend == Backend::Torchvision {
            match resample {
                Resample::Box | Resample::Hamming => {
                    return Err(field(
                        "resample",
                        format!("{resample:?} is unknown to torchvision"),
                    ));
                }
                Resample::Lanczos => tracing::warn!(
                    class = self.settings.class,
                    "torchvision has no Lanczos filter; bicubic takes its place, as in the reference"
                ),
                Resample::Nearest | Resample::Bilinear | Resample::Bicubic => {}
            }
        }
        self.backend = backend;
        Ok(self)
    }

    /// The backend in use.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// How each level becomes a float, and to which multiple pictures are padded with their mirror image, of a processor
    /// that leaves the size of pictures as it is otherwise; `None` of one that doesn't.
    pub fn without_resizing(&self) -> Option<(Levels, Option<u32>)> {
        let settings = &self.settings;
        let divisor = match settings.rule {
            Rule::SymmetricPad { divisor } => settings.pad.then_some(divisor),
            Rule::Plain if !settings.pad => None,
            _ => return None,
        };
        let levels = || settings.arithmetic.levels(self.backend);
        (!settings.resize && !settings.center_crop).then(|| (levels(), divisor))
    }

    /// One picture to one model input.
    pub fn process(&self, picture: &Picture) -> Result<Pixels, ProcessorError> {
        let settings = &self.settings;
        if settings.rule == Rule::RescaleThenResize {
            return self.rescale_then_resize(picture);
        }
        let prepared = self.shape(picture)?;
        let (height, width) = (prepared.height as usize, prepared.width as usize);
        let mut data = settings.arithmetic.apply(&prepared, self.backend);
        if settings.rule == (Rule::RescaleAndFlip { flip: true }) {
            let (first, rest) = data.split_at_mut(height * width);
            first.swap_with_slice(&mut rest[height * width..]);
        }
        let pixels = Pixels { data, channels: 3, height, width, valid: (height, width) };
        self.pad(pixels)
    }

    /// Everything that happens to bytes: pads, resizes and crops before the floats.
    fn shape<'a>(&self, picture: &'a Picture) -> Result<Cow<'a, Picture>, ProcessorError> {
        let settings = &self.settings;
        let mut picture = Cow::Borrowed(picture);
        if settings.rule == Rule::PadToSquare && settings.pad && picture.width != picture.height {
            let mean =
                settings.mean.ok_or_else(|| field("image_mean", "is missing, but do_pad is on"))?;
            let fill = mean.map(|mean| (mean * 255.0) as u8);
            picture = Cow::Owned(crop::pad_to_square(&picture, fill));
        }
        if settings.rule == Rule::CropThenResize && settings.center_crop {
            picture = Cow::Owned(self.proportional_crop(&picture)?);
        }
        if settings.resize {
            let from = (picture.height, picture.width);
            let (height, width) = target_size(&settings.rule, settings.size, from)?;
            if from != (height, width) {
                picture = Cow::Owned(self.resize(&picture, height, width)?);
            }
            if let (Rule::CropPctOrWarp { .. }, Some(Size::Shortest(edge))) =
                (&settings.rule, settings.size)
                && edge < WARP_FROM
            {
                picture = Cow::Owned(crop::center_crop(&picture, edge, edge, self.backend));
            }
        }
        if let (true, Some((height, width))) = (settings.center_crop, settings.crop_size)
            && settings.rule != Rule::CropThenResize
        {
            picture = Cow::Owned(crop::center_crop(&picture, height, width, self.backend));
        }
        Ok(picture)
    }

    fn resize(
        &self,
        picture: &Picture,
        height: u32,
        width: u32,
    ) -> Result<Picture, ProcessorError> {
        let resample = self.settings.resample;
        match self.backend {
            Backend::Pillow => Ok(pillow_resize::resize(picture, width, height, resample)),
            Backend::Torchvision => torch_resize::resize(picture, width, height, resample)
                .map_err(ProcessorError::Torch),
        }
    }

    /// Perceiver's crop: `size / crop_size` of the shorter edge.
    fn proportional_crop(&self, picture: &Picture) -> Result<Picture, ProcessorError> {
        let (Some(Size::Exact { height, width }), Some((crop_height, crop_width))) =
            (self.settings.size, self.settings.crop_size)
        else {
            return Err(field("size", "and crop_size must have height and width"));
        };
        let edge = f64::from(picture.height.min(picture.width));
        let part = |size: u32, crop: u32| (f64::from(size) / f64::from(crop) * edge) as u32;
        let (height, width) = (part(height, crop_height), part(width, crop_width));
        if height == 0 || width == 0 {
            let (width, height) = (picture.width, picture.height);
            return Err(ProcessorError::ResizedEmpty { width, height });
        }
        Ok(crop::center_crop(picture, height, width, self.backend))
    }

    /// DINOv3's order; the class exists for torchvision alone.
    fn rescale_then_resize(&self, picture: &Picture) -> Result<Pixels, ProcessorError> {
        let settings = &self.settings;
        if settings.center_crop {
            return Err(field("do_center_crop", "is not supported for this processor"));
        }
        let Arithmetic { rescale, normalize, .. } = settings.arithmetic;
        let rescaling = Arithmetic { rescale, normalize: None, offset: false, std_again: None };
        let mut data = rescaling.apply(picture, Backend::Torchvision);
        let mut size = (picture.height, picture.width);
        if settings.resize {
            let from = size;
            size = target_size(&settings.rule, settings.size, from)?;
            let plain = |(height, width): (u32, u32)| (height as usize, width as usize);
            data = torch_resize::resize_floats(&data, plain(from), plain(size), settings.resample)
                .map_err(ProcessorError::Torch)?;
        }
        let (height, width) = (size.0 as usize, size.1 as usize);
        if let Some((mean, std)) = normalize {
            for (channel, plane) in data.chunks_exact_mut(height * width).enumerate() {
                let (mean, std) = (mean[channel] as f32, std[channel] as f32);
                plane.iter_mut().for_each(|value| *value = (*value - mean) / std);
            }
        }
        Ok(Pixels { data, channels: 3, height, width, valid: (height, width) })
    }

    /// The padding of floats, which comes last.
    fn pad(&self, pixels: Pixels) -> Result<Pixels, ProcessorError> {
        let (height, width) = (pixels.height, pixels.width);
        if !self.settings.pad {
            return Ok(pixels);
        }
        match self.settings.rule {
            Rule::PadToSquare => Ok(pixels),
            Rule::SymmetricPad { divisor } => {
                let next = |edge: usize| beyond(edge, divisor as usize);
                let (new_height, new_width) = (next(height), next(width));
                Ok(pixels
                    .padded((0, 0), new_height, new_width, |at, edge| Some(mirrored(at, edge))))
            }
            Rule::MultipleOf { pad_to, .. } => {
                let divisor =
                    pad_to.ok_or_else(|| field("size_divisor", "is missing, but do_pad is on"))?;
                let next = |edge: usize| edge.next_multiple_of(divisor as usize);
                let (new_height, new_width) = (next(height), next(width));
                let offset = ((new_height - height) / 2, (new_width - width) / 2);
                Ok(pixels.padded(offset, new_height, new_width, zero))
            }
            _ => match self.settings.pad_size {
                None => Ok(pixels),
                Some((new_height, new_width)) => {
                    let (new_height, new_width) = (new_height as usize, new_width as usize);
                    if new_height < height || new_width < width {
                        let reason =
                            format!("is smaller than the resized picture ({height} × {width})");
                        return Err(field("pad_size", reason));
                    }
                    Ok(pixels.padded((0, 0), new_height, new_width, zero))
                }
            },
        }
    }
}

/// Which source position pads a position outside; `None` is zero.
type Outside = fn(position: usize, edge: usize) -> Option<usize>;

fn zero(_: usize, _: usize) -> Option<usize> {
    None
}

/// The next multiple of `divisor` above `edge`, which may be one itself.
pub(super) fn beyond(edge: usize, divisor: usize) -> usize {
    (edge / divisor + 1) * divisor
}

/// The edge pixel is repeated, then the picture runs backwards, then forwards again.
pub(super) fn mirrored(position: usize, edge: usize) -> usize {
    let position = position % (2 * edge);
    if position < edge { position } else { 2 * edge - 1 - position }
}

impl Pixels {
    /// `height` × `width` with these pixels at `offset` (rows, columns).
    fn padded(self, offset: (usize, usize), height: usize, width: usize, outside: Outside) -> Self {
        if (height, width) == (self.height, self.width) {
            return self;
        }
        let source =
            |position: usize, offset: usize, edge: usize| match position.checked_sub(offset) {
                Some(position) if position < edge => Some(position),
                Some(position) => outside(position, edge),
                None => None,
            };
        let columns: Vec<Option<usize>> =
            (0..width).map(|x| source(x, offset.1, self.width)).collect();
        let mut data = Vec::with_capacity(self.channels * height * width);
        for plane in self.data.chunks_exact(self.height * self.width) {
            for y in 0..height {
                let row = source(y, offset.0, self.height).map(|y| &plane[y * self.width..]);
                let value = |x: &Option<usize>| Some(row?[(*x)?]);
                data.extend(columns.iter().map(|x| value(x).unwrap_or(0.0)));
            }
        }
        Self { data, channels: self.channels, height, width, valid: (self.height, self.width) }
    }
}
