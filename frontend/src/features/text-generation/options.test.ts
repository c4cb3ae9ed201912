import { expect, test } from "vitest";

import { OPTIONS, readOptions } from "./options";

test("empty fields are left to the model", () => {
  expect(readOptions({ temperature: "", seed: "  " })).toEqual({});
});

test("every field comes out in its own type", () => {
  const texts = {
    max_new_tokens: "32",
    temperature: "0.7",
    do_sample: "false",
    stop: "END\n\nthe end",
  };
  expect(readOptions(texts)).toEqual({
    max_new_tokens: 32,
    temperature: 0.7,
    do_sample: false,
    stop: ["END", "the end"],
  });
});

test("what is no number is left for the server to refuse", () => {
  expect(readOptions({ top_k: "many" })).toEqual({ top_k: "many" });
});

test("no option stands twice in the table", () => {
  expect(new Set(OPTIONS.map((option) => option.name)).size).toBe(OPTIONS.length);
});
