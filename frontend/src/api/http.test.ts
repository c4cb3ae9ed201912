import { describe, expect, test, vi } from "vitest";

import { ApiFailure } from "./api-error";
import { callEvents, callJson } from "./http";

const CALL = { method: "POST", path: "/api/inference/stream", body: {} } as const;

/** A response whose body arrives in these pieces of bytes. */
function streamed(...pieces: Uint8Array[]): Response {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

async function collect(signal = new AbortController().signal) {
  const events = [];
  for await (const event of callEvents(CALL, signal)) events.push(event.data);
  return events;
}

describe("callEvents", () => {
  test("keeps a character whole whose bytes arrive apart", async () => {
    const bytes = new TextEncoder().encode("data: 🟥é\n\n");
    const pieces = [...bytes].map((byte) => Uint8Array.of(byte));
    vi.spyOn(globalThis, "fetch").mockResolvedValue(streamed(...pieces));
    expect(await collect()).toEqual(["🟥é"]);
  });

  test("throws the envelope of a request that failed before its first event", async () => {
    const body = JSON.stringify({
      error: { code: "no_worker", message: "no worker is connected" },
    });
    vi.spyOn(globalThis, "fetch").mockResolvedValue(new Response(body, { status: 503 }));
    await expect(collect()).rejects.toMatchObject({ error: { code: "no_worker", status: 503 } });
  });

  test("cancels the answer when the reader leaves early", async () => {
    const cancel = vi.fn();
    const body = new ReadableStream({
      start: (controller) => {
        controller.enqueue(new TextEncoder().encode("data: 1\n\n"));
      },
      cancel,
    });
    vi.spyOn(globalThis, "fetch").mockResolvedValue(new Response(body));
    for await (const event of callEvents(CALL, new AbortController().signal)) {
      expect(event.data).toBe("1");
      break;
    }
    expect(cancel).toHaveBeenCalledOnce();
  });
});

describe("callJson", () => {
  test("says that the server cannot be reached", async () => {
    vi.spyOn(globalThis, "fetch").mockRejectedValue(new TypeError("Failed to fetch"));
    const failure: unknown = await callJson(CALL).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ApiFailure);
    expect(failure).toMatchObject({ error: { code: "unreachable", retryable: true } });
  });

  test("leaves an abort an abort", async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(callJson(CALL, controller.signal)).rejects.toMatchObject({ name: "AbortError" });
  });

  test("says when the answer is no JSON", async () => {
    vi.spyOn(globalThis, "fetch").mockResolvedValue(new Response("<html>"));
    await expect(callJson(CALL)).rejects.toMatchObject({ error: { code: "bad_answer" } });
  });
});
