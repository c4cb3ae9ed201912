//! A load ahead of use through the fleet: events as they happen, ending with the residency.

use std::{sync::Arc, time::Duration};

use proto::{LoadEvent, LoadModelRequest, LoadingEvent, QueuedEvent, Residency, ResidencyState};
use tokio::time::{Instant, timeout_at};
use tonic::Streaming;

use super::{
    Fleet, Worker,
    chooser::{Choice, Chooser, Terms},
    deadline_exceeded,
    worker::Fence,
};
use crate::{failure::Failure, placement::Conflict};

/// What happens while a model loads.
pub enum LoadStep {
    Queued(QueuedEvent),
    Loading(LoadingEvent),
    /// The residency and its worker.
    Ready(Box<Residency>, Arc<Worker>),
}

/// A load on its way.
pub struct Load {
    request: LoadModelRequest,
    chooser: Chooser,
    fleet: Arc<Fleet>,
    /// Every progress moves the deadline to this long from then; `None`: it stands.
    patience: Option<Duration>,
    /// How far it was last.
    progress: Option<LoadEvent>,
    state: State,
}

enum State {
    Choosing,
    Streaming { events: Box<Streaming<LoadEvent>>, worker: Arc<Worker>, fence: Fence },
    Finished,
}

impl Load {
    /// Victims of the request are chosen here.
    pub fn new(
        fleet: Arc<Fleet>,
        request: LoadModelRequest,
        conflict: Conflict,
        deadline: Instant,
        patience: Option<Duration>,
    ) -> Self {
        let terms = Terms {
            model: request.model.clone().unwrap_or_default(),
            task: request.task.clone(),
            dtype: request.dtype.clone(),
            conflict,
            wait: true,
            deadline,
        };
        let chooser = Chooser::new(fleet.clone(), terms);
        Self { chooser, fleet, request, patience, progress: None, state: State::Choosing }
    }

    /// The next step; after `Ready` or a failure there is none.
    pub async fn next(&mut self) -> Option<Result<LoadStep, Failure>> {
        loop {
            let outcome = match &self.state {
                State::Finished => return None,
                State::Choosing => self.choose().await,
                State::Streaming { .. } => self.receive().await,
            };
            match outcome {
                Ok(None) => continue,
                Ok(Some(step)) => {
                    if matches!(step, LoadStep::Ready(..)) {
                        self.state = State::Finished;
                    }
                    return Some(Ok(step));
                }
                Err(failure) => {
                    self.state = State::Finished;
                    return Some(Err(failure));
                }
            }
        }
    }

    async fn choose(&mut self) -> Result<Option<LoadStep>, Failure> {
        let (worker, victims) = match self.chooser.choose().await? {
            Choice::Waiting(event) => return Ok(Some(LoadStep::Queued(event))),
            Choice::Go { worker, victims } => (worker, victims),
        };
        let request = LoadModelRequest { victims, ..self.request.clone() };
        let (mut client, mut fence) = (worker.client(), worker.fence());
        let opened = fence.guard(client.load_model(request));
        let opened = timeout_at(self.chooser.deadline(), opened).await;
        match opened.map_err(|_| deadline_exceeded())? {
            Ok(answer) => {
                let events = Box::new(answer.into_inner());
                self.state = State::Streaming { events, worker, fence };
            }
            Err(status) => self.chooser.again(&worker, &status).await?,
        }
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Option<LoadStep>, Failure> {
        let State::Streaming { events, worker, fence } = &mut self.state else { return Ok(None) };
        let worker = worker.clone();
        let message = timeout_at(self.chooser.deadline(), fence.guard(events.message())).await;
        let status = match message.map_err(|_| deadline_exceeded())? {
            Ok(Some(event)) => {
                if let Some(patience) = self.patience
                    && self.progress.as_ref() != Some(&event)
                {
                    self.chooser.extend(Instant::now() + patience);
                    self.progress = Some(event.clone());
                }
                let step = step(event, worker);
                if let LoadStep::Ready(residency, worker) = &step {
                    let (id, generation) = (&residency.residency_id, residency.generation);
                    self.fleet.shown(worker, |view| view.generation(id) >= generation).await;
                }
                return Ok(Some(step));
            }
            Ok(None) => tonic::Status::unavailable("the stream ended before the model was ready"),
            Err(status) => status,
        };
        self.state = State::Choosing;
        self.chooser.again(&worker, &status).await?;
        Ok(None)
    }
}

fn step(event: LoadEvent, worker: Arc<Worker>) -> LoadStep {
    let state = event.state();
    match (event.residency, event.queue_position) {
        (Some(residency), _) if state == ResidencyState::Ready => {
            LoadStep::Ready(Box::new(residency), worker)
        }
        (_, Some(position)) if state == ResidencyState::Queued => {
            LoadStep::Queued(QueuedEvent { position, reason: "busy".to_owned() })
        }
        _ => LoadStep::Loading(LoadingEvent {
            state: state.name().to_owned(),
            bytes_done: event.bytes_done,
            bytes_total: event.bytes_total,
            tensors_done: event.tensors_done,
            tensors_total: event.tensors_total,
            bytes_per_second: event.bytes_per_second,
            eta_s: event.eta_s,
            evicting: event.evicting,
        }),
    }
}
