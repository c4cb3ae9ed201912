import { expect, test } from "vitest";

import { rankSentences } from "./rank";

test("the nearest sentence comes first and keeps its own score", () => {
  expect(rankSentences(["far", "near", "also far"], [0.1, 0.9, 0.1])).toEqual([
    { sentence: "near", score: 0.9 },
    { sentence: "far", score: 0.1 },
    { sentence: "also far", score: 0.1 },
  ]);
});
