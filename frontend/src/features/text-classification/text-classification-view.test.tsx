// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { CatalogueModel } from "@/api/contract";

import { LabelBars } from "./label-bars";
import { TextClassificationView } from "./text-classification-view";
import { ZeroShotClassificationView } from "./zero-shot-view";

const MODEL = { model_id: "a/judge" } as CatalogueModel;

function requests() {
  const sent: unknown[] = [];
  vi.spyOn(globalThis, "fetch").mockImplementation((_path, init) => {
    sent.push(JSON.parse(init?.body as string));
    return Promise.resolve(new Response(""));
  });
  return sent;
}

test("a second text is sent where there is one", async () => {
  const sent = requests();
  render(<TextClassificationView model={MODEL} />);
  await userEvent.click(screen.getByRole("button", { name: "Classify" }));
  await userEvent.type(screen.getByLabelText("Second text"), "A ship.");
  await userEvent.click(screen.getByRole("button", { name: "Classify" }));
  const text = "What a lovely small boat!";
  expect(sent.map((request) => (request as { inputs: unknown }).inputs)).toEqual([
    { text },
    { text, text_pair: "A ship." },
  ]);
});

test("labels are the lines that say something", async () => {
  const sent = requests();
  render(<ZeroShotClassificationView model={MODEL} />);
  const labels = screen.getByLabelText("Labels");
  await userEvent.clear(labels);
  await userEvent.type(labels, "red{Enter}{Enter}blue");
  await userEvent.click(screen.getByLabelText("Each by itself"));
  await userEvent.click(screen.getByRole("button", { name: "Choose" }));
  expect(sent).toEqual([
    {
      model_id: "a/judge",
      task: "zero-shot-classification",
      inputs: { text: "There is a tiny crimson disc on the left.", labels: ["red", "blue"] },
      options: { multi_label: true },
    },
  ]);
});

test("shares are shown as percent, and a degree as it is", () => {
  render(<LabelBars output={{ predictions: [{ label: "glad", score: 0.75 }] }} />);
  screen.getByText("75.0 %");
  render(<LabelBars output={{ predictions: [{ label: "degree", score: -2.5 }] }} />);
  screen.getByText("−2.500");
});
