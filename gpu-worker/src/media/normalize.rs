//! Bytes to the floats a model expects: rescale, shift, scale; in the order of each backend, since
//! the order decides the last bits.

use super::{Backend, Picture};

/// Which arithmetic turns a sample into a float.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arithmetic {
    /// Factor of `do_rescale`, if it is on.
    pub rescale: Option<f64>,
    /// Mean and standard deviation per channel of `do_normalize`, if it is on.
    pub normalize: Option<([f64; 3], [f64; 3])>,
    /// Subtract 1 after rescaling (EfficientNet's `rescale_offset`).
    pub offset: bool,
    /// Divide by the standard deviation once more (EfficientNet's `include_top`).
    pub std_again: Option<[f64; 3]>,
}

/// The float that each of a channel's 256 levels becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels(pub(super) [Vec<f32>; 3]);

impl Levels {
    /// 0 to 1.
    pub fn unit() -> Self {
        let unit: Vec<f32> = (0..=255).map(|level: u8| f32::from(level) / 255.0).collect();
        Self([unit.clone(), unit.clone(), unit])
    }
}

impl Arithmetic {
    /// `[3, height, width]` floats of `picture`.
    pub(super) fn apply(&self, picture: &Picture, backend: Backend) -> Vec<f32> {
        let n = picture.width as usize * picture.height as usize;
        let mut floats = Vec::with_capacity(n * 3);
        let pixels = picture.rgb.as_chunks::<3>().0;
        for (channel, table) in self.levels(backend).0.iter().enumerate() {
            floats.extend(pixels.iter().map(|pixel| table[usize::from(pixel[channel])]));
        }
        floats
    }

    /// Each of the 256 values of a channel is computed once.
    pub(super) fn levels(&self, backend: Backend) -> Levels {
        let table =
            |channel| (0..=255).map(|sample| self.sample(sample, channel, backend)).collect();
        Levels([table(0), table(1), table(2)])
    }

    fn sample(&self, sample: u8, channel: usize, backend: Backend) -> f32 {
        let mut value = f32::from(sample);
        let mut normalize =
            self.normalize.map(|(mean, std)| (mean[channel] as f32, std[channel] as f32));
        let mut rescale = self.rescale;
        // torchvision folds the factor into mean and deviation and then works in 32 bits.
        if let (Backend::Torchvision, Some(factor), Some((mean, std)), false) =
            (backend, rescale, normalize, self.offset)
        {
            let inverse = (1.0 / factor) as f32;
            normalize = Some((mean * inverse, std * inverse));
            rescale = None;
        }
        if let Some(factor) = rescale {
            value = match backend {
                Backend::Torchvision => value * factor as f32,
                Backend::Pillow => (f64::from(sample) * factor) as f32,
            };
            if self.offset {
                value -= 1.0;
            }
        }
        if let Some((mean, std)) = normalize {
            value = (value - mean) / std;
        }
        if let Some(std) = self.std_again {
            value /= std[channel] as f32;
        }
        value
    }
}
