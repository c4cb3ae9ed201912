//! What a worker answered stands in its status before the client hears of it: a status that is asked for next has it.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Fleet, View, Worker};

/// How long an answer waits for the worker's status, which comes on a stream of its own.
const PATIENCE: Duration = Duration::from_secs(1);

impl Fleet {
    /// Waits until the worker's status is as far as its answer was; one that is late keeps the answer no longer than a second.
    pub async fn shown(&self, worker: &Worker, is_shown: impl Fn(&View) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut versions = self.version.subscribe();
        while !is_shown(&worker.view()) {
            if !matches!(timeout_at(until, versions.changed()).await, Ok(Ok(()))) {
                tracing::debug!(worker = worker.id(), "its status lags behind its answer");
                return;
            }
        }
    }
}
