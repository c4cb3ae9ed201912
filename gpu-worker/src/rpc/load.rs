//! `LoadModel` and `UnloadModel`.

use futures::Stream;
use proto::{
    LoadEvent, LoadModelRequest, ResidencyState, UnloadModelRequest, UnloadModelResponse, Unloaded,
};
use tonic::Status;

use crate::{
    failure::Failure,
    residency::{LoadState, Residencies, Wanted, precision},
};

/// Opens the model and streams its load; dropping the stream before the end gives the load up, if nobody else waits.
pub async fn load(
    residencies: Residencies,
    request: LoadModelRequest,
) -> Result<impl Stream<Item = Result<LoadEvent, Status>> + Send, Failure> {
    let model = request.model.unwrap_or_default();
    let facts = residencies.facts().get(&model.model_id, &model.revision).await?;
    let (task, architecture) = facts.plan(&request.task)?;
    let dtype =
        (!request.dtype.is_empty()).then(|| precision::parse(&request.dtype)).transpose()?;
    let lease = residencies.open(&Wanted {
        facts,
        task,
        architecture,
        dtype,
        victims: request.victims,
        pin: request.pin,
        keep_alive_ms: request.keep_alive_ms,
    })?;
    Ok(async_stream::try_stream! {
        if let Some(mut progress) = lease.progress() {
            loop {
                let state = progress.borrow_and_update().clone();
                match &state.outcome {
                    Some(Ok(())) => break,
                    Some(Err(failure)) => Err(failure.clone())?,
                    None => yield event(&state),
                }
                if progress.changed().await.is_err() {
                    break;
                }
            }
        }
        yield LoadEvent { state: ResidencyState::Ready.into(), residency: lease.residency(), ..LoadEvent::default() };
    })
}

fn event(state: &LoadState) -> LoadEvent {
    LoadEvent {
        state: state.state.into(),
        queue_position: state.queue_position,
        bytes_done: state.bytes_done,
        bytes_total: state.bytes_total,
        tensors_done: state.tensors_done,
        tensors_total: state.tensors_total,
        bytes_per_second: state.bytes_per_second,
        eta_s: state.eta_s(),
        evicting: state.evicting.clone(),
        residency: None,
    }
}

pub async fn unload(
    residencies: &Residencies,
    request: UnloadModelRequest,
) -> Result<UnloadModelResponse, Failure> {
    let model = request.model.unwrap_or_default();
    if model.model_id.is_empty() {
        return Err(Failure::invalid("model.model_id", "is empty"));
    }
    let released =
        residencies.unload(&model.model_id, &model.revision, &request.task, request.force).await?;
    let unloaded = released.into_iter().map(|released| Unloaded {
        residency_id: released.residency_id,
        model_id: released.model_id,
        bytes_expected: released.bytes_expected,
        bytes_freed: released.bytes_freed,
        weights_kept: released.weights_kept,
    });
    Ok(UnloadModelResponse { unloaded: unloaded.collect() })
}
