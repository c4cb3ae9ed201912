//! Media that a request names by blob.

use proto::{InferRequest, infer_request::Input, media::Content};

use super::Shared;
use crate::failure::{Code, Failure};

/// Puts the bytes of blobs where the request names them.
pub fn resolve(request: &mut InferRequest, shared: &Shared) -> Result<(), Failure> {
    for media in request.input.as_mut().map(Input::media_mut).unwrap_or_default() {
        let Some(Content::BlobId(id)) = &media.content else { continue };
        let bytes = shared.blobs.get(id).ok_or_else(|| {
            Failure::new(Code::NotFound, format!("there is no blob {id}")).at("blob_id")
        })?;
        media.content = Some(Content::Inline(bytes.to_vec()));
    }
    Ok(())
}
