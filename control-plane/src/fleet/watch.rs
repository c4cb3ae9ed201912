//! Keeps the status stream of one worker: snapshot, deltas, and a new watch after a gap.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use proto::{StatusEvent, WatchStatusRequest, status_event::Change as Told};
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use super::{Change, Fleet, Link, Settings, Worker};

const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(2);

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
enum WatchEnd {
    #[error("the status stream broke: {}", .0.message())]
    Broken(#[from] tonic::Status),
    #[error("the worker closed the status stream")]
    Closed,
    #[error("an event is missing from the status stream")]
    Gap,
    #[error("the status stream began without a snapshot")]
    NoSnapshot,
    #[error("no sign of life for too long")]
    Silent,
}

/// Watches until the fleet is gone.
pub(super) async fn watch(fleet: Weak<Fleet>, worker: Arc<Worker>, settings: Settings) {
    let mut back_off = FIRST_BACK_OFF;
    loop {
        let end = follow(&fleet, &worker, &settings, &mut back_off).await;
        let Some(fleet) = fleet.upgrade() else { return };
        if matches!(end, WatchEnd::Gap) {
            tracing::warn!(worker = worker.id(), "{end}; watching anew");
        } else if worker.view().link != Link::Connecting && lose(&fleet, &worker) {
            tracing::warn!(worker = worker.id(), "worker lost: {end}");
        }
        if matches!(end, WatchEnd::Silent) {
            // When a connection breaks, its calls end by themselves; those of a silent process would wait for it.
            worker.raise_fence();
        }
        drop(fleet);
        let jitter = rand::random_range(0.5..1.0);
        tokio::time::sleep(back_off.mul_f64(jitter)).await;
        back_off = (back_off * 2).min(LONGEST_BACK_OFF);
    }
}

fn lose(fleet: &Fleet, worker: &Worker) -> bool {
    let changed = worker.set_link(Link::Lost, Instant::now());
    if changed {
        fleet.publish(Change::Gauges { worker: worker.index });
    }
    changed
}

async fn follow(
    fleet: &Weak<Fleet>,
    worker: &Arc<Worker>,
    settings: &Settings,
    back_off: &mut Duration,
) -> WatchEnd {
    let mut events =
        match timeout(settings.lost_after, worker.client().watch_status(WatchStatusRequest {}))
            .await
        {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return status.into(),
            Err(_) => return WatchEnd::Silent,
        };
    let mut expected = 1;
    loop {
        let event = match next(fleet, worker, settings, &mut events).await {
            Ok(event) => event,
            Err(end) => return end,
        };
        if event.sequence != expected {
            return WatchEnd::Gap;
        }
        if expected == 1 && !matches!(event.change, Some(Told::Snapshot(_))) {
            return WatchEnd::NoSnapshot;
        }
        expected += 1;
        if expected > 2 {
            // It goes on beyond the snapshot.
            *back_off = FIRST_BACK_OFF;
        }
        let Some(fleet) = fleet.upgrade() else { return WatchEnd::Closed };
        for change in apply(worker, event) {
            fleet.publish(change);
        }
    }
}

/// The next event; a worker silent for a while becomes suspect, then lost.
async fn next(
    fleet: &Weak<Fleet>,
    worker: &Worker,
    settings: &Settings,
    events: &mut Streaming<StatusEvent>,
) -> Result<StatusEvent, WatchEnd> {
    if let Ok(answer) = timeout(settings.suspect_after, events.message()).await {
        return answer?.ok_or(WatchEnd::Closed);
    }
    if worker.set_link(Link::Suspect, Instant::now()) {
        tracing::warn!(worker = worker.id(), "worker is silent");
        if let Some(fleet) = fleet.upgrade() {
            fleet.publish(Change::Gauges { worker: worker.index });
        }
    }
    let rest = settings.lost_after.saturating_sub(settings.suspect_after);
    match timeout(rest, events.message()).await {
        Ok(answer) => answer?.ok_or(WatchEnd::Closed),
        Err(_) => Err(WatchEnd::Silent),
    }
}

fn apply(worker: &Worker, event: StatusEvent) -> Vec<Change> {
    let (index, now) = (worker.index, Instant::now());
    let mut view = worker.view();
    let mut changes = Vec::new();
    match event.change {
        Some(Told::Snapshot(status)) => {
            tracing::info!(worker = status.worker_id, version = status.version, "worker connected");
            if !view.incarnation().is_empty() && view.incarnation() != status.incarnation {
                // Another process: what the one before was sent is lost, whatever the connection looks like.
                worker.raise_fence();
            }
            view.snapshot(status, now);
            changes.push(Change::Worker { worker: index });
        }
        Some(Told::Residency(residency)) => {
            let residency_id = residency.residency_id.clone();
            view.residency(residency, now);
            changes.push(Change::Residency { worker: index, residency_id });
        }
        Some(Told::ResidencyGone(residency_id)) => {
            let model_id =
                view.residency_gone(&residency_id).map(|gone| gone.model_id).unwrap_or_default();
            changes.push(Change::ResidencyGone { worker: index, residency_id, model_id });
        }
        Some(Told::Gauges(gauges)) => {
            view.gauges(gauges);
            changes.push(Change::Gauges { worker: index });
        }
        Some(Told::Eviction(eviction)) => {
            view.eviction(eviction.clone());
            changes.push(Change::Eviction { worker: index, eviction });
        }
        // A kind that a newer worker knows; its sequence number still counts.
        None => {}
    }
    let is_known = view.status.is_some();
    drop(view);
    if is_known && worker.set_link(Link::Up, now) && changes.is_empty() {
        changes.push(Change::Gauges { worker: index });
    }
    changes
}
