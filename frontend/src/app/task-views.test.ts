import { expect, test } from "vitest";

import { viewsOf } from "./task-views";

test("a model is shown by its own task first", () => {
  expect(
    viewsOf({ task: "text-generation", tasks: ["text-generation"] }).map((view) => view.task),
  ).toEqual(["text-generation"]);
  const tasks = ["feature-extraction", "sentence-similarity"];
  expect(viewsOf({ task: "sentence-similarity", tasks }).map((view) => view.task)).toEqual([
    "sentence-similarity",
    "feature-extraction",
  ]);
});

test("a task without a view has none", () => {
  expect(viewsOf({ task: "text-to-3d", tasks: ["text-to-3d"] })).toEqual([]);
  expect(viewsOf({ tasks: [] })).toEqual([]);
});
