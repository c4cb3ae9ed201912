import { expect, test } from "vitest";

import { readApiError } from "@/api/api-error";
import type { InferenceEvent } from "@/api/inference";

import { firstTokenMilliseconds, IDLE, isActive, reduceRun, tokensPerSecond } from "./run-state";

const REQUEST = { model_id: "zoo/storyteller", task: "text-generation", inputs: { text: "A" } };
const SENT = reduceRun(IDLE, { type: "sent", request: REQUEST, at: 1000 });

function token(index: number, text: string): InferenceEvent {
  return { type: "token", index, text, token_id: 1, choice: 0 };
}

function after(...events: [InferenceEvent, number][]) {
  return events.reduce(
    (state, [event, at]) => reduceRun(state, { type: "event", event, at }),
    SENT,
  );
}

test("tokens add up to the text, and time counts from the sending", () => {
  const state = after([token(0, "red "), 1250], [token(1, ""), 1300], [token(2, "circle"), 1450]);
  expect(state).toMatchObject({ phase: "running", text: "red circle", tokens: 3 });
  expect(firstTokenMilliseconds(state)).toBe(250);
  expect(tokensPerSecond(state)).toBeCloseTo(10);
});

test("one token has no rate yet", () => {
  expect(tokensPerSecond(after([token(0, "red"), 1250]))).toBeNull();
  expect(firstTokenMilliseconds(SENT)).toBeNull();
});

test("a run goes from waiting through loading to running", () => {
  const loading = {
    state: "loading",
    bytes_done: 1,
    bytes_total: 4,
    tensors_done: 0,
    tensors_total: 2,
    evicting: [],
  };
  const waited = after([{ type: "queued", position: 2, reason: "loading" }, 1001]);
  expect(waited).toMatchObject({ phase: "queued", queued: { position: 2 } });
  const loads = reduceRun(waited, {
    type: "event",
    event: { type: "loading", ...loading },
    at: 1002,
  });
  expect(loads).toMatchObject({ phase: "loading", loading: { bytes_done: 1 } });
  expect(isActive(loads)).toBe(true);
});

test("stopping keeps what was said", () => {
  const state = reduceRun(after([token(0, "red"), 1250]), { type: "stopped" });
  expect(state).toMatchObject({ phase: "stopped", text: "red" });
  expect(isActive(state)).toBe(false);
});

test("a failure keeps what was said, and the next run starts clean", () => {
  const error = readApiError({ code: "worker_lost", message: "gone" }, null);
  const failed = reduceRun(after([token(0, "red"), 1250]), { type: "failed", error });
  expect(failed).toMatchObject({ phase: "failed", text: "red", error: { code: "worker_lost" } });
  const next = reduceRun(failed, { type: "sent", request: REQUEST, at: 5000 });
  expect(next).toMatchObject({ phase: "sending", text: "", tokens: 0, error: null });
});
