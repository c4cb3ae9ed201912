// One JSON call, and one call that answers with a stream of events.

import { ApiFailure, badAnswer, readFailedResponse, unreachable } from "./api-error";
import { SseParser, type ServerSentEvent } from "./sse-parser";

export interface Call {
  method: "GET" | "POST" | "DELETE";
  path: string;
  body?: unknown;
}

/** The JSON answer. Throws `ApiFailure`; an abort stays the browser's `AbortError`. */
export async function callJson<T>(call: Call, signal?: AbortSignal): Promise<T> {
  const response = await send(call, "application/json", signal);
  try {
    return (await response.json()) as T;
  } catch (cause) {
    throwIfAborted(signal);
    const what = cause instanceof SyntaxError ? "something that is not JSON" : "half an answer";
    throw new ApiFailure(badAnswer(`the server sent ${what}`, response.status));
  }
}

/** The events of the answer as they arrive. Throws as `callJson`; ends when the server ends it. */
export async function* callEvents(
  call: Call,
  signal: AbortSignal,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const response = await send(call, "text/event-stream", signal);
  if (response.body === null)
    throw new ApiFailure(badAnswer("the answer is empty", response.status));
  const parser = new SseParser();
  // Not TextDecoderStream: this decoder is the one that keeps a character cut in two.
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await read(reader, signal);
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // Also on an early return: the server learns that nobody listens.
    await reader.cancel().catch(() => undefined);
  }
}

async function read(reader: ReadableStreamDefaultReader<Uint8Array>, signal: AbortSignal) {
  try {
    return await reader.read();
  } catch {
    throwIfAborted(signal);
    throw new ApiFailure({
      ...unreachable(),
      message: "The connection broke before the answer was complete.",
    });
  }
}

async function send(call: Call, accept: string, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { accept };
  if (call.body !== undefined) headers["content-type"] = "application/json";
  const response = await fetch(call.path, {
    method: call.method,
    headers,
    ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
    ...(signal === undefined ? {} : { signal }),
  }).catch(() => {
    throwIfAborted(signal);
    throw new ApiFailure(unreachable());
  });
  if (!response.ok) throw new ApiFailure(await readFailedResponse(response));
  return response;
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  signal?.throwIfAborted();
}
