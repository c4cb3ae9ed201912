//! Which worker answers a request, and what has to leave for it. Pure: no clock, no device, no lock, no network.

mod evict;
#[cfg(test)]
mod tests;

pub use evict::victims;

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
    pub device: String,
    pub bytes: u64,
    pub stage: Stage,
    /// Requests that execute or wait on it.
    pub busy: u32,
    pub pinned: bool,
    pub loaded_at: u64,
    pub last_used_at: u64,
    pub min_residency_ms: u64,
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub model_id: String,
    /// The commit, once it is known; `None` matches any.
    pub revision: Option<String>,
    /// `None`: whatever the worker chose.
    pub dtype: Option<String>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    pub id: String,
    pub generation: u64,
    pub model_id: String,
    pub bytes: u64,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Room,
    Worker,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoWorker,
    /// No worker that is up can run the model.
    Unsupported,
    /// Larger than every budget; bytes.
    TooLarge {
        needed: u64,
        budget: u64,
    },
    /// There is no room, and the policy says not to wait; `holders` have it.
    NoRoom {
        needed: u64,
        holders: Vec<String>,
    },
}

/// A worker that has the model ready, or the one that is loading it.
pub fn resident(fleet: &Fleet, wish: &Wish) -> Option<usize> {
    let holder = |stage: Stage| {
        let holds = |worker: &&Worker| {
            let wanted =
                |residency: &&Residency| residency.stage == stage && matches(residency, wish);
            worker.link == Link::Up && worker.residencies.iter().any(|residency| wanted(&residency))
        };
        fleet.workers.iter().filter(holds).min_by_key(|worker| (worker.load, worker.index))
    };
    holder(Stage::Ready).or_else(|| holder(Stage::Coming)).map(|worker| worker.index)
}

fn matches(residency: &Residency, wish: &Wish) -> bool {
    residency.model_id == wish.model_id
        && wish.revision.as_ref().is_none_or(|revision| *revision == residency.revision)
        && wish.dtype.as_ref().is_none_or(|dtype| *dtype == residency.dtype)
}

/// Use what is there; else load where there is room; else evict the least recently used; else wait.
///
/// `costs` has one entry per worker that can run the model; `now` is on the clock of the residencies.
pub fn decide(
    fleet: &Fleet,
    wish: &Wish,
    costs: &[Cost],
    conflict: Conflict,
    now: u64,
) -> Decision {
    if let Some(worker) = resident(fleet, wish) {
        return Decision::Use { worker };
    }
    if !fleet.workers.iter().any(|worker| worker.link == Link::Up) {
        return without_workers(fleet);
    }
    let places: Vec<Place> = costs.iter().filter_map(|cost| Place::find(fleet, cost)).collect();
    let Some(largest) = places.iter().max_by_key(|place| place.device.budget) else {
        return Decision::Refuse(Refusal::Unsupported);
    };
    if places.iter().all(|place| place.cost.bytes > place.device.budget) {
        let (needed, budget) = (largest.cost.bytes, largest.device.budget);
        return Decision::Refuse(Refusal::TooLarge { needed, budget });
    }
    // The emptiest place that has the room; between equals the less busy worker.
    let roomy = places
        .iter()
        .filter(|place| place.shortage() == 0)
        .max_by_key(|place| (place.free(), std::cmp::Reverse(place.worker.load)));
    if let Some(place) = roomy {
        return Decision::Load { worker: place.worker.index, evict: Vec::new() };
    }
    if conflict == Conflict::Evict {
        let cheapest = places
            .iter()
            .filter_map(|place| Some((place, place.victims(now)?)))
            // The place whose most recently used victim has been idle longest.
            .min_by_key(|(_, chosen)| chosen.iter().map(|victim| victim.last_used_at).max());
        if let Some((place, chosen)) = cheapest {
            let evict = chosen.into_iter().map(Victim::from).collect();
            return Decision::Load { worker: place.worker.index, evict };
        }
    }
    if conflict == Conflict::Refuse {
        let holders = places.iter().flat_map(Place::holders).collect();
        return Decision::Refuse(Refusal::NoRoom { needed: largest.cost.bytes, holders });
    }
    Decision::Wait(Waiting::Room)
}

fn without_workers(fleet: &Fleet) -> Decision {
    if fleet.workers.iter().any(|worker| worker.link == Link::Expected) {
        return Decision::Wait(Waiting::Worker);
    }
    Decision::Refuse(Refusal::NoWorker)
}

/// A device that could hold the model.
struct Place<'a> {
    worker: &'a Worker,
    device: &'a Device,
    cost: &'a Cost,
}

impl<'a> Place<'a> {
    fn find(fleet: &'a Fleet, cost: &'a Cost) -> Option<Self> {
        let worker = fleet.workers.iter().find(|worker| worker.index == cost.worker)?;
        let device = worker.devices.iter().find(|device| device.name == cost.device)?;
        (worker.link == Link::Up).then_some(Self { worker, device, cost })
    }

    fn free(&self) -> u64 {
        self.device.budget.saturating_sub(self.device.taken)
    }

    fn shortage(&self) -> u64 {
        self.device.taken.saturating_add(self.cost.bytes).saturating_sub(self.device.budget)
    }

    fn here(&self) -> impl Iterator<Item = &'a Residency> {
        let device = self.device;
        self.worker.residencies.iter().filter(move |residency| residency.device == device.name)
    }

    /// `None` when even all that may leave is too little, or the device too small.
    fn victims(&self, now: u64) -> Option<Vec<&'a Residency>> {
        if self.cost.bytes > self.device.budget {
            return None;
        }
        victims(self.here(), self.shortage(), now)
    }

    fn holders(&self) -> Vec<String> {
        self.here()
            .filter(|residency| residency.bytes > 0)
            .map(|residency| residency.model_id.clone())
            .collect()
    }
}

impl From<&Residency> for Victim {
    fn from(residency: &Residency) -> Self {
        Self {
            id: residency.id.clone(),
            generation: residency.generation,
            model_id: residency.model_id.clone(),
            bytes: residency.bytes,
        }
    }
}
