//! Media that are too large for a message go ahead as blobs.

use bytes::Bytes;
use proto::{BlobChunk, Media, infer_request::Input, media::Content};
use tonic::Status;

use super::Worker;

const CHUNK_BYTES: usize = 1 << 20;

/// Puts large media on the worker and leaves their ids in `input`.
pub(super) async fn upload(worker: &Worker, input: &mut Input) -> Result<(), Status> {
    let Some(media) = media_of(input) else { return Ok(()) };
    let Some(Content::Inline(bytes)) = &mut media.content else { return Ok(()) };
    if bytes.len() <= proto::MAX_INLINE_MEDIA_BYTES {
        return Ok(());
    }
    let bytes = Bytes::from(std::mem::take(bytes));
    let starts = (0..bytes.len()).step_by(CHUNK_BYTES);
    let chunks: Vec<BlobChunk> = starts
        .map(|start| BlobChunk {
            data: bytes[start..bytes.len().min(start + CHUNK_BYTES)].to_vec(),
        })
        .collect();
    let receipt = worker.client().put_blob(tokio_stream::iter(chunks)).await?.into_inner();
    media.content = Some(Content::BlobId(receipt.blob_id));
    Ok(())
}

fn media_of(input: &mut Input) -> Option<&mut Media> {
    match input {
        Input::ImageClassification(request) => request.inputs.as_mut()?.image.as_mut(),
        Input::TextGeneration(_) | Input::FeatureExtraction(_) | Input::SentenceSimilarity(_) => {
            None
        }
    }
}
