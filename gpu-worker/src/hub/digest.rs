//! The two hashes by which the Hub names contents: a git blob id (SHA-1 over a header and the content)
//! for files in git, SHA-256 for those in LFS or Xet.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha1::Sha1;
use sha2::{Digest, Sha256};

const BUFFER: usize = 1 << 20;

pub(super) enum ContentDigest {
    Git(Sha1),
    Sha256(Sha256),
}

impl ContentDigest {
    /// The kind is told by the length of `etag`; `size` is part of a git blob id.
    pub(super) fn new(etag: &str, size: u64) -> Self {
        if etag.len() == 64 {
            Self::Sha256(Sha256::new())
        } else {
            Self::Git(Sha1::new().chain_update(format!("blob {size}\0")))
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Git(sha1) => sha1.update(bytes),
            Self::Sha256(sha256) => sha256.update(bytes),
        }
    }

    /// Feeds everything `source` gives; how many bytes that was.
    pub(super) fn update_from(&mut self, source: &mut impl Read) -> io::Result<u64> {
        let mut buffer = vec![0; BUFFER];
        let mut total = 0;
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(count) => {
                    self.update(&buffer[..count]);
                    total += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lower-case hexadecimal.
    pub(super) fn finish(self) -> String {
        match self {
            Self::Git(sha1) => format!("{:x}", sha1.finalize()),
            Self::Sha256(sha256) => format!("{:x}", sha256.finalize()),
        }
    }
}

/// The content id of a whole file, of the same kind as `etag`.
pub(super) fn content_id(path: &Path, etag: &str) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = ContentDigest::new(etag, file.metadata()?.len());
    digest.update_from(&mut file)?;
    Ok(digest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: &str, content: &[u8]) -> String {
        let mut digest = ContentDigest::new(kind, content.len() as u64);
        digest.update(content);
        digest.finish()
    }

    #[test]
    fn both_kinds_are_what_git_and_lfs_say() {
        assert_eq!(id(&"0".repeat(40), b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(id(&"0".repeat(40), b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(id(&"0".repeat(64), b""), sha256);
    }
}
