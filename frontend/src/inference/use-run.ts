// Runs one request at a time, and stops it when the view goes away.

import { useCallback, useEffect, useReducer, useRef } from "react";

import { ApiFailure } from "@/api/api-error";
import type { InferenceRequest } from "@/api/contract";
import { streamInference } from "@/api/inference";

import { IDLE, reduceRun, type RunState } from "./run-state";

export interface Run {
  state: RunState;
  /** Sends the request; one that is under way is stopped first. */
  send: (request: InferenceRequest) => void;
  /** Closes the connection, which cancels the work on the server. */
  stop: () => void;
  clear: () => void;
}

export function useRun(): Run {
  const [state, dispatch] = useReducer(reduceRun, IDLE);
  const current = useRef<AbortController | null>(null);

  useEffect(
    () => () => {
      current.current?.abort();
    },
    [],
  );

  const send = useCallback((request: InferenceRequest) => {
    current.current?.abort();
    const controller = new AbortController();
    current.current = controller;
    dispatch({ type: "sent", request, at: performance.now() });

    async function follow() {
      try {
        for await (const event of streamInference(request, controller.signal)) {
          if (controller.signal.aborted) return;
          dispatch({ type: "event", event, at: performance.now() });
        }
      } catch (cause) {
        // Whoever aborted has said so already.
        if (controller.signal.aborted) return;
        if (!(cause instanceof ApiFailure)) throw cause;
        dispatch({ type: "failed", error: cause.error });
      }
    }
    void follow();
  }, []);

  const stop = useCallback(() => {
    current.current?.abort();
    dispatch({ type: "stopped" });
  }, []);

  const clear = useCallback(() => {
    current.current?.abort();
    dispatch({ type: "cleared" });
  }, []);

  return { state, send, stop, clear };
}
