//! Notices a client that leaves before its request has come to a lane; from there on the job itself does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt};
use proto::{InferEvent, infer_event::Event};
use tonic::Status;

use crate::tasks::Counters;

/// Counts a request as cancelled when it is dropped before it has ended or come to a lane.
pub struct Departure {
    pub counters: Arc<Counters>,
    pub at_lane: Arc<AtomicBool>,
    pub has_ended: bool,
}

impl Departure {
    /// The same events; the end of the stream is looked for among them.
    pub fn watch(
        mut self,
        events: impl Stream<Item = Result<InferEvent, Status>>,
    ) -> impl Stream<Item = Result<InferEvent, Status>> {
        events.inspect(move |event| self.see(event))
    }

    fn see(&mut self, event: &Result<InferEvent, Status>) {
        self.has_ended |= match event {
            Ok(event) => matches!(event.event, Some(Event::Result(_))),
            Err(_) => true,
        };
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        if !self.has_ended && !self.at_lane.load(Ordering::Acquire) {
            // Nothing but this stream worked for it: preparing and waiting end with it.
            self.counters.cancelled(Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn departure() -> Departure {
        Departure { counters: Arc::default(), at_lane: Arc::default(), has_ended: false }
    }

    #[tokio::test]
    async fn who_leaves_before_the_lane_counts_as_cancelled() {
        let departure = departure();
        let counters = Arc::clone(&departure.counters);
        let events = departure.watch(stream::iter([Ok(InferEvent::default())]));
        let mut events = Box::pin(events);
        assert!(events.next().await.is_some());
        drop(events);
        assert_eq!((counters.cancels().count, counters.cancels().late_steps), (1, 0));
    }

    #[tokio::test]
    async fn an_error_or_a_lane_end_its_part() {
        let failed = departure();
        let at_lane = departure();
        let counters = [Arc::clone(&failed.counters), Arc::clone(&at_lane.counters)];
        at_lane.at_lane.store(true, Ordering::Release);
        let mut events = Box::pin(failed.watch(stream::iter([Err(Status::internal("no"))])));
        events.next().await;
        drop((events, at_lane));
        assert!(counters.iter().all(|counters| counters.cancels().count == 0));
    }
}
