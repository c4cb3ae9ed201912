//! A whole system: a control plane with its workers, on a port and in a folder of its own.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::{api::Api, program::Program, within, worker::Worker, zoo};

/// A running system; it ends with its last owner.
pub struct System {
    pub program: Program,
    address: String,
    _folder: TempDir,
}

/// How a system is started.
#[derive(Default)]
pub struct Setup {
    pub hubs: Vec<PathBuf>,
    pub arguments: Vec<String>,
    /// For the control plane and its worker, such as `ANYMODEL_MIN_RESIDENCY`.
    pub environment: Vec<(&'static str, String)>,
    /// Devices of the workers it starts; `None`: it starts none.
    workers: Option<String>,
}

impl Setup {
    pub fn of(hubs: &[&Path]) -> Self {
        let hubs = hubs.iter().map(|&hub| hub.to_owned()).collect();
        Self { hubs, workers: Some("cpu".to_owned()), ..Self::default() }
    }

    /// A control plane over workers that run already.
    pub fn over(workers: &[&Worker]) -> Self {
        let over = |setup: Self, worker: &&Worker| {
            setup.argument("--worker", &format!("http://{}", worker.address))
        };
        workers.iter().fold(Self::default(), over)
    }

    /// Such as `cpu*2`.
    pub fn workers(mut self, devices: &str) -> Self {
        self.workers = Some(devices.to_owned());
        self
    }

    pub fn argument(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    pub fn environment(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Starts it and waits until its worker answers.
    pub async fn start(self) -> System {
        let started = Instant::now();
        let folder = tempfile::Builder::new().prefix("it-").tempdir().expect("a folder");
        let program = Program::start("control-plane", |command| {
            command.args(["--listen", "127.0.0.1:0"]).args(&self.arguments);
            if let Some(workers) = &self.workers {
                command.args(["--workers", workers]);
            }
            for hub in &self.hubs {
                command.arg("--hub").arg(hub);
            }
            command.env("TMPDIR", folder.path()).env("HF_HOME", folder.path().join("cache"));
            command.env("ANYMODEL_STATE_DIR", folder.path().join("state"));
            command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        });
        let address = program.wait_for("where it listens", |line| {
            let (_, address) = line.split_once("listening on http://")?;
            // The line may be JSON.
            let end = address.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
            Some(address[..end.unwrap_or(address.len())].to_owned())
        });
        let system = System { program, address, _folder: folder };
        let listening = started.elapsed();
        system.api().workers_up().await;
        println!("listening after {listening:?}, ready after {:?}", started.elapsed());
        system
    }
}

impl System {
    /// The system over the zoo that tests share which leave no traces in each other's answers.
    pub async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<System>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(system) = shared.upgrade() {
            return system;
        }
        let system = Arc::new(Setup::of(&[&zoo::hub()]).start().await);
        *shared = Arc::downgrade(&system);
        system
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A client of its own for the calling test.
    pub fn api(&self) -> Api {
        Api::new(&self.address)
    }

    /// The process id of its first worker.
    pub async fn worker_pid(&self) -> u32 {
        self.worker_pids().await[0]
    }

    /// The process ids of its workers.
    pub async fn worker_pids(&self) -> Vec<u32> {
        let pid = |worker: Value| worker["pid"].as_u64().expect("a process id");
        let pids = self.workers().await.into_iter().map(pid);
        pids.map(|pid| u32::try_from(pid).expect("a process id")).collect()
    }

    /// The workers as `/api/workers` tells them.
    pub async fn workers(&self) -> Vec<Value> {
        let answer = within("the list of workers", self.api().get("/api/workers")).await.ok();
        answer["workers"].as_array().expect("a list").clone()
    }

    /// Waits until the workers are as described.
    pub async fn until_workers(&self, what: &str, holds: impl Fn(&[Value]) -> bool) {
        let becomes = async {
            while !holds(&self.workers().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(what, becomes).await;
    }
}
