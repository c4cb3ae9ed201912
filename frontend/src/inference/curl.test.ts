import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { curlLine } from "./curl";

const ORIGIN = "http://127.0.0.1:8080";
let folder: string;

// Stands in for curl: writes down its arguments, and what it was piped.
const RECORDER = `#!/bin/sh
printf '%s\\0' "$@" > arguments
case "$*" in *--data-binary*) cat > piped;; esac
`;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "curl-line-"));
  writeFileSync(join(folder, "curl"), RECORDER);
  chmodSync(join(folder, "curl"), 0o755);
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Runs the line in a real shell; answers what curl was given. */
function shell(line: string): string[] {
  const env = { ...process.env, PATH: `${folder}:${process.env["PATH"] ?? ""}` };
  execFileSync("sh", ["-c", line], { cwd: folder, env });
  return readFileSync(join(folder, "arguments"), "utf8").split("\0").slice(0, -1);
}

test("the line sends exactly the request, whatever its text", () => {
  const request = {
    model_id: "zoo/storyteller",
    task: "text-generation",
    inputs: { text: 'it\'s a "test" of $HOME\nand `this` \\ 🟥' },
    options: { seed: 7 },
  };
  const words = shell(curlLine(ORIGIN, request));
  expect(words.slice(0, -1)).toEqual([
    "-N",
    `${ORIGIN}/api/inference/stream`,
    "-X",
    "POST",
    "-H",
    "content-type: application/json",
    "-d",
  ]);
  expect(JSON.parse(words.at(-1) ?? "")).toEqual(request);
});

test("a large file is read from the folder and sent as base64", () => {
  const bytes = Buffer.alloc(6000, "picture");
  writeFileSync(join(folder, "it's a cat.png"), bytes);
  const request = {
    model_id: "zoo/shape-classifier",
    task: "image-classification",
    inputs: { image_base64: `data:image/png;base64,${bytes.toString("base64")}` },
    options: { top_k: 3 },
  };
  const file = { field: "image_base64", name: "it's a cat.png" };
  const line = curlLine(ORIGIN, request, file);
  expect(line.length).toBeLessThan(500);
  expect(shell(line).slice(-2)).toEqual(["--data-binary", "@-"]);
  expect(JSON.parse(readFileSync(join(folder, "piped"), "utf8"))).toEqual({
    ...request,
    inputs: { image_base64: bytes.toString("base64") },
  });
});

test("a small file stands in the line itself", () => {
  const inputs = { image_base64: "data:image/png;base64,aGk=" };
  const request = { model_id: "a/b", task: "image-classification", inputs };
  const words = shell(curlLine(ORIGIN, request, { field: "image_base64", name: "x.png" }));
  expect(JSON.parse(words.at(-1) ?? "")).toEqual(request);
});
