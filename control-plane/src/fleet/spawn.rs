//! Local workers: one process per device, started again when it dies.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Address,
    process::{dies_with_us, terminate},
};

const FIRST_BACK_OFF: Duration = Duration::from_millis(250);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);
/// A worker that lived this long starts again without delay.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// Why local workers cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("the worker program {0} is not there; build it, or name it with --worker-program")]
    NoProgram(PathBuf),
    #[error("no private folder for the workers' sockets")]
    Folder(#[source] io::Error),
}

/// How local workers are started.
#[derive(Clone, Debug)]
pub struct Spawner {
    pub program: PathBuf,
    pub devices: Vec<String>,
    pub hubs: Vec<PathBuf>,
    /// Such as `80%`; absent: the worker's own.
    pub memory_budget: Option<String>,
    pub gomp_spincount: u64,
    pub log_json: bool,
    /// Where they send their traces.
    pub otlp_endpoint: Option<String>,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// Running local workers.
pub struct Spawned {
    supervisors: JoinSet<()>,
    stop: CancellationToken,
    folder: TempDir,
}

impl Spawner {
    /// Starts the workers, and returns where they will listen.
    ///
    /// # Errors
    /// When the program is missing or no folder can be made.
    pub fn start(self) -> Result<(Spawned, Vec<Address>), SpawnError> {
        if !self.program.is_file() {
            return Err(SpawnError::NoProgram(self.program));
        }
        // Only this user may enter it.
        let folder =
            tempfile::Builder::new().prefix("anymodel-").tempdir().map_err(SpawnError::Folder)?;
        let stop = CancellationToken::new();
        let mut supervisors = JoinSet::new();
        let mut addresses = Vec::new();
        for device in &self.devices {
            let socket = folder.path().join(format!("{}.sock", device.replace(':', "-")));
            addresses.push(Address {
                name: device.clone(),
                url: format!("unix:{}", socket.display()),
                token: None,
            });
            supervisors.spawn(supervise(self.clone(), device.clone(), socket, stop.clone()));
        }
        Ok((Spawned { supervisors, stop, folder }, addresses))
    }

    fn command(&self, device: &str, socket: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--listen").arg(format!("unix:{}", socket.display()));
        command.args(["--device", device, "--worker-id", device]);
        for hub in &self.hubs {
            command.arg("--hub").arg(hub);
        }
        if let Some(budget) = &self.memory_budget {
            command.args(["--memory-budget", budget]);
        }
        if self.log_json {
            command.arg("--log-json");
        }
        if let Some(endpoint) = &self.otlp_endpoint {
            command.args(["--otlp-endpoint", endpoint]);
        }
        // A socket in a private folder needs no token; one in the environment is for workers elsewhere.
        command.env_remove("ANYMODEL_WORKER_TOKEN");
        // libgomp reads it before `main`, so it cannot be an argument.
        command.env("GOMP_SPINCOUNT", self.gomp_spincount.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // A Ctrl-C in the terminal is ours to pass on.
        command.process_group(0).kill_on_drop(true);
        dies_with_us(&mut command);
        command
    }
}

impl Spawned {
    /// Stops the workers and waits for them.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.supervisors.join_next().await.is_some() {}
        if let Err(error) = self.folder.close() {
            tracing::warn!(%error, "the folder of the workers' sockets stays behind");
        }
    }
}

async fn supervise(spawner: Spawner, device: String, socket: PathBuf, stop: CancellationToken) {
    let mut back_off = FIRST_BACK_OFF;
    loop {
        // A socket left by the previous process would refuse the bind.
        let _ = std::fs::remove_file(&socket);
        let started = Instant::now();
        match spawner.command(&device, &socket).spawn() {
            Ok(child) => {
                if !attend(child, &device, spawner.grace, &stop).await {
                    return;
                }
            }
            Err(error) => tracing::error!(worker = device, %error, "the worker cannot be started"),
        }
        if started.elapsed() > LONG_LIFE {
            back_off = FIRST_BACK_OFF;
        }
        metrics::counter!("worker_restarts_total", "worker" => device.clone()).increment(1);
        if stop.run_until_cancelled(sleep(back_off)).await.is_none() {
            return;
        }
        back_off = (back_off * 2).min(LONGEST_BACK_OFF);
    }
}

/// Waits for the end of the process; false when it ended because it was told to.
async fn attend(mut child: Child, device: &str, grace: Duration, stop: &CancellationToken) -> bool {
    let pid = child.id();
    tracing::info!(worker = device, pid, "worker started");
    if let Some(output) = child.stdout.take() {
        let worker = device.to_owned();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::info!(worker, "{line}");
            }
        });
    }
    if let Some(ended) = stop.run_until_cancelled(child.wait()).await {
        match ended {
            Ok(status) => {
                tracing::error!(worker = device, pid, %status, "worker ended; starting it again")
            }
            Err(error) => tracing::error!(worker = device, pid, %error, "worker cannot be awaited"),
        }
        return true;
    }
    if let Some(pid) = pid {
        terminate(pid);
    }
    if timeout(grace, child.wait()).await.is_err() {
        tracing::warn!(worker = device, pid, "worker did not end in time; killing it");
        let _ = child.kill().await;
    }
    false
}
