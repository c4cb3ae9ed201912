//! The worker's program: flags, logs, signals.

use std::{
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use gpu_worker::{
    config::Config,
    figures,
    hub::{Hub, HubConfig, Token as HubToken},
    memory::{cuda, openmp, sigbus},
    residency::{FactsCache, Residencies, Settings, device::DeviceInfo},
    rpc::{self, Blobs, Identity, Service, Token},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long an idle thread stays that reads files or prepares a request: beside many lanes they should be few.
const BLOCKING_THREADS_STAY: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    // Before anything asks libtorch about CUDA, and before any thread exists.
    let cuda = cuda::preload();
    if let Err(error) = openmp::ensure_environment().and_then(|()| sigbus::install()) {
        eprintln!("gpu-worker: {error}");
        return ExitCode::FAILURE;
    }
    let config = Config::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,hyper=warn")),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    // libtorch's panics bring pages of C++ frames; the first line is what is worth reading.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic");
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "{}", text.lines().next().unwrap_or_default());
    }));
    match cuda {
        Ok(found) => tracing::debug!(?found, "libtorch is there"),
        Err(error) => tracing::warn!(error = ?error, "CUDA cannot be used"),
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gpu-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(BLOCKING_THREADS_STAY)
        .build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.listen.is_loopback() || config.worker_token.is_some(),
        "listening beyond loopback needs --worker-token"
    );
    let device = DeviceInfo::open(&config.device)?;
    let hub = Hub::new(HubConfig {
        local: config.hub.clone(),
        endpoint: config.hf_endpoint.clone(),
        token: config.hf_token.clone().map(HubToken::new),
        offline: config.hf_hub_offline,
        stall_timeout: config.stall_timeout,
        ..HubConfig::new(config.hub_cache())
    })
    .context("the hub could not be set up")?;
    let cores = device.cores;
    let worker_id = config
        .worker_id
        .clone()
        .unwrap_or_else(|| format!("{}-{}", device.name, std::process::id()));
    let settings = Settings {
        budget: config.memory_budget.of(device.total_bytes),
        keep_alive: config.keep_alive.0,
        min_residency: config.min_residency,
    };
    tracing::info!(
        worker_id,
        device = device.name,
        model = device.model,
        budget = settings.budget,
        "starting"
    );
    let residencies = Residencies::new(device, FactsCache::new(hub), settings);
    tokio::spawn(residencies.clone().sweep());
    let identity = Identity {
        worker_id,
        incarnation: format!("{:016x}", rand::random::<u64>()),
        started: Instant::now(),
    };
    let service =
        Service::new(residencies, Blobs::new(rpc::BlobLimits::default()), identity, cores);
    if let Some(address) = config.metrics_listen {
        figures::serve(address).context("--metrics-listen")?;
        tokio::spawn(figures::publish(service.residencies().clone()));
    }
    let bound = config.listen.bind().await.context("--listen")?;
    // The one line that whoever started this process waits for.
    println!("listening on {}", bound.address()?);
    let token = config.worker_token.clone().map(Token::new);
    rpc::serve(bound, service, token, config.shutdown_grace, terminated()?).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Resolves at SIGTERM or Ctrl-C.
fn terminated() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
