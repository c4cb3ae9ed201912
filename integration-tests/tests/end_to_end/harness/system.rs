//! A whole system: a control plane that supervises one CPU worker, on a port and in a folder of its own.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Instant,
};

use tempfile::TempDir;
use tokio::sync::Mutex;

use super::{api::Api, program::Program, within, zoo};

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
}

impl Setup {
    pub fn of(hubs: &[&Path]) -> Self {
        let hubs = hubs.iter().map(|&hub| hub.to_owned()).collect();
        Self { hubs, ..Self::default() }
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
            command.args(["--listen", "127.0.0.1:0", "--workers", "cpu"]).args(&self.arguments);
            for hub in &self.hubs {
                command.arg("--hub").arg(hub);
            }
            command.env("TMPDIR", folder.path()).env("HF_HOME", folder.path().join("cache"));
            command.env("ANYMODEL_STATE_DIR", folder.path().join("state"));
            command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        });
        let address = program.wait_for("where it listens", |line| {
            line.split_once("listening on http://").map(|(_, address)| address.trim().to_owned())
        });
        let system = System { program, address, _folder: folder };
        let listening = started.elapsed();
        system.api().worker_up().await;
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

    /// The process id of its worker.
    pub async fn worker_pid(&self) -> u32 {
        let workers = within("the list of workers", self.api().get("/api/workers")).await.ok();
        let pid = workers["workers"][0]["pid"].as_u64().expect("a process id");
        u32::try_from(pid).expect("a process id")
    }
}
