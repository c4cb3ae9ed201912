// @vitest-environment jsdom
import { render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { CatalogueModel } from "@/api/contract";

import { TextRankingView } from "./text-ranking-view";

const MODEL = { model_id: "a/judge" } as CatalogueModel;

test("the candidates are shown in the order of the answer", async () => {
  const results = [
    { index: 2, score: 0.9 },
    { index: 0, score: 0.1 },
  ];
  const metadata = {
    device: "cpu",
    dtype: "float32",
    runtime_ms_model: 1,
    queue_ms: 0,
    load_ms: null,
    architecture: "bert",
    revision: "c0ffee",
  };
  const done = { result: { task: "text-ranking", task_output: { results }, metadata } };
  vi.spyOn(globalThis, "fetch").mockImplementation(() =>
    Promise.resolve(new Response(`event: done\ndata: ${JSON.stringify(done)}\n\n`)),
  );
  render(<TextRankingView model={MODEL} />);
  await userEvent.click(screen.getByRole("button", { name: "Rank" }));
  const list = await screen.findByRole("list", { name: "Candidates, best first" });
  expect(
    within(list)
      .getAllByRole("listitem")
      .map((item) => item.textContent),
  ).toEqual([
    "The boat left the harbour at noon.0.900",
    "Mia has a small red circle. It lies on the left.0.100",
  ]);
});
