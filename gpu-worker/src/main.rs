//! The worker's program: flags, logs, signals.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use gpu_worker::{
    config::Config,
    figures,
    hub::{Hub, HubConfig, Token as HubToken},
    memory::{cuda, openmp, shim, sigbus},
    residency::{
        FactsCache, Residencies, Settings, WORN_OUT,
        device::DeviceInfo,
        journal::{Journal, Kept},
    },
    rpc::{self, Blobs, Identity, Service, Token},
};
use tokio::signal::unix::{SignalKind, signal};

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
    // libtorch's panics bring pages of C++ frames; the first line is what is worth reading.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic");
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "{}", text.lines().next().unwrap_or_default());
    }));
    match run(config, cuda) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gpu-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Threads that read files, hash and prepare requests. What they do is short or bound by the cores; what is more waits.
fn blocking_threads() -> usize {
    std::thread::available_parallelism().map_or(3, |cores| (cores.get() + 1).max(3))
}

fn run(
    config: Config,
    cuda: Result<cuda::Preload, cuda::PreloadError>,
) -> anyhow::Result<ExitCode> {
    let worker_id = config
        .worker_id
        .clone()
        .unwrap_or_else(|| format!("{}-{}", config.device, std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(BLOCKING_THREADS_STAY)
        .max_blocking_threads(blocking_threads())
        .build()?;
    let _entered = runtime.enter();
    let telemetry = telemetry::start(&telemetry::Settings {
        service: "gpu-worker",
        instance: &worker_id,
        filter: "info,hyper=warn",
        json: config.log_json,
        otlp_endpoint: config.otlp_endpoint.as_deref(),
    })?;
    let (kept, left_out) = shim::registrations();
    tracing::debug!(kept, left_out, "libtorch's kernels are registered");
    match cuda {
        Ok(found) => tracing::debug!(?found, "libtorch is there"),
        Err(error) => tracing::warn!(error = ?error, "CUDA cannot be used"),
    }
    let served = runtime.block_on(serve(config, worker_id));
    telemetry.stop();
    served
}

async fn serve(config: Config, worker_id: String) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        config.listen.is_loopback() || config.worker_token.is_some(),
        "listening beyond loopback needs --worker-token"
    );
    let mut device = DeviceInfo::open(&config.device)?;
    device.cores = config.cores.map_or(device.cores, |cores| device.cores.min(cores.into()));
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
    let settings = Settings {
        budget: config.memory_budget.of(device.total_bytes),
        keep_alive: config.keep_alive.0,
        min_residency: config.min_residency,
        adapter_bytes: config.adapter_memory,
        decoding_bytes: config.decoding_memory,
        baseline_growth_limit: config.baseline_growth_limit,
    };
    tracing::info!(
        worker_id,
        device = device.name,
        model = device.model,
        budget = settings.budget,
        "starting"
    );
    let (journal, kept) = journal(&config);
    let residencies = Residencies::new(device, FactsCache::new(hub), settings, journal, kept);
    tokio::spawn(residencies.clone().sweep());
    let identity = Identity {
        worker_id,
        incarnation: format!("{:016x}", rand::random::<u64>()),
        started: Instant::now(),
    };
    let blobs = Blobs::new(rpc::BlobLimits::default());
    let service = Service::new(residencies, blobs, identity, cores, config.limits.limits());
    if let Some(address) = config.metrics_listen {
        figures::serve(address).context("--metrics-listen")?;
        tokio::spawn(figures::publish(service.residencies().clone()));
    }
    let bound = config.listen.bind().await.context("--listen")?;
    // The one line that whoever started this process waits for.
    println!("listening on {}", bound.address()?);
    let token = config.worker_token.clone().map(Token::new);
    let residencies = service.residencies().clone();
    let terminated = terminated()?;
    let worn_out = residencies.clone();
    let end = async move {
        tokio::select! {
            () = terminated => {}
            () = worn_out.worn_out() => {}
        }
    };
    rpc::serve(bound, service, token, config.shutdown_grace, end).await?;
    residencies.journal().settled().await;
    if residencies.is_worn_out() {
        tracing::error!(status = WORN_OUT, "stopped to give memory back");
        return Ok(ExitCode::from(WORN_OUT));
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The worker's state file. A worker without one works, and says that it keeps nothing.
fn journal(config: &Config) -> (Journal, Kept) {
    let folder = config.state_folder();
    Journal::open(&folder, &config.state_name()).unwrap_or_else(|error| {
        tracing::error!(folder = %folder.display(), %error, "no state file can be used; nothing is kept over a restart");
        (Journal::nowhere(), Kept::default())
    })
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
