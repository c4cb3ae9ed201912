//! Outputs that are too large for a message go ahead of the result in chunks.

use proto::{
    MAX_INLINE_MEDIA_BYTES, MEDIA_CHUNK_BYTES, Media, MediaChunk, infer_result::Output,
    media::Content,
};

/// Takes the large media out of `output`, which then names them by their number, and gives their bytes in order.
pub(super) fn split(output: &mut Output) -> impl Iterator<Item = MediaChunk> + Send + use<> {
    let mut large: Vec<Vec<u8>> = Vec::new();
    for media in media_of(output) {
        match media.content.take() {
            Some(Content::Inline(bytes)) if bytes.len() > MAX_INLINE_MEDIA_BYTES => {
                media.content = Some(Content::Chunked(large.len() as u32));
                large.push(bytes);
            }
            small => media.content = small,
        }
    }
    large.into_iter().enumerate().flat_map(|(at, bytes)| {
        let output_index = at as u32;
        (0..bytes.len()).step_by(MEDIA_CHUNK_BYTES).map(move |start| MediaChunk {
            output_index,
            data: bytes[start..bytes.len().min(start + MEDIA_CHUNK_BYTES)].to_vec(),
        })
    })
}

fn media_of(output: &mut Output) -> Vec<&mut Media> {
    match output {
        Output::Images(images) => {
            images.images.iter_mut().filter_map(|made| made.image.as_mut()).collect()
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

    fn image(bytes: usize) -> MadeImage {
        let inline = (0..bytes).map(|at| (at % 251) as u8).collect();
        let image = Media { content: Some(Content::Inline(inline)), mime_type: String::new() };
        MadeImage { image: Some(image), ..MadeImage::default() }
    }

    #[test]
    fn only_large_media_are_cut_and_no_byte_is_lost() {
        let large = (2 << 20) + 5;
        let mut output = Output::Images(ImagesOutput {
            images: vec![image(10), image(large), image(large)],
            notices: Vec::new(),
        });
        let chunks: Vec<MediaChunk> = split(&mut output).collect();
        assert!(chunks.iter().all(|chunk| chunk.data.len() <= MEDIA_CHUNK_BYTES));
        for index in 0..2 {
            let of_image = chunks.iter().filter(|chunk| chunk.output_index == index);
            let whole: Vec<u8> = of_image.flat_map(|chunk| chunk.data.clone()).collect();
            assert_eq!(image(whole.len()), image(large));
            let Some(Content::Inline(expected)) = image(large).image.unwrap().content else {
                panic!("not inline")
            };
            assert!(whole == expected);
        }
        let contents: Vec<_> =
            media_of(&mut output).iter().map(|media| media.content.clone()).collect();
        assert_eq!(contents[1..], [Some(Content::Chunked(0)), Some(Content::Chunked(1))]);
        assert!(matches!(contents[0], Some(Content::Inline(_))));
    }
}
