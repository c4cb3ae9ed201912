import { execFileSync } from "node:child_process";

import { expect, test } from "vitest";

import { shellQuote } from "./shell";

test.each(["plain", "it's", `"$HOME" \`x\` \\n !`, "two\nlines", "'", "", "ünïcode 🟥"])(
  "a shell gives back %j",
  (text) => {
    const out = execFileSync("sh", ["-c", `printf %s ${shellQuote(text)}`]);
    expect(out.toString()).toBe(text);
  },
);
