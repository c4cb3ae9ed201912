//! Which worker answers a request, and what has to leave for it. Pure: no clock, no device, no lock, no network.

mod decide;
mod evict;
mod place;
mod policy;
#[cfg(test)]
mod properties;
mod regret;
#[cfg(test)]
mod tests;

pub use decide::{decide, resident};
pub use place::{Standing, standing};
pub use policy::Policy;
pub use regret::Terms;

/// Everything a decision looks at.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    pub workers: Vec<Worker>,
}

/// Whether a worker can be given work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It answers.
    Up,
    /// It is starting, silent or was lost a moment ago: worth a wait.
    Expected,
    /// It is gone, unhealthy or draining.
    Down,
}

/// One worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Index into the fleet; stable for the life of the process.
    pub index: usize,
    pub link: Link,
    /// Requests that execute or wait there.
    pub load: u32,
    pub devices: Vec<Device>,
    pub residencies: Vec<Residency>,
}

/// One device of a worker; bytes.
#[derive(Clone, Debug)]
pub struct Device {
    pub name: String,
    pub budget: u64,
    /// Charged, reserved or on its way back.
    pub taken: u64,
}

/// Where a residency is, as far as placement cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It answers.
    Ready,
    /// It is being loaded.
    Coming,
    /// It takes nothing new.
    Leaving,
    /// Its load failed.
    Failed,
}

/// One set of weights. Times are milliseconds on the caller's clock.
#[derive(Clone, Debug)]
pub struct Residency {
    pub id: String,
    pub generation: u64,
    pub model_id: String,
    pub revision: String,
    pub dtype: String,
    /// The kind of model it is loaded as; empty where the worker does not say.
    pub kind: String,
    pub device: String,
    pub bytes: u64,
    pub stage: Stage,
    /// Requests that execute or wait on it.
    pub busy: u32,
    pub pinned: bool,
    pub loaded_at: u64,
    pub last_used_at: u64,
    pub min_residency_ms: u64,
    /// `None`: until evicted.
    pub keep_alive_ms: Option<u64>,
    /// What its load took in seconds; `None` where none was measured.
    pub reload_s: Option<f64>,
    /// Requests of late, decayed, as of `counted_at`.
    pub requests_per_second: f64,
    pub counted_at: u64,
    /// Loads of it that failed before this one.
    pub failed_loads: u32,
    /// Models that left to make room for it, and did not come back since.
    pub displaced: Vec<String>,
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub model_id: String,
    /// The commit, once it is known; `None` matches any.
    pub revision: Option<String>,
    /// `None`: whatever the worker chose.
    pub dtype: Option<String>,
    /// The kind of model that is needed; `None` matches any.
    pub kind: Option<String>,
    /// Requests that wait for it, this one included; 0 counts as 1.
    pub waiting: u32,
    /// Seconds for which it has waited for room.
    pub waited_s: f64,
}

/// What the model costs on one worker that can run it.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Index of the worker.
    pub worker: usize,
    pub device: String,
    /// Weights and working memory.
    pub bytes: u64,
}

/// What to do when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflict {
    #[default]
    Evict,
    Wait,
    Refuse,
}

/// A residency that is to leave, as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Victim {
    pub id: String,
    pub generation: u64,
    pub model_id: String,
    pub bytes: u64,
    /// It is busy: it takes nothing new, and what runs may end first.
    pub drains: bool,
    /// Why it was chosen.
    pub terms: Terms,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The model is there, or on its way.
    Use { worker: usize },
    /// Load it after these have left.
    Load { worker: usize, evict: Vec<Victim> },
    /// Nothing can be done now; look again when something changes.
    Wait(Waiting),
    /// It will never work, or not without breaking the policy.
    Refuse(Refusal),
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    Room(Shortage),
    Worker,
}

/// Why there is no room, on the device that comes nearest; bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shortage {
    pub worker: usize,
    pub needed: u64,
    pub free: u64,
    /// Who has the rest.
    pub holders: Vec<Holder>,
    /// Who would have to go at least, were it allowed now; empty when nobody may.
    pub would_leave: Vec<String>,
    /// Seconds after which waiting is expected to be over, where that is known.
    pub wait_s: Option<f64>,
}

/// A residency that takes room.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    pub model_id: String,
    pub bytes: u64,
    /// `idle`, or why it may not leave now: `busy`, `pinned`, `young`, `its turn`, `loading` or `leaving`.
    pub state: &'static str,
}

/// Why not.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    NoWorker,
    /// No worker that is up can run the model.
    Unsupported,
    /// Larger than every budget; bytes.
    TooLarge {
        needed: u64,
        budget: u64,
    },
    /// There is no room, and the request says not to wait.
    NoRoom(Shortage),
}

impl From<evict::Candidate<'_>> for Victim {
    fn from(candidate: evict::Candidate<'_>) -> Self {
        let evict::Candidate { residency, terms, .. } = candidate;
        Self {
            id: residency.id.clone(),
            generation: residency.generation,
            model_id: residency.model_id.clone(),
            bytes: residency.bytes,
            drains: residency.busy > 0,
            terms,
        }
    }
}
