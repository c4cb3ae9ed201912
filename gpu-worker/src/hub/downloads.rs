//! Downloads of this process that are under way, so that whoever wants the same blob waits for the same one.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use super::{HubError, transfer::Transfer};

type Running = BoxFuture<'static, Result<(), HubError>>;

/// A download that lives as long as its shares do, and its bytes that are there.
type Active = (WeakShared<Running>, Arc<AtomicU64>);

/// A share of a download. It runs while somebody polls a share, and stops (its partial file stays)
/// when the last share is dropped.
pub(super) struct Download {
    pub(super) outcome: Shared<Running>,
    /// Bytes of the blob that are there.
    pub(super) done: Arc<AtomicU64>,
}

#[derive(Default)]
pub(super) struct Downloads {
    active: Mutex<HashMap<PathBuf, Active>>,
}

impl Downloads {
    /// Joins the download of the transfer's blob, or starts it.
    pub(super) fn join(&self, transfer: Transfer) -> Download {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.retain(|_, (outcome, _)| {
            outcome.upgrade().is_some_and(|outcome| outcome.peek().is_none())
        });
        let key = transfer.cache.blob(&transfer.etag);
        if let Some((outcome, done)) = active.get(&key)
            && let Some(outcome) = outcome.upgrade()
        {
            return Download { outcome, done: done.clone() };
        }
        let done = transfer.done.clone();
        let outcome = transfer.run().boxed().shared();
        if let Some(weak) = outcome.downgrade() {
            active.insert(key, (weak, done.clone()));
        }
        Download { outcome, done }
    }
}
