//! The command line: read once in `main`, passed down by value.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::{fleet::WorkerToken, placement_flags::PlacementFlags};

/// HTTP, SSE and the page in front; placement of models on workers behind.
#[derive(Parser, Clone, Debug)]
#[command(name = "control-plane", version)]
pub struct Config {
    /// Address to serve HTTP on
    #[arg(long, env = "ANYMODEL_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: String,

    /// Folder of models, DIR/<org>/<name>/ or DIR/<name>/; repeatable, passed on to spawned workers
    #[arg(long, env = "ANYMODEL_HUB", value_name = "DIR", value_delimiter = ',')]
    pub hub: Vec<PathBuf>,

    /// Workers to spawn and supervise, one per device: `cpu` or `cuda:0,cuda:1`
    #[arg(long, env = "ANYMODEL_WORKERS", value_name = "DEVICES", value_parser = parse_devices)]
    pub workers: Option<Devices>,

    /// Address of a running worker, such as http://10.0.0.5:50051; repeatable
    #[arg(long, env = "ANYMODEL_WORKER", value_name = "URL", value_delimiter = ',', value_parser = parse_worker)]
    pub worker: Vec<String>,

    /// Token of the workers at those addresses
    #[arg(long, env = "ANYMODEL_WORKER_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub worker_token: Option<WorkerToken>,

    /// Program to spawn as worker [default: gpu-worker beside this program]
    #[arg(long, env = "ANYMODEL_WORKER_PROGRAM", value_name = "PATH")]
    pub worker_program: Option<PathBuf>,

    /// Memory that the models of a spawned worker may use, such as 80% or 12GB [default: the worker's own]
    #[arg(long, env = "ANYMODEL_MEMORY_BUDGET", value_name = "SIZE", value_parser = parse_budget)]
    pub memory_budget: Option<String>,

    /// GOMP_SPINCOUNT of spawned workers: how long idle OpenMP threads spin
    #[arg(long, env = "ANYMODEL_GOMP_SPINCOUNT", default_value_t = 30_000)]
    pub gomp_spincount: u64,

    /// Longest time for one request unless it says otherwise
    #[arg(long, env = "ANYMODEL_DEADLINE", default_value = "10m", value_parser = humantime::parse_duration)]
    pub deadline: Duration,

    /// Longest time that a request may ask for
    #[arg(long, env = "ANYMODEL_MAX_DEADLINE", default_value = "24h", value_parser = humantime::parse_duration)]
    pub max_deadline: Duration,

    /// Largest request body
    #[arg(long, env = "ANYMODEL_BODY_LIMIT", default_value = "64MiB", value_parser = parse_size)]
    pub body_limit: u64,

    /// Largest multipart/form-data body; its JSON part is held to the body limit
    #[arg(long, env = "ANYMODEL_MULTIPART_LIMIT", default_value = "512MiB", value_parser = parse_size)]
    pub multipart_limit: u64,

    /// Longest time in which a request body must have arrived, and of a longer one each body limit's worth
    #[arg(long, env = "ANYMODEL_BODY_TIMEOUT", default_value = "60s", value_parser = humantime::parse_duration)]
    pub body_timeout: Duration,

    /// Requests that may wait here for room on a worker; more are refused as overloaded
    #[arg(long, env = "ANYMODEL_WAITING_LIMIT", default_value_t = 256)]
    pub waiting_limit: usize,

    #[command(flatten)]
    pub placement: PlacementFlags,

    /// Silence after which a worker gets no new work
    #[arg(long, env = "ANYMODEL_SUSPECT_AFTER", default_value = "2s", value_parser = humantime::parse_duration)]
    pub suspect_after: Duration,

    /// Silence after which a worker counts as lost; also how long requests wait for one to come back
    #[arg(long, env = "ANYMODEL_LOST_AFTER", default_value = "15s", value_parser = humantime::parse_duration)]
    pub lost_after: Duration,

    /// Interval of comments that keep a silent stream open
    #[arg(long, env = "ANYMODEL_STREAM_KEEP_ALIVE", default_value = "15s", value_parser = humantime::parse_duration)]
    pub stream_keep_alive: Duration,

    /// How long running requests may go on after SIGTERM
    #[arg(long, env = "ANYMODEL_SHUTDOWN_GRACE", default_value = "20s", value_parser = humantime::parse_duration)]
    pub shutdown_grace: Duration,

    /// Origin whose pages may call this server, or *; repeatable [default: only its own]
    #[arg(long, env = "ANYMODEL_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origin: Vec<String>,

    /// Lines of JSON instead of text in the log
    #[arg(long, env = "ANYMODEL_LOG_JSON")]
    pub log_json: bool,

    /// Print the OpenAPI document and exit
    #[arg(long)]
    pub print_openapi: bool,
}

/// Devices for which workers are spawned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices(pub Vec<String>);

/// `cpu`, `cuda:0,cuda:1` or the short `cuda:0,1`.
fn parse_devices(text: &str) -> Result<Devices, String> {
    let mut devices: Vec<String> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let follows_cuda = devices.last().is_some_and(|last| last.starts_with("cuda:"));
        let device = match part.strip_prefix("cuda:") {
            Some(index) if index.parse::<u16>().is_ok() => part.to_owned(),
            None if part == "cpu" => part.to_owned(),
            None if follows_cuda && part.parse::<u16>().is_ok() => format!("cuda:{part}"),
            _ => return Err(format!("{part:?} is neither `cpu` nor `cuda:N`")),
        };
        if devices.contains(&device) {
            return Err(format!("{device} is named twice"));
        }
        devices.push(device);
    }
    Ok(Devices(devices))
}

fn parse_worker(text: &str) -> Result<String, String> {
    let known = ["http://", "https://", "unix:"].iter().any(|scheme| text.starts_with(scheme));
    if !known {
        return Err(format!(
            "{text:?} is no address such as http://10.0.0.5:50051 or unix:/run/worker.sock"
        ));
    }
    tonic::transport::Endpoint::from_shared(text.to_owned()).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn parse_budget(text: &str) -> Result<String, String> {
    let valid = match text.strip_suffix('%') {
        Some(share) => share.parse::<f64>().is_ok_and(|share| share > 0.0 && share <= 100.0),
        None => parse_size(text)? > 0,
    };
    if valid {
        Ok(text.to_owned())
    } else {
        Err("expected a share such as 80% or a size such as 12GB".to_owned())
    }
}

/// `64MiB`, `12GB`, `1000`; in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] = &[
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
        ("", 1),
    ];
    let expected = || format!("{text:?} is no size such as 64MiB or 12GB");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(expected)?.1;
    let number: f64 = number.parse().map_err(|_| expected())?;
    Ok((number * scale as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_may_be_written_short() {
        let devices =
            |names: &[&str]| Ok(Devices(names.iter().map(|&name| name.to_owned()).collect()));
        assert_eq!(parse_devices("cpu"), devices(&["cpu"]));
        assert_eq!(parse_devices("cuda:0,cuda:1"), devices(&["cuda:0", "cuda:1"]));
        assert_eq!(parse_devices("cuda:0,1"), devices(&["cuda:0", "cuda:1"]));
        assert!(parse_devices("1").is_err());
        assert!(parse_devices("cpu,cpu").is_err());
        assert!(parse_devices("").is_err());
    }

    #[test]
    fn sizes_are_binary_or_decimal_as_written() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1.5GB"), Ok(1_500_000_000));
        assert_eq!(parse_size("7"), Ok(7));
        assert!(parse_size("12XB").is_err());
        assert!(parse_size("-1").is_err());
    }

    #[test]
    fn a_budget_is_a_share_or_a_size() {
        assert!(parse_budget("80%").is_ok() && parse_budget("12GB").is_ok());
        assert!(
            parse_budget("0%").is_err()
                && parse_budget("120%").is_err()
                && parse_budget("x").is_err()
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Config::command().debug_assert();
    }
}
