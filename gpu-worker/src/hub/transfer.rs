//! One blob from the Hub into the cache: one downloader per blob and cache, resumed, verified.

use std::{
    fs::{self, File, TryLockError},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    HubError,
    arriving::Arriving,
    cache::RepositoryCache,
    client::{Client, FileAnswer},
    digest,
    partial::PartialBlob,
};

/// How often a process looks whether another one's download has moved or ended.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);
/// How many stall timeouts another process's download may stand still: it may be hashing.
const FOLLOW_STALLS: u32 = 10;
/// Bytes that are written (and hashed) at once.
const BATCH: usize = 1 << 20;

pub(super) struct Transfer {
    pub(super) client: Arc<Client>,
    pub(super) cache: RepositoryCache,
    pub(super) model_id: String,
    pub(super) commit: String,
    pub(super) path: String,
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) offline: bool,
    /// Bytes of the blob that are there.
    pub(super) done: Arc<AtomicU64>,
}

impl Transfer {
    /// Returns when the blob is in the cache and its hash was right.
    pub(super) async fn run(self) -> Result<(), HubError> {
        if self.is_present().await? {
            return Ok(());
        }
        if self.offline {
            return Err(HubError::Offline { what: format!("{} of {}", self.path, self.model_id) });
        }
        let lock = self.acquire().await?;
        if self.is_present().await? {
            return Ok(());
        }
        self.cache.discard(&self.etag)?;
        self.download(lock).await?;
        self.done.store(self.size, Relaxed);
        Ok(())
    }

    /// Whether the blob is there and right; one that was never hashed is hashed now.
    async fn is_present(&self) -> Result<bool, HubError> {
        if !self.cache.is_verified(&self.etag, self.size) {
            if self.cache.blob_size(&self.etag) != Some(self.size) {
                return Ok(false);
            }
            let (cache, etag) = (self.cache.clone(), self.etag.clone());
            let found = blocking(move || {
                let blob = cache.blob(&etag);
                let found = digest::content_id(&blob, &etag)
                    .map_err(|source| HubError::storage(&blob, 0, source))?;
                if found == etag {
                    cache.mark_verified(&etag);
                }
                Ok(found)
            })
            .await?;
            if found != self.etag {
                tracing::warn!(
                    path = self.path,
                    etag = self.etag,
                    found,
                    "a cached file is damaged"
                );
                return if self.offline { Err(self.corrupt(found)) } else { Ok(false) };
            }
        }
        self.done.store(self.size, Relaxed);
        Ok(true)
    }

    /// Takes the blob's lock; while another process has it, its progress is ours.
    /// The lock is the kernel's and dies with its process.
    async fn acquire(&self) -> Result<File, HubError> {
        let path = self.cache.lock(&self.etag);
        let failed = |source| HubError::storage(&path, self.size, source);
        let blob = self.cache.blob(&self.etag);
        for folder in [path.parent(), blob.parent()].into_iter().flatten() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let lock =
            File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let patience = self.client.stall_timeout * FOLLOW_STALLS;
        let (mut moved, mut seen) = (Instant::now(), self.cache.partial_size(&self.etag));
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            let now = self.cache.partial_size(&self.etag);
            self.done.store(now.min(self.size), Relaxed);
            if now != seen {
                (moved, seen) = (Instant::now(), now);
            } else if moved.elapsed() > patience {
                let what = format!("another process's download of {}", self.path);
                return Err(HubError::Stalled { what, after: patience });
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }

    async fn download(&self, lock: File) -> Result<(), HubError> {
        let (cache, etag, size) = (self.cache.clone(), self.etag.clone(), self.size);
        let mut partial = blocking(move || PartialBlob::open(cache, &etag, size, lock)).await?;
        let mut backoff = self.client.backoff();
        loop {
            self.done.store(partial.written(), Relaxed);
            let before = partial.written();
            let outcome;
            (partial, outcome) = self.continue_download(partial).await?;
            if let Err(error) = outcome {
                if partial.written() >= before + BATCH as u64 {
                    backoff.progressed();
                }
                backoff.pause_after(error).await?;
                continue;
            }
            let finished;
            (partial, finished) =
                blocking(move || partial.finish().map(|finished| (partial, finished))).await?;
            match finished {
                Ok(()) => return Ok(()),
                // What an earlier process left may be what is wrong: once more, from the beginning.
                Err(mismatch) if mismatch.resumed => {
                    tracing::warn!(
                        path = self.path,
                        "what was left of an earlier download is damaged"
                    );
                }
                Err(mismatch) => return Err(self.corrupt(mismatch.found)),
            }
        }
    }

    /// One request for what is missing. The outer error is final, the inner one the Hub's;
    /// with the inner one everything that arrived is kept.
    async fn continue_download(
        &self,
        mut partial: PartialBlob,
    ) -> Result<(PartialBlob, Result<(), HubError>), HubError> {
        let start = partial.written();
        if start == self.size {
            return Ok((partial, Ok(())));
        }
        let response =
            match self.client.file(&self.model_id, &self.commit, &self.path, start, None).await {
                Ok(FileAnswer::Rest(response)) => response,
                Ok(FileAnswer::Whole(response)) => {
                    partial.restart()?;
                    response
                }
                Ok(FileAnswer::NoSuchRange) => {
                    partial.restart()?;
                    return Ok((partial, Err(HubError::Interrupted { path: self.path.clone() })));
                }
                Err(error) => return Ok((partial, Err(error))),
            };
        let mut arriving = Arriving::new(response, &self.path, self.client.stall_timeout);
        let mut batch = Vec::with_capacity(BATCH);
        let outcome = loop {
            let piece = match arriving.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(error),
                Some(Ok(piece)) => piece,
            };
            let received = partial.written() + (batch.len() + piece.len()) as u64;
            if received > self.size {
                let expected = self.size.to_string();
                let found = format!("at least {received}");
                return Err(HubError::Corrupt {
                    path: self.path.clone(),
                    what: "size",
                    expected,
                    found,
                });
            }
            batch.extend_from_slice(&piece);
            self.done.store(received, Relaxed);
            if batch.len() >= BATCH {
                (partial, batch) = write(partial, batch).await?;
            }
        };
        (partial, _) = write(partial, batch).await?;
        let complete = partial.written() == self.size;
        let outcome = match outcome {
            Ok(()) if !complete => Err(HubError::Interrupted { path: self.path.clone() }),
            // All is there: how the connection ended does not matter.
            Err(_) if complete => Ok(()),
            outcome => outcome,
        };
        Ok((partial, outcome))
    }

    fn corrupt(&self, found: String) -> HubError {
        HubError::Corrupt {
            path: self.path.clone(),
            what: "hash",
            expected: self.etag.clone(),
            found,
        }
    }
}

/// Writes and empties `batch`.
async fn write(
    mut partial: PartialBlob,
    mut batch: Vec<u8>,
) -> Result<(PartialBlob, Vec<u8>), HubError> {
    blocking(move || {
        partial.write(&batch)?;
        batch.clear();
        Ok((partial, batch))
    })
    .await
}

/// Runs file work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HubError> + Send + 'static,
) -> Result<T, HubError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => {
                let source = Arc::new(io::Error::other("the runtime is shutting down"));
                Err(HubError::Storage { path: "the cache".to_owned(), source })
            }
        },
    }
}
