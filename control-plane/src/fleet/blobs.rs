//! Media that are too large for a message go ahead as blobs.

use bytes::Bytes;
use proto::{BlobChunk, infer_request::Input, media::Content};
use tonic::Status;

use super::Worker;

const CHUNK_BYTES: usize = 1 << 20;

/// The large media of a request, held once however often it is tried.
#[derive(Debug, Default)]
pub(super) struct Blobs(Vec<Bytes>);

impl Blobs {
    /// Takes the large media out of `input`, without a copy.
    pub(super) fn take(input: &mut Input) -> Self {
        let blobs = input.media_mut().into_iter().filter_map(|media| match media.content.take() {
            Some(Content::Inline(bytes)) if bytes.len() > proto::MAX_INLINE_MEDIA_BYTES => {
                Some(Bytes::from(bytes))
            }
            small => {
                media.content = small;
                None
            }
        });
        Self(blobs.collect())
    }

    /// Beginning and end of each, enough to tell one request from another.
    pub(super) fn samples(&self) -> impl Iterator<Item = &[u8]> {
        const SAMPLE_BYTES: usize = 4096;
        self.0.iter().flat_map(|bytes| {
            let sample = bytes.len().min(SAMPLE_BYTES);
            [&bytes[..sample], &bytes[bytes.len() - sample..]]
        })
    }

    /// Puts them on the worker and leaves their ids where they were in `input`.
    pub(super) async fn upload(&self, worker: &Worker, input: &mut Input) -> Result<(), Status> {
        let places = input.media_mut().into_iter().filter(|media| media.content.is_none());
        for (media, bytes) in places.zip(&self.0) {
            let receipt =
                worker.client().put_blob(tokio_stream::iter(chunks(bytes))).await?.into_inner();
            media.content = Some(Content::BlobId(receipt.blob_id));
        }
        Ok(())
    }
}

/// Each chunk is copied only when it is sent.
fn chunks(bytes: &Bytes) -> impl Iterator<Item = BlobChunk> + Send + use<> {
    let bytes = bytes.clone();
    (0..bytes.len()).step_by(CHUNK_BYTES).map(move |start| BlobChunk {
        data: bytes[start..bytes.len().min(start + CHUNK_BYTES)].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proto::{ImageClassificationInputs, ImageClassificationRequest, Media};

    use super::*;

    fn picture(bytes: Vec<u8>) -> Input {
        let image = Media { content: Some(Content::Inline(bytes)), mime_type: String::new() };
        let inputs = ImageClassificationInputs { image: Some(image) };
        Input::ImageClassification(ImageClassificationRequest {
            inputs: Some(inputs),
            options: None,
        })
    }

    #[test]
    fn large_media_are_taken_without_a_copy_and_sent_whole() {
        let bytes: Vec<u8> = (0..(2 << 20) + 5).map(|index| (index % 251) as u8).collect();
        let (place, whole) = (bytes.as_ptr(), bytes.clone());
        let mut input = picture(bytes);
        let Blobs(blobs) = Blobs::take(&mut input);
        assert_eq!((blobs.len(), blobs[0].as_ptr()), (1, place));
        assert_eq!(input.media_mut()[0].content, None);
        let sent: Vec<Vec<u8>> = chunks(&blobs[0]).map(|chunk| chunk.data).collect();
        assert_eq!((sent.len(), sent.concat() == whole), (3, true));
    }

    #[test]
    fn small_media_stay_in_the_message() {
        let mut input = picture(vec![7; 10]);
        let Blobs(blobs) = Blobs::take(&mut input);
        assert!(blobs.is_empty());
        assert_eq!(input.media_mut()[0].content, Some(Content::Inline(vec![7; 10])));
    }
}
