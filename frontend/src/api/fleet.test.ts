import { expect, test } from "vitest";

import type { Residency, WorkerInfo } from "./contract";
import { reduceFleet, type Fleet } from "./fleet";

const WORKER = { worker: "cpu-0", healthy: true, draining: false, devices: [] } as WorkerInfo;

function residency(id: string, status: Residency["status"]): Residency {
  return { residency_id: id, worker: "cpu-0", model_id: `zoo/${id}`, status } as Residency;
}

function snapshot(...models: Residency[]): Fleet | null {
  return reduceFleet(null, { type: "snapshot", workers: [WORKER], models }, 1000);
}

function names(fleet: Fleet | null) {
  return fleet?.residencies.map((known) => `${known.residency_id} ${known.status}`);
}

test("a residency that changes keeps its place and is newly seen", () => {
  const before = snapshot(residency("a", "loading"), residency("b", "ready"));
  const after = reduceFleet(before, { type: "residency", model: residency("a", "ready") }, 2000);
  expect(names(after)).toEqual(["a ready", "b ready"]);
  expect(after?.residencies.map((known) => known.seenAt)).toEqual([2000, 1000]);
});

test("a new residency comes last and one that is gone leaves", () => {
  const added = reduceFleet(
    snapshot(residency("a", "ready")),
    { type: "residency", model: residency("b", "queued") },
    2000,
  );
  expect(names(added)).toEqual(["a ready", "b queued"]);
  const gone = { type: "residency_gone", worker: "cpu-0", residency_id: "a" } as const;
  expect(names(reduceFleet(added, gone, 3000))).toEqual(["b queued"]);
});

test("the residencies of another worker with the same id stay", () => {
  const gone = { type: "residency_gone", worker: "cpu-1", residency_id: "a" } as const;
  expect(names(reduceFleet(snapshot(residency("a", "ready")), gone, 2000))).toEqual(["a ready"]);
});

test("a worker that is gone takes its residencies with it", () => {
  const fleet = reduceFleet(
    snapshot(residency("a", "ready")),
    { type: "worker_gone", worker: "cpu-0" },
    2000,
  );
  expect(fleet).toEqual({ workers: [], residencies: [] });
});

test("a snapshot replaces everything, and a change before it is dropped", () => {
  expect(reduceFleet(null, { type: "residency", model: residency("a", "ready") }, 1)).toBeNull();
  const again = reduceFleet(
    snapshot(residency("a", "ready")),
    { type: "snapshot", workers: [], models: [] },
    2,
  );
  expect(again).toEqual({ workers: [], residencies: [] });
});
