//! The cache's layout on disk, the one that Python's `huggingface_hub` uses:
//! `models--org--name/{blobs,refs,snapshots}` with relative links from snapshots to blobs, locks in `.locks/`.
//! Beside them, ignored by Python: `listings/<commit>.json` (what a commit holds, so that it isn't asked
//! twice and is known offline) and `blobs/<etag>.verified` (that a blob's hash was right).

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{HubError, RepoFile, identity};

/// What one commit of a repository holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) pipeline_tag: Option<String>,
    pub(super) library_name: Option<String>,
    pub(super) files: Vec<RepoFile>,
}

/// One repository's part of the cache. Names must have been checked before they get here.
#[derive(Clone, Debug)]
pub(super) struct RepositoryCache {
    root: PathBuf,
    locks: PathBuf,
}

impl RepositoryCache {
    pub(super) fn new(cache: &Path, model_id: &str) -> Self {
        let folder = format!("models--{}", model_id.replace('/', "--"));
        Self { root: cache.join(&folder), locks: cache.join(".locks").join(&folder) }
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    pub(super) fn partial(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// The lock that Python's downloader takes too.
    pub(super) fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    fn listing(&self, commit: &str) -> PathBuf {
        self.root.join("listings").join(format!("{commit}.json"))
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.root.join("refs").join(revision)
    }

    /// The commit that a branch or tag was at when it was last asked for.
    pub(super) fn read_reference(&self, revision: &str) -> Option<String> {
        let commit = fs::read_to_string(self.reference(revision)).ok()?.trim().to_owned();
        identity::is_commit(&commit).then_some(commit)
    }

    /// Remembers what `revision` is. A reference without its snapshot folder would break Python's scan.
    pub(super) fn remember(&self, revision: &str, listing: &Listing) -> io::Result<()> {
        fs::create_dir_all(self.snapshot(&listing.commit))?;
        if revision != listing.commit
            && self.read_reference(revision).as_ref() != Some(&listing.commit)
        {
            replace(&self.reference(revision), listing.commit.as_bytes())?;
        }
        if self.read_listing(&listing.commit).as_ref() != Some(listing) {
            replace(&self.listing(&listing.commit), &serde_json::to_vec(listing)?)?;
        }
        Ok(())
    }

    /// The recorded listing of a commit; a damaged record counts as none.
    pub(super) fn read_listing(&self, commit: &str) -> Option<Listing> {
        let listing: Listing =
            serde_json::from_slice(&fs::read(self.listing(commit)).ok()?).ok()?;
        let sound = |file: &RepoFile| {
            identity::check_path(&file.path).is_ok()
                && file.etag.as_deref().is_none_or(identity::is_content_id)
        };
        (listing.commit == commit && listing.files.iter().all(sound)).then_some(listing)
    }

    /// The files of a snapshot that something else (Python) has made; `None` where there is no such snapshot.
    pub(super) fn scan_snapshot(&self, commit: &str) -> Option<Listing> {
        let snapshot = self.snapshot(commit);
        let mut files = Vec::new();
        for path in super::local::walk(&snapshot).ok()? {
            let full = snapshot.join(&path);
            let target = fs::read_link(&full).ok();
            let etag = target.and_then(|target| Some(target.file_name()?.to_str()?.to_owned()));
            let Ok(metadata) = fs::metadata(&full) else { continue };
            let etag = etag.filter(|etag| identity::is_content_id(etag));
            files.push(RepoFile { path, size: metadata.len(), etag });
        }
        (!files.is_empty()).then(|| Listing {
            commit: commit.to_owned(),
            pipeline_tag: None,
            library_name: None,
            files,
        })
    }

    /// Puts `path` of a snapshot in place as a relative link to its blob; `path`'s place in the snapshot.
    pub(super) fn link(&self, commit: &str, path: &str, etag: &str) -> Result<PathBuf, HubError> {
        let pointer = self.snapshot(commit).join(path);
        let upwards = "../".repeat(path.split('/').count() + 1);
        let target = PathBuf::from(format!("{upwards}blobs/{etag}"));
        if fs::read_link(&pointer).is_ok_and(|found| found == target) {
            return Ok(pointer);
        }
        let place = || {
            fs::create_dir_all(pointer.parent().expect("a snapshot's file has a folder"))?;
            let temporary = sibling(&pointer);
            symlink(&target, &temporary)?;
            fs::rename(&temporary, &pointer)
        };
        place().map_err(|source| HubError::storage(&pointer, 0, source))?;
        Ok(pointer)
    }

    /// Size of a blob that is there as a whole (though perhaps never hashed).
    pub(super) fn blob_size(&self, etag: &str) -> Option<u64> {
        fs::metadata(self.blob(etag))
            .ok()
            .filter(fs::Metadata::is_file)
            .map(|metadata| metadata.len())
    }

    pub(super) fn partial_size(&self, etag: &str) -> u64 {
        fs::metadata(self.partial(etag)).map_or(0, |metadata| metadata.len())
    }

    /// Whether the blob was hashed before and hasn't been written since.
    pub(super) fn is_verified(&self, etag: &str, size: u64) -> bool {
        let Ok(metadata) = fs::metadata(self.blob(etag)) else { return false };
        metadata.len() == size
            && fs::read_to_string(self.marker(etag))
                .is_ok_and(|marker| marker == fingerprint(&metadata))
    }

    /// Remembers that the blob's hash is right. Not being able to (a read-only cache) costs time only.
    pub(super) fn mark_verified(&self, etag: &str) {
        let marked = fs::metadata(self.blob(etag))
            .and_then(|metadata| replace(&self.marker(etag), fingerprint(&metadata).as_bytes()));
        if let Err(error) = marked {
            tracing::debug!(%error, etag, "cannot remember that a blob was verified");
        }
    }

    /// Removes a blob whose content is not what its name says.
    pub(super) fn discard(&self, etag: &str) -> Result<(), HubError> {
        for path in [self.marker(etag), self.blob(etag)] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(HubError::storage(&path, 0, source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn marker(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(format!("{etag}.verified"))
    }
}

fn fingerprint(metadata: &fs::Metadata) -> String {
    format!("{} {}", metadata.len(), nanoseconds(metadata.modified().ok()))
}

pub(super) fn nanoseconds(time: Option<SystemTime>) -> u128 {
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_nanos())
}

/// Writes a small file so that a reader sees the old or the new one, never a half.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("a file of the cache has a folder"))?;
    let temporary = sibling(path);
    fs::write(&temporary, content)?;
    fs::rename(&temporary, path)
}

fn sibling(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{:016x}.temporary", rand::random::<u64>()))
}
