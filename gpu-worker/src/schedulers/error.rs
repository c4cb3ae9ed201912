//! Why there is no scheduler.

use crate::failure::{Code, Failure};

#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    #[error("scheduler_config.json is not an object")]
    NotAnObject,
    #[error("scheduler_config.json names no class (_class_name)")]
    NoClass,
    #[error("scheduler {class} is not supported; supported are {}", known.join(", "))]
    UnknownClass { class: String, known: Vec<&'static str> },
    #[error("scheduler_config.json: {field} must be {expected}")]
    Type { field: &'static str, expected: &'static str },
    #[error("scheduler_config.json: {field} = {value} is not supported")]
    UnsupportedValue { field: &'static str, value: String },
    #[error("at least one step is needed")]
    NoSteps,
    #[error("{steps} steps are more than the {limit} that this scheduler can take")]
    TooManySteps { steps: usize, limit: usize },
    #[error("{steps} steps are fewer than the {limit} that this scheduler needs")]
    TooFewSteps { steps: usize, limit: usize },
    #[error("with {steps} steps, two of them would be at the same level of noise")]
    StepsCoincide { steps: usize },
    #[error("the scheduler shifts time by the picture's size, which it was not told")]
    NoShift,
    #[error("scheduler {choice:?} cannot take the place of this model's {class}; those that can are {}", choices.join(", "))]
    NotCompatible { choice: String, class: &'static str, choices: Vec<&'static str> },
    #[error("this scheduler takes no {given} of the request's own")]
    OwnSchedule { given: &'static str },
    #[error("{given} must fall from step to step, within the {n_train} timesteps of training")]
    NotFalling { given: &'static str, n_train: usize },
}

impl SchedulerError {
    /// The option of the request that is at fault; none where the model's config is.
    fn option(&self) -> Option<&'static str> {
        match self {
            Self::NotAnObject
            | Self::NoClass
            | Self::UnknownClass { .. }
            | Self::Type { .. }
            | Self::UnsupportedValue { .. }
            | Self::NoShift => None,
            Self::NotCompatible { .. } => Some("options.scheduler"),
            Self::NoSteps
            | Self::TooManySteps { .. }
            | Self::TooFewSteps { .. }
            | Self::StepsCoincide { .. }
            | Self::OwnSchedule { .. }
            | Self::NotFalling { .. } => Some("options.num_inference_steps"),
        }
    }
}

impl From<SchedulerError> for Failure {
    fn from(error: SchedulerError) -> Self {
        match error.option() {
            Some(option) => Self::new(Code::InvalidRequest, &error).at(option),
            None => Self::new(Code::ArchitectureNotSupported, &error)
                .at("scheduler/scheduler_config.json"),
        }
    }
}
