// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { Fleet, SeenModel } from "@/api/fleet";

import { ResidenciesPanel } from "./residencies-panel";

const MODEL = {
  residency_id: "r1",
  model_id: "zoo/storyteller",
  status: "ready",
  worker: "cpu-0",
  device: "cpu",
  dtype: "float32",
  bytes: {
    total: 5_000_000,
    weights: 4_000_000,
    mapped: 0,
    cache: 600_000,
    adapters: 0,
    workspace: 400_000,
  },
  load_time_ms: 84,
  in_flight: 0,
  queued: 0,
  pinned: false,
  seenAt: 0,
} as SeenModel;

function show(fleet: Fleet) {
  render(<ResidenciesPanel fleet={fleet} link="live" />);
}

function answer(status: number, body: object) {
  return vi
    .spyOn(globalThis, "fetch")
    .mockResolvedValueOnce(new Response(JSON.stringify(body), { status }));
}

function sentBody(call: Parameters<typeof fetch> | undefined): unknown {
  return JSON.parse(call?.[1]?.body as string);
}

test("a model shows what it costs and how long it took to load", () => {
  show({ workers: [], models: [MODEL] });
  const row = screen.getByTestId("in memory zoo/storyteller").textContent;
  for (const part of ["ready", "4.00\u00a0MB", "600\u00a0kB", "84 ms", "never", "cpu-0 · cpu"]) {
    expect(row).toContain(part);
  }
});

test("unloading tells the bytes that came back", async () => {
  const one = { worker: "cpu-0", residency_id: "r1", model_id: "zoo/storyteller" };
  const unloaded = [
    { ...one, bytes_expected: 5_000_000, bytes_freed: 4_900_000, weights_kept: false },
  ];
  const fetched = answer(200, { unloaded, bytes_freed: 4_900_000 });
  show({ workers: [], models: [MODEL] });
  await userEvent.click(screen.getByRole("button", { name: "Unload zoo/storyteller" }));
  expect(await screen.findByText("4.90 MB freed")).toBeTruthy();
  expect(sentBody(fetched.mock.calls[0])).toEqual({ model_id: "zoo/storyteller", force: false });
});

test("a busy model is unloaded only when that is asked for twice", async () => {
  answer(409, { error: { code: "in_use", message: "1 request runs on it", details: {} } });
  show({ workers: [], models: [MODEL] });
  await userEvent.click(screen.getByRole("button", { name: "Unload zoo/storyteller" }));
  const force = await screen.findByRole("button", { name: "Cancel its requests and unload" });
  const fetched = answer(200, { unloaded: [], bytes_freed: 0 });
  await userEvent.click(force);
  expect(sentBody(fetched.mock.calls.at(-1))).toMatchObject({ force: true });
});

test("without a worker the panel says so", () => {
  show({ workers: [], models: [] });
  expect(screen.getByText(/No worker is connected/)).toBeTruthy();
  expect(screen.getByText(/No model is loaded/)).toBeTruthy();
});
