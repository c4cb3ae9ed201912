import { expect, test } from "vitest";

import { OPTIONS } from "./options";

test("no option stands twice in the table", () => {
  expect(new Set(OPTIONS.map((option) => option.name)).size).toBe(OPTIONS.length);
});
