// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { CatalogueModel } from "@/api/contract";

import { SuperResolutionView } from "./image-enhancement-view";

const MODEL = { model_id: "a/upscaler" } as CatalogueModel;
const MADE = "data:image/jpeg;base64,bWFkZQ==";

/** Answers with these events; the stream stays open, so that what comes before the end can be seen. */
function answerWith(...events: [string, object][]) {
  const sent: unknown[] = [];
  const lines = events.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  vi.spyOn(globalThis, "fetch").mockImplementation((_path, init) => {
    sent.push(JSON.parse(init?.body as string));
    const body = new ReadableStream<Uint8Array>({
      start: (opened) => {
        opened.enqueue(new TextEncoder().encode(lines.join("")));
      },
    });
    return Promise.resolve(new Response(body));
  });
  return sent;
}

const START = { worker: "w", device: "cpu", dtype: "float32", total_steps: 4 };
const PROGRESS = { step: 3, total_steps: 4, percent: 75, eta_s: 2 };
const DONE = {
  model_id: "a/upscaler",
  runtime_ms: 5,
  result: {
    task: "image-super-resolution",
    task_output: { images: [{ image_base64: MADE, width: 8, height: 6 }] },
    metadata: {
      runtime_ms_model: 4,
      queue_ms: 0,
      load_ms: null,
      device: "cpu",
      dtype: "float32",
      architecture: "swin2sr",
      revision: "c0ffee",
    },
  },
};

async function run(...events: [string, object][]) {
  const sent = answerWith(...events);
  render(<SuperResolutionView model={MODEL} />);
  const file = new File(["small"], "small.png", { type: "image/png" });
  await userEvent.upload(document.querySelector("input[type=file]") as HTMLInputElement, file);
  await screen.findByAltText("Chosen: small.png");
  await userEvent.click(screen.getByText("JPEG"));
  await userEvent.type(screen.getByLabelText("tile"), "64");
  await userEvent.click(screen.getByRole("button", { name: "Enlarge" }));
  return sent;
}

test("the pieces that are done are counted while it runs", async () => {
  const sent = await run(["start", START], ["progress", PROGRESS]);
  const meter = await screen.findByRole("meter", { name: "Progress" });
  expect(meter.getAttribute("aria-valuetext")).toBe("Step 3 of 4 · 2 s left");
  expect(sent).toEqual([
    {
      model_id: "a/upscaler",
      task: "image-super-resolution",
      inputs: { image_base64: `data:image/png;base64,${btoa("small")}` },
      options: { format: "jpeg", tile: 64 },
    },
  ]);
});

test("what was made lies over what was given, and can be saved", async () => {
  await run(["start", START], ["progress", PROGRESS], ["done", DONE]);
  const made = await screen.findByAltText("What was made, 8 × 6 pixels");
  expect(made.getAttribute("src")).toBe(MADE);
  expect(screen.getByAltText("As it was given")).toBeDefined();
  const save = screen.getByRole("link", { name: "Save" });
  expect(save.getAttribute("download")).toBe("larger.jpeg");
});
