// What the stand-in has in memory, and who is told when that changes.

import type { CatalogueModel, ModelStatus } from "@/api/contract";

import { modelStatus, worker } from "./models";

type Listener = (event: string, data: object) => void;

/** Milliseconds between two reports of a load. */
const LOAD_STEP_MS = 60;
const LOAD_STEPS = 8;

export class StandInState {
  readonly models = new Map<string, ModelStatus>();
  readonly #listeners = new Set<Listener>();

  /** Tells a snapshot, then every change, until the answered function is called. */
  watch(listener: Listener): () => void {
    const models = [...this.models.values()];
    listener("snapshot", { workers: [worker(models)], models });
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Loads the model as slowly as a person can see; tells `onStep` too. */
  async load(model: CatalogueModel, onStep: (loading: object) => void): Promise<void> {
    if (this.models.get(model.model_id)?.status === "ready") return;
    const total = model.weight_bytes;
    const began = performance.now();
    for (let step = 0; step <= LOAD_STEPS; step += 1) {
      const loading = {
        state: "loading",
        bytes_done: Math.round((total * step) / LOAD_STEPS),
        bytes_total: total,
        tensors_done: step * 4,
        tensors_total: LOAD_STEPS * 4,
        evicting: [],
      };
      onStep(loading);
      this.#change({ ...modelStatus(model), loading });
      await pause(LOAD_STEP_MS);
    }
    const load_time_ms = performance.now() - began;
    this.#change({ ...modelStatus(model), status: "ready", load_time_ms, loaded_s_ago: 0 });
  }

  use(modelId: string, inFlight: number): void {
    const known = this.models.get(modelId);
    if (known !== undefined) this.#change({ ...known, in_flight: inFlight, last_used_s_ago: 0 });
  }

  unload(modelId: string): ModelStatus | null {
    const known = this.models.get(modelId);
    if (known === undefined) return null;
    this.models.delete(modelId);
    this.#tell("model_gone", {
      worker: known.worker,
      residency_id: known.residency_id,
      model_id: modelId,
    });
    this.#tell("worker", worker([...this.models.values()]));
    return known;
  }

  #change(changed: ModelStatus): void {
    this.models.set(changed.model_id, changed);
    this.#tell("model", changed);
    this.#tell("worker", worker([...this.models.values()]));
  }

  #tell(event: string, data: object): void {
    for (const listener of this.#listeners) listener(event, { type: event, ...data });
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
