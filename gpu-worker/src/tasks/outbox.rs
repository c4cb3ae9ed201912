//! The way of a request's events from a lane to its stream: bounded in bytes, and never blocking the lane.
//!
//! Progress overwrites progress that nobody has taken yet; tokens, audio and results are never dropped.
//! When more bytes wait than the bound, the lane is told so and leaves the request out of its next steps.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// An event that knows how it is buffered.
pub trait Outgoing {
    /// Bytes that it holds, roughly.
    fn bytes(&self) -> usize;
    /// True when a newer one of its kind makes it worthless.
    fn is_superseded_by(&self, newer: &Self) -> bool;
}

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    filled: Notify,
    /// When the reader went away.
    closed: OnceLock<Instant>,
    bound: usize,
}

struct Queue<T> {
    events: VecDeque<T>,
    bytes: usize,
    finished: bool,
    full_since: Option<Instant>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lane's end. Dropping it ends the stream.
pub struct Outbox<T>(Arc<Shared<T>>);

/// The stream's end. Dropping it tells the lane that nobody listens any more.
pub struct Inbox<T>(Arc<Shared<T>>);

/// A connected pair that holds about `bound` bytes.
pub fn outbox<T: Outgoing>(bound: usize) -> (Outbox<T>, Inbox<T>) {
    let queue = Queue { events: VecDeque::new(), bytes: 0, finished: false, full_since: None };
    let shared = Arc::new(Shared {
        queue: Mutex::new(queue),
        filled: Notify::new(),
        closed: OnceLock::new(),
        bound,
    });
    (Outbox(Arc::clone(&shared)), Inbox(shared))
}

impl<T: Outgoing> Outbox<T> {
    /// Never blocks and never refuses: whether there is room is asked before a step, by [`Self::full_for`].
    pub fn push(&self, event: T) {
        let mut queue = self.0.lock();
        if queue.events.back().is_some_and(|last| last.is_superseded_by(&event))
            && let Some(last) = queue.events.pop_back()
        {
            queue.bytes -= last.bytes();
        }
        queue.bytes += event.bytes();
        queue.events.push_back(event);
        if queue.bytes >= self.0.bound && queue.full_since.is_none() {
            queue.full_since = Some(Instant::now());
        }
        drop(queue);
        self.0.filled.notify_one();
    }

    /// How long the reader has been too slow; `None` while there is room.
    pub fn full_for(&self) -> Option<Duration> {
        self.0.lock().full_since.map(|since| since.elapsed())
    }

    /// When the reader went away; `None` while it is there.
    pub fn closed_at(&self) -> Option<Instant> {
        self.0.closed.get().copied()
    }

    pub fn is_closed(&self) -> bool {
        self.0.closed.get().is_some()
    }
}

impl<T> Drop for Outbox<T> {
    fn drop(&mut self) {
        self.0.lock().finished = true;
        self.0.filled.notify_one();
    }
}

impl<T: Outgoing> Inbox<T> {
    /// The next event, or `None` when the lane has dropped its end.
    pub async fn next(&mut self) -> Option<T> {
        loop {
            {
                let mut queue = self.0.lock();
                if let Some(event) = queue.events.pop_front() {
                    queue.bytes -= event.bytes();
                    if queue.bytes < self.0.bound / 2 {
                        queue.full_since = None;
                    }
                    return Some(event);
                }
                if queue.finished {
                    return None;
                }
            }
            self.0.filled.notified().await;
        }
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        let _ = self.0.closed.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Event {
        Progress(u32),
        Token(usize),
    }

    impl Outgoing for Event {
        fn bytes(&self) -> usize {
            match self {
                Self::Progress(_) => 1,
                Self::Token(bytes) => *bytes,
            }
        }

        fn is_superseded_by(&self, newer: &Self) -> bool {
            matches!((self, newer), (Self::Progress(_), Self::Progress(_)))
        }
    }

    #[tokio::test]
    async fn progress_overwrites_progress_and_tokens_stay() {
        let (sender, mut receiver) = outbox(100);
        for event in [Event::Progress(1), Event::Progress(2), Event::Token(5), Event::Progress(3)] {
            sender.push(event);
        }
        drop(sender);
        assert_eq!(receiver.next().await, Some(Event::Progress(2)));
        assert_eq!(receiver.next().await, Some(Event::Token(5)));
        assert_eq!(receiver.next().await, Some(Event::Progress(3)));
        assert_eq!(receiver.next().await, None);
    }

    #[tokio::test]
    async fn is_full_until_half_of_it_was_read() {
        let (sender, mut receiver) = outbox(10);
        for _ in 0..3 {
            sender.push(Event::Token(4));
        }
        assert!(sender.full_for().is_some());
        receiver.next().await;
        assert!(sender.full_for().is_some());
        receiver.next().await;
        assert!(sender.full_for().is_none());
    }

    #[test]
    fn says_when_the_reader_is_gone() {
        let (sender, receiver) = outbox::<Event>(10);
        assert!(!sender.is_closed());
        drop(receiver);
        assert!(sender.closed_at().is_some());
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes_up() {
        let (sender, mut receiver) = outbox(10);
        let reader = tokio::spawn(async move { receiver.next().await });
        tokio::task::yield_now().await;
        sender.push(Event::Token(1));
        assert_eq!(reader.await.expect("the reader ends"), Some(Event::Token(1)));
    }
}
