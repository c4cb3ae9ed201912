// One run of a model as the page knows it: what the server told, and when that arrived.

import type { ApiError } from "@/api/api-error";
import type {
  DoneEvent,
  InferenceRequest,
  LoadingEvent,
  ProgressEvent,
  QueuedEvent,
  StartedEvent,
} from "@/api/contract";
import type { InferenceEvent } from "@/api/inference";

export type RunPhase =
  "idle" | "sending" | "queued" | "loading" | "running" | "done" | "stopped" | "failed";

/** Times are milliseconds of the page's own clock. */
export interface RunState {
  phase: RunPhase;
  request: InferenceRequest | null;
  sentAt: number;
  queued: QueuedEvent | null;
  loading: LoadingEvent | null;
  start: StartedEvent | null;
  /** How far a loop is whose pieces cannot be shown yet. */
  progress: ProgressEvent | null;
  /** Everything the tokens said so far. */
  text: string;
  tokens: number;
  firstTokenAt: number | null;
  lastTokenAt: number | null;
  answer: DoneEvent | null;
  error: ApiError | null;
}

export type RunAction =
  | { type: "sent"; request: InferenceRequest; at: number }
  | { type: "event"; event: InferenceEvent; at: number }
  | { type: "stopped" }
  | { type: "failed"; error: ApiError }
  | { type: "cleared" };

export const IDLE: RunState = {
  phase: "idle",
  request: null,
  sentAt: 0,
  queued: null,
  loading: null,
  start: null,
  progress: null,
  text: "",
  tokens: 0,
  firstTokenAt: null,
  lastTokenAt: null,
  answer: null,
  error: null,
};

export function reduceRun(state: RunState, action: RunAction): RunState {
  switch (action.type) {
    case "sent":
      return { ...IDLE, phase: "sending", request: action.request, sentAt: action.at };
    case "event":
      return reduceEvent(state, action.event, action.at);
    case "stopped":
      return { ...state, phase: "stopped" };
    case "failed":
      return { ...state, phase: "failed", error: action.error };
    case "cleared":
      return IDLE;
  }
}

function reduceEvent(state: RunState, event: InferenceEvent, at: number): RunState {
  switch (event.type) {
    case "queued":
      return { ...state, phase: "queued", queued: event };
    case "loading":
      return { ...state, phase: "loading", loading: event };
    case "start":
      return { ...state, phase: "running", start: event };
    case "token":
      return {
        ...state,
        phase: "running",
        text: state.text + event.text,
        tokens: state.tokens + 1,
        firstTokenAt: state.firstTokenAt ?? at,
        lastTokenAt: at,
      };
    case "progress":
      return { ...state, phase: "running", progress: event };
    case "done":
      return { ...state, phase: "done", answer: event };
  }
}

/** Whether something is under way that Stop would stop. */
export function isActive(state: RunState): boolean {
  return ["sending", "queued", "loading", "running"].includes(state.phase);
}

/** Milliseconds from sending to the first token, as seen by the page. */
export function firstTokenMilliseconds(state: RunState): number | null {
  return state.firstTokenAt === null ? null : state.firstTokenAt - state.sentAt;
}

/** Tokens per second between the first token and the newest, as seen by the page. */
export function tokensPerSecond(state: RunState): number | null {
  if (state.firstTokenAt === null || state.lastTokenAt === null) return null;
  const seconds = (state.lastTokenAt - state.firstTokenAt) / 1000;
  return seconds > 0 ? (state.tokens - 1) / seconds : null;
}
