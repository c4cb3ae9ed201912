// Unloading: which is under way, and what came of the last one.

import { useState } from "react";

import { ApiFailure, type ApiError } from "@/api/api-error";
import type { UnloadAnswer } from "@/api/contract";
import { unloadModel } from "@/api/models";

export type UnloadOutcome =
  { modelId: string; answer: UnloadAnswer } | { modelId: string; error: ApiError };

export interface Unload {
  /** Ids of the models that are being unloaded. */
  pending: string[];
  outcome: UnloadOutcome | null;
  /** With `force` what runs on the model is cancelled. */
  start: (modelId: string, force: boolean) => void;
  dismiss: () => void;
}

export function useUnload(): Unload {
  const [pending, setPending] = useState<string[]>([]);
  const [outcome, setOutcome] = useState<UnloadOutcome | null>(null);

  async function run(modelId: string, force: boolean) {
    setPending((before) => [...before, modelId]);
    setOutcome(null);
    try {
      setOutcome({ modelId, answer: await unloadModel(modelId, force) });
    } catch (cause) {
      if (!(cause instanceof ApiFailure)) throw cause;
      setOutcome({ modelId, error: cause.error });
    } finally {
      setPending((before) => before.filter((other) => other !== modelId));
    }
  }

  return {
    pending,
    outcome,
    start: (modelId, force) => {
      void run(modelId, force);
    },
    dismiss: () => {
      setOutcome(null);
    },
  };
}
