// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { CatalogueModel } from "@/api/contract";

import { UnconditionalView } from "./unconditional-view";

const MODEL = { model_id: "a/dreamer" } as CatalogueModel;
const PICTURE = "data:image/png;base64,aGk=";

test("nothing is asked for but options, and steps are shown as steps", async () => {
  const sent: unknown[] = [];
  const events: [string, object][] = [
    ["start", { worker: "w", device: "cpu", dtype: "float32" }],
    ["progress", { step: 20, total_steps: 1000, percent: 2, preview_base64: PICTURE }],
  ];
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
  render(<UnconditionalView model={MODEL} />);
  await userEvent.click(screen.getByRole("button", { name: "Paint" }));
  const meter = await screen.findByRole("meter", { name: "Progress" });
  expect(meter.getAttribute("aria-valuetext")).toBe("Step 20 of 1000");
  expect(screen.getByAltText("As far as it is").getAttribute("src")).toBe(PICTURE);
  expect(sent).toEqual([
    {
      model_id: "a/dreamer",
      task: "unconditional-image-generation",
      inputs: {},
      options: { preview_every: 10 },
    },
  ]);
});
