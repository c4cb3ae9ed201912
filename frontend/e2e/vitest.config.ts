import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { "@": fileURLToPath(new URL("../src", import.meta.url)) } },
  test: {
    root: fileURLToPath(new URL(".", import.meta.url)),
    include: ["**/*.test.ts"],
    globalSetup: "server.ts",
    testTimeout: 120_000,
    hookTimeout: 60_000,
    // One browser, one server, one order.
    fileParallelism: false,
    sequence: { concurrent: false },
    bail: 1,
  },
});
