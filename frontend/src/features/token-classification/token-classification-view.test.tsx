// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { CatalogueModel } from "@/api/contract";

import { TokenClassificationView } from "./token-classification-view";

const MODEL = { model_id: "a/finder" } as CatalogueModel;

test("what was found is marked in the text that was sent", async () => {
  const sent: unknown[] = [];
  const done = {
    result: {
      task: "token-classification",
      task_output: {
        entities: [{ entity_group: "PER", score: 0.987, word: "Ada", start: 3, end: 6 }],
      },
      metadata: { device: "cpu", dtype: "float32", revision: "0", runtime_ms_model: 1 },
    },
    runtime_ms: 2,
  };
  vi.spyOn(globalThis, "fetch").mockImplementation((_path, init) => {
    sent.push(JSON.parse(init?.body as string));
    const text = `event: done\ndata: ${JSON.stringify(done)}\n\n`;
    return Promise.resolve(new Response(text));
  });
  render(<TokenClassificationView model={MODEL} />);
  const text = screen.getByLabelText("Text");
  await userEvent.clear(text);
  await userEvent.type(text, "👍: Ada");
  await userEvent.selectOptions(screen.getByLabelText("aggregation_strategy"), "max");
  await userEvent.click(screen.getByRole("button", { name: "Find" }));
  expect(sent).toEqual([
    {
      model_id: "a/finder",
      task: "token-classification",
      inputs: { text: "👍: Ada" },
      options: { aggregation_strategy: "max" },
    },
  ]);
  const mark = await screen.findByText("Ada");
  expect(mark.tagName).toBe("MARK");
  expect(mark.textContent).toBe("AdaPER");
  expect(screen.getByText("98.7 %")).toBeTruthy();
});
