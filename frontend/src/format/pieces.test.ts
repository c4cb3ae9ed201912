import { expect, test } from "vitest";

import { cutPieces } from "./pieces";

test("parts are found by characters, not by halves of them", () => {
  expect(cutPieces("👍 Zoë here", [{ start: 2, end: 5, label: "PER" }])).toEqual([
    { text: "👍 ", label: null },
    { text: "Zoë", label: "PER" },
    { text: " here", label: null },
  ]);
});

test("parts that overlap or are empty are marked once at most", () => {
  const marks = [
    { start: 2, end: 4, label: "B" },
    { start: 0, end: 3, label: "A" },
    { start: 4, end: 4, label: "C" },
  ];
  expect(cutPieces("abcd", marks)).toEqual([
    { text: "abc", label: "A" },
    { text: "d", label: null },
  ]);
});

test("a text without marks stays whole", () => {
  expect(cutPieces("a", [])).toEqual([{ text: "a", label: null }]);
  expect(cutPieces("", [])).toEqual([]);
});
