//! Models by name: local folders first, then the Hub through the cache that Python shares.
//!
//! `hf-hub` gives the type of the Hub's facts; requests, downloads and the cache are our own, because
//! resuming, verifying, following another process's download, stall detection and offline mode need to be.

mod answers;
mod arriving;
mod cache;
mod client;
mod digest;
mod downloads;
mod error;
pub mod facts;
mod identity;
mod local;
mod partial;
mod progress;
mod ranges;
mod repository;
mod retry;
pub mod select;
mod transfer;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cache::{Listing, RepositoryCache};
use client::Client;
use downloads::Downloads;
use repository::Place;

pub use client::Token;
pub use error::HubError;
pub use local::LocalModel;
pub use progress::DownloadProgress;
pub use repository::{RepoFile, Repository, Source};
pub use retry::RetryPolicy;

const DEFAULT_REVISION: &str = "main";

#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Folders that are hubs, before the Hub itself, in this order.
    pub local: Vec<PathBuf>,
    /// `HF_HUB_CACHE`, else `HF_HOME/hub`.
    pub cache: PathBuf,
    /// `HF_ENDPOINT`.
    pub endpoint: String,
    /// `HF_TOKEN`.
    pub token: Option<Token>,
    /// `HF_HUB_OFFLINE`: nothing is asked of the Hub.
    pub offline: bool,
    /// How long it is believed that a branch is still at the commit it was at.
    pub metadata_ttl: Duration,
    /// How long a download may stand still.
    pub stall_timeout: Duration,
    pub retry: RetryPolicy,
}

impl HubConfig {
    /// The public Hub, without a token, with the usual limits.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            local: Vec::new(),
            cache: cache.into(),
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            offline: false,
            metadata_ttl: Duration::from_secs(600),
            stall_timeout: Duration::from_secs(60),
            retry: RetryPolicy::default(),
        }
    }
}

/// What (model, revision) was, and when the Hub said so.
type Resolved = HashMap<(String, String), (Instant, Arc<Listing>)>;

/// Finds models. Clones share everything.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    config: HubConfig,
    client: Arc<Client>,
    downloads: Downloads,
    resolved: Mutex<Resolved>,
}

impl Hub {
    pub fn new(config: HubConfig) -> Result<Self, HubError> {
        let client = Client::new(
            &config.endpoint,
            config.token.as_ref(),
            config.stall_timeout,
            config.retry,
        )?;
        let client = Arc::new(client);
        let inner =
            Inner { config, client, downloads: Downloads::default(), resolved: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Finds a model. An empty `revision` is `main`. A local folder answers for `main` and for the digest it
    /// has now; any other revision is the Hub's.
    pub async fn resolve(&self, model_id: &str, revision: &str) -> Result<Repository, HubError> {
        let revision = if revision.is_empty() { DEFAULT_REVISION } else { revision };
        identity::check_model_id(model_id)?;
        identity::check_revision(revision)?;
        if let Some(folder) = local::find(&self.inner.config.local, model_id) {
            let at = folder.clone();
            let read =
                move || local::listing(&at).map_err(|source| HubError::storage(&at, 0, source));
            let listing = transfer::blocking(read).await?;
            if revision == DEFAULT_REVISION || revision == listing.commit {
                return Ok(self.repository(
                    model_id,
                    Arc::new(listing),
                    Place::Folder(folder),
                    false,
                ));
            }
        }
        let cache = RepositoryCache::new(&self.inner.config.cache, model_id);
        let (listing, stale) = self.resolve_on_hub(model_id, revision, &cache).await?;
        Ok(self.repository(model_id, listing, Place::Cache(cache), stale))
    }

    /// The models of the local folders.
    pub fn local_models(&self) -> Vec<LocalModel> {
        local::models(&self.inner.config.local)
    }

    fn repository(
        &self,
        model_id: &str,
        listing: Arc<Listing>,
        place: Place,
        stale: bool,
    ) -> Repository {
        Repository { hub: self.clone(), model_id: model_id.to_owned(), listing, place, stale }
    }

    /// The listing of a revision, and whether it may be out of date.
    async fn resolve_on_hub(
        &self,
        model_id: &str,
        revision: &str,
        cache: &RepositoryCache,
    ) -> Result<(Arc<Listing>, bool), HubError> {
        if self.is_offline() {
            let what = format!("{model_id}@{revision}");
            return Ok((
                Arc::new(cached(cache, revision).ok_or(HubError::Offline { what })?),
                false,
            ));
        }
        let key = (model_id.to_owned(), revision.to_owned());
        if let Some((when, listing)) = self.resolved().get(&key)
            && when.elapsed() < self.inner.config.metadata_ttl
        {
            return Ok((listing.clone(), false));
        }
        if identity::is_commit(revision)
            && let Some(known) = cache.read_listing(revision)
        {
            return Ok((Arc::new(known), false));
        }
        match self.ask(model_id, revision, cache).await {
            Ok(listing) => {
                if let Err(error) = cache.remember(revision, &listing) {
                    tracing::warn!(model_id, %error, "cannot write to the cache");
                }
                let listing = Arc::new(listing);
                self.resolved().insert(key, (Instant::now(), listing.clone()));
                Ok((listing, false))
            }
            Err(error) if error.is_transient() => {
                let listing = cached(cache, revision).ok_or_else(|| error.clone())?;
                tracing::warn!(model_id, revision, %error, "the Hub cannot be asked; going on with the cache");
                Ok((Arc::new(listing), true))
            }
            Err(error) => Err(error),
        }
    }

    /// What the Hub says now. A commit's files never change, so they are asked for once.
    async fn ask(
        &self,
        model_id: &str,
        revision: &str,
        cache: &RepositoryCache,
    ) -> Result<Listing, HubError> {
        let info = self.client().info(model_id, revision).await?;
        let commit = info.sha.unwrap_or_default();
        let files = match cache.read_listing(&commit) {
            Some(known) => known.files,
            None => {
                let mut files = self.client().tree(model_id, &commit).await?;
                files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
                files
            }
        };
        Ok(Listing {
            commit,
            pipeline_tag: info.pipeline_tag,
            library_name: info.library_name,
            files,
        })
    }

    fn resolved(&self) -> MutexGuard<'_, Resolved> {
        self.inner.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_offline(&self) -> bool {
        self.inner.config.offline
    }

    fn client(&self) -> &Arc<Client> {
        &self.inner.client
    }

    fn downloads(&self) -> &Downloads {
        &self.inner.downloads
    }
}

/// What the cache knows of a revision, without asking anybody.
fn cached(cache: &RepositoryCache, revision: &str) -> Option<Listing> {
    let commit = match cache.read_reference(revision) {
        Some(commit) => commit,
        None if identity::is_commit(revision) => revision.to_owned(),
        None => return None,
    };
    cache.read_listing(&commit).or_else(|| cache.scan_snapshot(&commit))
}
