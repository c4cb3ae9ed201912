//! A blob that is still arriving: written in order, hashed on the way, moved into place when it is right.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use super::{HubError, cache::RepositoryCache, digest::ContentDigest};

/// Holds the blob's lock: while one of these lives, no other process writes the same file.
pub(super) struct PartialBlob {
    cache: RepositoryCache,
    etag: String,
    size: u64,
    path: PathBuf,
    file: File,
    digest: ContentDigest,
    written: u64,
    /// Whether the beginning was there before and isn't ours.
    resumed: bool,
    _lock: File,
}

/// Why a complete file was not accepted.
pub(super) struct Mismatch {
    pub(super) found: String,
    pub(super) resumed: bool,
}

impl PartialBlob {
    /// Takes up what an earlier download left, hashing it once.
    pub(super) fn open(
        cache: RepositoryCache,
        etag: &str,
        size: u64,
        lock: File,
    ) -> Result<Self, HubError> {
        let path = cache.partial(etag);
        let open = || {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let mut digest = ContentDigest::new(etag, size);
            let mut length = file.metadata()?.len();
            if length > size {
                file.set_len(0)?;
                length = 0;
            }
            let written = digest.update_from(&mut (&mut file).take(length))?;
            file.seek(SeekFrom::Start(written))?;
            Ok((file, digest, written))
        };
        let (file, digest, written) =
            open().map_err(|source| HubError::storage(&path, size, source))?;
        let resumed = written > 0;
        Ok(Self {
            cache,
            etag: etag.to_owned(),
            size,
            path,
            file,
            digest,
            written,
            resumed,
            _lock: lock,
        })
    }

    /// Bytes that are there.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(count) => {
                    self.digest.update(&rest[..count]);
                    self.written += count as u64;
                    rest = &rest[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(HubError::storage(
                        &self.path,
                        self.size.saturating_sub(self.written),
                        source,
                    ));
                }
            }
        }
        Ok(())
    }

    /// Forgets everything that is there.
    pub(super) fn restart(&mut self) -> Result<(), HubError> {
        self.digest = ContentDigest::new(&self.etag, self.size);
        self.resumed = false;
        if self.written == 0 {
            return Ok(());
        }
        self.written = 0;
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(|source| HubError::storage(&self.path, self.size, source))
    }

    /// Compares the hash of the complete file; one that matches becomes the blob, another one is emptied.
    pub(super) fn finish(&mut self) -> Result<Result<(), Mismatch>, HubError> {
        let digest = std::mem::replace(&mut self.digest, ContentDigest::new(&self.etag, self.size));
        let found = digest.finish();
        if found != self.etag {
            let resumed = self.resumed;
            self.restart()?;
            return Ok(Err(Mismatch { found, resumed }));
        }
        self.file
            .sync_data()
            .and_then(|()| fs::rename(&self.path, self.cache.blob(&self.etag)))
            .map_err(|source| HubError::storage(&self.path, self.size, source))?;
        self.cache.mark_verified(&self.etag);
        Ok(Ok(()))
    }
}
