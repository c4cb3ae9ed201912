//! How often and after which pause a failed request to the Hub is tried again.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use super::HubError;

#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Attempts in a row without progress before the failure is final.
    pub attempts: u32,
    /// Pause after the first failure; it doubles from there, with up to half of it added at random.
    pub first_pause: Duration,
    /// A `Retry-After` up to this is waited for; a longer one is the client's to know.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// Attempts left of one request.
pub(super) struct Backoff {
    policy: RetryPolicy,
    failures: u32,
    stalls: u32,
}

impl Backoff {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self { policy, failures: 0, stalls: 0 }
    }

    /// Bytes arrived since the last failure: the attempts begin anew.
    pub(super) fn progressed(&mut self) {
        self.failures = 0;
        self.stalls = 0;
    }

    /// Waits before the next attempt, or returns `error` when it is final.
    /// A stall has already cost its timeout, so that one is repeated once only.
    pub(super) async fn pause_after(&mut self, error: HubError) -> Result<(), HubError> {
        self.failures += 1;
        if matches!(error, HubError::Stalled { .. }) {
            self.stalls += 1;
        }
        if !error.is_transient() || self.failures >= self.policy.attempts || self.stalls > 1 {
            return Err(error);
        }
        let doubled = self.policy.first_pause.saturating_mul(1 << (self.failures - 1).min(16));
        let own = doubled.mul_f64(1.0 + rand::random::<f64>() / 2.0).min(self.policy.longest_pause);
        let pause = match error.retry_after() {
            Some(asked) if asked > self.policy.longest_pause => return Err(error),
            Some(asked) => asked.max(own),
            None => own,
        };
        tracing::debug!(%error, pause_ms = pause.as_millis() as u64, "asking the Hub again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// `Retry-After` in seconds or as a date, else the reset time of the Hub's `RateLimit` header (`"api";r=0;t=55`).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if let Some(value) = text(RETRY_AFTER.as_str()).map(str::trim) {
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        if let Ok(date) = OffsetDateTime::parse(value, &Rfc2822) {
            let now = OffsetDateTime::from(SystemTime::now());
            return Some(Duration::try_from(date - now).unwrap_or(Duration::ZERO));
        }
    }
    let reset = text("ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t="))?;
    reset.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static(name),
            value.parse().unwrap(),
        )])
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        assert_eq!(retry_after(&headers("retry-after", "17")), Some(Duration::from_secs(17)));
        assert_eq!(
            retry_after(&headers("ratelimit", "\"api\";r=0;t=55")),
            Some(Duration::from_secs(55))
        );
        let past = headers("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(retry_after(&past), Some(Duration::ZERO));
        let future = headers("retry-after", "Fri, 21 Oct 2095 07:28:00 GMT");
        assert!(retry_after(&future).unwrap() > Duration::from_secs(1_000_000));
        assert_eq!(retry_after(&headers("retry-after", "soon")), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
