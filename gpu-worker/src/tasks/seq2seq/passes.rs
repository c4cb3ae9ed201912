//! The two passes of a step through the model: over sources, and over targets.

use tch::{Device, Kind, Tensor};

use super::{pipeline::Seq2SeqPipeline, text::Row};
use crate::{
    layers::{Segment, Source, Step},
    tasks::RowAdapter,
};

impl Seq2SeqPipeline {
    /// Encodes sources side by side and stores what their targets will look up.
    pub(super) fn encode(&self, texts: &[(usize, usize)]) {
        let sources: Vec<&[u32]> =
            texts.iter().map(|&(at, idx)| self.requests[at].work.sources[idx].as_slice()).collect();
        let longest = sources.iter().map(|source| source.len()).max().unwrap_or(0);
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for source in &sources {
            let padding = longest - source.len();
            ids.extend(source.iter().map(|&id| i64::from(id)));
            ids.resize(ids.len() + padding, 0);
            mask.resize(mask.len() + source.len(), true);
            mask.resize(mask.len() + padding, false);
        }
        let shape = [sources.len() as i64, longest as i64];
        let tensor = |values: &[i64]| Tensor::from_slice(values).view(shape).to_device(self.device);
        let step = if mask.iter().all(|&there| there) {
            Step::whole()
        } else {
            Step::padded(&Tensor::from_slice(&mask).view(shape).to_device(self.device))
        };
        let adapters: Vec<RowAdapter> =
            texts.iter().map(|&(at, _)| self.adapters.of(&self.requests[at].job)).collect();
        let encoded = self.model.encode(&tensor(&ids), &step.with_adapters(&adapters));
        let rows: Vec<Tensor> = (0..)
            .zip(&sources)
            .map(|(row, source)| encoded.select(0, row).narrow(0, 0, source.len() as i64))
            .collect();
        let segments = texts.iter().filter_map(|&at| self.text(at)).map(|text| Segment {
            slot: &text.source_slot,
            cached: 0,
            tokens: text.source_tokens as i64,
        });
        let step = Step::sequences(segments.collect(), self.device).with_adapters(&adapters);
        self.model.remember(&Tensor::cat(&rows, 0), &step);
    }

    /// One pass over the next tokens of all targets: their logits, one row after the other.
    pub(super) fn forward(&self, texts: &[(usize, usize)]) -> Vec<f32> {
        let (mut ids, mut segments, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        let mut adapters = Vec::new();
        for &(at, idx) in texts {
            let Some(text) = self.text((at, idx)) else { continue };
            for Row { slot, cached, id } in text.rows() {
                ids.push(i64::from(id));
                segments.push(Segment { slot, cached: cached as i64, tokens: 1 });
                sources.push(Source { slot: &text.source_slot, tokens: text.source_tokens as i64 });
            }
            adapters.resize(ids.len(), self.adapters.of(&self.requests[at].job));
        }
        let step = Step::with_sources(segments, sources, self.device).with_adapters(&adapters);
        let hidden = self.model.hidden(&Tensor::from_slice(&ids).to_device(self.device), &step);
        let logits = self.model.logits(&hidden, &step).to_device(Device::Cpu).to_kind(Kind::Float);
        Vec::try_from(logits.contiguous().view([-1])).expect("a flat float tensor")
    }
}
