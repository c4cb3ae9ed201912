import { expect, test } from "vitest";

import { settle } from "./thread";

const ASKED = [{ role: "user", content: "Hello?" }];

test("an answer becomes a turn, also when it was stopped", () => {
  for (const phase of ["done", "stopped"] as const) {
    expect(settle(ASKED, { phase, text: "Hi." })).toEqual([
      ...ASKED,
      { role: "assistant", content: "Hi." },
    ]);
  }
});

test("a message that was never answered is left out", () => {
  expect(settle(ASKED, { phase: "failed", text: "" })).toEqual([]);
  expect(settle(ASKED, { phase: "stopped", text: "" })).toEqual([]);
});

test("an empty conversation stays empty", () => {
  expect(settle([], { phase: "idle", text: "" })).toEqual([]);
});
