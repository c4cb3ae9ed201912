// The models of the stand-in: what its catalogue lists and what its status tells. No model runs here.

import type { CatalogueModel, ModelStatus, WorkerRow } from "@/api/contract";

function entry(model_id: string, task: string, architecture: string, weight_bytes: number) {
  const tasks = task === "sentence-similarity" ? [task, "feature-extraction"] : [task];
  const parameters = weight_bytes / 2;
  const local = { source: "local", dtype: "float32", runnable: true, loaded: false };
  return { ...local, model_id, task, tasks, architecture, parameters, weight_bytes };
}

export const CATALOGUE: CatalogueModel[] = [
  entry("zoo/sentences", "sentence-similarity", "bert", 2_311_168),
  entry("zoo/shape-classifier", "image-classification", "vit", 1_048_832),
  entry("zoo/storyteller", "text-generation", "llama", 4_404_019),
  {
    ...entry("zoo/other", "text-generation", "mamba", 9_404_019),
    runnable: false,
    tasks: [],
    reason: {
      code: "architecture_not_supported",
      message: "mamba is not supported; text-generation runs on gpt2, llama, mistral, qwen2, qwen3",
      details: {},
      retryable: false,
    },
  },
];

export function modelStatus(model: CatalogueModel): ModelStatus {
  const weights = model.weight_bytes;
  const cache = 262_144;
  const workspace = 524_288;
  return {
    residency_id: `r-${model.model_id}`,
    generation: 1,
    model_id: model.model_id,
    revision: "0123456789abcdef0123456789abcdef01234567",
    status: "loading",
    task: model.task ?? "",
    tasks: model.tasks,
    worker: "cpu-0",
    device: "cpu",
    dtype: "float32",
    architecture: model.architecture ?? "",
    kind: "causal_lm",
    parameters: model.parameters,
    bytes: {
      total: weights + cache + workspace,
      weights,
      mapped: weights,
      cache,
      adapters: 0,
      workspace,
      measured: weights,
    },
    in_flight: 0,
    queued: 0,
    requests: 0,
    pinned: false,
    keep_alive_s: 600,
    adapters: [],
  };
}

export function worker(models: ModelStatus[]): WorkerRow {
  const charged = models.reduce((sum, one) => sum + one.bytes.total, 0);
  const gigabyte = 1_000_000_000;
  return {
    id: "cpu-0",
    link: "up",
    incarnation: "1",
    version: "0.1.0",
    contract_version: 1,
    pid: 1,
    tasks: [],
    in_flight: 0,
    healthy: true,
    draining: false,
    drain_reason: "",
    uptime_s: 60,
    running: 0,
    waiting: 0,
    generated_tokens: 0,
    cancelled: 0,
    retired: false,
    process: { state: "running", restarts: 0 },
    prefix_hits: 0,
    prefix_tokens: 0,
    steps_after_disconnect: 0,
    steps_after_disconnect_max: 0,
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
        process_bytes_source: "smaps",
        weights_bytes: charged,
        cache_bytes: 0,
        adapters_bytes: 0,
        cache_used_bytes: 0,
        cache_kept_bytes: 0,
        workspace_bytes: 0,
        baseline_growth_bytes: 0,
        baseline_growth_limit_bytes: 256 * 2 ** 20,
      },
    ],
  };
}
