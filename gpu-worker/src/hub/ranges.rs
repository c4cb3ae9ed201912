//! A few bytes out of the middle of a file, on disk or on the Hub.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
};

use bytes::Bytes;

use super::{
    HubError,
    arriving::Arriving,
    client::{Client, FileAnswer},
};

/// Bytes `range` of a file on disk.
pub(super) fn read(path: &Path, range: Range<u64>) -> Result<Bytes, HubError> {
    let length = range.end - range.start;
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| HubError::storage(path, 0, source))?;
    if bytes.len() as u64 == length {
        Ok(bytes.into())
    } else {
        let (expected, found) =
            (format!("at least {}", range.end), (range.start + bytes.len() as u64).to_string());
        Err(HubError::Corrupt { path: path.display().to_string(), what: "size", expected, found })
    }
}

/// Bytes `range` of a file on the Hub, asked for once. An answer that ignores the range is read up to its end.
pub(super) async fn ask(
    client: &Client,
    model_id: &str,
    commit: &str,
    path: &str,
    range: Range<u64>,
) -> Result<Bytes, HubError> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let (response, mut skip) =
        match client.file(model_id, commit, path, range.start, Some(range.end)).await? {
            FileAnswer::Rest(response) => (response, 0),
            FileAnswer::Whole(response) => (response, range.start),
            FileAnswer::NoSuchRange => {
                return Err(HubError::MalformedAnswer {
                    what: format!("no bytes {}..{} of {path}", range.start, range.end),
                });
            }
        };
    let length = range.end - range.start;
    let mut arriving = Arriving::new(response, path, client.stall_timeout);
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        let mut piece = arriving
            .next()
            .await
            .ok_or_else(|| HubError::Interrupted { path: path.to_owned() })??;
        let before = skip.min(piece.len() as u64);
        skip -= before;
        piece = piece.slice(before as usize..);
        let missing = length - bytes.len() as u64;
        bytes.extend_from_slice(
            &piece[..piece.len().min(usize::try_from(missing).unwrap_or(usize::MAX))],
        );
    }
    Ok(bytes.into())
}
