import { expect, test } from "vitest";

import { OPTIONS, readOptions } from "./options";

test("only fields that say something become options", () => {
  expect(readOptions({ num_beams: "4", length_penalty: "0.5", seed: " " })).toEqual({
    num_beams: 4,
    length_penalty: 0.5,
  });
});

test("what is no number is left for the server to refuse", () => {
  expect(readOptions({ num_beams: "many" })).toEqual({ num_beams: "many" });
});

test("no option stands twice in the table", () => {
  expect(new Set(OPTIONS.map((option) => option.name)).size).toBe(OPTIONS.length);
});
