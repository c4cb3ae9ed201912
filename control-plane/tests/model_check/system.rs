//! The system under check: workers, control planes, and what each has seen of the others.

use control_plane::placement::{
    Conflict, Cost, Decision, Fleet, Policy, Stage, Wish, Worker, decide,
};

use crate::{
    admission::{Denial, Holding, admit},
    worker::{Entry, FakeWorker, MIN_RESIDENCY_MS, bytes, name},
};

#[derive(Clone, Debug)]
pub enum Action {
    /// The newest status of the worker arrives at the control plane.
    See {
        plane: usize,
        worker: usize,
    },
    /// The control plane decides where the model goes, by what it has seen.
    Decide {
        plane: usize,
        model: usize,
    },
    /// Its request arrives at the worker.
    Deliver {
        plane: usize,
    },
    Loaded {
        worker: usize,
    },
    Released {
        worker: usize,
    },
    /// A request on the model ends.
    Done {
        worker: usize,
        model: usize,
    },
    /// Pins the model, or takes the pin away.
    Pin {
        worker: usize,
        model: usize,
    },
    Pass {
        seconds: u64,
    },
}

/// A request that is on its way.
#[derive(Clone, Debug)]
struct Sent {
    worker: usize,
    model: usize,
    victims: Vec<(String, u64)>,
    /// Of the worker, as the sender had seen it.
    version: u64,
    /// Every worker's.
    versions: Vec<u64>,
    /// It took the model for resident there.
    uses: bool,
}

#[derive(Clone, Debug)]
struct Plane {
    seen: Vec<Worker>,
    versions: Vec<u64>,
    sent: Option<Sent>,
    rejections: usize,
    got: Option<usize>,
}

#[derive(Debug)]
pub struct System {
    now: u64,
    budget: u64,
    workers: Vec<FakeWorker>,
    planes: Vec<Plane>,
    /// Of each load that made a second copy: whether its sender had seen the newest status of all workers.
    copies: Vec<bool>,
}

impl System {
    pub fn new(planes: usize, workers: usize, budget: u64) -> Self {
        let mut system = Self {
            now: 1_000_000,
            budget,
            workers: vec![FakeWorker::default(); workers],
            planes: Vec::new(),
            copies: Vec::new(),
        };
        let seen: Vec<Worker> = (0..workers)
            .map(|worker| system.workers[worker].status(worker, budget, system.now))
            .collect();
        let plane =
            Plane { seen, versions: vec![0; workers], sent: None, rejections: 0, got: None };
        system.planes = vec![plane; planes];
        system
    }

    pub fn act(&mut self, action: &Action) {
        match *action {
            Action::See { plane, worker } => {
                self.planes[plane].seen[worker] =
                    self.workers[worker].status(worker, self.budget, self.now);
                self.planes[plane].versions[worker] = self.workers[worker].version;
            }
            Action::Decide { plane, model } => self.decide(plane, model),
            Action::Deliver { plane } => {
                if let Some(sent) = self.planes[plane].sent.take() {
                    self.deliver(plane, &sent);
                }
            }
            Action::Loaded { worker } => self.loaded(worker),
            Action::Released { worker } => self.released(worker),
            Action::Done { worker, model } => {
                let now = self.now;
                self.change(worker, model, |entry| {
                    entry.users =
                        entry.users.saturating_sub(u32::from(entry.stage == Stage::Ready));
                    entry.last_used_at = now;
                });
            }
            Action::Pin { worker, model } => {
                let generation = self.generation(worker);
                self.change(worker, model, |entry| {
                    entry.pinned = !entry.pinned;
                    entry.generation = generation;
                });
            }
            Action::Pass { seconds } => self.now += seconds * 1_000,
        }
    }

    fn generation(&mut self, worker: usize) -> u64 {
        self.workers[worker].next += 1;
        self.workers[worker].next
    }

    fn change(&mut self, worker: usize, model: usize, change: impl Fn(&mut Entry)) {
        let worker = &mut self.workers[worker];
        worker.version += 1;
        worker.entries.iter_mut().filter(|entry| entry.model == model).for_each(change);
    }

    fn decide(&mut self, plane: usize, model: usize) {
        let fleet = Fleet { workers: self.planes[plane].seen.clone() };
        let cost = |worker| Cost { worker, device: "cpu".to_owned(), bytes: bytes(model) };
        let costs: Vec<Cost> = (0..self.workers.len()).map(cost).collect();
        let wish = Wish { model_id: name(model), ..Wish::default() };
        let policy = Policy::default();
        let sent = match decide(&fleet, &wish, &costs, Conflict::Evict, &policy, self.now) {
            Decision::Use { worker } => Some((worker, Vec::new(), true)),
            Decision::Load { worker, evict } => Some((worker, evict, false)),
            Decision::Wait(_) | Decision::Refuse(_) => None,
        };
        let versions = self.planes[plane].versions.clone();
        self.planes[plane].sent = sent.map(|(worker, evict, uses)| Sent {
            worker,
            model,
            victims: evict.into_iter().map(|victim| (victim.id, victim.generation)).collect(),
            version: versions[worker],
            versions,
            uses,
        });
    }

    /// What `Residencies::open` does, around the same rule of admission.
    fn deliver(&mut self, plane: usize, sent: &Sent) {
        let (now, was) = (self.now, self.workers[sent.worker].version);
        let worker = &mut self.workers[sent.worker];
        if let Some(entry) = worker.entries.iter_mut().find(|entry| entry.model == sent.model) {
            if entry.stage == Stage::Leaving {
                assert!(sent.version < was, "one that had seen it leave would not have come");
                return self.rejected(plane);
            }
            entry.users += 1;
            worker.version += 1;
            self.planes[plane].got = Some(sent.model);
            return;
        }
        let holdings: Vec<Holding> =
            worker.entries.iter().map(|entry| entry.holding(now)).collect();
        let named: Vec<(&str, u64)> =
            sent.victims.iter().map(|(id, generation)| (id.as_str(), *generation)).collect();
        let leaving = match admit(self.budget, bytes(sent.model), &holdings, &named) {
            Ok(leaving) => leaving,
            Err(Denial::TooLarge) => panic!("the policy knows the budget"),
            Err(Denial::VictimChanged { .. } | Denial::NoRoom { .. }) => {
                assert!(sent.version < was || sent.uses, "a rejection has a reason");
                return self.rejected(plane);
            }
        };
        let elsewhere = self.workers.iter().any(|worker| {
            let comes = |entry: &Entry| entry.model == sent.model && entry.stage != Stage::Leaving;
            worker.entries.iter().any(comes)
        });
        if elsewhere {
            let versions = self.workers.iter().map(|worker| worker.version);
            self.copies.push(versions.eq(sent.versions.iter().copied()));
        }
        let awaits: Vec<String> =
            leaving.into_iter().map(|place| sent.victims[place].0.clone()).collect();
        for id in &awaits {
            let generation = self.generation(sent.worker);
            let entries = &mut self.workers[sent.worker].entries;
            let entry = entries.iter_mut().find(|entry| entry.id == *id).expect("admitted");
            assert!(entry.users == 0 && !entry.pinned && entry.stage == Stage::Ready);
            assert!(now - entry.ready_at >= MIN_RESIDENCY_MS);
            entry.stage = Stage::Leaving;
            entry.generation = generation;
        }
        let generation = self.generation(sent.worker);
        let worker = &mut self.workers[sent.worker];
        worker.entries.push(Entry {
            id: format!("r{generation}"),
            generation,
            model: sent.model,
            stage: Stage::Coming,
            users: 1,
            pinned: false,
            ready_at: now,
            last_used_at: now,
            awaits,
        });
        worker.version += 1;
        self.planes[plane].got = Some(sent.model);
    }

    fn rejected(&mut self, plane: usize) {
        self.planes[plane].rejections += 1;
    }

    fn loaded(&mut self, worker: usize) {
        let (now, generation) = (self.now, self.generation(worker));
        let worker = &mut self.workers[worker];
        let comes = |entry: &&mut Entry| entry.stage == Stage::Coming && entry.awaits.is_empty();
        if let Some(entry) = worker.entries.iter_mut().find(comes) {
            entry.stage = Stage::Ready;
            entry.generation = generation;
            (entry.ready_at, entry.last_used_at) = (now, now);
            worker.version += 1;
        }
    }

    fn released(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let leaves = |entry: &Entry| entry.stage == Stage::Leaving;
        if let Some(place) = worker.entries.iter().position(leaves) {
            let gone = worker.entries.remove(place);
            for entry in &mut worker.entries {
                entry.awaits.retain(|id| *id != gone.id);
            }
            worker.version += 1;
        }
    }

    /// What must hold in every state.
    pub fn check(&self) {
        for worker in &self.workers {
            // Whoever is to come reserves its bytes, and takes those of its victims only when they are back.
            let taken: u64 = worker.entries.iter().map(|entry| bytes(entry.model)).sum();
            let promised: u64 = worker
                .entries
                .iter()
                .filter(|entry| entry.stage == Stage::Leaving)
                .map(|entry| bytes(entry.model))
                .sum();
            assert!(taken - promised <= self.budget, "over budget");
            for entry in &worker.entries {
                let is_same = |other: &&Entry| other.model == entry.model;
                assert_eq!(worker.entries.iter().filter(is_same).count(), 1, "twice on a worker");
                if entry.stage == Stage::Leaving {
                    let for_it = |other: &Entry| other.awaits.contains(&entry.id);
                    assert!(worker.entries.iter().any(for_it), "left for nobody");
                }
            }
        }
    }

    /// A second copy of a model comes only from a control plane that could not know of the first.
    pub fn duplicates_only_from_old_views(&self) -> bool {
        self.copies.iter().all(|had_seen_all| !had_seen_all)
    }

    /// Lets every control plane get its model, all at the same time; how often each was rejected.
    pub fn settle(&mut self, wanted: &[usize]) -> Vec<usize> {
        for worker in &mut self.workers {
            worker.entries.iter_mut().for_each(|entry| entry.pinned = false);
            worker.version += 1;
        }
        for plane in &mut self.planes {
            (plane.sent, plane.rejections, plane.got) = (None, 0, None);
        }
        let mut most = vec![0; self.planes.len()];
        for _ in 0..50 {
            self.quieten();
            // Within a round, those that were rejected try again at once.
            for _ in 0..self.planes.len() {
                let open: Vec<usize> = (0..self.planes.len())
                    .filter(|&plane| self.planes[plane].got.is_none())
                    .collect();
                for &plane in &open {
                    (0..self.workers.len())
                        .for_each(|worker| self.act(&Action::See { plane, worker }));
                    self.decide(plane, wanted[plane]);
                }
                for plane in open {
                    self.act(&Action::Deliver { plane });
                    self.check();
                    most[plane] = self.planes[plane].rejections;
                }
            }
            let fits = |model: usize| bytes(model) <= self.budget;
            if (0..self.planes.len()).all(|p| self.planes[p].got.is_some() || !fits(wanted[p])) {
                return most;
            }
        }
        panic!("a load never settles: {self:?}")
    }

    /// Loads, releases and requests end, and the minimum residency passes.
    fn quieten(&mut self) {
        for worker in 0..self.workers.len() {
            for _ in 0..self.workers[worker].entries.len() {
                self.released(worker);
            }
            for _ in 0..self.workers[worker].entries.len() {
                self.loaded(worker);
            }
            for entry in &mut self.workers[worker].entries {
                entry.users = 0;
            }
            self.workers[worker].version += 1;
        }
        self.now += 2 * MIN_RESIDENCY_MS;
    }
}
