//! The program: reads its command line, listens, and serves until it is told to stop.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use control_plane::{config::Config, http, run};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

fn main() -> ExitCode {
    let config = Config::parse();
    if config.print_openapi {
        println!("{}", http::openapi_json());
        return ExitCode::SUCCESS;
    }
    match start(config) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("control-plane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(config: Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let telemetry = telemetry::start(&telemetry::Settings {
        service: "control-plane",
        instance: &config.listen,
        filter: "info",
        json: config.log_json,
        otlp_endpoint: config.otlp_endpoint.as_deref(),
    })?;
    let code = match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    };
    telemetry.stop();
    Ok(code)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let listener = TcpListener::bind(&config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    run(listener, config, shutdown).await.context("the server ended")
}
