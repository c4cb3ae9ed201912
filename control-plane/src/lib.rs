//! The control plane: HTTP, SSE and the page in front; placement of models on workers behind.

pub mod catalog;
pub mod config;
pub mod failure;
pub mod fleet;
pub mod http;
pub mod metrics;
pub mod placement;
pub mod placement_flags;
pub mod strict;
pub mod tasks;

use std::{future::Future, path::PathBuf};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Devices},
    fleet::{Address, Fleet, Settings, SpawnError, Spawned, Spawner},
    http::App,
};

/// Why the server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the address of a worker is malformed")]
    Address(#[from] tonic::transport::Error),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("this program's own path is unknown")]
    OwnPath(#[source] std::io::Error),
    #[error("the listener failed")]
    Listener(#[source] std::io::Error),
    #[error(transparent)]
    Metrics(#[from] metrics::SetupError),
}

/// Serves until `shutdown`, then lets running requests end and stops the workers it spawned.
///
/// # Errors
/// When a worker cannot be started or the listener fails.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (spawned, mut addresses) = match &config.workers {
        Some(devices) => {
            let (spawned, addresses) = spawner(&config, devices)?.start()?;
            (Some(spawned), addresses)
        }
        None => (None, Vec::new()),
    };
    addresses.extend(config.worker.iter().map(|url| Address {
        name: url.clone(),
        url: url.clone(),
        token: config.worker_token.clone(),
    }));
    if addresses.is_empty() {
        tracing::warn!(
            "no worker: give --workers or --worker; every prediction will answer no_worker"
        );
    }
    let served = serve(listener, &config, &addresses, shutdown).await;
    if let Some(spawned) = spawned {
        Spawned::stop(spawned).await;
    }
    served
}

async fn serve(
    listener: TcpListener,
    config: &Config,
    addresses: &[Address],
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let settings = Settings {
        suspect_after: config.suspect_after,
        lost_after: config.lost_after,
        waiting_limit: config.waiting_limit,
        policy: config.placement.policy(),
    };
    let fleet = Fleet::connect(addresses, settings)?;
    let app = App::new(fleet.clone(), config.clone())?;
    let (stop, grace) = (app.stop.clone(), config.shutdown_grace);
    if let Ok(address) = listener.local_addr() {
        tracing::info!("listening on http://{address}");
    }
    // Whoever follows the status is sent home; predictions may end within the grace.
    let ending = stop.clone();
    let graceful = async move {
        shutdown.await;
        tracing::info!("shutting down");
        ending.cancel();
    };
    let server = axum::serve(listener, http::router(&app)).with_graceful_shutdown(graceful);
    let served = tokio::select! {
        served = server.into_future() => served.map_err(ServeError::Listener),
        () = overdue(stop, grace) => {
            tracing::warn!("requests that were still running are cut off");
            Ok(())
        }
    };
    fleet.stop();
    served
}

async fn overdue(stop: CancellationToken, grace: std::time::Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

fn spawner(config: &Config, devices: &Devices) -> Result<Spawner, ServeError> {
    let program = match &config.worker_program {
        Some(program) => program.clone(),
        None => beside_ourselves("gpu-worker").map_err(ServeError::OwnPath)?,
    };
    Ok(Spawner {
        program,
        devices: devices.0.clone(),
        hubs: config.hub.clone(),
        memory_budget: config.memory_budget.clone(),
        gomp_spincount: config.gomp_spincount,
        grace: config.shutdown_grace,
    })
}

fn beside_ourselves(program: &str) -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(program))
}
