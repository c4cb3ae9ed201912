//! The worker's flags. Each has an environment variable: its name in capitals behind `ANYMODEL_`, or the Hub's own.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::Parser;
use tokio::net::{TcpListener, UnixListener};

use crate::limit_flags::LimitFlags;

/// Loads models on libtorch and runs them: one process per GPU, spoken to by gRPC.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Config {
    /// Where to listen: `ADDRESS:PORT` (port 0: any) or `unix:PATH`.
    #[arg(long, env = "ANYMODEL_LISTEN", default_value = "127.0.0.1:50051")]
    pub listen: Listen,

    /// The device: `cpu` or `cuda:N`.
    #[arg(long, env = "ANYMODEL_DEVICE", default_value = "cpu")]
    pub device: DeviceName,

    /// A local folder of models, `DIR/<org>/<name>/`; repeatable. A model that is there is taken from there.
    #[arg(long, env = "ANYMODEL_HUB", value_delimiter = ',')]
    pub hub: Vec<PathBuf>,

    /// Memory that models may use: a size such as `12GB`, or a share of the device such as `80%`.
    #[arg(long, env = "ANYMODEL_MEMORY_BUDGET", default_value = "90%")]
    pub memory_budget: Budget,

    /// Cores that this worker may use at most; default: all that the process may.
    #[arg(long, env = "ANYMODEL_CORES", value_parser = clap::value_parser!(u16).range(1..))]
    pub cores: Option<u16>,

    /// Name of this worker in status and logs; default: device and process id.
    #[arg(long, env = "ANYMODEL_WORKER_ID")]
    pub worker_id: Option<String>,

    /// A model leaves this long after its last use (`10m`, `0`: at once, `-1`: never by itself).
    #[arg(long, env = "ANYMODEL_KEEP_ALIVE", default_value = "10m", allow_hyphen_values = true)]
    pub keep_alive: KeepAlive,

    /// A model is not evicted earlier than this after its load.
    #[arg(long, env = "ANYMODEL_MIN_RESIDENCY", default_value = "30s", value_parser = humantime::parse_duration)]
    pub min_residency: Duration,

    /// Memory that the LoRA adapters of one model may use, such as `1GiB`; those used last stay.
    #[arg(long, env = "ANYMODEL_ADAPTER_MEMORY", default_value = "1GiB", value_parser = parse_bytes)]
    pub adapter_memory: u64,

    /// Memory that decoding one picture may take, such as `1GiB`: one that would take more, and is larger than those that
    /// its model was trained on, is decoded (and a given one encoded) in overlapping tiles.
    #[arg(long, env = "ANYMODEL_DECODING_MEMORY", default_value = "1GiB", value_parser = parse_bytes)]
    pub decoding_memory: u64,

    /// Where pins, budgets, evictions and learned costs are kept over restarts, one file per worker; default:
    /// `~/.local/state/anymodel`, or `anymodel` below `XDG_STATE_HOME`.
    #[arg(long, env = "ANYMODEL_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// A worker whose memory without any model has grown by more than this drains and ends with status 77.
    #[arg(long, env = "ANYMODEL_BASELINE_GROWTH_LIMIT", default_value = "256MiB", value_parser = parse_bytes)]
    pub baseline_growth_limit: u64,

    #[command(flatten)]
    pub limits: LimitFlags,

    /// How long executing requests may go on after SIGTERM.
    #[arg(long, env = "ANYMODEL_SHUTDOWN_GRACE", default_value = "10s", value_parser = humantime::parse_duration)]
    pub shutdown_grace: Duration,

    /// Secret that callers send as `authorization: Bearer …`; needed to listen beyond loopback.
    #[arg(long, env = "ANYMODEL_WORKER_TOKEN", hide_env_values = true)]
    pub worker_token: Option<String>,

    /// Where to serve Prometheus figures; default: nowhere.
    #[arg(long, env = "ANYMODEL_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,

    /// Lines of JSON instead of text in the log.
    #[arg(long, env = "ANYMODEL_LOG_JSON")]
    pub log_json: bool,

    /// Where traces go by OTLP over gRPC, such as `http://127.0.0.1:4317`; default: nowhere.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Folder of the Hub's cache, shared with Python; default: `~/.cache/huggingface`.
    #[arg(long, env = "HF_HOME")]
    pub hf_home: Option<PathBuf>,

    /// The Hub's address.
    #[arg(long, env = "HF_ENDPOINT", default_value = "https://huggingface.co")]
    pub hf_endpoint: String,

    /// Token for gated and private models.
    #[arg(long, env = "HF_TOKEN", hide_env_values = true)]
    pub hf_token: Option<String>,

    /// Never ask the Hub; what is cached still works.
    #[arg(long, env = "HF_HUB_OFFLINE", value_parser = parse_switch, default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    pub hf_hub_offline: bool,

    /// A download that brings nothing for this long has failed.
    #[arg(long, env = "ANYMODEL_STALL_TIMEOUT", default_value = "60s", value_parser = humantime::parse_duration)]
    pub stall_timeout: Duration,
}

impl Config {
    /// The cache folder that Python's `huggingface_hub` uses as well.
    pub fn hub_cache(&self) -> PathBuf {
        let home = self.hf_home.clone().unwrap_or_else(|| {
            let user = std::env::home_dir().unwrap_or_else(|| PathBuf::from("."));
            user.join(".cache").join("huggingface")
        });
        home.join("hub")
    }

    /// The folder of the state files.
    pub fn state_folder(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| {
            let of_user = std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty());
            let base = of_user.map(PathBuf::from).unwrap_or_else(|| {
                let user = std::env::home_dir().unwrap_or_else(|| PathBuf::from("."));
                user.join(".local").join("state")
            });
            base.join("anymodel")
        })
    }

    /// The name of this worker's state file: a worker without an id is known by its device, which no restart changes.
    pub fn state_name(&self) -> String {
        self.worker_id.clone().unwrap_or_else(|| match self.device {
            DeviceName::Cpu => "cpu".to_owned(),
            DeviceName::Cuda(index) => format!("cuda:{index}"),
        })
    }
}

/// A size in bytes.
fn parse_bytes(text: &str) -> Result<u64, String> {
    match text.parse()? {
        Budget::Bytes(bytes) => Ok(bytes),
        Budget::Share(_) => Err("expected a size such as 256MiB".to_owned()),
    }
}

/// A switch as the Hub's own libraries read it: empty means off.
fn parse_switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "" | "0" | "false" | "no" | "off" => Ok(false),
        "1" | "true" | "yes" | "on" => Ok(true),
        _ => Err("expected 1 or 0".to_owned()),
    }
}

/// `ADDRESS:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(PathBuf::from(path))),
            Some(_) => Err("unix: needs a path".to_owned()),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| "expected ADDRESS:PORT or unix:PATH".to_owned()),
        }
    }
}

/// A socket that is bound already.
pub enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listen {
    /// Binds; a socket file that a dead worker left behind is replaced.
    pub async fn bind(&self) -> io::Result<Bound> {
        match self {
            Self::Tcp(address) => TcpListener::bind(address).await.map(Bound::Tcp),
            Self::Unix(path) => {
                remove_dead_socket(path).await?;
                UnixListener::bind(path).map(Bound::Unix)
            }
        }
    }

    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

async fn remove_dead_socket(path: &Path) -> io::Result<()> {
    if path.exists() && tokio::net::UnixStream::connect(path).await.is_err() {
        fs::remove_file(path)?;
    }
    Ok(())
}

impl Bound {
    /// As a client would write it.
    pub fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(format!(
                    "unix:{}",
                    address.as_pathname().unwrap_or_else(|| Path::new("")).display()
                ))
            }
        }
    }
}

/// `cpu` or `cuda:N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceName {
    Cpu,
    Cuda(usize),
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "expected cpu or cuda:N".to_owned()),
        }
    }
}

/// A size or a share of the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    Bytes(u64),
    /// 0 to 1.
    Share(f64),
}

impl Budget {
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.min(total),
            Self::Share(share) => (total as f64 * share) as u64,
        }
    }
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a size such as 12GB or 800MiB, or a share such as 80%".to_owned();
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
            return if percent > 0.0 && percent <= 100.0 {
                Ok(Self::Share(percent / 100.0))
            } else {
                Err(wrong())
            };
        }
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let value: f64 = text[..digits].parse().map_err(|_| wrong())?;
        let unit: f64 = match text[digits..].trim() {
            "" | "B" => 1.0,
            "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "TB" => 1e12,
            "KiB" => 1024.0,
            "MiB" => 1_048_576.0,
            "GiB" => 1_073_741_824.0,
            "TiB" => 1_099_511_627_776.0,
            _ => return Err(wrong()),
        };
        Ok(Self::Bytes((value * unit) as u64))
    }
}

/// A time after the last use, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive(pub Option<Duration>);

impl FromStr for KeepAlive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-1" => Ok(Self(None)),
            "0" => Ok(Self(Some(Duration::ZERO))),
            _ => humantime::parse_duration(text)
                .map(Some)
                .map(Self)
                .map_err(|error| error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_sizes_or_shares() {
        assert_eq!("12GB".parse(), Ok(Budget::Bytes(12_000_000_000)));
        assert_eq!("1.5 GiB".parse(), Ok(Budget::Bytes(1_610_612_736)));
        assert_eq!("80%".parse(), Ok(Budget::Share(0.8)));
        for wrong in ["", "12XB", "0%", "101%", "-1", "GB"] {
            assert!(wrong.parse::<Budget>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keep_alive_may_be_for_ever() {
        assert_eq!("-1".parse(), Ok(KeepAlive(None)));
        assert_eq!("0".parse(), Ok(KeepAlive(Some(Duration::ZERO))));
        assert_eq!("5m".parse(), Ok(KeepAlive(Some(Duration::from_secs(300)))));
    }

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Config::command().debug_assert();
    }
}
