//! One request through the fleet: events as they happen, ending with a result or a failure.

use std::{sync::Arc, time::Duration};

use proto::{
    InferEvent, InferRequest, InferResult, ModelRef, OnConflict, infer_event::Event,
    infer_request::Input,
};
use tokio::time::{Instant, timeout_at};
use tonic::Streaming;

use super::{
    Fleet,
    blobs::Blobs,
    chooser::{Choice, Chooser, Terms},
    deadline_exceeded,
    worker::InFlight,
};
use crate::{
    failure::{Code, Failure},
    placement::Conflict,
};

/// A request, ready to run.
#[derive(Clone, Debug)]
pub struct Job {
    pub request_id: String,
    pub model: ModelRef,
    pub task: &'static str,
    pub input: Input,
    /// Empty: the worker's rule.
    pub dtype: String,
    pub conflict: Conflict,
    /// False: fail at once when the model isn't there.
    pub wait: bool,
    pub priority: i32,
    pub keep_alive_ms: Option<i64>,
    pub seed: u64,
    pub deadline: Instant,
}

/// A request on its way. Dropping it cancels the work.
pub struct Run {
    /// Without its large media, which are in `blobs` until execution has begun.
    job: Job,
    blobs: Blobs,
    chooser: Chooser,
    state: State,
}

enum State {
    Choosing,
    Streaming { events: Box<Streaming<InferEvent>>, seat: InFlight, started: bool },
    Finished,
}

/// How long a worker may take to end a stream after its result.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes the end of a stream whose result is there. Dropped before its end it would be reset, and HTTP/2 closes a
/// connection on which too many streams are.
fn read_to_end(mut events: Box<Streaming<InferEvent>>) {
    tokio::spawn(async move {
        let _ = tokio::time::timeout(END_TIMEOUT, events.message()).await;
    });
}

impl Run {
    pub fn new(fleet: Arc<Fleet>, mut job: Job) -> Self {
        let blobs = Blobs::take(&mut job.input);
        let terms = Terms {
            model: job.model.clone(),
            task: job.task.to_owned(),
            dtype: job.dtype.clone(),
            conflict: job.conflict,
            wait: job.wait,
            deadline: job.deadline,
        };
        Self { chooser: Chooser::new(fleet, terms), job, blobs, state: State::Choosing }
    }

    /// The next event; after a result or a failure there is none.
    pub async fn next(&mut self) -> Option<Result<Event, Failure>> {
        loop {
            let outcome = match &self.state {
                State::Finished => return None,
                State::Choosing => self.choose().await,
                State::Streaming { .. } => self.receive().await,
            };
            match outcome {
                Ok(None) => {}
                Ok(Some(event)) => {
                    if matches!(event, Event::Result(_))
                        && let State::Streaming { events, .. } =
                            std::mem::replace(&mut self.state, State::Finished)
                    {
                        read_to_end(events);
                    }
                    return Some(Ok(event));
                }
                Err(failure) => {
                    self.state = State::Finished;
                    return Some(Err(failure));
                }
            }
        }
    }

    /// Only the result; what happens on the way is of no interest.
    ///
    /// # Errors
    /// The failure that ended the request.
    pub async fn result(mut self, mut seen: impl FnMut(&Event)) -> Result<InferResult, Failure> {
        while let Some(event) = self.next().await {
            let event = event?;
            seen(&event);
            if let Event::Result(result) = event {
                return Ok(result);
            }
        }
        Err(Failure::new(Code::InferenceFailed, "the request ended without a result"))
    }

    async fn choose(&mut self) -> Result<Option<Event>, Failure> {
        let (worker, victims) = match self.chooser.choose().await? {
            Choice::Waiting(event) => return Ok(Some(Event::Queued(event))),
            Choice::Go { worker, victims } => (worker, victims),
        };
        let seat = InFlight::on(worker.clone());
        let mut input = self.job.input.clone();
        let opened = timeout_at(self.chooser.deadline(), async {
            self.blobs.upload(&worker, &mut input).await?;
            worker.client().infer(telemetry::call(self.request(input, victims))).await
        });
        match opened.await.map_err(|_| deadline_exceeded())? {
            Ok(answer) => {
                self.state = State::Streaming {
                    events: Box::new(answer.into_inner()),
                    seat,
                    started: false,
                };
            }
            Err(status) => self.chooser.again(&worker, &status).await?,
        }
        Ok(None)
    }

    fn request(&self, input: Input, victims: Vec<proto::Victim>) -> InferRequest {
        let job = &self.job;
        let left = job.deadline.saturating_duration_since(Instant::now());
        let on_conflict = match job.conflict {
            Conflict::Evict => OnConflict::Evict,
            Conflict::Wait => OnConflict::Wait,
            Conflict::Refuse => OnConflict::Refuse,
        };
        InferRequest {
            request_id: job.request_id.clone(),
            tenant: String::new(),
            priority: job.priority,
            timeout_ms: (left.as_millis() as u64).max(1),
            on_conflict: on_conflict.into(),
            attempt: self.chooser.attempt(),
            seed: Some(job.seed),
            model: Some(job.model.clone()),
            task: job.task.to_owned(),
            dtype: job.dtype.clone(),
            victims,
            wait: Some(job.wait),
            keep_alive_ms: job.keep_alive_ms,
            input: Some(input),
        }
    }

    async fn receive(&mut self) -> Result<Option<Event>, Failure> {
        let State::Streaming { events, seat, started } = &mut self.state else { return Ok(None) };
        let message = timeout_at(self.chooser.deadline(), events.message());
        match message.await.map_err(|_| deadline_exceeded())? {
            Ok(Some(InferEvent { event: Some(event), .. })) => {
                if executes(&event) {
                    *started = true;
                    // There is no further try that would need them.
                    self.blobs = Blobs::default();
                }
                check(&event)?;
                Ok(Some(event))
            }
            // A kind of event that a newer worker knows.
            Ok(Some(InferEvent { event: None, .. })) => Ok(None),
            Ok(None) => {
                self.lost(tonic::Status::unavailable("the stream ended without a result")).await
            }
            Err(status) if *started => {
                tracing::warn!(worker = seat.worker().id(), %status, "failed");
                Err(Failure::from(&status))
            }
            Err(status) => self.lost(status).await,
        }
    }

    /// The stream broke: choose again when nothing had been executed.
    async fn lost(&mut self, status: tonic::Status) -> Result<Option<Event>, Failure> {
        let State::Streaming { seat, started, .. } = &self.state else { return Ok(None) };
        if *started {
            return Err(Failure::from(&status));
        }
        let worker = seat.worker().clone();
        self.state = State::Choosing;
        self.chooser.again(&worker, &status).await?;
        Ok(None)
    }
}

/// Whether the event says that execution has begun or produced something that a retry would repeat.
fn executes(event: &Event) -> bool {
    !matches!(event, Event::Queued(_) | Event::Loading(_))
}

/// No score or logit is ever NaN in an answer.
fn check(event: &Event) -> Result<(), Failure> {
    let not_finite =
        || Failure::new(Code::InferenceFailed, "the model computed values that are no numbers");
    match event {
        Event::Result(result) => match &result.output {
            Some(output) if output.is_finite() => Ok(()),
            Some(_) => Err(not_finite()),
            None => Err(Failure::new(
                Code::InferenceFailed,
                "the worker sent a result without an output",
            )),
        },
        Event::Token(token) if token.logprob.is_some_and(|logprob| !logprob.is_finite()) => {
            Err(not_finite())
        }
        _ => Ok(()),
    }
}
