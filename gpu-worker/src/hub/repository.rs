//! One model at one revision: its files, and getting them.

use std::{
    collections::HashMap,
    ops::Range,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{
    DownloadProgress, Hub, HubError,
    cache::{Listing, RepositoryCache},
    identity,
    progress::RateMeter,
    ranges,
    transfer::{Transfer, blocking},
};

/// Files of one call that arrive at the same time.
const AT_ONCE: usize = 4;
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// One file of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoFile {
    /// Relative to the repository, `/` between its parts.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Git blob id or sha256; `None` where only a plain file on disk is known.
    pub(super) etag: Option<String>,
}

impl RepoFile {
    /// A file of which no hash is known.
    pub fn new(path: impl Into<String>, size: u64) -> Self {
        Self { path: path.into(), size, etag: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder of the user's.
    Local,
    /// The Hub, through its cache.
    Hub,
}

#[derive(Clone)]
pub(super) enum Place {
    Folder(PathBuf),
    Cache(RepositoryCache),
}

/// A model at a revision, as [`Hub::resolve`] found it. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    pub(super) hub: Hub,
    pub(super) model_id: String,
    pub(super) listing: Arc<Listing>,
    pub(super) place: Place,
    pub(super) stale: bool,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Repository({}@{})", self.model_id, self.revision())
    }
}

impl Repository {
    pub fn model_id(&self) -> &str {
        &self.model_id
    }

    /// The commit; of a local folder a digest of its files' paths, sizes and times.
    pub fn revision(&self) -> &str {
        &self.listing.commit
    }

    pub fn source(&self) -> Source {
        match self.place {
            Place::Folder(_) => Source::Local,
            Place::Cache(_) => Source::Hub,
        }
    }

    /// Every file, sorted by path.
    pub fn files(&self) -> &[RepoFile] {
        &self.listing.files
    }

    /// The file at `path`.
    pub fn file(&self, path: &str) -> Option<&RepoFile> {
        self.listing.files.iter().find(|file| file.path == path)
    }

    /// The task that the Hub or the model card names.
    pub fn pipeline_tag(&self) -> Option<&str> {
        self.listing.pipeline_tag.as_deref()
    }

    pub fn library_name(&self) -> Option<&str> {
        self.listing.library_name.as_deref()
    }

    /// Blobs of the cache never change and may be mapped; a user's folder may, so its files are read.
    pub fn is_immutable(&self) -> bool {
        self.source() == Source::Hub
    }

    /// The Hub couldn't be asked what the revision is now; this is what it was when it last could.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Where `path` is on this machine; downloaded first if need be.
    pub async fn fetch(&self, path: &str) -> Result<PathBuf, HubError> {
        let file = self.known(path)?;
        if let Some(job) = self.job(file) {
            self.hub.downloads().join(job).outcome.await?;
        }
        self.locate(file)
    }

    /// [`Self::fetch`] for many, a few at a time; nothing is fetched when one of them doesn't exist.
    /// `progress` is called several times a second, and once at the end.
    pub async fn fetch_all(
        &self,
        paths: &[String],
        progress: &(dyn Fn(DownloadProgress) + Send + Sync),
    ) -> Result<Vec<PathBuf>, HubError> {
        let files: Vec<&RepoFile> =
            paths.iter().map(|path| self.known(path)).collect::<Result<_, _>>()?;
        let wanted = self.distinct(&files);
        let total_bytes = wanted.iter().map(|file| file.size).sum();
        let mut counters = Vec::new();
        let mut downloads = Vec::new();
        for file in wanted {
            match self.job(file) {
                Some(job) => {
                    let download = self.hub.downloads().join(job);
                    counters.push(download.done.clone());
                    downloads.push(download.outcome);
                }
                None => counters.push(Arc::new(AtomicU64::new(file.size))),
            }
        }
        let done_bytes = || counters.iter().map(|counter| counter.load(Relaxed)).sum::<u64>();
        let mut meter = RateMeter::new(Instant::now(), done_bytes());
        let mut report = || {
            let done_bytes = done_bytes();
            let bytes_per_second = meter.rate(Instant::now(), done_bytes);
            progress(DownloadProgress { done_bytes, total_bytes, bytes_per_second });
        };
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        let mut running = stream::iter(downloads).buffer_unordered(AT_ONCE);
        loop {
            tokio::select! {
                next = running.try_next() => if next?.is_none() { break },
                _ = ticks.tick() => report(),
            }
        }
        report();
        files.into_iter().map(|file| self.locate(file)).collect()
    }

    /// Bytes `range` of a file, without downloading the rest of it.
    pub async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, HubError> {
        let file = self.known(path)?;
        if range.start > range.end || range.end > file.size {
            let Range { start, end } = range;
            return Err(HubError::InvalidRange {
                path: path.to_owned(),
                start,
                end,
                size: file.size,
            });
        }
        match (&self.place, &file.etag) {
            (Place::Cache(cache), Some(etag)) if cache.blob_size(etag) != Some(file.size) => {
                if self.hub.is_offline() {
                    return Err(HubError::Offline { what: format!("{path} of {}", self.model_id) });
                }
                let client = self.hub.client();
                client
                    .retrying(|| {
                        ranges::ask(client, &self.model_id, self.revision(), path, range.clone())
                    })
                    .await
            }
            _ => {
                // An unverified blob is hashed before it counts.
                let on_disk = self.fetch(path).await?;
                blocking(move || ranges::read(&on_disk, range)).await
            }
        }
    }

    /// Bytes of `paths` that a fetch would have to download. Names that aren't files count nothing.
    pub fn missing_bytes(&self, paths: &[String]) -> u64 {
        let Place::Cache(cache) = &self.place else { return 0 };
        let files: Vec<&RepoFile> = paths.iter().filter_map(|path| self.file(path)).collect();
        let missing = |file: &&RepoFile| match file.etag.as_deref() {
            Some(etag) if cache.blob_size(etag) != Some(file.size) => {
                file.size.saturating_sub(cache.partial_size(etag))
            }
            _ => 0,
        };
        self.distinct(&files).iter().map(missing).sum()
    }

    fn known(&self, path: &str) -> Result<&RepoFile, HubError> {
        identity::check_path(path)?;
        let missing =
            || HubError::FileNotFound { model_id: self.model_id.clone(), path: path.to_owned() };
        self.file(path).ok_or_else(missing)
    }

    /// One file per content.
    fn distinct<'a>(&self, files: &[&'a RepoFile]) -> Vec<&'a RepoFile> {
        let mut seen = HashMap::new();
        let key = |file: &&RepoFile| file.etag.clone().unwrap_or_else(|| file.path.clone());
        files.iter().filter(|file| seen.insert(key(file), ()).is_none()).copied().collect()
    }

    /// What has to run before `file` is there; `None` for a plain file on disk.
    fn job(&self, file: &RepoFile) -> Option<Transfer> {
        let (Place::Cache(cache), Some(etag)) = (&self.place, &file.etag) else { return None };
        Some(Transfer {
            client: self.hub.client().clone(),
            cache: cache.clone(),
            model_id: self.model_id.clone(),
            commit: self.revision().to_owned(),
            path: file.path.clone(),
            etag: etag.clone(),
            size: file.size,
            offline: self.hub.is_offline(),
            done: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Where a file that is there is.
    fn locate(&self, file: &RepoFile) -> Result<PathBuf, HubError> {
        let path = match (&self.place, &file.etag) {
            (Place::Cache(cache), Some(etag)) => {
                return cache.link(self.revision(), &file.path, etag);
            }
            (Place::Cache(cache), None) => cache.snapshot(self.revision()).join(&file.path),
            (Place::Folder(folder), _) => folder.join(&file.path),
        };
        if path.is_file() {
            Ok(path)
        } else {
            Err(HubError::FileNotFound { model_id: self.model_id.clone(), path: file.path.clone() })
        }
    }
}
