//! The thread that writes a state file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
};

use super::{Kept, Order, Record};

/// A smaller file is never written anew.
const COMPACT_FROM: u64 = 1 << 20;
/// How many times what it has to say a file may have grown to.
const COMPACT_TIMES: u64 = 4;

pub(super) struct Writer {
    path: PathBuf,
    /// Held for as long as the worker lives.
    _lock: File,
    worker: String,
    kept: Kept,
    file: File,
    /// Good bytes of the file.
    bytes: u64,
    compact_at: u64,
    /// The file may end in half a record, or lacks some: it must be written anew before anything is appended.
    is_stale: bool,
}

impl Writer {
    /// Writes the file anew, which also drops a torn last record.
    pub(super) fn open(path: PathBuf, lock: File, worker: String, kept: Kept) -> io::Result<Self> {
        let (file, bytes) = replace(&path, &kept, &worker)?;
        let compact_at = compact_at(bytes);
        Ok(Self { path, _lock: lock, worker, kept, file, bytes, compact_at, is_stale: false })
    }

    /// Until nobody can give orders any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Append(record) => self.append(*record),
                Order::Settle(answer) => {
                    let is_kept = self.settle();
                    let _ = answer.send(is_kept);
                }
            }
        }
        self.settle();
    }

    fn append(&mut self, record: Record) {
        let line = record.line();
        self.kept.apply(record);
        if self.is_stale || self.bytes + line.len() as u64 > self.compact_at {
            self.compact();
            return;
        }
        match self.file.write_all(&line) {
            Ok(()) => self.bytes += line.len() as u64,
            Err(error) => self.failed(&error),
        }
    }

    fn settle(&mut self) -> bool {
        if self.is_stale {
            self.compact();
        }
        if !self.is_stale
            && let Err(error) = self.file.sync_data()
        {
            self.failed(&error);
        }
        !self.is_stale
    }

    fn compact(&mut self) {
        match replace(&self.path, &self.kept, &self.worker) {
            Ok((file, bytes)) => {
                self.file = file;
                self.bytes = bytes;
                self.compact_at = compact_at(bytes);
                self.is_stale = false;
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !self.is_stale {
            tracing::error!(file = %self.path.display(), %error, "the state file cannot be written; it is tried again with every change");
        }
        self.is_stale = true;
    }
}

fn compact_at(bytes: u64) -> u64 {
    COMPACT_FROM.max(bytes.saturating_mul(COMPACT_TIMES))
}

/// Puts a new file in the place of the old one, all or nothing.
fn replace(path: &Path, kept: &Kept, worker: &str) -> io::Result<(File, u64)> {
    let bytes: Vec<u8> = kept.records(worker).iter().flat_map(Record::line).collect();
    let fresh = path.with_extension("new");
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok((OpenOptions::new().append(true).open(path)?, bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::residency::policy::ModelPolicy;

    fn writer(folder: &Path) -> Writer {
        let lock = File::create(folder.join("lock")).unwrap();
        Writer::open(folder.join("w.state"), lock, "w".to_owned(), Kept::default()).unwrap()
    }

    fn pin(n: usize) -> Record {
        let policy = ModelPolicy { keep_alive_ms: Some(n as i64), ..ModelPolicy::default() };
        Record::Policy { model_id: "always the same".to_owned(), policy }
    }

    #[test]
    fn a_file_that_says_the_same_over_and_over_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        for n in 0..40_000 {
            writer.append(pin(n));
        }
        assert!(writer.settle());
        let bytes = fs::read(folder.path().join("w.state")).unwrap();
        assert!((bytes.len() as u64) < COMPACT_FROM, "{} bytes", bytes.len());
        let contents = super::super::record::read(&bytes);
        assert_eq!(contents.records.last(), Some(&pin(39_999)));
    }

    #[test]
    fn what_could_not_be_written_is_written_as_soon_as_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        // A file that is open for reading only refuses every write.
        writer.file = File::open(folder.path().join("w.state")).unwrap();
        writer.append(pin(1));
        assert!(writer.is_stale);
        assert!(writer.settle());
        let contents =
            super::super::record::read(&fs::read(folder.path().join("w.state")).unwrap());
        assert_eq!(contents.records.last(), Some(&pin(1)));
    }
}
