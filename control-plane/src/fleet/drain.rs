//! Draining a worker: nothing new goes there, what waits comes back and runs elsewhere, what runs ends.

use proto::ConfigureRequest;
use tokio::time::{Instant, timeout};

use super::{Change, Fleet, LOOK_AGAIN, Worker};
use crate::failure::Failure;

/// How a drain stands.
#[derive(Clone, Copy, Debug)]
pub struct Drained {
    /// Nothing runs or waits on it any more.
    pub is_empty: bool,
    /// Requests that still execute there, of any control plane.
    pub running: u32,
    /// Requests of this control plane that it still has.
    pub in_flight: u32,
}

impl Fleet {
    /// Tells the worker to admit nothing new, and waits until it is empty or `until` has come.
    ///
    /// # Errors
    /// What the worker answers.
    pub async fn drain(&self, worker: &Worker, until: Instant) -> Result<Drained, Failure> {
        let mut versions = self.version.subscribe();
        let request = ConfigureRequest { drain: Some(true), ..ConfigureRequest::default() };
        let mut client = worker.client();
        let answer = worker.while_up(client.configure(request)).await?.into_inner();
        worker.view().set_draining(answer.draining);
        self.publish(Change::Gauges { worker: worker.index });
        // The first gauges after the answer know of everything that was there before it.
        let asked = Instant::now();
        loop {
            let drained = standing(worker);
            if (drained.is_empty && asked.elapsed() > SETTLED) || Instant::now() >= until {
                return Ok(drained);
            }
            let look_again = LOOK_AGAIN.min(until.saturating_duration_since(Instant::now()));
            let _ = timeout(look_again.min(SETTLED), versions.changed()).await;
        }
    }
}

/// Gauges come four times a second; after this long they were told after the drain began.
const SETTLED: std::time::Duration = std::time::Duration::from_millis(600);

fn standing(worker: &Worker) -> Drained {
    let (running, waiting) =
        worker.view().gauges.as_ref().map_or((0, 0), |gauges| (gauges.running, gauges.waiting));
    let in_flight = worker.in_flight();
    Drained { is_empty: running == 0 && waiting == 0 && in_flight == 0, running, in_flight }
}
