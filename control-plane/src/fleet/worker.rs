//! One worker: the way to it and what it said last.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use proto::worker_client::WorkerClient;
use tokio::time::Instant;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Error},
};

use super::{Address, View, WorkerToken, token::Authorize};
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
        })
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
        self.view().link(grace)
    }

    pub(super) fn placement(
        &self,
        grace: Duration,
        clock: &impl Fn(Instant) -> u64,
    ) -> placement::Worker {
        let view = self.view();
        placement::Worker {
            index: self.index,
            link: view.link(grace),
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
