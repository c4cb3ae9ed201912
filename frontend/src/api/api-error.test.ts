import { expect, test } from "vitest";

import { readApiError, readFailedResponse } from "./api-error";

test("the envelope gives code, message, field and the other details", async () => {
  const details = { field: "options.temperature", minimum: 0 };
  const body = { error: { code: "invalid_request", message: "must be at least 0", details } };
  const error = await readFailedResponse(new Response(JSON.stringify(body), { status: 422 }));
  expect(error).toEqual({
    code: "invalid_request",
    message: "must be at least 0",
    field: "options.temperature",
    details: { minimum: 0 },
    retryable: false,
    status: 422,
  });
});

test("an error event says itself whether it may work later", () => {
  const error = readApiError({ code: "worker_lost", message: "gone", retryable: true }, null);
  expect(error).toMatchObject({ code: "worker_lost", field: null, retryable: true });
});

test("503 may work later", () => {
  expect(readApiError({ code: "no_worker", message: "" }, 503).retryable).toBe(true);
});

test("an answer that is not the server's is said to be so", async () => {
  const page = new Response("<h1>Bad Gateway</h1>", { status: 502, statusText: "Bad Gateway" });
  expect(await readFailedResponse(page)).toMatchObject({
    code: "bad_answer",
    message: "the server answered 502 Bad Gateway",
    status: 502,
  });
});
