//! One request through the fleet: events as they happen, ending with a result or a failure.

use std::{sync::Arc, time::Duration};

use prost::Message;
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
    chunks::Chunks,
    deadline_exceeded,
    quarantine::Fingerprint,
    scrutiny::Scrutiny,
    worker::{Fence, InFlight},
};
use crate::{
    failure::{Code, Failure, is_loss},
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
    /// While its model loads, every progress of the load moves the deadline to this long from then. `None`: it stands.
    pub load_patience: Option<Duration>,
    /// The deadline never moves beyond it.
    pub longest: Instant,
}

/// A request on its way. Dropping it cancels the work.
pub struct Run {
    /// Without its large media, which are in `blobs` until execution has begun.
    job: Job,
    blobs: Blobs,
    chooser: Chooser,
    fleet: Arc<Fleet>,
    fingerprint: Fingerprint,
    /// How far the load was last.
    progress: Option<Event>,
    state: State,
}

enum State {
    Choosing,
    Streaming(Box<Try>),
    Finished,
}

/// One try on one worker.
struct Try {
    events: Box<Streaming<InferEvent>>,
    seat: InFlight,
    fence: Fence,
    scrutiny: Scrutiny,
    chunks: Chunks,
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
        let fingerprint = fingerprint(&job, &blobs);
        let chooser = Chooser::new(fleet.clone(), terms);
        Self { chooser, fleet, fingerprint, progress: None, job, blobs, state: State::Choosing }
    }

    /// The next event; after a result or a failure there is none.
    pub async fn next(&mut self) -> Option<Result<Event, Failure>> {
        loop {
            let outcome = match &self.state {
                State::Finished => return None,
                State::Choosing => self.choose().await,
                State::Streaming(_) => self.receive().await,
            };
            match outcome {
                Ok(None) => {}
                Ok(Some(event)) => {
                    if matches!(event, Event::Result(_))
                        && let State::Streaming(last) =
                            std::mem::replace(&mut self.state, State::Finished)
                    {
                        read_to_end(last.events);
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
        if let Some(left) = self.fleet.quarantine().left(self.fingerprint, Instant::now()) {
            let message =
                "workers were lost while they executed this request; it is refused for a while";
            let mut failure = Failure::new(Code::Quarantined, message);
            failure.retry_after = Some(left);
            return Err(failure);
        }
        let (worker, victims) = match self.chooser.choose().await? {
            Choice::Waiting(event) => return Ok(Some(Event::Queued(event))),
            Choice::Go { worker, victims } => (worker, victims),
        };
        let seat = InFlight::on(worker.clone());
        let mut fence = worker.fence();
        let mut input = self.job.input.clone();
        let opened = fence.guard(async {
            self.blobs.upload(&worker, &mut input).await?;
            worker.client().infer(telemetry::call(self.request(input, victims))).await
        });
        let opened = timeout_at(self.chooser.deadline(), opened);
        match opened.await.map_err(|_| deadline_exceeded())? {
            Ok(answer) => {
                let events = Box::new(answer.into_inner());
                let scrutiny = Scrutiny::new(self.job.task);
                let chunks = Chunks::default();
                self.state =
                    State::Streaming(Box::new(Try { events, seat, fence, scrutiny, chunks }));
            }
            Err(status) => self.chooser.again(&worker, &status).await?,
        }
        Ok(None)
    }

    fn request(&self, input: Input, victims: Vec<proto::Victim>) -> InferRequest {
        let job = &self.job;
        // A deadline that moves is kept here: when it has come, the stream is dropped.
        let deadline = job.load_patience.map_or(job.deadline, |_| job.longest);
        let left = deadline.saturating_duration_since(Instant::now());
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
        let State::Streaming(current) = &mut self.state else { return Ok(None) };
        let Try { events, seat, fence, scrutiny, chunks } = current.as_mut();
        let message = timeout_at(self.chooser.deadline(), fence.guard(events.message()));
        let status = match message.await.map_err(|_| deadline_exceeded())? {
            Ok(Some(mut message)) => {
                let seen = scrutiny.see(&message).and_then(|()| match &mut message.event {
                    Some(Event::MediaChunk(chunk)) => chunks.take(chunk),
                    Some(Event::Result(result)) => chunks.fill(result),
                    _ => Ok(()),
                });
                if let Err(failure) = seen {
                    tracing::error!(worker = seat.worker().id(), %failure, "garbage");
                    return Err(failure);
                }
                if scrutiny.has_started() {
                    // There is no further try that would need them.
                    self.blobs = Blobs::default();
                }
                if let (Some(event), Some(patience)) = (&message.event, self.job.load_patience)
                    && !scrutiny.has_started()
                    && self.progress.as_ref() != Some(event)
                {
                    self.chooser.extend((Instant::now() + patience).min(self.job.longest));
                    self.progress = Some(event.clone());
                }
                // Its bytes are kept for the result.
                return Ok(message.event.filter(|event| !matches!(event, Event::MediaChunk(_))));
            }
            Ok(None) => tonic::Status::unavailable("the stream ended without a result"),
            Err(status) => status,
        };
        self.broke(&status).await
    }

    /// The stream broke: choose again when nothing had been executed.
    async fn broke(&mut self, status: &tonic::Status) -> Result<Option<Event>, Failure> {
        let State::Streaming(current) = &self.state else { return Ok(None) };
        let worker = current.seat.worker().clone();
        if current.scrutiny.has_started() {
            tracing::warn!(worker = worker.id(), %status, "failed");
            if is_loss(status) {
                self.fleet.quarantine().strike(self.fingerprint, Instant::now());
            }
            return Err(Failure::from(status));
        }
        self.state = State::Choosing;
        self.chooser.again(&worker, status).await?;
        Ok(None)
    }
}

/// What the request is, apart from its id, its seed and its deadline.
fn fingerprint(job: &Job, blobs: &Blobs) -> Fingerprint {
    let mut input = Vec::new();
    // The field's own encoding; a vector takes whatever comes.
    job.input.encode(&mut input);
    let whole = [job.model.encode_to_vec(), job.task.into(), job.dtype.clone().into(), input];
    Fingerprint::of(whole.iter().map(Vec::as_slice).chain(blobs.samples()))
}
