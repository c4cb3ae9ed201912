import { expect, test } from "vitest";

import { readOptions, type OptionSpec } from "./options";

const OPTIONS: readonly OptionSpec<"beams" | "penalty" | "seed">[] = [
  { name: "beams", hint: "", step: 1 },
  { name: "penalty", hint: "", step: 0.1 },
  { name: "seed", hint: "", step: 1 },
];

test("only fields that say something become options", () => {
  expect(readOptions(OPTIONS, { beams: "4", penalty: "0.5", seed: " " })).toEqual({
    beams: 4,
    penalty: 0.5,
  });
});

test("what is no number is left for the server to refuse", () => {
  expect(readOptions(OPTIONS, { beams: "many" })).toEqual({ beams: "many" });
});
