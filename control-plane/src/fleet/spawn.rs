//! Local workers: one process per device, started again when it dies.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
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
    restarts::{Deaths, RestartPolicy, Verdict},
    supervision::{ProcessState, Supervision},
};

/// Share of the machine's memory that the workers on one CPU get together unless told otherwise.
const CPU_SHARE: f64 = 90.0;

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
    pub restarts: RestartPolicy,
}

/// One worker that is started here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// The device, with a number where several workers share it.
    name: String,
    device: String,
    /// Workers on the same device.
    sharers: usize,
}

fn places(devices: &[String]) -> Vec<Place> {
    let place = |(at, device): (usize, &String)| {
        let sharers = devices.iter().filter(|other| *other == device).count();
        let number = devices[..at].iter().filter(|other| *other == device).count();
        let name = if sharers > 1 { format!("{device}-{number}") } else { device.clone() };
        Place { name, device: device.clone(), sharers }
    };
    devices.iter().enumerate().map(place).collect()
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
        for place in places(&self.devices) {
            let socket = folder.path().join(format!("{}.sock", place.name.replace(':', "-")));
            let supervision = Arc::<Supervision>::default();
            addresses.push(Address {
                name: place.name.clone(),
                url: format!("unix:{}", socket.display()),
                token: None,
                supervision: Some(Arc::clone(&supervision)),
            });
            let worker = Local { spawner: self.clone(), place, socket, supervision };
            supervisors.spawn(worker.supervise(stop.clone()));
        }
        Ok((Spawned { supervisors, stop, folder }, addresses))
    }

    fn command(&self, place: &Place, socket: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--listen").arg(format!("unix:{}", socket.display()));
        command.args(["--device", &place.device, "--worker-id", &place.name]);
        for hub in &self.hubs {
            command.arg("--hub").arg(hub);
        }
        if let Some(budget) = budget(self.memory_budget.as_deref(), place.sharers) {
            command.arg("--memory-budget").arg(budget);
        }
        if place.sharers > 1 {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            command.arg("--cores").arg(cores.div_ceil(place.sharers).to_string());
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

/// What a worker is told of its budget: a share is one of the device, so those who share it get a part each.
fn budget(wanted: Option<&str>, sharers: usize) -> Option<String> {
    if sharers < 2 {
        return wanted.map(str::to_owned);
    }
    let share = match wanted {
        None => CPU_SHARE,
        Some(wanted) => match wanted.strip_suffix('%').map(str::parse::<f64>) {
            Some(Ok(share)) => share,
            _ => return Some(wanted.to_owned()),
        },
    };
    Some(format!("{:.3}%", share / sharers as f64))
}

/// One worker and what keeps it running.
struct Local {
    spawner: Spawner,
    place: Place,
    socket: PathBuf,
    supervision: Arc<Supervision>,
}

/// Why a process is no longer attended.
enum End {
    /// We are stopping.
    Stopped,
    /// An operator wants it started anew.
    Restart,
    Died(String),
}

impl Local {
    async fn supervise(self, stop: CancellationToken) {
        let name = &self.place.name;
        let mut deaths = Deaths::new(self.spawner.restarts);
        loop {
            // A socket left by the previous process would refuse the bind.
            let _ = std::fs::remove_file(&self.socket);
            let started = Instant::now();
            let end = match self.spawner.command(&self.place, &self.socket).spawn() {
                Ok(child) => self.attend(child, &stop).await,
                Err(error) => End::Died(format!("cannot be started: {error}")),
            };
            let how = match end {
                End::Stopped => return,
                End::Restart => None,
                End::Died(how) => Some(how),
            };
            metrics::counter!("worker_restarts_total", "worker" => name.clone()).increment(1);
            if let Some(how) = how {
                let now = Instant::now();
                let (pause, state) = match deaths.died(started.elapsed(), now) {
                    Verdict::Again { after } => {
                        tracing::error!(worker = name, how, "worker ended; starting it again");
                        (after, ProcessState::Restarting { at: now + after })
                    }
                    Verdict::GivenUp { pause } => {
                        tracing::error!(
                            worker = name,
                            how,
                            ?pause,
                            "worker ended too often; given up"
                        );
                        (pause, ProcessState::GivenUp { until: now + pause })
                    }
                };
                self.supervision.ended(state, how);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.supervision.restart_wanted() => deaths.forgive(),
                    () = sleep(pause) => {}
                }
            }
            self.supervision.started_again();
        }
    }

    /// Waits for the end of the process.
    async fn attend(&self, mut child: Child, stop: &CancellationToken) -> End {
        let (name, pid) = (self.place.name.clone(), child.id());
        tracing::info!(worker = name, pid, "worker started");
        if let Some(output) = child.stdout.take() {
            let worker = name.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(output).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    tracing::info!(worker, "{line}");
                }
            });
        }
        let end = tokio::select! {
            () = stop.cancelled() => End::Stopped,
            () = self.supervision.restart_wanted() => End::Restart,
            ended = child.wait() => return End::Died(match ended {
                Ok(status) => status.to_string(),
                Err(error) => format!("cannot be awaited: {error}"),
            }),
        };
        if let Some(pid) = pid {
            terminate(pid);
        }
        if timeout(self.spawner.grace, child.wait()).await.is_err() {
            tracing::warn!(worker = name, pid, "worker did not end in time; killing it");
            let _ = child.kill().await;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_share_a_device_are_numbered() {
        let devices = ["cpu", "cuda:0", "cpu"].map(str::to_owned);
        let names: Vec<String> = places(&devices).into_iter().map(|place| place.name).collect();
        assert_eq!(names, ["cpu-0", "cuda:0", "cpu-1"]);
        assert_eq!(places(&["cpu".to_owned()])[0].name, "cpu");
    }

    #[test]
    fn workers_that_share_a_device_share_its_memory() {
        assert_eq!(budget(None, 1), None);
        assert_eq!(budget(Some("80%"), 1).as_deref(), Some("80%"));
        assert_eq!(budget(None, 4).as_deref(), Some("22.500%"));
        assert_eq!(budget(Some("80%"), 2).as_deref(), Some("40.000%"));
        assert_eq!(budget(Some("12GB"), 2).as_deref(), Some("12GB"));
    }
}
