import { expect, test } from "vitest";

import { formatBytes } from "./bytes";

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.00 kB"],
  [4_404_019, "4.40 MB"],
  [99_960, "100 kB"],
  [999_900, "1.00 MB"],
  [548_105_171, "548 MB"],
  [139_000_000_000, "139 GB"],
  [-2_000_000, "−2.00 MB"],
])("%d bytes are written %s, never apart from their unit", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text.replace(" ", "\u00a0"));
});
