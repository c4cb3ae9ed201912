// The workers and their models, kept current from the status stream. Pure.

import type { Residency, WorkerInfo } from "./contract";

/** A residency, and when the page last heard of it: its ages count from there. */
export interface SeenResidency extends Residency {
  /** Milliseconds of the page's own clock. */
  seenAt: number;
}

export interface Fleet {
  workers: WorkerInfo[];
  residencies: SeenResidency[];
}

export type FleetEvent =
  | { type: "snapshot"; workers: WorkerInfo[]; models: Residency[] }
  | { type: "worker"; worker: WorkerInfo }
  | { type: "worker_gone"; worker: string }
  | { type: "residency"; model: Residency }
  | { type: "residency_gone"; worker: string; residency_id: string };

export function reduceFleet(fleet: Fleet | null, event: FleetEvent, at: number): Fleet | null {
  if (event.type === "snapshot") {
    return {
      workers: event.workers,
      residencies: event.models.map((model) => ({ ...model, seenAt: at })),
    };
  }
  // A change to nothing: the snapshot that is on its way has it.
  if (fleet === null) return null;
  switch (event.type) {
    case "worker": {
      const isSame = (known: WorkerInfo) => known.worker === event.worker.worker;
      return { ...fleet, workers: replaceOrAdd(fleet.workers, isSame, event.worker) };
    }
    case "worker_gone":
      return {
        workers: fleet.workers.filter((known) => known.worker !== event.worker),
        residencies: fleet.residencies.filter((known) => known.worker !== event.worker),
      };
    case "residency": {
      const { model } = event;
      const isSame = (known: Residency) => isResidency(known, model.worker, model.residency_id);
      const seen = { ...model, seenAt: at };
      return { ...fleet, residencies: replaceOrAdd(fleet.residencies, isSame, seen) };
    }
    case "residency_gone":
      return {
        ...fleet,
        residencies: fleet.residencies.filter(
          (known) => !isResidency(known, event.worker, event.residency_id),
        ),
      };
  }
}

function isResidency(known: Residency, worker: string, residencyId: string): boolean {
  return known.worker === worker && known.residency_id === residencyId;
}

/** What is known keeps its place, so that rows do not jump. */
function replaceOrAdd<Item>(items: Item[], isSame: (item: Item) => boolean, item: Item): Item[] {
  return items.some(isSame)
    ? items.map((known) => (isSame(known) ? item : known))
    : [...items, item];
}
