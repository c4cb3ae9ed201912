//! `Configure`: the worker's own policy.

use std::time::Duration;

use proto::{ConfigureRequest, ConfigureResponse, DeviceBudget};

use crate::{
    failure::Failure,
    residency::{ModelPolicy, Residencies},
};

/// Checks the whole request first, so that a wrong one changes nothing.
pub fn configure(
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
    for policy in &request.residencies {
        if policy.model.as_ref().is_none_or(|model| model.model_id.is_empty()) {
            return Err(Failure::invalid("residencies.model.model_id", "is empty"));
        }
        if policy.keep_alive_ms.is_some_and(|ms| ms < -1) {
            return Err(Failure::invalid("residencies.keep_alive_ms", "is below -1"));
        }
    }
    for budget in &request.budgets {
        residencies.set_budget(budget.bytes);
    }
    for policy in request.residencies {
        let model_id = policy.model.unwrap_or_default().model_id;
        let change = ModelPolicy {
            pinned: policy.pinned,
            keep_alive_ms: policy.keep_alive_ms,
            min_residency: policy.min_residency_ms.map(Duration::from_millis),
        };
        residencies.set_policy(&model_id, change);
    }
    if let Some(drain) = request.drain {
        residencies.set_draining(drain);
    }
    let budgets =
        vec![DeviceBudget { device: device.name.clone(), bytes: residencies.accounts().budget }];
    Ok(ConfigureResponse { budgets, draining: residencies.is_draining() })
}
