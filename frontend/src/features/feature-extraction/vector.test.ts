import { expect, test } from "vitest";

import { norm, relative } from "./vector";

test("the norm is the Euclidean length", () => {
  expect(norm([3, -4])).toBe(5);
  expect(norm([])).toBe(0);
});

test("the largest magnitude becomes one and signs stay", () => {
  expect(relative([1, -4, 2])).toEqual([0.25, -1, 0.5]);
  expect(relative([0, 0])).toEqual([0, 0]);
});
