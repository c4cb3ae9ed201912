// One prediction as a stream of events.

import { ApiFailure, badAnswer, readApiError } from "./api-error";
import type {
  DoneEvent,
  InferenceRequest,
  LoadingEvent,
  ProgressEvent,
  QueuedEvent,
  StartedEvent,
  TokenEvent,
} from "./contract";
import { callEvents, type Call } from "./http";

/** What happens to a request, as the server tells it. The last is always `done`. */
export type InferenceEvent =
  | ({ type: "queued" } & QueuedEvent)
  | ({ type: "loading" } & LoadingEvent)
  | ({ type: "start" } & StartedEvent)
  | ({ type: "token" } & TokenEvent)
  | ({ type: "progress" } & ProgressEvent)
  | ({ type: "done" } & DoneEvent);

const KNOWN: readonly string[] = ["queued", "loading", "start", "token", "progress", "done"];

/** The call behind a request; what the page sends and what its curl line shows. */
export function inferenceCall(request: InferenceRequest): Call & { body: InferenceRequest } {
  return { method: "POST", path: "/api/inference/stream", body: request };
}

/** The events of a request. Throws `ApiFailure` for an `error` event or a stream that just ends. */
export async function* streamInference(
  request: InferenceRequest,
  signal: AbortSignal,
): AsyncGenerator<InferenceEvent, void, undefined> {
  for await (const { event, data } of callEvents(inferenceCall(request), signal)) {
    if (event === "error") throw new ApiFailure(readApiError(parse(data), null));
    // Kinds of events that later versions add say nothing to this page.
    if (!KNOWN.includes(event)) continue;
    yield { ...(parse(data) as object), type: event } as InferenceEvent;
    if (event === "done") return;
  }
  throw new ApiFailure(badAnswer("The stream ended before the answer was complete.", null));
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw new ApiFailure(badAnswer("The server sent an event that is not JSON.", null));
  }
}
