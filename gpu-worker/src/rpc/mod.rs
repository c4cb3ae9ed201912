//! The gRPC surface of a worker: every call of the contract, health and reflection.

mod auth;
mod blobs;
mod chunks;
mod configure;
mod departure;
mod infer;
mod load;
mod media;
mod plan;
mod pool;
mod status;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use prost::Message;
use proto::{
    BlobChunk, BlobReceipt, ConfigureRequest, ConfigureResponse, InferEvent, InferRequest,
    LoadEvent, LoadModelRequest, MAX_MESSAGE_BYTES, ModelPlan, PlanModelRequest, StatusEvent,
    UnloadModelRequest, UnloadModelResponse, WatchStatusRequest,
    worker_server::{Worker, WorkerServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, transport::Server};

pub use self::{
    auth::Token,
    blobs::{Blobs, Limits as BlobLimits},
};
use crate::{config::Bound, failure::Failure, residency::Residencies, tasks};

/// How often an idle connection is probed, so that a peer that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How often a draining worker looks whether it is idle.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// How long connections get to take their last bytes.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// What every call needs.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

pub struct Shared {
    pub residencies: Residencies,
    pub blobs: Blobs,
    pub identity: Identity,
    /// Threads that decode, tokenise and render.
    pub prepare: tokio::sync::Semaphore,
    /// What one request may cost.
    pub limits: tasks::Limits,
    /// Status streams end when the worker does.
    pub ended: CancellationToken,
}

/// Who this worker is.
#[derive(Clone, Debug)]
pub struct Identity {
    pub worker_id: String,
    /// Differs at every start.
    pub incarnation: String,
    pub started: std::time::Instant,
}

impl Service {
    pub fn residencies(&self) -> &Residencies {
        &self.0.residencies
    }

    pub fn new(
        residencies: Residencies,
        blobs: Blobs,
        identity: Identity,
        prepare_threads: usize,
        limits: tasks::Limits,
    ) -> Self {
        let held = blobs.clone();
        residencies.hold(move || held.bytes());
        let prepare = tokio::sync::Semaphore::new(prepare_threads.max(1));
        Self(Arc::new(Shared {
            residencies,
            blobs,
            identity,
            prepare,
            limits,
            ended: CancellationToken::new(),
        }))
    }
}

/// Serves until `shutdown`, then drains: queued requests are refused, executing ones get `grace`.
pub async fn serve(
    bound: Bound,
    service: Service,
    token: Option<Token>,
    grace: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<WorkerServer<Service>>().await;
    let worker = WorkerServer::new(service.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .initial_connection_window_size(4 << 20)
        .initial_stream_window_size(1 << 20)
        .add_service(health_service)
        .add_service(reflection().build_v1().expect("the descriptor set is well formed"))
        .add_service(reflection().build_v1alpha().expect("the descriptor set is well formed"))
        .add_service(tonic::service::interceptor::InterceptedService::new(
            worker,
            auth::check(token),
        ));

    let residencies = service.0.residencies.clone();
    let ended = service.0.ended.clone();
    let drained = async move {
        shutdown.await;
        tracing::info!("draining");
        health.set_not_serving::<WorkerServer<Service>>().await;
        residencies.drain("shutdown");
        let idle = async {
            while residencies.users() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        if tokio::time::timeout(grace, idle).await.is_err() {
            tracing::warn!("the grace is over; what still runs is cancelled");
        }
        residencies.release_all().await;
        ended.cancel();
    };
    let ended = service.0.ended.clone();
    let serving: Pin<Box<dyn Future<Output = Result<(), tonic::transport::Error>> + Send>> =
        match bound {
            Bound::Tcp(listener) => {
                Box::pin(router.serve_with_incoming_shutdown(tcp(listener), drained))
            }
            Bound::Unix(listener) => Box::pin(
                router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), drained),
            ),
        };
    tokio::select! {
        result = serving => result,
        // A peer that keeps its connection open does not keep the worker alive.
        () = async { ended.cancelled().await; tokio::time::sleep(CLOSE_GRACE).await } => Ok(()),
    }
}

/// Accepted connections, without the delay that would fill packets: tokens are small.
fn tcp(listener: TcpListener) -> impl Stream<Item = std::io::Result<tokio::net::TcpStream>> {
    use tokio_stream::StreamExt;
    TcpListenerStream::new(listener).map(|stream| {
        stream.inspect(|stream| {
            let _ = stream.set_nodelay(true);
        })
    })
}

type EventStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Worker for Service {
    type LoadModelStream = EventStream<LoadEvent>;
    type InferStream = EventStream<InferEvent>;
    type WatchStatusStream = EventStream<StatusEvent>;

    async fn plan_model(
        &self,
        request: Request<PlanModelRequest>,
    ) -> Result<Response<ModelPlan>, Status> {
        let plan = plan::plan(&self.0.residencies, request.into_inner()).await?;
        Ok(Response::new(plan))
    }

    async fn load_model(
        &self,
        request: Request<LoadModelRequest>,
    ) -> Result<Response<Self::LoadModelStream>, Status> {
        let stream = load::load(self.0.residencies.clone(), request.into_inner()).await?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn unload_model(
        &self,
        request: Request<UnloadModelRequest>,
    ) -> Result<Response<UnloadModelResponse>, Status> {
        Ok(Response::new(load::unload(&self.0.residencies, request.into_inner()).await?))
    }

    async fn infer(
        &self,
        request: Request<InferRequest>,
    ) -> Result<Response<Self::InferStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let span = tracing::error_span!(
            "infer",
            otel.kind = "server",
            request_id = message.request_id,
            task = message.task,
            model_name = message.model.as_ref().map(|model| model.model_id.as_str()),
            attempt = message.attempt,
        );
        telemetry::adopt(&span, &metadata.into_headers());
        let events = span.in_scope(|| infer::infer(Arc::clone(&self.0), message));
        Ok(Response::new(Box::pin(telemetry::FollowedStream::new(events, span))))
    }

    async fn put_blob(
        &self,
        request: Request<Streaming<BlobChunk>>,
    ) -> Result<Response<BlobReceipt>, Status> {
        Ok(Response::new(blobs::put(&self.0.blobs, request.into_inner()).await?))
    }

    async fn configure(
        &self,
        request: Request<ConfigureRequest>,
    ) -> Result<Response<ConfigureResponse>, Status> {
        Ok(Response::new(configure::configure(&self.0.residencies, request.into_inner()).await?))
    }

    async fn watch_status(
        &self,
        _: Request<WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        Ok(Response::new(Box::pin(status::watch(Arc::clone(&self.0)))))
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let detail = tonic_types::pb::Status {
            code: failure.code.grpc() as i32,
            message: failure.message.clone(),
            details: vec![prost_any(&failure)],
        };
        Self::with_details(failure.code.grpc(), failure.message, detail.encode_to_vec().into())
    }
}

fn prost_any(failure: &Failure) -> prost_types::Any {
    prost_types::Any {
        type_url: "type.googleapis.com/anymodel.v1.ErrorDetail".to_owned(),
        value: failure.detail().encode_to_vec(),
    }
}
