import { expect, test } from "vitest";

import { viewsOf } from "./task-views";

test("a model is shown by its own task first", () => {
  expect(viewsOf("text-generation").map((view) => view.task)).toEqual(["text-generation"]);
  expect(viewsOf("sentence-similarity").map((view) => view.task)).toEqual([
    "sentence-similarity",
    "feature-extraction",
  ]);
});

test("a task without a view has none", () => {
  expect(viewsOf("text-to-3d")).toEqual([]);
  expect(viewsOf(null)).toEqual([]);
});
