// The models of the stand-in: what its catalogue lists and what its status tells. No model runs here.

import type { CatalogueModel, Residency, WorkerInfo } from "@/api/contract";

export const CATALOGUE: CatalogueModel[] = [
  {
    model_id: "zoo/sentences",
    task: "sentence-similarity",
    architecture: "bert",
    bytes: 2_311_168,
    runnable: true,
  },
  {
    model_id: "zoo/shape-classifier",
    task: "image-classification",
    architecture: "vit",
    bytes: 1_048_832,
    runnable: true,
  },
  {
    model_id: "zoo/storyteller",
    task: "text-generation",
    architecture: "llama",
    bytes: 4_404_019,
    runnable: true,
  },
  {
    model_id: "zoo/other",
    task: "text-generation",
    architecture: "mamba",
    bytes: 9_404_019,
    runnable: false,
    reason:
      "the architecture mamba is not supported; text-generation runs on gpt2, llama, mistral, qwen2, qwen3",
  },
];

export function residency(model: CatalogueModel): Residency {
  const weights = model.bytes ?? 0;
  return {
    residency_id: `r-${model.model_id}`,
    model_id: model.model_id,
    revision: "0123456789abcdef0123456789abcdef01234567",
    status: "loading",
    tasks: [model.task ?? ""],
    worker: "cpu-0",
    device: "cpu",
    dtype: "float32",
    bytes: [
      {
        device: "cpu",
        weights,
        mapped: weights,
        cache: 262_144,
        workspace: 524_288,
        measured: weights,
      },
    ],
    in_flight: 0,
    queued: 0,
    pinned: false,
  };
}

export function worker(residencies: Residency[]): WorkerInfo {
  const charged = residencies
    .flatMap((one) => one.bytes)
    .reduce((sum, one) => sum + one.weights, 0);
  const gigabyte = 1_000_000_000;
  return {
    worker: "cpu-0",
    healthy: true,
    draining: false,
    devices: [
      {
        name: "cpu",
        model: "A processor",
        total_bytes: 16 * gigabyte,
        budget_bytes: 12 * gigabyte,
        charged_bytes: charged,
        reserved_bytes: 0,
        releasing_bytes: 0,
        used_bytes: 5.3 * gigabyte,
        process_bytes: 180_000_000 + charged,
      },
    ],
  };
}
