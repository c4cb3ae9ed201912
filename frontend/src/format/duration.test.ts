import { expect, test } from "vitest";

import { formatAgo, formatMilliseconds, formatSeconds } from "./duration";

test.each([
  [0.842, "0.84 ms"],
  [8.42, "8.4 ms"],
  [842.4, "842 ms"],
  [1842, "1.84 s"],
  [18_420, "18.4 s"],
  [125_000, "2 min 5 s"],
])("%d milliseconds are written %s", (milliseconds, text) => {
  expect(formatMilliseconds(milliseconds)).toBe(text);
});

test.each([
  [45, "45 s"],
  [60, "1 min"],
  [11_520, "3 h 12 min"],
  [187_200, "2 d 4 h"],
])("%d seconds are written %s", (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

test("a moment ago is just now", () => {
  expect(formatAgo(0.3)).toBe("just now");
  expect(formatAgo(12)).toBe("12 s ago");
});
