//! The state file of a worker: policies, the budget, evictions and learned costs, kept over its restarts.
//!
//! Records are appended by a thread of its own, and the file is written anew when it has grown; a rename puts the new one
//! in place. A worker holds a lock as long as it lives, so that each has a file of its own. What cannot be read is set
//! aside and said, and never keeps a worker from starting.

mod kept;
mod record;
mod writer;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::mpsc::{Sender, channel},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::oneshot;

use self::writer::Writer;
pub use self::{
    kept::{Kept, KeptBudget},
    record::{KeptEviction, Record},
};

/// Workers of one name that find a file each.
const MOST_WORKERS: u32 = 64;

/// The way to a worker's state file; cheap to clone.
#[derive(Clone)]
pub struct Journal(Option<Sender<Order>>);

enum Order {
    Append(Box<Record>),
    /// Answers whether everything so far is on the disk.
    Settle(oneshot::Sender<bool>),
}

impl Journal {
    /// One that keeps nothing.
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// The journal of the worker `name` in `folder`, and what it says. Of several workers of one name each gets its own.
    pub fn open(folder: &Path, name: &str) -> io::Result<(Self, Kept)> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let (path, lock) = claim(folder, name)?;
        let kept = recover(&path)?;
        let writer = Writer::open(path, lock, name.to_owned(), kept.clone())?;
        let (orders, inbox) = channel();
        thread::Builder::new().name("state".to_owned()).spawn(move || writer.run(&inbox))?;
        Ok((Self(Some(orders)), kept))
    }

    /// Writes soon.
    pub fn append(&self, record: Record) {
        if let Some(orders) = &self.0 {
            let _ = orders.send(Order::Append(Box::new(record)));
        }
    }

    /// Waits until everything so far is on the disk; false when it isn't kept.
    pub async fn settled(&self) -> bool {
        let Some(orders) = &self.0 else { return false };
        let (answer, settled) = oneshot::channel();
        orders.send(Order::Settle(answer)).is_ok() && settled.await.unwrap_or(false)
    }
}

/// The first file of that name which no living worker has.
fn claim(folder: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    for number in 1..=MOST_WORKERS {
        let file = file_name(name, number);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join(format!("{file}.lock")))?;
        match lock.try_lock() {
            Ok(()) => {
                if number > 1 {
                    tracing::warn!(name, number, "another worker of this name has its state file");
                }
                return Ok((folder.join(file), lock));
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other(format!("{MOST_WORKERS} workers have the name {name}")))
}

/// A file name that only this name has.
fn file_name(name: &str, number: u32) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':');
    let mut plain: String =
        name.chars().take(100).map(|c| if is_plain(c) { c } else { '-' }).collect();
    if plain != name {
        plain = format!("{plain}-{:08x}", crc32fast::hash(name.as_bytes()));
    }
    if number > 1 { format!("{plain}.{number}.state") } else { format!("{plain}.state") }
}

/// What the file says. A damaged one is set aside, and what stands before the damage is kept.
fn recover(path: &Path) -> io::Result<Kept> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(error),
    };
    let contents = record::read(&bytes);
    let torn = bytes.len() as u64 - contents.good_bytes;
    let records = contents.records.len();
    let mut kept = Kept::default();
    contents.records.into_iter().for_each(|record| kept.apply(record));
    if let Some(broken) = contents.broken {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let aside = path.with_extension(format!("broken-{now}"));
        fs::rename(path, &aside)?;
        tracing::error!(file = %path.display(), set_aside = %aside.display(), %broken, records,
            "the state file cannot be read to its end; the records before are kept");
    } else if torn > 0 {
        tracing::warn!(file = %path.display(), bytes = torn, "the last record of the state file was torn, it is dropped");
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::residency::policy::ModelPolicy;

    fn pin(model_id: &str) -> Record {
        let policy = ModelPolicy { pinned: Some(true), ..ModelPolicy::default() };
        Record::Policy { model_id: model_id.to_owned(), policy }
    }

    fn pinned(kept: &Kept) -> Vec<&str> {
        kept.policies.keys().map(String::as_str).collect()
    }

    /// The lock goes with the thread, which ends a moment after its last journal.
    fn reopen(folder: &Path) -> (Journal, Kept) {
        loop {
            let opened = Journal::open(folder, "w").unwrap();
            if !folder.join("w.2.state").exists() {
                return opened;
            }
            drop(opened);
            let _ = fs::remove_file(folder.join("w.2.state"));
            thread::yield_now();
        }
    }

    #[tokio::test]
    async fn a_restarted_worker_knows_what_it_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, kept) = Journal::open(folder.path(), "w").unwrap();
        assert_eq!(kept, Kept::default());
        journal.append(pin("a"));
        journal.append(Record::Budget { bytes: 3, flag: 4 });
        assert!(journal.settled().await);
        drop(journal);
        let (_journal, kept) = reopen(folder.path());
        assert_eq!(pinned(&kept), ["a"]);
        assert_eq!(kept.budget, Some(KeptBudget { bytes: 3, flag: 4 }));
    }

    #[tokio::test]
    async fn a_file_cut_anywhere_in_its_last_record_is_read_and_goes_on() {
        let origin = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(origin.path(), "w").unwrap();
        for id in ["a", "b"] {
            journal.append(pin(id));
        }
        assert!(journal.settled().await);
        let bytes = fs::read(origin.path().join("w.state")).unwrap();
        let last = pin("b").line().len();
        for end in bytes.len() - last..bytes.len() {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("w.state"), &bytes[..end]).unwrap();
            let (journal, kept) = Journal::open(folder.path(), "w").unwrap();
            assert_eq!(pinned(&kept), ["a"], "cut at {end}");
            journal.append(pin("c"));
            assert!(journal.settled().await);
            drop(journal);
            assert_eq!(pinned(&recover(&folder.path().join("w.state")).unwrap()), ["a", "c"]);
        }
    }

    #[tokio::test]
    async fn two_workers_of_one_name_have_a_file_each() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = Journal::open(folder.path(), "w").unwrap();
        let (second, _) = Journal::open(folder.path(), "w").unwrap();
        first.append(pin("first"));
        second.append(pin("second"));
        assert!(first.settled().await && second.settled().await);
        let read = |name: &str| recover(&folder.path().join(name)).unwrap();
        assert_eq!(pinned(&read("w.state")), ["first"]);
        assert_eq!(pinned(&read("w.2.state")), ["second"]);
        assert_ne!(file_name("a/b", 1), file_name("a-b", 1));
    }

    #[tokio::test]
    async fn a_broken_file_is_set_aside_and_the_worker_starts_with_what_stood_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = Record::File { version: record::VERSION, worker: "w".to_owned() }.line();
        bytes.extend(pin("a").line());
        bytes.extend(b"\0\0\0 garbage\n");
        bytes.extend(pin("b").line());
        fs::write(folder.path().join("w.state"), &bytes).unwrap();
        let (journal, kept) = Journal::open(folder.path(), "w").unwrap();
        assert_eq!(pinned(&kept), ["a"]);
        assert!(journal.settled().await);
        let names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(names.iter().any(|name| name.starts_with("w.broken-")), "{names:?}");
        assert_eq!(pinned(&recover(&folder.path().join("w.state")).unwrap()), ["a"]);
    }
}
