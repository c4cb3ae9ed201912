//! Times single decisions in a full fleet of 1,000 workers with 10,000 residencies: median, 99th percentile, worst.
//!
//! `cargo run --release -p control-plane --example placement_scale`

use std::time::{Duration, Instant};

use control_plane::placement::{
    Conflict, Cost, Decision, Device, Fleet, Link, Policy, Residency, Stage, Wish, Worker, decide,
};

const WORKERS: usize = 1_000;
const PER_WORKER: usize = 10;
const DECISIONS: usize = 1_000;
/// Each decision is made so often and its shortest time counts: what other processes take is not its own.
const REPEATS: usize = 7;
const NOW: u64 = 1_000_000_000;
const GB: u64 = 1_000_000_000;

/// What distinguishes the fleets.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Sizes, load times and demand vary.
    Varied,
    /// All residencies are alike, so that nothing but the tie-breaks decides.
    Alike,
    /// Half of them are younger than their minimum residency, so that waiting has to be weighed.
    HalfYoung,
    /// None may leave.
    AllBusy,
}

fn main() {
    println!("| Fleet | Median | 99 % | Worst | Decided |\n|---|---|---|---|---|");
    for (name, kind) in [
        ("varied", Kind::Varied),
        ("all alike", Kind::Alike),
        ("half of them young", Kind::HalfYoung),
        ("all busy", Kind::AllBusy),
    ] {
        time(name, kind);
    }
}

fn time(name: &str, kind: Kind) {
    let mut random = Random(7);
    let mut fleet =
        Fleet { workers: (0..WORKERS).map(|at| worker(at, kind, &mut random)).collect() };
    let (mut times, mut loads, mut victims) = (Vec::new(), 0, 0);
    for round in 0..DECISIONS {
        // Another worker is used each time, and another size wanted.
        let touched = random.below(WORKERS as u64) as usize;
        fleet.workers[touched] = worker(touched, kind, &mut random);
        let bytes = (1 + random.below(30)) * GB;
        let costs: Vec<Cost> =
            (0..WORKERS).map(|worker| Cost { worker, device: "gpu".to_owned(), bytes }).collect();
        let wish = Wish { model_id: format!("org/new-{round}"), ..Wish::default() };
        let mut least = Duration::MAX;
        for _ in 0..REPEATS {
            let begun = Instant::now();
            let decision = decide(&fleet, &wish, &costs, Conflict::Evict, &Policy::default(), NOW);
            least = least.min(begun.elapsed());
            if let Decision::Load { evict, .. } = decision {
                loads += 1;
                victims += evict.len();
            }
        }
        times.push(least);
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    println!(
        "| {name} | {} | {} | {} | {} loads, {} victims |",
        ms(at(0.5)),
        ms(at(0.99)),
        ms(at(1.0)),
        loads / REPEATS,
        victims / REPEATS
    );
}

fn worker(index: usize, kind: Kind, random: &mut Random) -> Worker {
    let residencies: Vec<Residency> =
        (0..PER_WORKER).map(|place| residency(index, place, kind, random)).collect();
    let taken = residencies.iter().map(|residency| residency.bytes).sum();
    let devices = vec![Device { name: "gpu".to_owned(), budget: taken, taken }];
    Worker { index, link: Link::Up, load: 0, devices, residencies }
}

fn residency(worker: usize, place: usize, kind: Kind, random: &mut Random) -> Residency {
    let mut from = |least: u64, most: u64| least + random.below(most - least);
    let is_alike = kind == Kind::Alike;
    let bytes = if is_alike { 8 * GB } else { from(GB, 16 * GB) };
    let age =
        if kind == Kind::HalfYoung && place.is_multiple_of(2) { from(1, 29_000) } else { 900_000 };
    Residency {
        id: format!("r{place}"),
        generation: 1,
        model_id: format!("organisation/model-{worker}-{place}"),
        revision: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        dtype: "bfloat16".to_owned(),
        kind: String::new(),
        device: "gpu".to_owned(),
        bytes,
        stage: Stage::Ready,
        busy: u32::from(kind == Kind::AllBusy),
        pinned: false,
        loaded_at: NOW - age,
        last_used_at: NOW - if is_alike { 60_000 } else { from(1, 900_000).min(age) },
        min_residency_ms: 30_000,
        keep_alive_ms: Some(1_800_000),
        reload_s: Some(if is_alike { 8.0 } else { from(500, 40_000) as f64 / 1e3 }),
        requests_per_second: if is_alike { 0.1 } else { from(1, 1_000) as f64 / 1e3 },
        counted_at: NOW - 1_000,
        failed_loads: 0,
        displaced: Vec::new(),
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % limit
    }
}
