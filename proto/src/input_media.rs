//! The media of a request, whichever task it is for.

use crate::{ImageRestorationRequest, ImageSuperResolutionRequest, Media, infer_request::Input};

impl Input {
    /// Pictures and other media that the input has, in the order of its fields.
    pub fn media_mut(&mut self) -> Vec<&mut Media> {
        match self {
            Self::ImageClassification(request) => {
                request.inputs.iter_mut().filter_map(|inputs| inputs.image.as_mut()).collect()
            }
            Self::ImageToImage(request) => request
                .inputs
                .iter_mut()
                .flat_map(|inputs| {
                    [inputs.image.as_mut(), inputs.mask.as_mut(), inputs.control_image.as_mut()]
                })
                .flatten()
                .collect(),
            Self::TextToImage(request) => request
                .inputs
                .iter_mut()
                .filter_map(|inputs| inputs.control_image.as_mut())
                .collect(),
            Self::ImageSuperResolution(ImageSuperResolutionRequest { inputs, .. })
            | Self::ImageRestoration(ImageRestorationRequest { inputs, .. }) => {
                inputs.iter_mut().filter_map(|inputs| inputs.image.as_mut()).collect()
            }
            Self::TextGeneration(_)
            | Self::FeatureExtraction(_)
            | Self::SentenceSimilarity(_)
            | Self::TextClassification(_)
            | Self::ZeroShotClassification(_)
            | Self::TextRanking(_)
            | Self::TextRetrieval(_)
            | Self::Text2textGeneration(_)
            | Self::Summarization(_)
            | Self::Translation(_)
            | Self::TokenClassification(_)
            | Self::QuestionAnswering(_)
            | Self::FillMask(_)
            | Self::UnconditionalImageGeneration(_)
            | Self::TableQuestionAnswering(_) => Vec::new(),
        }
    }
}
