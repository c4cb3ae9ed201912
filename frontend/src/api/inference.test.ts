import { expect, test, vi } from "vitest";

import { streamInference } from "./inference";

const REQUEST = { model_id: "zoo/storyteller", task: "text-generation", inputs: { text: "A" } };

function answer(stream: string): void {
  vi.spyOn(globalThis, "fetch").mockResolvedValue(new Response(stream));
}

async function collect() {
  const types = [];
  const { signal } = new AbortController();
  for await (const event of streamInference(REQUEST, signal)) types.push(event.type);
  return types;
}

test("posts the request and yields its events up to done", async () => {
  answer(
    'event: queued\ndata: {"position":1}\n\nevent: novelty\ndata: {}\n\n' +
      'event: token\ndata: {"type":"token","text":"a"}\n\nevent: done\ndata: {}\n\n',
  );
  expect(await collect()).toEqual(["queued", "token", "done"]);
  expect(fetch).toHaveBeenCalledWith(
    "/api/inference/stream",
    expect.objectContaining({ method: "POST", body: JSON.stringify(REQUEST) }),
  );
});

test("an error event is a failure with its code", async () => {
  answer('event: error\ndata: {"code":"worker_lost","message":"gone","retryable":true}\n\n');
  await expect(collect()).rejects.toMatchObject({
    error: { code: "worker_lost", retryable: true },
  });
});

test("a stream that ends without done is a failure", async () => {
  answer('event: token\ndata: {"text":"a"}\n\n');
  await expect(collect()).rejects.toMatchObject({ error: { code: "bad_answer" } });
});

test("an event that is no JSON is a failure", async () => {
  answer("event: token\ndata: {\n\n");
  await expect(collect()).rejects.toMatchObject({ error: { code: "bad_answer" } });
});
