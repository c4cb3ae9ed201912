// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { CatalogueModel } from "@/api/contract";

import { SummarizationView, TranslationView } from "./writing-view";

const MODEL = { model_id: "a/writer" } as CatalogueModel;

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

test("a search tells how far it is, not what it may write", async () => {
  answerWith(
    ["start", { worker: "w", device: "cpu", dtype: "float32" }],
    ["progress", { step: 3, total_steps: 12, percent: 25 }],
  );
  render(<SummarizationView model={MODEL} />);
  await userEvent.click(screen.getByRole("button", { name: "Summarise" }));
  const meter = await screen.findByRole("meter", { name: "Progress" });
  expect(meter.getAttribute("aria-valuenow")).toBe("3");
});

test("languages are sent where they are named", async () => {
  const sent = answerWith(["start", { worker: "w", device: "cpu", dtype: "float32" }]);
  render(<TranslationView model={MODEL} />);
  const text = screen.getByLabelText("Text");
  await userEvent.clear(text);
  await userEvent.type(text, "A boat.");
  await userEvent.type(screen.getByLabelText("Into"), "fra_Latn");
  await userEvent.click(screen.getByRole("button", { name: "Translate" }));
  expect(sent).toEqual([
    {
      model_id: "a/writer",
      task: "translation",
      inputs: { text: "A boat.", tgt_lang: "fra_Latn" },
    },
  ]);
});
