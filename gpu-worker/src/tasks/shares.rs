//! How much everyone has had, so that the one who had least goes next: start-time fair queueing.
//!
//! Pure, with the time as an argument. The unit of service is the caller's.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// An account that was not used for this long is closed: whoever comes back has neither credit nor debt.
const OPEN_FOR: Duration = Duration::from_secs(1);

/// Service by key.
#[derive(Debug)]
pub struct Shares<K>(BTreeMap<K, Account>);

#[derive(Debug)]
struct Account {
    served: f64,
    seen: Instant,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Shares<K> {
    /// Notes that `key` wants service now. A newcomer starts where the one who had least stands.
    pub fn arrive(&mut self, key: &K, now: Instant) {
        let is_open = |account: &Account| now.duration_since(account.seen) <= OPEN_FOR;
        if let Some(account) = self.0.get_mut(key)
            && is_open(account)
        {
            account.seen = now;
            return;
        }
        self.0.retain(|_, account| is_open(account));
        let served = self.least();
        self.0.insert(key.clone(), Account { served, seen: now });
    }

    /// Adds to what `key` has had; less than nothing gives back.
    pub fn charge(&mut self, key: &K, cost: f64, now: Instant) {
        self.arrive(key, now);
        if let Some(account) = self.0.get_mut(key) {
            account.served += cost;
        }
    }

    /// What `key` has had.
    pub fn served(&self, key: &K) -> f64 {
        self.0.get(key).map_or_else(|| self.least(), |account| account.served)
    }

    pub fn forget(&mut self, key: &K) {
        self.0.remove(key);
    }

    fn least(&self) -> f64 {
        self.0.values().map(|account| account.served).reduce(f64::min).unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_starts_where_the_least_served_stands() {
        let (mut shares, now) = (Shares::default(), Instant::now());
        shares.charge(&"a", 10.0, now);
        shares.charge(&"b", 25.0, now);
        shares.arrive(&"c", now);
        assert_eq!(shares.served(&"c"), 10.0);
    }

    #[test]
    fn nobody_saves_credit_while_away() {
        let (mut shares, mut now) = (Shares::default(), Instant::now());
        shares.arrive(&"idle", now);
        for _ in 0..20 {
            now += Duration::from_millis(100);
            shares.charge(&"busy", 10.0, now);
        }
        shares.arrive(&"idle", now);
        assert_eq!(shares.served(&"idle"), 200.0);
    }

    #[test]
    fn a_short_pause_keeps_the_account() {
        let (mut shares, now) = (Shares::default(), Instant::now());
        shares.charge(&"a", 1.0, now);
        shares.charge(&"b", 50.0, now);
        shares.arrive(&"a", now + OPEN_FOR);
        assert_eq!(shares.served(&"a"), 1.0);
    }
}
