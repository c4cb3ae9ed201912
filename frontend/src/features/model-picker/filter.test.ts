import { expect, test } from "vitest";

import type { CatalogueModel } from "@/api/contract";

import { filterModels } from "./filter";

const MODELS = [
  { model_id: "zoo/broken", task: "text-generation", runnable: false },
  { model_id: "zoo/storyteller", task: "text-generation", architecture: "llama", runnable: true },
  { model_id: "zoo/shape-classifier", task: "image-classification", runnable: true },
] as CatalogueModel[];

function ids(search: string) {
  return filterModels(MODELS, search).map((model) => model.model_id);
}

test("what can run comes before what cannot", () => {
  expect(ids("")).toEqual(["zoo/storyteller", "zoo/shape-classifier", "zoo/broken"]);
});

test("every word must be found, in any of the names", () => {
  expect(ids("TEXT zoo")).toEqual(["zoo/storyteller", "zoo/broken"]);
  expect(ids("llama")).toEqual(["zoo/storyteller"]);
  expect(ids("text image")).toEqual([]);
});
