//! What a fake worker does with what it is asked.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use proto::{
    DeviceBytes, Gauges, LoadEvent, ModelPlan, Residency, ResidencyState, UnloadModelResponse,
    infer_event::Event,
};
use tokio::sync::Notify;
use tonic::Status;

use super::detail;

/// One step of an answer to `Infer`.
#[derive(Clone)]
pub enum Step {
    /// Fails before there is a stream; only as the first step.
    Refuse(Status),
    Send(Box<Event>),
    /// Goes on when the test says so.
    Pause(Arc<Notify>),
    /// Ends the stream with an error.
    Fail(Status),
    /// Never goes on, until the client is gone.
    Hang,
}

impl Step {
    /// As real workers do: a task that draws random numbers tells with which seed.
    pub(super) fn say_seed(&mut self, seed: Option<u64>) {
        let Self::Send(event) = self else { return };
        let Event::Result(result) = event.as_mut() else { return };
        if let Some(metadata) = result.metadata.as_mut().filter(|it| it.task == "text-generation") {
            metadata.seed = seed;
        }
    }
}

/// What a model is.
#[derive(Clone)]
pub struct Plan {
    pub task: &'static str,
    pub bytes: u64,
    pub unsupported: Option<&'static str>,
}

/// The whole behaviour.
#[derive(Clone)]
pub struct Script {
    pub budget: u64,
    pub residencies: Vec<Residency>,
    /// What its heartbeat says, beside devices and health.
    pub gauges: Gauges,
    pub plans: HashMap<&'static str, Plan>,
    pub infers: VecDeque<VecDeque<Step>>,
    pub loads: VecDeque<Vec<Result<LoadEvent, Status>>>,
    pub unloads: VecDeque<Result<UnloadModelResponse, Status>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            budget: 100,
            residencies: Vec::new(),
            gauges: Gauges::default(),
            plans: HashMap::new(),
            infers: VecDeque::new(),
            loads: VecDeque::new(),
            unloads: VecDeque::new(),
        }
    }
}

impl Script {
    /// A worker that has `org/model` ready and knows `org/other`.
    pub fn ready() -> Self {
        let plan = |task| Plan { task, bytes: 40, unsupported: None };
        Self {
            residencies: vec![Self::residency("org/model", 40)],
            plans: HashMap::from([
                ("org/model", plan("text-generation")),
                ("org/other", plan("text-generation")),
                ("org/strange", Plan { unsupported: Some("mamba9"), ..plan("text-generation") }),
                ("org/huge", Plan { bytes: 1_000, ..plan("text-generation") }),
                ("org/silent", plan("")),
            ]),
            ..Self::default()
        }
    }

    pub fn residency(model_id: &str, bytes: u64) -> Residency {
        Residency {
            residency_id: format!("r-{model_id}"),
            generation: 7,
            model_id: model_id.into(),
            revision: "c0ffee".into(),
            tasks: vec!["text-generation".into()],
            architecture: "gpt2".into(),
            state: ResidencyState::Ready.into(),
            dtype: "float32".into(),
            bytes: vec![DeviceBytes { device: "cpu".into(), weights: bytes, ..Default::default() }],
            load_time_ms: Some(12.5),
            loaded_ms_ago: Some(60_000),
            last_used_ms_ago: Some(5_000),
            keep_alive_ms: -1,
            ..Default::default()
        }
    }

    pub fn infer(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.infers.push_back(steps.into_iter().collect());
        self
    }

    pub(super) fn plan(&self, model_id: &str, task: &str) -> Result<ModelPlan, Status> {
        let Some(plan) = self.plans.get(model_id) else {
            return Err(detail(
                tonic::Code::NotFound,
                "model_not_found",
                "model_id",
                "there is no such model",
            ));
        };
        let task = if task.is_empty() { plan.task } else { task };
        Ok(ModelPlan {
            model_id: model_id.into(),
            revision: "c0ffee".into(),
            source: "local".into(),
            task: task.into(),
            architecture: plan.unsupported.unwrap_or("gpt2").into(),
            unsupported: plan.unsupported.map(|name| proto::ErrorDetail {
                code: "architecture_not_supported".into(),
                message: format!("{name} is not supported"),
                ..Default::default()
            }),
            weight_bytes: plan.bytes,
            device: "cpu".into(),
            dtype: "float32".into(),
            tasks: vec![task.into()],
            ..Default::default()
        })
    }
}
