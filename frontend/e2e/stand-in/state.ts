// What the stand-in has in memory, and who is told when that changes.

import type { CatalogueModel, Residency } from "@/api/contract";

import { residency, worker } from "./models";

type Listener = (event: string, data: object) => void;

/** Milliseconds between two reports of a load. */
const LOAD_STEP_MS = 60;
const LOAD_STEPS = 8;

export class StandInState {
  readonly residencies = new Map<string, Residency>();
  readonly #listeners = new Set<Listener>();

  /** Tells a snapshot, then every change, until the answered function is called. */
  watch(listener: Listener): () => void {
    const models = [...this.residencies.values()];
    listener("snapshot", { workers: [worker(models)], models });
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Loads the model as slowly as a person can see; tells `onStep` too. */
  async load(model: CatalogueModel, onStep: (loading: object) => void): Promise<void> {
    if (this.residencies.get(model.model_id)?.status === "ready") return;
    const total = model.bytes ?? 0;
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
      this.#change({ ...residency(model), loading });
      await pause(LOAD_STEP_MS);
    }
    const load_time_ms = performance.now() - began;
    this.#change({ ...residency(model), status: "ready", load_time_ms, loaded_s_ago: 0 });
  }

  use(modelId: string, inFlight: number): void {
    const known = this.residencies.get(modelId);
    if (known !== undefined) this.#change({ ...known, in_flight: inFlight, last_used_s_ago: 0 });
  }

  unload(modelId: string): Residency | null {
    const known = this.residencies.get(modelId);
    if (known === undefined) return null;
    this.residencies.delete(modelId);
    this.#tell("residency_gone", { worker: known.worker, residency_id: known.residency_id });
    this.#tell("worker", { worker: worker([...this.residencies.values()]) });
    return known;
  }

  #change(changed: Residency): void {
    this.residencies.set(changed.model_id, changed);
    this.#tell("residency", { model: changed });
    this.#tell("worker", { worker: worker([...this.residencies.values()]) });
  }

  #tell(event: string, data: object): void {
    for (const listener of this.#listeners) listener(event, { type: event, ...data });
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
