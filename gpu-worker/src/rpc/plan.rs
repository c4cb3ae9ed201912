//! `PlanModel`: what a model is and what it costs here.

use proto::{ModelPlan, PlanModelRequest};

use crate::{
    failure::Failure,
    hub::Source,
    residency::{Residencies, precision},
};

pub async fn plan(
    residencies: &Residencies,
    request: PlanModelRequest,
) -> Result<ModelPlan, Failure> {
    let model = request.model.unwrap_or_default();
    let facts = residencies.facts().get(&model.model_id, &model.revision).await?;
    let dtype = match request.dtype.as_str() {
        "" => residencies.dtype_for(&facts),
        name => precision::parse(name)?,
    };
    let planned = facts.plan(&request.task);
    let task = match &planned {
        Ok((task, _)) => task.id.to_owned(),
        Err(_) if !request.task.is_empty() => request.task,
        Err(_) => facts.inferred_task.clone().unwrap_or_default(),
    };
    let kind = planned.as_ref().ok().map(|(task, _)| task.kind.name());
    let cost = planned.as_ref().ok().map(|(task, _)| residencies.cost(&facts, task.kind, dtype));
    let download_bytes = match facts.repository.source() {
        Source::Local => 0,
        Source::Hub => facts.repository.missing_bytes(&facts.weight_files),
    };
    Ok(ModelPlan {
        model_id: facts.model_id().to_owned(),
        revision: facts.revision().to_owned(),
        source: match facts.repository.source() {
            Source::Local => "local",
            Source::Hub => "hub",
        }
        .to_owned(),
        task,
        architecture: facts.model_type.clone(),
        unsupported: planned.err().map(|failure| failure.detail()),
        parameters: facts.parameters,
        dtype: precision::name(dtype).to_owned(),
        weight_bytes: cost.as_ref().map_or_else(
            || facts.weight_bytes(dtype, residencies.device().torch),
            |cost| cost.weights,
        ),
        working_bytes: cost.as_ref().map_or(0, |cost| cost.working),
        download_bytes,
        device: residencies.device().name.clone(),
        free_bytes: residencies.free_bytes(),
        tasks: facts.tasks().into_iter().map(str::to_owned).collect(),
        working_is_learned: cost.as_ref().is_some_and(|cost| cost.is_learned),
        load_seconds: cost.and_then(|cost| cost.load).map(|load| load.as_secs_f64()),
        weights_format: facts.format.name().to_owned(),
        kind: kind.unwrap_or_default().to_owned(),
        weights_are_coarse: facts.format.is_coarse(),
    })
}
