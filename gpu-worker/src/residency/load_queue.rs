//! Loads that wait for a turn, in order; each hears of its place whenever it changes.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::entry::LoadState;

type Progress = Arc<watch::Sender<LoadState>>;

#[derive(Default)]
pub struct LoadQueue(Mutex<Vec<(u64, Progress)>>);

/// A place in the queue, until it is dropped.
pub struct Place<'a> {
    queue: &'a LoadQueue,
    number: u64,
}

impl LoadQueue {
    pub fn enter(&self, number: u64, progress: &Progress) -> Place<'_> {
        self.change(|waiting| waiting.push((number, Arc::clone(progress))));
        Place { queue: self, number }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<(u64, Progress)>)) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut waiting);
        for (place, (_, progress)) in (1..).zip(waiting.iter()) {
            progress.send_if_modified(|state| {
                let moves = state.queue_position != Some(place);
                state.queue_position = Some(place);
                moves
            });
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.change(|waiting| {
            if let Some(at) = waiting.iter().position(|(number, _)| *number == self.number) {
                let (_, progress) = waiting.remove(at);
                progress.send_modify(|state| state.queue_position = None);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_behind_move_up_when_one_leaves() {
        let queue = LoadQueue::default();
        let progress: Vec<Progress> =
            (0..3).map(|_| Arc::new(watch::Sender::new(LoadState::default()))).collect();
        let place = |at: usize| progress[at].borrow().queue_position;
        let mut places: Vec<Place<'_>> =
            (0..3).map(|at| queue.enter(at as u64, &progress[at])).collect();
        assert_eq!((place(0), place(1), place(2)), (Some(1), Some(2), Some(3)));
        drop(places.remove(1));
        assert_eq!((place(0), place(1), place(2)), (Some(1), None, Some(2)));
    }
}
