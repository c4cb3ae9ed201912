//! A started binary: found beside the test, its lines kept, killed when the test ends however it ends.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::signals;

const START_PATIENCE: Duration = Duration::from_secs(60);
const END_PATIENCE: Duration = Duration::from_secs(60);
const LINES_SHOWN: usize = 60;

/// A running program.
pub struct Program {
    name: &'static str,
    child: Child,
    lines: Arc<Lines>,
}

#[derive(Default)]
struct Lines {
    kept: Mutex<Kept>,
    arrived: Condvar,
}

#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    /// Outputs that have ended.
    ended: usize,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `target/<profile>/<name>`, beside the folder of the test binary.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test binary has a path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not there; build it first: cargo build --release -p control-plane -p gpu-worker --bins",
        path.display()
    );
    path
}

impl Program {
    /// Starts `target/<profile>/<name>` as `prepare` says, without anything that the shell's environment would change.
    pub fn start(name: &'static str, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(binary(name));
        for (variable, _) in std::env::vars_os() {
            let ours = ["ANYMODEL_", "HF_", "OTEL_", "RUST_LOG"];
            if variable.to_str().is_some_and(|it| ours.iter().any(|start| it.starts_with(start))) {
                command.env_remove(variable);
            }
        }
        command.env("NO_COLOR", "1").env("HF_HUB_OFFLINE", "true");
        prepare(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let lines = Arc::<Lines>::default();
        follow(child.stdout.take().expect("piped"), Arc::clone(&lines));
        follow(child.stderr.take().expect("piped"), Arc::clone(&lines));
        Self { name, child, lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What `find` makes of the first line that it knows. Fails when the program ends without such a line.
    pub fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + START_PATIENCE;
        let mut kept = self.lines.lock();
        loop {
            if let Some(found) = kept.lines.iter().find_map(|line| find(line)) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let over = kept.ended == 2 || left.is_zero();
            assert!(!over, "{} did not say {what}:\n{}", self.name, kept.lines.join("\n"));
            kept = self
                .lines
                .arrived
                .wait_timeout(kept, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Everything that it has printed so far.
    pub fn output(&self) -> String {
        self.lines.lock().lines.join("\n")
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        signals::terminate(self.pid());
    }

    /// Waits for its end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + END_PATIENCE;
        let mut kept = self.lines.lock();
        // Its outputs end with the last process that holds them; only then is there something to reap.
        while kept.ended < 2 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} does not end:\n{}", self.name, kept.lines.join("\n"));
            kept = self
                .lines
                .arrived
                .wait_timeout(kept, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        drop(kept);
        self.child.wait().expect("a child can be awaited")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Workers end with the control plane that started them. An ended child is no error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let kept = self.lines.lock();
            let from = kept.lines.len().saturating_sub(LINES_SHOWN);
            eprintln!("--- the last lines of {}:\n{}", self.name, kept.lines[from..].join("\n"));
        }
    }
}

fn follow(output: impl Read + Send + 'static, lines: Arc<Lines>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { break };
            lines.lock().lines.push(line);
            lines.arrived.notify_all();
        }
        lines.lock().ended += 1;
        lines.arrived.notify_all();
    });
}
