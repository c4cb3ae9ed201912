//! `Infer`: prepare, load where needed, hand to the lane, pass on what happens while it happens, finish.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{
    InferEvent, InferRequest, InferResult, QueuedEvent, Residency, ResidencyState, ResultMetadata,
    StartedEvent, infer_event::Event as Kind,
};
use tokio::sync::watch;
use tonic::Status;
use tracing::{Span, field::Empty};

use super::{EventStream, Shared, chunks, departure::Departure, media, pool};
use crate::{
    failure::{Code, Failure},
    lane::LaneHandle,
    residency::{
        Lease, LoadState, Wanted, adapters::AdapterFacts, facts::Facts, precision, state_name,
    },
    tasks::{
        self, AdapterUse, Event, Finish, Job, JobCount, Prepared, Tenant, Timing, adapters,
        outbox::outbox,
    },
};

/// Bytes of events that wait for a slow reader before its request is left out of further steps.
const OUTBOX_BYTES: usize = 1 << 20;
/// A request that has not begun after this long is told that it waits.
const SAY_QUEUED_AFTER: Duration = Duration::from_millis(50);
/// How often a load that was given up by its last waiter is started again for a newcomer.
const REOPENS: u32 = 3;

/// The stream that answers one request. Dropping it cancels the work.
pub fn infer(shared: Arc<Shared>, request: InferRequest) -> EventStream<InferEvent> {
    let arrived = Instant::now();
    let deadline =
        (request.timeout_ms > 0).then(|| arrived + Duration::from_millis(request.timeout_ms));
    let mut sequence = 0;
    let mut event = move |kind| {
        sequence += 1;
        InferEvent { sequence, event: Some(kind) }
    };
    let at_lane = Arc::<AtomicBool>::default();
    let counters = Arc::clone(shared.residencies.counters());
    let departure = Departure { counters, at_lane: Arc::clone(&at_lane), has_ended: false };
    let events = async_stream::try_stream! {
        let call = within(deadline, Call::prepare(&shared, request, arrived, deadline, at_lane)).await?;
        let mut call = call;

        let (lease, lane) = {
            let mut reopens = 0;
            loop {
                let lease = call.open(&shared)?;
                let Some(mut progress) = lease.progress() else {
                    break call.lane_of(lease)?;
                };
                call.coming = None;
                // Lasts as long as this request waits, however far the load was when it came.
                let _span = tracing::error_span!("load", request_id = call.request_id);
                let outcome = loop {
                    let state = progress.borrow_and_update().clone();
                    if let Some(outcome) = &state.outcome {
                        break outcome.clone();
                    }
                    yield event(loading(&state));
                    let changed = shared.residencies.unless_draining(changed(&mut progress));
                    within(deadline, changed).await?;
                };
                call.load = Some(arrived.elapsed());
                match outcome {
                    Ok(()) => break call.lane_of(lease)?,
                    Err(failure) if failure.code == Code::Cancelled && reopens < REOPENS => reopens += 1,
                    Err(failure) => Err(failure)?,
                }
            }
        };

        if let Some(facts) = call.adapter_facts.clone() {
            call.coming = None;
            let comes = shared.residencies.unless_draining(lease.adapter(&facts));
            call.adapter = Some(within(deadline, comes).await?);
        }
        if let Some(facts) = call.control_net_facts.clone() {
            let comes = shared.residencies.unless_draining(lease.adapter(&facts));
            let used = within(deadline, comes).await?;
            if let Some(tasks::Work::Paint(paint)) = &mut call.work {
                paint.control_net = Some(used);
            }
        }
        let residency = lease.residency().unwrap_or_default();
        let mut inbox = call.submit(&lane, &shared)?;
        let mut has_started = false;
        loop {
            let next = match tokio::time::timeout(SAY_QUEUED_AFTER, inbox.next()).await {
                Ok(next) => next,
                Err(_) if has_started => within(deadline, async { Ok(inbox.next().await) }).await?,
                Err(_) => {
                    yield event(call.queued(&lane));
                    let next = async { Ok(inbox.next().await) };
                    within(deadline, shared.residencies.unless_draining(next)).await?
                }
            };
            match next {
                Some(Event::Started) => {
                    has_started = true;
                    yield event(call.started(&shared, &residency));
                }
                Some(Event::Token(token)) => yield event(Kind::Token(token)),
                Some(Event::Progress(progress)) => yield event(Kind::Progress(progress)),
                Some(Event::Made(made, timing)) => {
                    lane.gauges.pace().ended(lane.gauges.jobs.load(Ordering::Acquire) > 1, Instant::now());
                    call.tell(&timing);
                    let finish = call.finish.take().ok_or_else(|| Failure::new(Code::InferenceFailed, "two results"))?;
                    let output = within(deadline, pool::finish(&shared, call.task, finish, made)).await?;
                    lease.served(None);
                    shared.residencies.counters().requests.fetch_add(1, Ordering::Relaxed);
                    let metadata = call.metadata(&residency, timing);
                    let mut output = output;
                    for chunk in chunks::split(&mut output) {
                        yield event(Kind::MediaChunk(chunk));
                    }
                    yield event(Kind::Result(InferResult { metadata: Some(metadata), output: Some(output) }));
                    break;
                }
                Some(Event::Failed(failure)) => {
                    lease.served(Some(failure.clone()));
                    Err(failure)?;
                }
                None => {
                    let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                    Err(if is_late { too_late() } else { Failure::new(Code::InferenceFailed, "the model's lane has ended") })?;
                }
            }
        }
    };
    Box::pin(departure.watch(events))
}

/// One request on its way.
struct Call {
    facts: Arc<Facts>,
    task: &'static tasks::Task,
    wanted: Wanted,
    adapter_facts: Option<Arc<AdapterFacts>>,
    /// Of a ControlNet beside the pipeline.
    control_net_facts: Option<Arc<AdapterFacts>>,
    /// The right to it, until the lane has it.
    adapter: Option<AdapterUse>,
    work: Option<tasks::Work>,
    /// Says that the request comes to the lane at once, unless it has to wait for something.
    coming: Option<JobCount>,
    finish: Option<Finish>,
    prompt_tokens: Option<u32>,
    seed: Option<u64>,
    total_steps: Option<u32>,
    tenant: Tenant,
    priority: i32,
    waits: bool,
    at_lane: Arc<AtomicBool>,
    arrived: Instant,
    deadline: Option<Instant>,
    /// Time spent waiting for the load.
    load: Option<Duration>,
    request_id: String,
    /// From the hand-over to the lane to the end of the job there.
    at_lane_span: Span,
}

impl Call {
    async fn prepare(
        shared: &Arc<Shared>,
        mut request: InferRequest,
        arrived: Instant,
        deadline: Option<Instant>,
        at_lane: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let of_input =
            tasks::of_input(&request).ok_or_else(|| Failure::invalid("input", "is missing"))?;
        if !request.task.is_empty() && request.task != of_input {
            let message = format!("is {:?}, but the input is for {of_input}", request.task);
            return Err(Failure::invalid("task", message));
        }
        media::resolve(&mut request, shared)?;
        let request_id = request.request_id.clone();
        let model = request.model.take().unwrap_or_default();
        let facts = shared.residencies.facts().get(&model.model_id, &model.revision).await?;
        let coming = Some(JobCount::new(&facts.coming));
        let (task, architecture) = facts.plan(of_input)?;
        let adapter_facts = match request.input.as_ref().and_then(adapters::asked) {
            Some(named) => Some(shared.residencies.facts().adapter(named).await?),
            None => None,
        };
        let control_net_facts = match request.input.as_ref().and_then(adapters::control_net_asked) {
            Some(named) => Some(shared.residencies.facts().control_net(named).await?),
            None => None,
        };
        let dtype =
            (!request.dtype.is_empty()).then(|| precision::parse(&request.dtype)).transpose()?;
        let wanted = Wanted {
            facts: Arc::clone(&facts),
            task,
            architecture,
            dtype,
            victims: std::mem::take(&mut request.victims),
            pin: false,
            keep_alive_ms: request.keep_alive_ms,
        };
        let (priority, waits) = (request.priority, request.wait.unwrap_or(true));
        let tenant = Tenant::from(request.tenant.as_str());
        let Prepared { work, finish, prompt_tokens, seed } =
            pool::prepare(shared, &facts, task, request).await?;
        let total_steps = work.total_steps().and_then(|steps| u32::try_from(steps).ok());
        Ok(Self {
            facts,
            task,
            wanted,
            adapter_facts,
            control_net_facts,
            adapter: None,
            work: Some(work),
            coming,
            finish: Some(finish),
            prompt_tokens,
            seed,
            total_steps,
            tenant,
            priority,
            waits,
            at_lane,
            arrived,
            deadline,
            load: None,
            request_id,
            at_lane_span: Span::none(),
        })
    }

    /// A lease on the model; a caller that does not wait is refused while the load that it started goes on.
    fn open(&self, shared: &Shared) -> Result<Lease, Failure> {
        let lease = shared.residencies.open(&self.wanted)?;
        let Some(mut progress) = lease.progress().filter(|_| !self.waits) else { return Ok(lease) };
        tokio::spawn(async move {
            let _ = progress.wait_for(|state| state.outcome.is_some()).await;
            drop(lease);
        });
        let message = format!("{} is being loaded", self.facts.model_id());
        Err(Failure::new(Code::Loading, message).retry_after(Duration::from_secs(1)))
    }

    fn lane_of(&self, lease: Lease) -> Result<(Lease, LaneHandle), Failure> {
        match lease.lane() {
            Some(lane) => Ok((lease, lane)),
            None => Err(Failure::new(Code::Loading, "the model was released just now")
                .retry_after(Duration::ZERO)),
        }
    }

    fn submit(
        &mut self,
        lane: &LaneHandle,
        shared: &Shared,
    ) -> Result<tasks::outbox::Inbox<Event>, Failure> {
        let count = lane.reserve()?;
        let (sender, inbox) = outbox(OUTBOX_BYTES);
        self.at_lane_span = tracing::error_span!(
            "lane",
            request_id = self.request_id,
            queue_ms = Empty,
            steps_ms = Empty,
            tokens = Empty,
        );
        lane.submit(Job {
            work: self.work.take(),
            tenant: Arc::clone(&self.tenant),
            outbox: sender,
            priority: self.priority,
            arrived: self.arrived,
            submitted: Instant::now(),
            deadline: self.deadline,
            adapter: self.adapter.take(),
            count,
            span: self.at_lane_span.clone(),
            counters: Arc::clone(shared.residencies.counters()),
            late_steps: 0,
            has_ended: false,
        });
        self.coming = None;
        // From here on the job counts its own end.
        self.at_lane.store(true, Ordering::Release);
        Ok(inbox)
    }

    /// How the time at the lane was spent, for its span, which ends here and with the job.
    fn tell(&mut self, timing: &Timing) {
        let span = std::mem::replace(&mut self.at_lane_span, Span::none());
        span.record("queue_ms", timing.queue.as_secs_f64() * 1e3)
            .record("steps_ms", timing.steps.as_secs_f64() * 1e3)
            .record("tokens", timing.tokens);
        let load_ms = self.load.map(|load| load.as_secs_f64() * 1e3);
        tracing::debug!(queue = ?timing.queue, steps = ?timing.steps, load_ms, "served");
    }

    fn queued(&self, lane: &LaneHandle) -> Kind {
        let jobs = lane.gauges.jobs.load(Ordering::Acquire);
        let running = lane.gauges.running.load(Ordering::Acquire);
        Kind::Queued(QueuedEvent {
            position: jobs.saturating_sub(running).max(1) as u32,
            reason: "busy".to_owned(),
        })
    }

    fn started(&self, shared: &Shared, residency: &Residency) -> Kind {
        Kind::Started(StartedEvent {
            model_id: residency.model_id.clone(),
            task: self.task.id.to_owned(),
            worker: shared.identity.worker_id.clone(),
            device: shared.residencies.device().name.clone(),
            dtype: residency.dtype.clone(),
            total_steps: self.total_steps,
            sample_rate: None,
            prompt_tokens: self.prompt_tokens,
        })
    }

    fn metadata(&self, residency: &Residency, timing: Timing) -> ResultMetadata {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let seconds = timing.steps.as_secs_f64();
        ResultMetadata {
            task: self.task.id.to_owned(),
            backend: "torch".to_owned(),
            device: residency.bytes.first().map(|bytes| bytes.device.clone()).unwrap_or_default(),
            dtype: residency.dtype.clone(),
            resolved_model_id: residency.model_id.clone(),
            revision: residency.revision.clone(),
            architecture: residency.architecture.clone(),
            runtime_ms_model: ms(timing.steps),
            queue_ms: ms(timing.queue),
            load_ms: self.load.map(ms),
            seed: self.seed,
            first_token_latency_ms: timing.first_token.map(ms),
            tokens_per_second: (timing.tokens > 0 && seconds > 0.0)
                .then(|| timing.tokens as f64 / seconds),
            adapter: self.adapter_facts.as_ref().map(|facts| facts.id().to_owned()),
            adapter_revision: self.adapter_facts.as_ref().map(|facts| facts.revision().to_owned()),
            runtime_ms_worker: ms(self.arrived.elapsed()),
            controlnet: self.control_net_facts.as_ref().map(|facts| facts.id().to_owned()),
            controlnet_revision: self
                .control_net_facts
                .as_ref()
                .map(|facts| facts.revision().to_owned()),
        }
    }
}

fn loading(state: &LoadState) -> Kind {
    match (state.state, state.queue_position) {
        (ResidencyState::Queued, Some(position)) => {
            Kind::Queued(QueuedEvent { position, reason: "loading".to_owned() })
        }
        _ => {
            let mut event = state.event();
            state_name(state.state).clone_into(&mut event.state);
            Kind::Loading(event)
        }
    }
}

async fn changed(progress: &mut watch::Receiver<LoadState>) -> Result<(), Failure> {
    progress
        .changed()
        .await
        .map_err(|_| Failure::new(Code::LoadFailed, "the load ended without a word"))
}

/// The future's result, or `deadline_exceeded` when it takes too long.
async fn within<T>(
    deadline: Option<Instant>,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Status> {
    let result = match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), future)
            .await
            .unwrap_or_else(|_| Err(too_late())),
        None => future.await,
    };
    Ok(result?)
}

fn too_late() -> Failure {
    Failure::new(Code::DeadlineExceeded, "the request's deadline has passed")
}
