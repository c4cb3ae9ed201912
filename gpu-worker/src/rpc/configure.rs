//! `Configure`: the worker's own policy.

use proto::{ConfigureRequest, ConfigureResponse, DeviceBudget};

use crate::{
    failure::Failure,
    residency::{Dtype, ModelPolicy, Residencies, precision},
};

/// Checks the whole request first, so that a wrong one changes nothing.
pub async fn configure(
    residencies: &Residencies,
    request: ConfigureRequest,
) -> Result<ConfigureResponse, Failure> {
    let device = residencies.device();
    for budget in &request.budgets {
        if budget.device != device.name {
            return Err(Failure::invalid(
                "budgets.device",
                format!("is {:?}, this worker has {}", budget.device, device.name),
            ));
        }
        if budget.bytes > device.total_bytes {
            return Err(Failure::invalid("budgets.bytes", "is more than the device has")
                .number("limit", device.total_bytes));
        }
    }
    let mut changes = Vec::new();
    for policy in request.residencies {
        let model_id = policy.model.unwrap_or_default().model_id;
        if model_id.is_empty() {
            return Err(Failure::invalid("residencies.model.model_id", "is empty"));
        }
        if !residencies.may_set_policy(&model_id) {
            let message = "would be one more than this worker keeps policies of";
            return Err(Failure::invalid("residencies.model.model_id", message));
        }
        if policy.keep_alive_ms.is_some_and(|ms| ms < -1) {
            return Err(Failure::invalid("residencies.keep_alive_ms", "is below -1"));
        }
        let dtype = match policy.dtype.as_deref() {
            None => None,
            Some("") => Some(Dtype::Rule),
            Some(name) => {
                let named = precision::parse(name);
                Some(Dtype::Of(named.map_err(|failure| failure.at("residencies.dtype"))?))
            }
        };
        let change = ModelPolicy {
            pinned: policy.pinned,
            keep_alive_ms: policy.keep_alive_ms,
            min_residency_ms: policy.min_residency_ms,
            dtype,
        };
        changes.push((model_id, change));
    }
    let is_change = !(changes.is_empty() && request.budgets.is_empty());
    for budget in &request.budgets {
        residencies.set_budget(budget.bytes);
    }
    for (model_id, change) in changes {
        residencies.set_policy(&model_id, change);
    }
    match request.drain {
        Some(true) => residencies.drain("asked"),
        Some(false) => residencies.admit(),
        None => {}
    }
    let kept = !is_change || residencies.journal().settled().await;
    let budgets =
        vec![DeviceBudget { device: device.name.clone(), bytes: residencies.accounts().budget }];
    Ok(ConfigureResponse { budgets, draining: residencies.is_draining(), kept })
}
