//! How long a step waits for requests that have come to the worker and are still being prepared: whoever is not in
//! that step costs one more. Nobody waits for requests of which nothing is known yet.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The longest wait, and its part of the last step's time at most.
const LONGEST: Duration = Duration::from_millis(4);
const PART: u32 = 2;

pub struct Company {
    /// Requests on their way to the lane.
    coming: Arc<AtomicUsize>,
    last_step: Cell<Duration>,
}

impl Company {
    pub fn new(coming: Arc<AtomicUsize>) -> Self {
        Self { coming, last_step: Cell::default() }
    }

    /// How much longer a step waits that could have begun `waited` ago.
    pub fn patience(&self, waited: Duration) -> Duration {
        match self.coming.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            _ => (self.last_step.get() / PART).min(LONGEST).saturating_sub(waited),
        }
    }

    /// Notes how long a step took.
    pub fn stepped(&self, took: Duration) {
        self.last_step.set(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_waits_for_those_who_are_coming_and_briefly() {
        let ms = Duration::from_millis;
        let coming = Arc::<AtomicUsize>::default();
        let company = Company::new(Arc::clone(&coming));
        assert_eq!(company.patience(ms(0)), ms(0));
        company.stepped(ms(4));
        assert_eq!(company.patience(ms(0)), ms(0));
        coming.store(1, Ordering::Release);
        assert_eq!(company.patience(ms(0)), ms(2));
        assert_eq!(company.patience(ms(3)), ms(0));
        company.stepped(ms(4000));
        assert_eq!(company.patience(ms(0)), LONGEST);
    }
}
