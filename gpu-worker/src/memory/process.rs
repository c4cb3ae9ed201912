//! What this process uses of the machine's memory, and what its cgroup lets it use.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Resident memory of this process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// `RssAnon`: what no file could give back.
    pub anonymous: u64,
    /// `RssFile`: pages of mapped files, weights among them.
    pub file: u64,
    /// `RssShmem`.
    pub shared: u64,
}

impl Resident {
    /// Read from `/proc/self/status`.
    pub fn read() -> io::Result<Self> {
        parse_status(&fs::read_to_string("/proc/self/status")?)
    }

    pub fn total(&self) -> u64 {
        self.anonymous + self.file + self.shared
    }
}

fn parse_status(status: &str) -> io::Result<Resident> {
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes =
            value.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kibibytes.map(|kibibytes| kibibytes << 10).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("no {name} in /proc/self/status"))
        })
    };
    Ok(Resident {
        anonymous: field("RssAnon")?,
        file: field("RssFile")?,
        shared: field("RssShmem")?,
    })
}

/// Memory of the whole machine, in bytes. `None`: this system does not say.
pub fn total_memory() -> Option<u64> {
    machine().map(|system| system.total_memory()).filter(|&bytes| bytes > 0)
}

/// What everyone uses of [`usable_memory`], in bytes.
pub fn used_memory() -> Option<u64> {
    match CgroupMemory::read() {
        Some(CgroupMemory { limit: Some(_), used }) => Some(used),
        _ => machine().map(|system| system.used_memory()),
    }
}

fn machine() -> Option<System> {
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    System::new_with_specifics(refresh)
        .inspect_err(|error| tracing::warn!(%error, "the machine's memory is unknown"))
        .ok()
}

/// The memory controller's figures for this process's cgroup, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupMemory {
    /// The smallest limit of the cgroup and those above it. `None`: unlimited.
    pub limit: Option<u64>,
    /// What counts against the cgroup, less the page cache the kernel would drop first.
    pub used: u64,
}

impl CgroupMemory {
    /// `None`: this system has no memory controller.
    pub fn read() -> Option<Self> {
        let cgroup = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::read_from(&cgroup, Path::new("/sys/fs/cgroup"))
    }

    fn read_from(cgroup: &str, root: &Path) -> Option<Self> {
        let lines = cgroup.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            Some((parts.next()?, parts.next()?))
        });
        let path_of = |controller: &str| {
            lines
                .clone()
                .find(|(names, _)| names.split(',').any(|name| name == controller))
                .map(|(_, path)| path)
        };
        // On a machine with both versions the memory controller belongs to exactly one of them.
        let first = path_of("memory").and_then(|path| V1.read(&root.join("memory"), path));
        first.or_else(|| V2.read(root, path_of("")?))
    }
}

/// Names of one cgroup version's files.
struct Version {
    limit: &'static str,
    usage: &'static str,
    inactive_file: &'static str,
}

const V1: Version = Version {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    inactive_file: "total_inactive_file",
};
const V2: Version =
    Version { limit: "memory.max", usage: "memory.current", inactive_file: "inactive_file" };

impl Version {
    fn read(&self, root: &Path, cgroup: &str) -> Option<CgroupMemory> {
        // Inside of a container the path may be one of the host's, which is not mounted: then the root is the container's.
        let folders: Vec<PathBuf> = Path::new(cgroup.trim_start_matches('/'))
            .ancestors()
            .map(|path| root.join(path))
            .filter(|folder| folder.join(self.usage).exists())
            .collect();
        let folder = folders.first()?;
        let used = read_bytes(&folder.join(self.usage))?;
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let inactive_file = stat
            .lines()
            .find_map(|line| line.strip_prefix(self.inactive_file)?.trim().parse::<u64>().ok())
            .unwrap_or(0);
        let limit = folders.iter().filter_map(|folder| read_bytes(&folder.join(self.limit))).min();
        Some(CgroupMemory {
            // Version 1 says "unlimited" with the largest number of pages.
            limit: limit.filter(|&bytes| bytes < 1 << 62),
            used: used.saturating_sub(inactive_file),
        })
    }
}

/// `None` also for `max`.
fn read_bytes(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// What this process can count on, in bytes: its cgroup's limit, or else the machine's memory.
pub fn usable_memory() -> Option<u64> {
    let limit = CgroupMemory::read().and_then(|memory| memory.limit);
    [limit, total_memory()].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (file, text) in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn parses_the_kernels_status_lines() {
        let status = "Name:\tworker\nVmRSS:\t  600 kB\nRssAnon:\t     100 kB\nRssFile:\t 200 kB\nRssShmem:\t 0 kB\n";
        let resident = parse_status(status).unwrap();
        assert_eq!(resident, Resident { anonymous: 100 << 10, file: 200 << 10, shared: 0 });
        assert_eq!(
            parse_status("RssAnon: 1 kB\n").unwrap_err().to_string(),
            "no RssFile in /proc/self/status"
        );
    }

    #[test]
    fn this_process_is_resident_on_a_machine_with_memory() {
        let resident = Resident::read().unwrap();
        assert!(resident.anonymous > 0 && resident.file > 0);
        assert!(usable_memory().unwrap() > resident.anonymous);
        assert!(total_memory().unwrap() >= usable_memory().unwrap());
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts_in_version_2() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("a/memory.current", "999\n"),
                ("a/memory.max", "500\n"),
                ("a/b/memory.current", "300\n"),
                ("a/b/memory.max", "max\n"),
                ("a/b/memory.stat", "anon 200\ninactive_file 40\nactive_file 5\n"),
            ],
        );
        let memory = CgroupMemory::read_from("0::/a/b\n", root.path());
        assert_eq!(memory, Some(CgroupMemory { limit: Some(500), used: 260 }));
    }

    #[test]
    fn an_unlimited_cgroup_of_version_1_whose_path_is_the_hosts() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("memory/memory.usage_in_bytes", "300\n"),
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/memory.stat", "inactive_file 1\ntotal_inactive_file 50\n"),
            ],
        );
        let cgroup = "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n";
        let memory = CgroupMemory::read_from(cgroup, root.path());
        assert_eq!(memory, Some(CgroupMemory { limit: None, used: 250 }));
    }

    #[test]
    fn without_a_memory_controller_there_is_nothing_to_say() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(CgroupMemory::read_from("0::/a\n", root.path()), None);
        assert_eq!(CgroupMemory::read_from("", root.path()), None);
    }
}
