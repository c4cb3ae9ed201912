//! Outputs that came in chunks before their result, put back where the result names them.

use proto::{InferResult, Media, MediaChunk, infer_result::Output, media::Content};

use super::scrutiny::broken;
use crate::failure::Failure;

/// More than this no result has.
const MOST_BYTES: usize = 512 << 20;
/// Media of one result.
const MOST_OUTPUTS: usize = 1024;

/// The bytes of the outputs of one try so far.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    outputs: Vec<Vec<u8>>,
    bytes: usize,
}

impl Chunks {
    /// Takes the next chunk: of the last output, or the first one of the next.
    pub(super) fn take(&mut self, chunk: &MediaChunk) -> Result<(), Failure> {
        let index = chunk.output_index as usize;
        if index == self.outputs.len() && index < MOST_OUTPUTS {
            self.outputs.push(Vec::new());
        }
        let is_last = index + 1 == self.outputs.len();
        let Some(output) = self.outputs.last_mut().filter(|_| is_last) else {
            return Err(broken("chunks of an output are out of order"));
        };
        self.bytes += chunk.data.len();
        if self.bytes > MOST_BYTES {
            return Err(broken("an output is too large"));
        }
        output.extend_from_slice(&chunk.data);
        Ok(())
    }

    /// Puts the bytes where `result` wants them.
    pub(super) fn fill(&mut self, result: &mut InferResult) -> Result<(), Failure> {
        for media in result.output.as_mut().map(media_of).unwrap_or_default() {
            let bytes = match media.content {
                Some(Content::Inline(_)) => continue,
                Some(Content::Chunked(index)) => {
                    let output = self.outputs.get_mut(index as usize);
                    output.map(std::mem::take).filter(|bytes| !bytes.is_empty())
                }
                Some(Content::BlobId(_)) | None => None,
            };
            let bytes = bytes.ok_or_else(|| broken("an output has no bytes"))?;
            media.content = Some(Content::Inline(bytes));
        }
        Ok(())
    }
}

/// All media of an output; one without any is an error of whoever made it.
fn media_of(output: &mut Output) -> Vec<&mut Media> {
    match output {
        Output::Images(images) => {
            images.images.iter_mut().map(|made| made.image.get_or_insert_default()).collect()
        }
        Output::Text(_)
        | Output::Embeddings(_)
        | Output::Similarity(_)
        | Output::Labels(_)
        | Output::Ranking(_)
        | Output::Entities(_)
        | Output::Answers(_)
        | Output::Filled(_)
        | Output::Seq2seq(_)
        | Output::TableAnswer(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proto::{ImagesOutput, MadeImage};

    use super::*;

    fn chunk(output_index: u32, data: &[u8]) -> MediaChunk {
        MediaChunk { output_index, data: data.to_vec() }
    }

    fn result(contents: &[Option<Content>]) -> InferResult {
        let image = |content: &Option<Content>| MadeImage {
            image: Some(Media { content: content.clone(), mime_type: "image/png".into() }),
            width: 1,
            height: 1,
            is_refused: None,
        };
        let images =
            ImagesOutput { images: contents.iter().map(image).collect(), notices: Vec::new() };
        InferResult { metadata: None, output: Some(Output::Images(images)) }
    }

    fn chunks(all: &[MediaChunk]) -> Chunks {
        let mut chunks = Chunks::default();
        all.iter().for_each(|chunk| chunks.take(chunk).unwrap());
        chunks
    }

    #[test]
    fn chunks_become_the_media_that_name_them() {
        let mut chunks = chunks(&[chunk(0, b"ab"), chunk(0, b"c"), chunk(1, b"d")]);
        let small = Some(Content::Inline(b"small".to_vec()));
        let mut result =
            result(&[Some(Content::Chunked(0)), small.clone(), Some(Content::Chunked(1))]);
        chunks.fill(&mut result).unwrap();
        let mut output = result.output.unwrap();
        let contents: Vec<_> =
            media_of(&mut output).iter().map(|media| media.content.clone()).collect();
        let inline = |bytes: &[u8]| Some(Content::Inline(bytes.to_vec()));
        assert_eq!(contents, [inline(b"abc"), small, inline(b"d")]);
    }

    #[test]
    fn chunks_out_of_order_and_outputs_without_bytes_are_refused() {
        assert!(Chunks::default().take(&chunk(1, b"a")).is_err());
        assert!(chunks(&[chunk(0, b"a"), chunk(1, b"b")]).take(&chunk(0, b"c")).is_err());
        for content in [None, Some(Content::Chunked(0)), Some(Content::BlobId("a".into()))] {
            assert!(Chunks::default().fill(&mut result(&[content])).is_err());
        }
        let twice = [Some(Content::Chunked(0)), Some(Content::Chunked(0))];
        assert!(chunks(&[chunk(0, b"a")]).fill(&mut result(&twice)).is_err());
    }
}
