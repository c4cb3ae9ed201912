//! What the device scheduler is worth: heavy and light lanes of real matrix work under it, without one, and with one
//! turn for all. Prints a table; `benchmarks/lanes/run.sh` starts it. Arguments: rounds, seconds of a window.

mod machine;
mod work;

use std::time::Duration;

use gpu_worker::memory::openmp;

use self::{
    machine::{Neighbour, Quiet},
    work::{Kind, Mode, Outcome, run},
};

const ROUNDS: usize = 5;
/// For each round that counts, so many may be discarded because something else was busy.
const SPARE: usize = 2;
/// Seconds for which lanes run beside each other.
const WINDOW: u64 = 6;
/// The window of a lane alone.
const ALONE: Duration = Duration::from_secs(2);

const ALL: [Mode; 4] = [Mode::FreeAllCores, Mode::FreeSingle, Mode::Turn, Mode::Scheduler];

/// What one round measured, in the order of [`ALL`].
struct Round {
    mixed: Vec<Outcome>,
    backlogged: Vec<Outcome>,
    alone: [f64; 2],
    beside_neighbour: f64,
    is_quiet: bool,
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some(machine::SPIN) {
        machine::spin();
    }
    if let Err(error) = openmp::ensure_environment() {
        eprintln!("the spin of OpenMP stays as it is: {error}");
    }
    let argument = |at: usize| std::env::args().nth(at).and_then(|text| text.parse::<u64>().ok());
    let wanted = argument(1).map_or(ROUNDS, |rounds| rounds as usize);
    let window = Duration::from_secs(argument(2).unwrap_or(WINDOW));
    let work = work::calibrate();
    eprintln!("calibrated: {work:?}");
    let mut rounds = Vec::new();
    let mut discarded = Vec::new();
    while rounds.len() < wanted && discarded.len() < wanted * SPARE {
        let round = round(&work, window);
        eprintln!("round: quiet {}, light alone {:?}/s", round.is_quiet, round.alone);
        if round.is_quiet { rounds.push(round) } else { discarded.push(round) }
    }
    let n_quiet = rounds.len();
    // A machine that is never quiet still has a table, which says so.
    let n_discarded = discarded.len();
    rounds.extend(discarded.into_iter().rev().take(wanted - n_quiet));
    print_table(&rounds, n_quiet, n_discarded);
}

fn round(work: &work::Work, window: Duration) -> Round {
    let quiet = Quiet::start();
    let heavy = [Kind::Heavy(0), Kind::Heavy(1)];
    let mixed = [heavy[0], heavy[1], Kind::Light { pauses: true }, Kind::Light { pauses: true }];
    let all_busy =
        [heavy[0], heavy[1], Kind::Light { pauses: false }, Kind::Light { pauses: false }];
    let light = [Kind::Light { pauses: false }];
    let mixed = ALL.map(|mode| run(work, mode, &mixed, window)).into();
    let backlogged = ALL.map(|mode| run(work, mode, &all_busy, window)).into();
    let alone =
        [Mode::FreeAllCores, Mode::Scheduler].map(|mode| run(work, mode, &light, ALONE).light_rate);
    let is_quiet = quiet.was_kept();
    let neighbour = Neighbour::start();
    let beside = run(work, Mode::Scheduler, &light, ALONE).light_rate;
    drop(neighbour);
    Round { mixed, backlogged, alone, beside_neighbour: beside / alone[1], is_quiet }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print_table(rounds: &[Round], n_quiet: usize, n_discarded: usize) {
    println!("{}", machine::describe());
    println!();
    println!(
        "Medians of {} rounds, {n_quiet} of them quiet; {n_discarded} were not.",
        rounds.len()
    );
    println!();
    let over = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    for (title, of) in [
        ("Light lanes that pause for 40 ms", (|round| &round.mixed) as fn(&Round) -> &Vec<Outcome>),
        ("Light lanes without pauses", |round| &round.backlogged),
    ] {
        println!("| {title}, beside two heavy lanes | light p50 | light p99 | heavy steps/s |");
        println!("|---|---|---|---|");
        for (at, mode) in ALL.iter().enumerate() {
            let p50 = over(&|round| of(round)[at].light_p50_ms);
            let p99 = over(&|round| of(round)[at].light_p99_ms);
            let heavy = over(&|round| of(round)[at].heavy_rate);
            println!("| {} | {p50:.1} ms | {p99:.1} ms | {heavy:.2} |", mode.name());
        }
        println!();
    }
    println!("| What | Measured | Target | Met |");
    println!("|---|---|---|---|");
    let line = |what: &str, value: f64, target: f64, is_at_most: bool| {
        let is_met = if is_at_most { value <= target } else { value >= target };
        let sign = if is_at_most { "≤" } else { "≥" };
        let met = if is_met { "yes" } else { "**no**" };
        println!("| {what} | {value:.2}× | {sign} {target:.2}× | {met} |");
    };
    let ratio = |value: fn(&Outcome) -> f64| {
        over(&|round: &Round| value(&round.mixed[3]) / value(&round.mixed[1]))
    };
    line(
        "light p99 beside two heavy lanes, of free single-threaded lanes'",
        ratio(|outcome| outcome.light_p99_ms),
        1.2,
        true,
    );
    line(
        "heavy steps, of free single-threaded lanes'",
        ratio(|outcome| outcome.heavy_rate),
        0.95,
        false,
    );
    let alone = over(&|round| round.alone[1] / round.alone[0]);
    line("one light lane alone, of what all cores give", alone, 0.95, false);
    let beside = over(&|round| round.beside_neighbour);
    line("the same beside one busy process, of quiet", beside, 0.4, false);
}
