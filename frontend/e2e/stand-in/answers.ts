// Answers of the right shape, so that the page can be tested without a worker.

import type { InferenceRequest } from "@/api/contract";

const STORY =
  " who lived beside a tall blue square. Every morning the circle rolled to the top of the hill " +
  "and looked at the stars. One day a green triangle came by and asked the way to the sea.";

export const TOKENS = STORY.split(/(?= )/);

export function taskOutput(request: InferenceRequest, generated: string[]): object {
  switch (request.task) {
    case "text-generation":
      return {
        text: generated.join(""),
        finish_reason: "length",
        prompt_tokens: 11,
        generated_tokens: generated.length,
        cached_tokens: 0,
      };
    case "image-classification":
      return {
        predictions: [
          { label: "red circle", score: 0.942 },
          { label: "red square", score: 0.031 },
          { label: "orange circle", score: 0.016 },
          { label: "red triangle", score: 0.008 },
          { label: "blue circle", score: 0.003 },
        ],
      };
    case "sentence-similarity":
      return {
        scores: (request.inputs["sentences"] as string[]).map((_, place) => 0.93 - place * 0.31),
      };
    default: {
      const embedding = Array.from({ length: 128 }, (_, place) => Math.sin(place * 1.7) / 8);
      return { embedding, dim: embedding.length };
    }
  }
}

export function metadata(request: InferenceRequest, loadMs: number | null): object {
  return {
    task: request.task,
    backend: "torch",
    device: "cpu",
    dtype: "float32",
    resolved_model_id: request.model_id,
    revision: "0123456789abcdef0123456789abcdef01234567",
    architecture: "stand-in",
    runtime_ms_model: 812.4,
    queue_ms: 0.2,
    load_ms: loadMs,
    ...(request.task === "text-generation" ? { seed: 7 } : {}),
  };
}
