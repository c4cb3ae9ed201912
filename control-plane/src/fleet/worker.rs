//! One worker: the way to it and what it said last.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use proto::worker_client::WorkerClient;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Error},
};

use super::{Address, Supervision, View, WorkerToken, token::Authorize};
use crate::placement;

/// How the control plane sees the way to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Never reached so far.
    Connecting,
    /// It answers.
    Up,
    /// Silent; gets no new work.
    Suspect,
    /// The connection is gone.
    Lost,
}

impl Link {
    /// As it stands in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Lost => "lost",
        }
    }
}

/// A handle on a worker's one connection.
pub type Client = WorkerClient<InterceptedService<Channel, Authorize>>;

/// One worker.
pub struct Worker {
    pub index: usize,
    name: String,
    client: Client,
    view: Mutex<View>,
    in_flight: AtomicU32,
    standing: watch::Sender<Standing>,
    /// Of a process that is kept running here.
    supervision: Option<Arc<Supervision>>,
    /// Ends its watch.
    pub(super) stop: CancellationToken,
    /// It has left the list of workers and gets no new work.
    retired: AtomicBool,
}

/// What calls under way have to know of their worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    link: Link,
    /// Grows when what was sent before is given up: its answers are not believed any more.
    fence: u64,
}

/// Holds for calls that were sent before the worker was given up.
pub(super) struct Fence {
    standing: watch::Receiver<Standing>,
    at: u64,
}

impl Fence {
    /// The call's outcome, unless the worker is given up first.
    pub(super) async fn guard<T>(
        &mut self,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let at = self.at;
        tokio::select! {
            biased;
            _ = self.standing.wait_for(|standing| standing.fence != at) => {
                Err(Status::unavailable("the worker was given up"))
            }
            outcome = call => outcome,
        }
    }
}

impl Worker {
    pub(super) fn new(index: usize, address: &Address) -> Result<Self, Error> {
        let authorize = Authorize::new(address.token.as_ref().map(WorkerToken::bearer));
        // HTTP/2 pings find a peer that vanished without closing; status gauges are the faster heartbeat.
        let endpoint = Endpoint::from_shared(address.url.clone())?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            // Every client that goes away resets a stream. Workers are no strangers: none of that is an attack.
            .http2_max_local_error_reset_streams(None)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20);
        let client = WorkerClient::with_interceptor(endpoint.connect_lazy(), authorize)
            .max_decoding_message_size(proto::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(proto::MAX_MESSAGE_BYTES);
        Ok(Self {
            index,
            name: address.name.clone(),
            client,
            view: Mutex::new(View::new(Instant::now())),
            in_flight: AtomicU32::new(0),
            standing: watch::Sender::new(Standing { link: Link::Connecting, fence: 0 }),
            supervision: address.supervision.clone(),
            stop: CancellationToken::new(),
            retired: AtomicBool::new(false),
        })
    }

    /// The name it is configured by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of a process that is kept running here.
    pub fn supervision(&self) -> Option<&Arc<Supervision>> {
        self.supervision.as_ref()
    }

    /// Whether it left the list of workers and only ends what it has.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn set_retired(&self, retired: bool) {
        self.retired.store(retired, Ordering::Relaxed);
    }

    /// Whether the link changed.
    pub(super) fn set_link(&self, link: Link, now: Instant) -> bool {
        let changed = self.view().set_link(link, now);
        self.standing.send_if_modified(|standing| {
            let moves = standing.link != link;
            standing.link = link;
            moves
        });
        changed
    }

    /// Gives up everything that was sent so far.
    pub(super) fn raise_fence(&self) {
        self.standing.send_modify(|standing| standing.fence += 1);
    }

    pub(super) fn fence(&self) -> Fence {
        let mut standing = self.standing.subscribe();
        let at = standing.borrow_and_update().fence;
        Fence { standing, at }
    }

    /// The call's outcome, unless the worker falls silent first.
    pub async fn while_up<T>(
        &self,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let mut standing = self.standing.subscribe();
        tokio::select! {
            outcome = call => outcome,
            _ = standing.wait_for(|standing| standing.link != Link::Up) => {
                Err(Status::unavailable("the worker fell silent"))
            }
        }
    }

    /// The id it says, or the name it is configured by.
    pub fn id(&self) -> String {
        match &self.view().status {
            Some(status) if !status.worker_id.is_empty() => status.worker_id.clone(),
            _ => self.name.clone(),
        }
    }

    /// A handle on its one connection.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// What it said last. Never held across an await.
    pub fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests of this control plane that it has.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Its link as placement sees it; one lost for less than `grace` is expected back.
    pub fn link(&self, grace: Duration) -> placement::Link {
        let is_given_up = self.supervision.as_ref().is_some_and(|process| process.is_given_up());
        if self.is_retired() || is_given_up {
            return placement::Link::Down;
        }
        self.view().link(grace)
    }

    pub(super) fn placement(
        &self,
        grace: Duration,
        clock: &impl Fn(Instant) -> u64,
    ) -> placement::Worker {
        let link = self.link(grace);
        let view = self.view();
        placement::Worker {
            index: self.index,
            link,
            load: view.load().max(self.in_flight()),
            devices: view.devices(),
            residencies: view.residencies(clock),
        }
    }
}

/// Counts a request as in flight for as long as it lives.
pub(super) struct InFlight(Arc<Worker>);

impl InFlight {
    pub(super) fn on(worker: Arc<Worker>) -> Self {
        worker.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(worker)
    }

    pub(super) fn worker(&self) -> &Arc<Worker> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
