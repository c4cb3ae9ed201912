import { expect, test } from "vitest";

import type { ModelStatus, WorkerRow } from "./contract";
import { hasWorker, reduceFleet, type Fleet } from "./fleet";

const WORKER = { id: "cpu-0", link: "up", healthy: true, devices: [] as unknown[] } as WorkerRow;

function model(id: string, status: ModelStatus["status"]): ModelStatus {
  return { residency_id: id, worker: "cpu-0", model_id: `zoo/${id}`, status } as ModelStatus;
}

function snapshot(...models: ModelStatus[]): Fleet | null {
  return reduceFleet(null, { type: "snapshot", workers: [WORKER], models }, 1000);
}

function names(fleet: Fleet | null) {
  return fleet?.models.map((known) => `${known.residency_id} ${known.status}`);
}

test("a model that changes keeps its place and is newly seen", () => {
  const before = snapshot(model("a", "loading"), model("b", "ready"));
  const after = reduceFleet(before, { type: "model", ...model("a", "ready") }, 2000);
  expect(names(after)).toEqual(["a ready", "b ready"]);
  expect(after?.models.map((known) => known.seenAt)).toEqual([2000, 1000]);
});

test("a new model comes last and one that is gone leaves", () => {
  const change = { type: "model", ...model("b", "queued") } as const;
  const added = reduceFleet(snapshot(model("a", "ready")), change, 2000);
  expect(names(added)).toEqual(["a ready", "b queued"]);
  const gone = { type: "model_gone", worker: "cpu-0", residency_id: "a" } as const;
  expect(names(reduceFleet(added, gone, 3000))).toEqual(["b queued"]);
});

test("the model of another worker with the same residency id stays", () => {
  const gone = { type: "model_gone", worker: "cpu-1", residency_id: "a" } as const;
  expect(names(reduceFleet(snapshot(model("a", "ready")), gone, 2000))).toEqual(["a ready"]);
});

test("a worker that is lost is no worker", () => {
  const lost = reduceFleet(snapshot(), { type: "worker", ...WORKER, link: "lost" }, 2000);
  expect(lost?.workers).toHaveLength(1);
  expect(lost !== null && hasWorker(lost)).toBe(false);
});

test("a snapshot replaces everything, and a change before it is dropped", () => {
  expect(reduceFleet(null, { type: "model", ...model("a", "ready") }, 1)).toBeNull();
  const empty = reduceFleet(null, { type: "snapshot", workers: [], models: [] }, 2);
  const again = reduceFleet(
    snapshot(model("a", "ready")),
    { type: "snapshot", workers: [], models: [] },
    2,
  );
  expect(again).toEqual(empty);
  expect(again).toEqual({ workers: [], models: [] });
});
