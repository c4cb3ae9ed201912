// The messages of the API that the page uses, by short names.

/** A model of the catalogue. */
export interface CatalogueModel {
  model_id: string;
  task: string | null;
  architecture?: string | null;
  /** Bytes of the weights. */
  bytes?: number | null;
  runnable: boolean;
  /** Why not, where it isn't. */
  reason?: string | null;
}

export interface CataloguePage {
  models: CatalogueModel[];
  next_cursor?: string | null;
}

export type ResidencyStatus =
  "queued" | "downloading" | "loading" | "warming" | "ready" | "failed" | "draining" | "releasing";

export interface DeviceBytes {
  device: string;
  weights: number;
  mapped: number;
  cache: number;
  workspace: number;
  measured?: number;
}

export interface LoadingEvent {
  state: string;
  bytes_done: number;
  bytes_total: number;
  tensors_done: number;
  tensors_total: number;
  eta_s?: number;
  evicting: string[];
}

/** One set of weights on a worker. */
export interface Residency {
  residency_id: string;
  model_id: string;
  revision: string;
  status: ResidencyStatus;
  tasks: string[];
  worker: string;
  device: string;
  dtype: string;
  bytes: DeviceBytes[];
  load_time_ms?: number;
  loaded_s_ago?: number;
  last_used_s_ago?: number;
  in_flight: number;
  queued: number;
  pinned: boolean;
  last_error?: { code: string; message: string };
  loading?: LoadingEvent;
}

export interface Device {
  name: string;
  model: string;
  total_bytes: number;
  budget_bytes: number;
  charged_bytes: number;
  reserved_bytes: number;
  releasing_bytes: number;
  used_bytes: number;
  process_bytes?: number;
  utilization?: number;
}

export interface WorkerInfo {
  worker: string;
  healthy: boolean;
  draining: boolean;
  devices: Device[];
}

export interface QueuedEvent {
  position: number;
  reason: string;
}

export interface StartedEvent {
  model_id: string;
  task: string;
  worker: string;
  device: string;
  dtype: string;
  prompt_tokens?: number;
}

export interface TokenEvent {
  index: number;
  text: string;
  choice: number;
}

export interface ResultMetadata {
  task: string;
  backend: string;
  device: string;
  dtype: string;
  resolved_model_id: string;
  revision: string;
  architecture: string;
  runtime_ms_model: number;
  queue_ms: number;
  load_ms: number | null;
  seed?: number;
  first_token_latency_ms?: number;
  tokens_per_second?: number;
}

export interface InferenceAnswer {
  result: { task: string; task_output: unknown; metadata: ResultMetadata };
  runtime_ms: number;
  model_id: string;
}

export interface ChatMessage {
  role: string;
  content: string;
}

export interface TextGenerationOptions {
  max_new_tokens?: number;
  min_new_tokens?: number;
  do_sample?: boolean;
  temperature?: number;
  top_k?: number;
  top_p?: number;
  min_p?: number;
  repetition_penalty?: number;
  frequency_penalty?: number;
  presence_penalty?: number;
  stop?: string[];
  seed?: number;
}

export interface TextAnswer {
  text: string;
  finish_reason: string;
  prompt_tokens: number;
  generated_tokens: number;
}

export interface LabelsAnswer {
  predictions: { label: string; score: number }[];
}

export interface SimilarityAnswer {
  scores: number[];
}

export interface EmbeddingAnswer {
  embedding: number[];
  dim: number;
}

/** Body of `/api/inference` and `/api/inference/stream`. */
export interface InferenceRequest {
  model_id: string;
  task: string;
  inputs: Record<string, unknown>;
  options?: object;
}

export interface Unloaded {
  residency_id: string;
  model_id: string;
  bytes_expected: number;
  bytes_freed: number;
  weights_kept: boolean;
}
