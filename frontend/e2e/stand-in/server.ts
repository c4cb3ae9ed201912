// A small server with the page and the API's shapes, for tests of the page alone. It never ships.

import { createReadStream, existsSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { text } from "node:stream/consumers";

import type { InferenceRequest } from "@/api/contract";

import { metadata, taskOutput, TOKENS } from "./answers";
import { CATALOGUE } from "./models";
import { pause, StandInState } from "./state";

const TOKEN_MS = 40;
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

interface StandIn {
  url: string;
  stop: () => Promise<void>;
}

export async function startStandIn(dist: string): Promise<StandIn> {
  const state = new StandInState();
  const server = createServer((request, response) => {
    route(dist, state, request, response).catch((cause: unknown) => {
      if (!response.headersSent) refuse(response, 500, "inference_failed", String(cause));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

async function route(
  dist: string,
  state: StandInState,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? "/").split("?")[0] ?? "/";
  switch (`${request.method ?? "GET"} ${path}`) {
    case "GET /api/models":
      answer(response, { models: CATALOGUE, total: CATALOGUE.length });
      return;
    case "GET /api/models/status/stream": {
      const stop = state.watch(beginEvents(response));
      response.on("close", stop);
      return;
    }
    case "POST /api/inference/stream":
      await infer(state, JSON.parse(await text(request)) as InferenceRequest, response);
      return;
    case "POST /api/models/unload":
      unload(state, JSON.parse(await text(request)) as { model_id: string }, response);
      return;
    default:
      serve(dist, path, response);
  }
}

async function infer(
  state: StandInState,
  request: InferenceRequest,
  response: ServerResponse,
): Promise<void> {
  const model = CATALOGUE.find((one) => one.model_id === request.model_id);
  if (model === undefined) {
    refuse(response, 404, "model_not_found", `there is no model ${request.model_id}`);
    return;
  }
  const options = (request.options ?? {}) as Record<string, unknown>;
  if (typeof options["temperature"] === "number" && options["temperature"] < 0) {
    refuse(response, 422, "invalid_request", "options.temperature: must be at least 0", {
      field: "options.temperature",
      minimum: 0,
    });
    return;
  }
  const send = beginEvents(response);
  const wasResident = state.models.has(model.model_id);
  await state.load(model, (loading) => {
    send("loading", loading);
  });
  const { model_id, task } = request;
  send("start", { model_id, task, worker: "cpu-0", device: "cpu", dtype: "float32" });
  state.use(model_id, 1);
  const generated: string[] = [];
  const limit = Number(options["max_new_tokens"] ?? 256);
  for (const token of task === "text-generation" ? TOKENS.slice(0, limit) : []) {
    if (response.destroyed) break;
    await pause(TOKEN_MS);
    send("token", { index: generated.length, text: token, token_id: 1, choice: 0 });
    generated.push(token);
  }
  const result = {
    task,
    task_output: taskOutput(request, generated),
    metadata: metadata(request, wasResident ? null : 540),
  };
  const figures =
    task === "text-generation"
      ? { tokens: generated.length, first_token_latency_ms: 34.1, tokens_per_second: 24.6 }
      : {};
  send("done", { result, runtime_ms: 900, model_id, model_meta: null, error: null, ...figures });
  state.use(model_id, 0);
  response.end();
}

function unload(state: StandInState, body: { model_id: string }, response: ServerResponse): void {
  const gone = state.unload(body.model_id);
  if (gone === null) {
    refuse(response, 404, "not_loaded", `${body.model_id} is not loaded`);
    return;
  }
  const bytes = gone.bytes.total;
  const { worker, residency_id, model_id } = gone;
  const unloaded = {
    worker,
    residency_id,
    model_id,
    bytes_expected: bytes,
    bytes_freed: bytes + 8192,
    weights_kept: false,
  };
  answer(response, { unloaded: [unloaded], bytes_freed: unloaded.bytes_freed });
}

function beginEvents(response: ServerResponse): (event: string, data: object) => void {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  return (event, data) => {
    response.write(`event: ${event}\ndata: ${JSON.stringify({ type: event, ...data })}\n\n`);
  };
}

function answer(response: ServerResponse, body: object): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
  details: object = {},
): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ error: { code, message, details } }));
}

function serve(dist: string, path: string, response: ServerResponse): void {
  const file = join(dist, normalize(path === "/" ? "/index.html" : path));
  if (!existsSync(file)) {
    refuse(response, 404, "not_found", `there is nothing at ${path}`);
    return;
  }
  const type = TYPES[extname(file)] ?? "application/octet-stream";
  // The policy that a careful operator would set: nothing from elsewhere, nothing inline.
  const policy = "default-src 'self'; img-src 'self' data:";
  response.writeHead(200, { "content-type": type, "content-security-policy": policy });
  createReadStream(file).pipe(response);
}
