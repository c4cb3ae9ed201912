// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { CatalogueModel } from "@/api/contract";

import { TextToImageView } from "./text-to-image-view";

const MODEL = { model_id: "a/painter" } as CatalogueModel;
const START: [string, object] = ["start", { worker: "w", device: "cpu", dtype: "float32" }];
const METADATA = { device: "cpu", dtype: "float32", architecture: "a", revision: "abc", seed: 7 };
const PICTURE = "data:image/png;base64,aGk=";

function answerWith(...events: [string, object][]) {
  const sent: unknown[] = [];
  const lines = events.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  vi.spyOn(globalThis, "fetch").mockImplementation((_path, init) => {
    sent.push(JSON.parse(init?.body as string));
    // Left open, so that what happens before the end stays to be seen.
    const body = new ReadableStream<Uint8Array>({
      start: (opened) => {
        opened.enqueue(new TextEncoder().encode(lines.join("")));
      },
    });
    return Promise.resolve(new Response(body));
  });
  return sent;
}

test("a step and its preview are shown while the picture is painted", async () => {
  const progress = { step: 3, total_steps: 12, percent: 25, preview_base64: PICTURE };
  const sent = answerWith(START, ["progress", progress]);
  render(<TextToImageView model={MODEL} />);
  await userEvent.type(screen.getByLabelText("Not"), "green");
  await userEvent.click(screen.getByRole("button", { name: "Paint" }));
  const meter = await screen.findByRole("meter", { name: "Progress" });
  expect(meter.getAttribute("aria-valuenow")).toBe("3");
  expect(meter.getAttribute("aria-valuetext")).toBe("Step 3 of 12");
  expect(screen.getByAltText("As far as it is").getAttribute("src")).toBe(PICTURE);
  expect(sent).toEqual([
    {
      model_id: "a/painter",
      task: "text-to-image",
      inputs: { text: "a small red circle on blue", negative_prompt: "green" },
      options: { preview_every: 2 },
    },
  ]);
});

test("pictures come with what was done otherwise", async () => {
  const image = { image_base64: PICTURE, width: 8, height: 8 };
  answerWith(START, [
    "done",
    { result: { task_output: { images: [image, image], notices: ["cut"] }, metadata: METADATA } },
  ]);
  render(<TextToImageView model={MODEL} />);
  await userEvent.click(screen.getByRole("button", { name: "Paint" }));
  expect(await screen.findAllByAltText("a small red circle on blue")).toHaveLength(2);
  expect(screen.getByText("cut")).toBeDefined();
});
