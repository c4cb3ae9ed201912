//! The adapters of one residency: those used last stay, within a bound of bytes. Pure, but for the clock it is given.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use proto::ResidentAdapter;
use tokio::sync::OnceCell;

use crate::tasks::AdapterKey;

/// What a residency holds of one adapter.
pub struct Held {
    pub key: AdapterKey,
    pub adapter_id: String,
    pub revision: String,
    /// Charged from the moment it is wanted.
    pub bytes: u64,
    /// Jobs that have it, and requests that wait for it.
    pub users: Arc<AtomicUsize>,
    /// Set once the lane has it; whoever waits first brings it.
    pub ready: Arc<OnceCell<()>>,
    pub last_used: Instant,
}

impl Held {
    pub fn message(&self) -> ResidentAdapter {
        ResidentAdapter {
            adapter_id: self.adapter_id.clone(),
            revision: self.revision.clone(),
            bytes: self.bytes,
            in_use: self.users.load(Ordering::Acquire) as u32,
        }
    }

    fn is_idle(&self) -> bool {
        self.users.load(Ordering::Acquire) == 0
    }
}

#[derive(Default)]
pub struct Shelf(Vec<Held>);

impl Shelf {
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.iter()
    }

    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|held| held.bytes).sum()
    }

    pub fn get(&mut self, key: &AdapterKey) -> Option<&mut Held> {
        self.0.iter_mut().find(|held| held.key == *key)
    }

    /// Puts one more on the shelf, and answers who had to leave for it: idle ones, least recently used first. `within` is
    /// how many bytes there may be in all; when those in use leave no room, nothing changes and it is given back.
    pub fn put(&mut self, new: Held, within: u64) -> Result<Vec<AdapterKey>, Held> {
        let mut idle: Vec<&Held> = self.0.iter().filter(|held| held.is_idle()).collect();
        idle.sort_by_key(|held| held.last_used);
        let mut bytes = self.bytes().saturating_add(new.bytes);
        let mut leaving = Vec::new();
        for held in idle {
            if bytes <= within {
                break;
            }
            bytes -= held.bytes;
            leaving.push(held.key.clone());
        }
        if bytes > within {
            return Err(new);
        }
        self.0.retain(|held| !leaving.contains(&held.key));
        self.0.push(new);
        Ok(leaving)
    }

    /// Forgets one that never came, unless somebody else waits for it: `users` are those who give it up.
    pub fn give_up(&mut self, key: &AdapterKey, users: usize) -> bool {
        let before = self.0.len();
        self.0.retain(|held| {
            held.key != *key
                || held.ready.initialized()
                || held.users.load(Ordering::Acquire) > users
        });
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn held(name: &str, bytes: u64, seconds: u64, users: usize) -> Held {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        Held {
            key: AdapterKey::new(name, "1"),
            adapter_id: name.to_owned(),
            revision: "1".to_owned(),
            bytes,
            users: Arc::new(AtomicUsize::new(users)),
            ready: Arc::default(),
            last_used: *START.get_or_init(Instant::now) + Duration::from_secs(seconds),
        }
    }

    fn names(shelf: &Shelf) -> Vec<&str> {
        shelf.iter().map(|held| held.adapter_id.as_str()).collect()
    }

    #[test]
    fn the_least_recently_used_leave_and_those_in_use_stay() {
        let mut shelf = Shelf::default();
        for new in [held("a", 4, 3, 0), held("b", 4, 1, 1), held("c", 4, 2, 0)] {
            assert_eq!(shelf.put(new, 12).ok(), Some(Vec::new()));
        }
        let leaving = shelf.put(held("d", 3, 4, 1), 12).ok().unwrap();
        assert_eq!(leaving, [AdapterKey::new("c", "1")]);
        assert_eq!((names(&shelf), shelf.bytes()), (vec!["a", "b", "d"], 11));
        // Those in use hold seven bytes; nothing changes when the rest would not suffice.
        assert!(shelf.put(held("e", 6, 5, 1), 12).is_err());
        assert_eq!(names(&shelf), ["a", "b", "d"]);
        let leaving = shelf.put(held("e", 5, 5, 1), 12).ok().unwrap();
        assert_eq!((leaving, shelf.bytes()), (vec![AdapterKey::new("a", "1")], 12));
    }

    #[test]
    fn one_that_never_came_is_forgotten_when_its_last_user_gives_up() {
        let mut shelf = Shelf::default();
        let key = AdapterKey::new("a", "1");
        assert!(shelf.put(held("a", 4, 0, 2), 8).is_ok());
        assert!(!shelf.give_up(&key, 1), "somebody else waits");
        shelf.get(&key).unwrap().users.store(1, Ordering::Release);
        assert!(shelf.give_up(&key, 1));
        assert_eq!(shelf.bytes(), 0);
        let ready = held("a", 4, 0, 1);
        ready.ready.set(()).unwrap();
        assert!(shelf.put(ready, 8).is_ok());
        assert!(!shelf.give_up(&key, 1), "it has come");
    }
}
