//! What the tasks do before and after the lane, in the bounded pool of threads and never on the async ones.

use std::sync::Arc;

use proto::{InferRequest, infer_result::Output};
use tracing::Span;

use super::Shared;
use crate::{
    failure::{Code, Failure},
    residency::facts::Facts,
    tasks::{self, Finish, Made, Prepared},
};

/// Validates, decodes and tokenises.
pub(super) async fn prepare(
    shared: &Arc<Shared>,
    facts: &Arc<Facts>,
    task: &'static tasks::Task,
    request: InferRequest,
) -> Result<Prepared, Failure> {
    let facts = Arc::clone(facts);
    let limits = shared.limits;
    let prepare = move || {
        let prepared = facts.processor(task)?.prepare(&request)?;
        limits.check(&prepared.work)?;
        Ok(prepared)
    };
    run(shared, task, "the input could not be prepared", prepare).await
}

/// Makes the output of what the device made.
pub(super) async fn finish(
    shared: &Arc<Shared>,
    task: &'static tasks::Task,
    finish: Finish,
    made: Made,
) -> Result<Output, Failure> {
    run(shared, task, "the output could not be made", move || finish(made)).await
}

async fn run<T: Send + 'static>(
    shared: &Arc<Shared>,
    task: &'static tasks::Task,
    failed: &'static str,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let permit = shared.prepare.acquire().await;
    let _permit = permit.map_err(|_| Failure::new(Code::Draining, "the worker stops"))?;
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.map_err(|error| {
        tracing::error!(%error, task = task.id, "{failed}: a panic");
        Failure::new(Code::InferenceFailed, failed)
    })?
}
