// The messages of the API that the page uses, by short names.

/** An error, as the envelope and the status carry it. */
export interface ErrorBody {
  code: string;
  message: string;
  details: Record<string, unknown>;
  retryable: boolean;
}

/** A model of the catalogue. */
export interface CatalogueModel {
  model_id: string;
  source: string;
  /** The task it is made for. */
  task?: string | null;
  /** Every task for which it can be run. */
  tasks: string[];
  architecture?: string | null;
  parameters: number;
  dtype: string;
  weight_bytes: number;
  runnable: boolean;
  /** Why not, where it isn't. */
  reason?: ErrorBody;
  loaded: boolean;
}

export interface CataloguePage {
  models: CatalogueModel[];
  next_cursor?: string | null;
  total: number;
}

export type ResidencyStatus =
  "queued" | "downloading" | "loading" | "warming" | "ready" | "failed" | "draining" | "releasing";

export interface ModelBytes {
  total: number;
  weights: number;
  mapped: number;
  cache: number;
  workspace: number;
  measured?: number | null;
}

export interface LoadingEvent {
  state: string;
  bytes_done: number;
  bytes_total: number;
  tensors_done: number;
  tensors_total: number;
  eta_s?: number | null;
  evicting: string[];
}

/** One model on one worker. */
export interface ModelStatus {
  residency_id: string;
  generation: number;
  model_id: string;
  revision: string;
  status: ResidencyStatus;
  task: string;
  tasks: string[];
  worker: string;
  device: string;
  dtype: string;
  architecture: string;
  parameters: number;
  bytes: ModelBytes;
  load_time_ms?: number | null;
  loaded_s_ago?: number | null;
  last_used_s_ago?: number | null;
  in_flight: number;
  queued: number;
  requests: number;
  pinned: boolean;
  keep_alive_s: number;
  last_error?: ErrorBody;
  loading?: LoadingEvent;
  retry_in_s?: number | null;
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
  process_bytes?: number | null;
  process_bytes_source: string;
  utilization?: number | null;
  unattributed_bytes?: number | null;
}

export interface WorkerRow {
  id: string;
  /** `connecting`, `up`, `suspect` or `lost`. */
  link: string;
  healthy: boolean;
  draining: boolean;
  uptime_s: number;
  devices: Device[];
  running: number;
  waiting: number;
  generated_tokens: number;
  cancelled: number;
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
  prompt_tokens?: number | null;
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
  load_ms?: number | null;
  seed?: number | null;
}

export interface InferenceAnswer {
  result: { task: string; task_output: unknown; metadata: ResultMetadata };
  runtime_ms: number;
  model_id: string;
}

/** The last event of a stream: the answer, with the figures of the whole run. */
export interface DoneEvent extends InferenceAnswer {
  tokens?: number | null;
  first_token_latency_ms?: number | null;
  tokens_per_second?: number | null;
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

export interface UnloadAnswer {
  unloaded: {
    worker: string;
    residency_id: string;
    model_id: string;
    bytes_expected: number;
    bytes_freed: number;
    weights_kept: boolean;
  }[];
  bytes_freed: number;
}
