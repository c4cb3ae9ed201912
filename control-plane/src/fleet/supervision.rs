//! What is known of a local worker's process, and the operator's word to start it again.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

/// Where the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    Running,
    /// It ended and is started again after a moment.
    Restarting {
        at: Instant,
    },
    /// It ended too often and is left alone for long.
    GivenUp {
        until: Instant,
    },
}

impl ProcessState {
    /// As it stands in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting { .. } => "restarting",
            Self::GivenUp { .. } => "given_up",
        }
    }

    /// When it is started by itself.
    pub fn next_start(self) -> Option<Instant> {
        match self {
            Self::Running => None,
            Self::Restarting { at } | Self::GivenUp { until: at } => Some(at),
        }
    }
}

/// The process of one worker so far.
#[derive(Clone, Debug)]
pub struct ProcessRecord {
    pub state: ProcessState,
    /// Starts after the first.
    pub restarts: u64,
    /// How it ended last, such as `signal: 9 (SIGKILL)`.
    pub last_end: Option<String>,
}

/// Shared between whoever keeps the process running and whoever looks at it.
pub struct Supervision {
    record: Mutex<ProcessRecord>,
    restart: Notify,
    on_change: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Default for Supervision {
    fn default() -> Self {
        let record = ProcessRecord { state: ProcessState::Running, restarts: 0, last_end: None };
        Self { record: Mutex::new(record), restart: Notify::new(), on_change: OnceLock::new() }
    }
}

impl fmt::Debug for Supervision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Supervision").field(&self.record()).finish()
    }
}

impl Supervision {
    pub fn record(&self) -> ProcessRecord {
        self.lock().clone()
    }

    pub fn is_given_up(&self) -> bool {
        matches!(self.lock().state, ProcessState::GivenUp { .. })
    }

    /// Starts the process now: one that waits at once, one that runs after it has ended in order.
    pub fn restart(&self) {
        self.restart.notify_one();
    }

    /// Resolves when somebody asked for a restart.
    pub(super) async fn restart_wanted(&self) {
        self.restart.notified().await;
    }

    pub(super) fn ended(&self, state: ProcessState, how: String) {
        let mut record = self.lock();
        record.state = state;
        record.last_end = Some(how);
        drop(record);
        self.tell();
    }

    pub(super) fn started_again(&self) {
        let mut record = self.lock();
        record.state = ProcessState::Running;
        record.restarts += 1;
        drop(record);
        self.tell();
    }

    /// Hears of every change; only the first listener is kept.
    pub(super) fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_change.set(Box::new(listener));
    }

    fn tell(&self) {
        if let Some(listener) = self.on_change.get() {
            listener();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ProcessRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
