import { expect, test } from "vitest";

import { readApiError } from "@/api/api-error";

import { fieldError, plainMessage } from "./fields";

function errorIn(field: string) {
  const message = `${field}: must be at least 0`;
  return readApiError({ code: "invalid_request", message, details: { field } }, 422);
}

test("an error belongs to its field and to what holds that field", () => {
  expect(fieldError(errorIn("options.top_k"), "options.top_k")).toBe("must be at least 0");
  expect(fieldError(errorIn("inputs.messages[0].role"), "inputs.messages")).not.toBeNull();
  expect(fieldError(errorIn("options.top_k"), "options.top_p")).toBeNull();
  expect(fieldError(errorIn("options.top_k"), "options.top")).toBeNull();
  expect(fieldError(null, "options.top_k")).toBeNull();
});

test("a message that does not begin with its field stays whole", () => {
  const error = readApiError({ code: "no_worker", message: "x: no worker" }, 503);
  expect(plainMessage(error)).toBe("x: no worker");
});
