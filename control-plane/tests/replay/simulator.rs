//! Workers in simulated time: loads take their seconds, requests of a model run beside each other, models leave when they
//! are evicted or their keep-alive is over. What happens is told to the policy as workers tell it to a control plane.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
};

use control_plane::placement::{
    Cost, Decision, Device, Fleet, Link, Residency, Stage, Wish, Worker,
};

use crate::{demand::Demands, policies::Choose, traces::Trace};

const MIN_RESIDENCY_MS: u64 = 30_000;
/// A control plane looks again at least this often while requests wait.
const LOOK_AGAIN_MS: u64 = 500;

/// What a policy made of a trace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Seconds of loads that were not the first of their model.
    pub reload_s: f64,
    /// The first ones counted too.
    pub loads: usize,
    /// From a request's arrival to its start, summed.
    pub waited_s: f64,
    pub answered: usize,
    pub unanswered: usize,
}

impl Outcome {
    pub fn plus(mut self, other: Self) -> Self {
        self.reload_s += other.reload_s;
        self.loads += other.loads;
        self.waited_s += other.waited_s;
        self.answered += other.answered;
        self.unanswered += other.unanswered;
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Loaded { worker: usize, model: usize },
    Done { worker: usize, model: usize },
    Arrives { request: usize },
    Look,
}

/// A model on a worker.
struct Held {
    model: usize,
    generation: u64,
    stage: Stage,
    loaded_at: u64,
    last_used_at: u64,
    busy: u32,
    /// Arrivals of those that wait for the load.
    joined: Vec<u64>,
}

struct Replay<'a> {
    trace: &'a Trace,
    choose: &'a Choose,
    now: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    workers: Vec<Vec<Held>>,
    demands: Demands,
    /// Arrivals and models of requests without a place.
    waiting: Vec<(u64, usize)>,
    displaced: Vec<HashMap<usize, Vec<usize>>>,
    loaded_before: HashSet<usize>,
    generation: u64,
    outcome: Outcome,
}

/// Runs the trace through the policy to its end.
pub fn replay(trace: &Trace, choose: &Choose) -> Outcome {
    let arrivals = trace.requests.iter().enumerate();
    let events = arrivals
        .map(|(request, (at_s, _))| Reverse((ms(*at_s), Event::Arrives { request })))
        .collect();
    let mut replay = Replay {
        trace,
        choose,
        now: 0,
        events,
        workers: (0..trace.workers).map(|_| Vec::new()).collect(),
        demands: Demands::default(),
        waiting: Vec::new(),
        displaced: vec![HashMap::new(); trace.workers],
        loaded_before: HashSet::new(),
        generation: 0,
        outcome: Outcome::default(),
    };
    let end = ms(trace.requests.last().map_or(0.0, |(at_s, _)| *at_s)) + 7_200_000;
    while let Some(Reverse((at, event))) = replay.events.pop() {
        if at > end {
            break;
        }
        replay.now = at;
        replay.happens(event);
        replay.expire();
        replay.place_waiting();
    }
    replay.outcome.unanswered = trace.requests.len() - replay.outcome.answered;
    replay.outcome
}

impl Replay<'_> {
    fn at(&mut self, in_ms: u64, event: Event) {
        self.events.push(Reverse((self.now + in_ms, event)));
    }

    fn held(&mut self, worker: usize, model: usize) -> &mut Held {
        let held = self.workers[worker].iter_mut().find(|held| held.model == model);
        held.expect("a model with requests stays")
    }

    fn happens(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Arrives { request } => {
                let model = self.trace.requests[request].1;
                self.demands.count(&self.trace.models[model].id, now as f64 / 1e3);
                self.waiting.push((now, model));
            }
            Event::Loaded { worker, model } => {
                let held = self.held(worker, model);
                held.stage = Stage::Ready;
                (held.loaded_at, held.last_used_at) = (now, now);
                for arrived in std::mem::take(&mut held.joined) {
                    self.start(worker, model, arrived);
                }
            }
            Event::Done { worker, model } => {
                let held = self.held(worker, model);
                held.busy -= 1;
                held.last_used_at = now;
            }
            Event::Look => {}
        }
    }

    /// The request runs; it was counted as busy already.
    fn start(&mut self, worker: usize, model: usize, arrived: u64) {
        self.outcome.answered += 1;
        self.outcome.waited_s += (self.now - arrived) as f64 / 1e3;
        self.at(ms(self.trace.models[model].service_s), Event::Done { worker, model });
    }

    fn expire(&mut self) {
        let (now, models) = (self.now, &self.trace.models);
        for (held, displaced) in self.workers.iter_mut().zip(&mut self.displaced) {
            held.retain(|held| {
                let keep_s = models[held.model].keep_alive_s;
                let over = keep_s.is_some_and(|keep_s| now >= held.last_used_at + ms(keep_s));
                let leaves = held.stage == Stage::Ready && held.busy == 0 && over;
                if leaves {
                    displaced.remove(&held.model);
                }
                !leaves
            });
        }
    }

    /// Each model that is waited for, the longest first.
    fn place_waiting(&mut self) {
        let mut wanted: Vec<usize> = Vec::new();
        for (_, model) in &self.waiting {
            if !wanted.contains(model) {
                wanted.push(*model);
            }
        }
        for model in wanted {
            self.place(model);
        }
        let looks = self.events.iter().any(|Reverse((_, event))| *event == Event::Look);
        if !self.waiting.is_empty() && !looks {
            self.at(LOOK_AGAIN_MS, Event::Look);
        }
    }

    fn place(&mut self, model: usize) {
        let of_model = |(_, wanted): &&(u64, usize)| *wanted == model;
        let wish = Wish {
            model_id: self.trace.models[model].id.clone(),
            waiting: self.waiting.iter().filter(of_model).count() as u32,
            ..Wish::default()
        };
        let cost = |worker| Cost {
            worker,
            device: "gpu".to_owned(),
            bytes: self.trace.models[model].bytes,
        };
        let costs: Vec<Cost> = (0..self.trace.workers).map(cost).collect();
        let worker = match (self.choose)(&self.fleet(), &wish, &costs, self.now) {
            Decision::Use { worker } => worker,
            Decision::Load { worker, evict } => {
                for victim in evict {
                    self.evict(worker, &victim.model_id, model);
                }
                self.load(worker, model);
                worker
            }
            Decision::Wait(_) => return,
            Decision::Refuse(refusal) => panic!("{refusal:?}"),
        };
        let (here, rest) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, wanted)| *wanted == model);
        self.waiting = rest;
        for (arrived, _) in Vec::from_iter::<Vec<(u64, usize)>>(here) {
            let held = self.held(worker, model);
            held.busy += 1;
            if held.stage == Stage::Ready {
                self.start(worker, model, arrived);
            } else {
                held.joined.push(arrived);
            }
        }
    }

    fn evict(&mut self, worker: usize, model_id: &str, made_room_for: usize) {
        let models = &self.trace.models;
        let place = self.workers[worker].iter().position(|held| models[held.model].id == model_id);
        let gone = self.workers[worker].remove(place.expect("a victim is there"));
        assert!(gone.busy == 0 && gone.stage == Stage::Ready, "a victim is idle");
        self.displaced[worker].remove(&gone.model);
        self.displaced[worker].entry(made_room_for).or_default().push(gone.model);
    }

    fn load(&mut self, worker: usize, model: usize) {
        let spec = &self.trace.models[model];
        let taken: u64 =
            self.workers[worker].iter().map(|held| self.trace.models[held.model].bytes).sum();
        assert!(taken + spec.bytes <= self.trace.budget, "never over budget");
        self.outcome.loads += 1;
        if !self.loaded_before.insert(model) {
            self.outcome.reload_s += spec.load_s;
        }
        self.generation += 1;
        self.workers[worker].push(Held {
            model,
            generation: self.generation,
            stage: Stage::Coming,
            loaded_at: self.now,
            last_used_at: self.now,
            busy: 0,
            joined: Vec::new(),
        });
        self.at(ms(spec.load_s), Event::Loaded { worker, model });
    }

    /// As a control plane sees it.
    fn fleet(&self) -> Fleet {
        let worker = |(index, held): (usize, &Vec<Held>)| {
            let residencies: Vec<Residency> =
                held.iter().map(|held| self.residency(index, held)).collect();
            let taken = residencies.iter().map(|residency| residency.bytes).sum();
            let device = Device { name: "gpu".to_owned(), budget: self.trace.budget, taken };
            let load = held.iter().map(|held| held.busy).sum();
            Worker { index, link: Link::Up, load, devices: vec![device], residencies }
        };
        Fleet { workers: self.workers.iter().enumerate().map(worker).collect() }
    }

    fn residency(&self, worker: usize, held: &Held) -> Residency {
        let spec = &self.trace.models[held.model];
        let displaced = self.displaced[worker].get(&held.model).into_iter().flatten();
        Residency {
            id: format!("r{}", held.generation),
            generation: held.generation,
            model_id: spec.id.clone(),
            revision: "c0ffee".to_owned(),
            dtype: "float16".to_owned(),
            kind: String::new(),
            device: "gpu".to_owned(),
            bytes: spec.bytes,
            stage: held.stage,
            busy: held.busy,
            pinned: false,
            loaded_at: held.loaded_at,
            last_used_at: held.last_used_at,
            min_residency_ms: MIN_RESIDENCY_MS,
            keep_alive_ms: spec.keep_alive_s.map(ms),
            reload_s: (held.stage == Stage::Ready).then_some(spec.load_s),
            requests_per_second: self.demands.rate(&spec.id, self.now as f64 / 1e3),
            counted_at: self.now,
            failed_loads: 0,
            displaced: displaced.map(|model| self.trace.models[*model].id.clone()).collect(),
        }
    }
}

fn ms(seconds: f64) -> u64 {
    (seconds * 1e3) as u64
}
