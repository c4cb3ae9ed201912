// Which server the browser test talks to: the one that ANYMODEL_URL names, else the stand-in over `dist`.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import type { TestProject } from "vitest/node";

import { startStandIn } from "./stand-in/server";

declare module "vitest" {
  export interface ProvidedContext {
    baseUrl: string;
    isStandIn: boolean;
  }
}

export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const url = process.env["ANYMODEL_URL"];
  if (url !== undefined && url !== "") {
    provide("baseUrl", url.replace(/\/$/, ""));
    provide("isStandIn", false);
    return () => Promise.resolve();
  }
  const dist = fileURLToPath(new URL("../dist", import.meta.url));
  if (!existsSync(dist)) throw new Error("dist is missing: run `npm run build` first");
  const standIn = await startStandIn(dist);
  provide("baseUrl", standIn.url);
  provide("isStandIn", true);
  return standIn.stop;
}
