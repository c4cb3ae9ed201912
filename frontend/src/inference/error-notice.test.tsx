// @vitest-environment jsdom
import { render, screen } from "@testing-library/react";
import { expect, test } from "vitest";

import { readApiError } from "@/api/api-error";

import { ErrorNotice } from "./error-notice";

test("shows code, message, field and figures", () => {
  const details = { field: "inputs.text", tokens: 900, limit: 512 };
  render(
    <ErrorNotice
      error={readApiError({ code: "input_too_long", message: "too long", details }, 422)}
    />,
  );
  const alert = screen.getByRole("alert").textContent;
  for (const part of ["input_too_long", "too long", "inputs.text", "900", "512"]) {
    expect(alert).toContain(part);
  }
});
