//! Media that a request names by blob.

use proto::{
    ImageRestorationRequest, ImageSuperResolutionRequest, InferRequest, Media,
    infer_request::Input, media::Content,
};

use super::Shared;
use crate::failure::{Code, Failure};

/// Puts the bytes of blobs where the request names them.
pub fn resolve(request: &mut InferRequest, shared: &Shared) -> Result<(), Failure> {
    let media: [Option<&mut Media>; 3] = match &mut request.input {
        Some(Input::ImageClassification(request)) => {
            [request.inputs.as_mut().and_then(|inputs| inputs.image.as_mut()), None, None]
        }
        Some(Input::ImageToImage(request)) => match &mut request.inputs {
            Some(inputs) => {
                [inputs.image.as_mut(), inputs.mask.as_mut(), inputs.control_image.as_mut()]
            }
            None => [None, None, None],
        },
        Some(Input::TextToImage(request)) => {
            [request.inputs.as_mut().and_then(|inputs| inputs.control_image.as_mut()), None, None]
        }
        Some(
            Input::ImageSuperResolution(ImageSuperResolutionRequest { inputs, .. })
            | Input::ImageRestoration(ImageRestorationRequest { inputs, .. }),
        ) => [inputs.as_mut().and_then(|inputs| inputs.image.as_mut()), None, None],
        Some(
            Input::TextGeneration(_)
            | Input::FeatureExtraction(_)
            | Input::SentenceSimilarity(_)
            | Input::TextClassification(_)
            | Input::ZeroShotClassification(_)
            | Input::TextRanking(_)
            | Input::TextRetrieval(_)
            | Input::Text2textGeneration(_)
            | Input::Summarization(_)
            | Input::Translation(_)
            | Input::TokenClassification(_)
            | Input::QuestionAnswering(_)
            | Input::FillMask(_)
            | Input::UnconditionalImageGeneration(_)
            | Input::TableQuestionAnswering(_),
        )
        | None => [None, None, None],
    };
    for media in media.into_iter().flatten() {
        let Some(Content::BlobId(id)) = &media.content else { continue };
        let bytes = shared.blobs.get(id).ok_or_else(|| {
            Failure::new(Code::NotFound, format!("there is no blob {id}")).at("blob_id")
        })?;
        media.content = Some(Content::Inline(bytes.to_vec()));
    }
    Ok(())
}
