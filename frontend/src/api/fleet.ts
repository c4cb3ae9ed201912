// The workers and their models, kept current from the status stream. Pure.

import type { ModelStatus, WorkerRow } from "./contract";

/** A model on a worker, and when the page last heard of it: its ages count from there. */
export interface SeenModel extends ModelStatus {
  /** Milliseconds of the page's own clock. */
  seenAt: number;
}

export interface Fleet {
  workers: WorkerRow[];
  models: SeenModel[];
}

/** The events of the stream that change what the page shows. */
export type FleetEvent =
  | { type: "snapshot"; workers: WorkerRow[]; models: ModelStatus[] }
  | ({ type: "model" } & ModelStatus)
  | { type: "model_gone"; worker: string; residency_id: string }
  | ({ type: "worker" } & WorkerRow);

export function reduceFleet(fleet: Fleet | null, event: FleetEvent, at: number): Fleet | null {
  if (event.type === "snapshot") {
    return {
      workers: event.workers,
      models: event.models.map((model) => ({ ...model, seenAt: at })),
    };
  }
  // A change to nothing: the snapshot that is on its way has it.
  if (fleet === null) return null;
  switch (event.type) {
    case "model": {
      const isSame = (known: ModelStatus) => isOn(known, event.worker, event.residency_id);
      return { ...fleet, models: replaceOrAdd(fleet.models, isSame, { ...event, seenAt: at }) };
    }
    case "model_gone": {
      const isOther = (known: ModelStatus) => !isOn(known, event.worker, event.residency_id);
      return { ...fleet, models: fleet.models.filter(isOther) };
    }
    case "worker": {
      const isSame = (known: WorkerRow) => known.id === event.id;
      return { ...fleet, workers: replaceOrAdd(fleet.workers, isSame, event) };
    }
  }
}

/** Whether some worker is there that could run a request. */
export function hasWorker(fleet: Fleet): boolean {
  return fleet.workers.some((worker) => worker.link === "up" && worker.healthy);
}

function isOn(known: ModelStatus, worker: string, residencyId: string): boolean {
  return known.worker === worker && known.residency_id === residencyId;
}

/** What is known keeps its place, so that rows do not jump. */
function replaceOrAdd<Item>(items: Item[], isSame: (item: Item) => boolean, item: Item): Item[] {
  return items.some(isSame)
    ? items.map((known) => (isSame(known) ? item : known))
    : [...items, item];
}
