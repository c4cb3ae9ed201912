//! What else the machine does: whether it was quiet, and a neighbour on demand.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The argument with which this program is its own busy neighbour.
pub const SPIN: &str = "--spin";
/// Cores that others may use in a round that counts.
const OTHERS: f64 = 0.15;
/// The kernel's unit of processor time: `USER_HZ`, 100 wherever Linux runs today.
const TICK: Duration = Duration::from_millis(10);

/// Computes for ever.
pub fn spin() -> ! {
    let mut value = 1.0_f64;
    loop {
        value = std::hint::black_box(value * 1.000_001 + 0.5);
    }
}

/// A process that keeps one core busy until it is dropped.
pub struct Neighbour(Child);

impl Neighbour {
    pub fn start() -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let child = Command::new(program).arg(SPIN).stdin(Stdio::null()).spawn();
        Self(child.expect("a neighbour can be started"))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // It may have been ended by somebody else; there is nothing to do about that.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Watches whether others leave the machine alone.
pub struct Quiet {
    since: Instant,
    busy: Duration,
    own: Duration,
}

impl Quiet {
    pub fn start() -> Self {
        Self { since: Instant::now(), busy: busy(), own: own() }
    }

    /// Whether others, and the host by stealing, used less than a bit of a core since the start.
    pub fn was_kept(&self) -> bool {
        let others = (busy() - self.busy).saturating_sub(own() - self.own);
        let cores = others.as_secs_f64() / self.since.elapsed().as_secs_f64();
        eprintln!("others used {cores:.2} cores");
        cores <= OTHERS
    }
}

fn ticks(text: &str) -> u32 {
    text.parse().unwrap_or(0)
}

/// Time of all cores that was neither idle nor waiting for a disk.
fn busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let cpu: Vec<u32> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).map(ticks).collect();
    let busy = cpu.iter().enumerate().filter(|(at, _)| !matches!(at, 3 | 4 | 8 | 9));
    TICK * busy.map(|(_, ticks)| ticks).sum::<u32>()
}

/// Time of this process.
fn own() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    TICK * fields.split_whitespace().skip(11).take(2).map(ticks).sum::<u32>()
}

/// Date, processor, cores.
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let now = time::OffsetDateTime::now_utc();
    format!(
        "{} {:02}:{:02} UTC · {}, {cores} cores",
        now.date(),
        now.hour(),
        now.minute(),
        model.map_or("unknown processor", |(_, model)| model.trim()),
    )
}
