// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { CatalogueModel } from "@/api/contract";

import { TableQuestionAnsweringView } from "./table-question-answering-view";

const MODEL = { model_id: "a/reader" } as CatalogueModel;

test("the chosen cells are marked in the table that was sent", async () => {
  const sent: unknown[] = [];
  const done = {
    result: {
      task: "table-question-answering",
      task_output: {
        answer: "SUM > 2",
        coordinates: [[1, 0]],
        cells: ["2"],
        aggregator: "SUM",
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
  render(<TableQuestionAnsweringView model={MODEL} />);
  const table = screen.getByLabelText("Table");
  await userEvent.clear(table);
  await userEvent.type(table, "a, b\n1, x\n2, y");
  await userEvent.click(screen.getByRole("button", { name: "Answer" }));
  const rows = [
    ["a", "b"],
    ["1", "x"],
    ["2", "y"],
  ];
  expect(sent).toEqual([
    {
      model_id: "a/reader",
      task: "table-question-answering",
      inputs: { question: "Which ship was built first?", table: rows },
    },
  ]);
  expect(await screen.findByText("SUM > 2")).toBeTruthy();
  const marks = document.querySelectorAll("mark");
  expect([...marks].map((mark) => mark.textContent)).toEqual(["2"]);
});
