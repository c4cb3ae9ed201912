// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { CatalogueModel } from "@/api/contract";

import { TextGenerationView } from "./text-generation-view";

const MODEL = { model_id: "zoo/storyteller", task: "text-generation" } as CatalogueModel;

/** A stream that the test writes to; it notices when the page goes away. */
function openStream() {
  const encoder = new TextEncoder();
  const sent: RequestInit[] = [];
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  vi.spyOn(globalThis, "fetch").mockImplementation((_path, init) => {
    sent.push(init ?? {});
    const body = new ReadableStream<Uint8Array>({
      start: (opened) => {
        controller = opened;
      },
    });
    return Promise.resolve(new Response(body));
  });
  return {
    sent,
    write: (event: string, data: object) => {
      controller?.enqueue(encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`));
    },
  };
}

async function generate(prompt: string) {
  render(<TextGenerationView model={MODEL} />);
  const field = screen.getByLabelText("Prompt");
  await userEvent.clear(field);
  await userEvent.type(field, prompt);
  await userEvent.click(screen.getByRole("button", { name: "Generate" }));
}

test("tokens appear before the answer is complete", async () => {
  const stream = openStream();
  await generate("A red");
  stream.write("start", { worker: "w", device: "cpu", dtype: "float32" });
  stream.write("token", { index: 0, text: " circle", choice: 0 });
  const text = await screen.findByText(/circle/, { ignore: "code" });
  expect(text.textContent).toBe("A red circle");
  expect(screen.getByText("Running on cpu of w in float32")).toBeTruthy();
  expect(JSON.parse(stream.sent[0]?.body as string)).toEqual({
    model_id: "zoo/storyteller",
    task: "text-generation",
    inputs: { text: "A red" },
    options: { max_new_tokens: 120 },
  });
});

test("Stop closes the connection", async () => {
  const stream = openStream();
  await generate("A red");
  await userEvent.click(screen.getByRole("button", { name: "Stop" }));
  expect(stream.sent[0]?.signal?.aborted).toBe(true);
  expect(screen.getByText("Stopped; the server was told to cancel")).toBeTruthy();
});

test("a load is shown in the bytes that the worker counts", async () => {
  const stream = openStream();
  await generate("A red");
  stream.write("loading", {
    state: "downloading",
    bytes_done: 1_000_000,
    bytes_total: 4_000_000,
    tensors_done: 0,
    tensors_total: 0,
    evicting: ["zoo/old"],
  });
  const meter = await screen.findByRole("meter", { name: "Downloading" });
  expect(meter.getAttribute("aria-valuenow")).toBe("1000000");
  expect(screen.getByText("Making room: zoo/old leaves")).toBeTruthy();
});

test("leaving the view closes the connection", async () => {
  const stream = openStream();
  const { unmount } = render(<TextGenerationView model={MODEL} />);
  await userEvent.click(screen.getByRole("button", { name: "Generate" }));
  unmount();
  expect(stream.sent[0]?.signal?.aborted).toBe(true);
});
