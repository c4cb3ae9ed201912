// The page in a real browser: each kind of model runs, tokens arrive over time, a model leaves memory.

import { execFileSync } from "node:child_process";

import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from "vitest";

import { launchBrowser, takeScreenshot } from "./browser";

const STORYTELLER = "zoo/storyteller";
const CLASSIFIER = "zoo/shape-classifier";
const SENTENCES = "zoo/sentences";

/** Longest wait for something that includes a load. */
const PATIENCE_MS = 60_000;

const baseUrl = inject("baseUrl");
let browser: Browser;
let page: Page;
let complaints: string[];

beforeAll(async () => {
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser.close();
});

beforeEach(async () => {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    // An HTTP error that the page shows is also a line of the console.
    const isRefusal = message.text().startsWith("Failed to load resource");
    if (message.type() === "error" && !isRefusal) complaints.push(message.text());
  });
  await page.goto(baseUrl);
});

afterEach(async () => {
  await page.context().close();
  expect(complaints).toEqual([]);
});

async function choose(modelId: string): Promise<void> {
  // `check` looks at once whether the box changed; the page's own state decides that, one render later.
  await page.getByRole("radio", { name: modelId }).click({ force: true });
  await page.getByRole("main").getByText(modelId, { exact: true }).waitFor();
}

async function run(button: string): Promise<void> {
  await page.getByRole("button", { name: button, exact: true }).click();
}

/** The figures that stand under every complete answer. */
async function waitForAnswer(): Promise<void> {
  await page.getByText("Model time").waitFor();
}

async function curlLine(): Promise<string> {
  await page.getByText("The same with curl").click();
  const line = await page.locator("pre code").textContent();
  return line ?? "";
}

test("tokens arrive one after the other, and the figures follow", async () => {
  await choose(STORYTELLER);
  await page.getByText("Options", { exact: true }).click();
  // A short story takes a fast model fewer frames than could be told apart.
  await page.getByLabel("max_new_tokens").fill("400");
  await page.getByLabel("min_new_tokens").fill("400");
  await page.evaluate(() => {
    const lengths: number[] = [];
    Object.assign(window, { lengths });
    new MutationObserver(() => {
      const text = document.querySelector("[data-testid=generated-text]")?.textContent ?? "";
      if (text.length !== lengths.at(-1)) lengths.push(text.length);
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await run("Generate");
  await waitForAnswer();
  const lengths = await page.evaluate(() => (window as unknown as { lengths: number[] }).lengths);
  expect(lengths.length).toBeGreaterThan(5);
  expect([...lengths].sort((a, b) => a - b)).toEqual(lengths);
  await page.getByText("Tokens per second").waitFor();
  await page.getByText("First token after").waitFor();

  await page.getByLabel("max_new_tokens").fill("120");
  await page.getByLabel("min_new_tokens").fill("");
  await page.getByText("Options", { exact: true }).click();
  await run("Generate");
  await waitForAnswer();
  await takeScreenshot(page, "text-generation");
});

test("Stop ends a run and keeps what was said", async () => {
  await choose(STORYTELLER);
  await page.getByText("Options", { exact: true }).click();
  // Long enough that a fast model is still at it when Escape is pressed.
  await page.getByLabel("max_new_tokens").fill("450");
  await page.getByLabel("min_new_tokens").fill("450");
  await run("Generate");
  await page.waitForFunction(() => {
    const tokens = document.querySelector("[data-testid=generated-text]")?.textContent ?? "";
    return tokens.length > 60;
  });
  await page.keyboard.press("Escape");
  await page.getByText("the server was told to cancel").waitFor();
  expect(await page.getByTestId("generated-text").textContent()).not.toBe("");
  await page.getByRole("button", { name: "Generate" }).waitFor();
});

test("an option out of range is refused at its field", async () => {
  await choose(STORYTELLER);
  await page.getByText("Options", { exact: true }).click();
  await page.getByLabel("temperature").fill("-1");
  await run("Generate");
  const alert = page.getByRole("alert");
  await alert.getByText("options.temperature", { exact: true }).waitFor();
  expect(await alert.textContent()).toContain("invalid_request");
  expect(await page.getByLabel("temperature").getAttribute("aria-invalid")).toBe("true");
  await takeScreenshot(page, "refused-option");
});

test("a picture gets labels with their scores", async () => {
  await choose(CLASSIFIER);
  await run("red circle");
  await page.getByAltText("Chosen: red-circle.png").waitFor();
  await run("Classify");
  await waitForAnswer();
  const labels = page.getByRole("list", { name: "Labels, likeliest first" }).getByRole("listitem");
  const texts = await labels.allTextContents();
  expect(texts).toHaveLength(5);
  expect(texts[0]).toMatch(/red.*circle|circle.*red/);
  await takeScreenshot(page, "image-classification");
});

test("sentences are compared and a text becomes a vector", async () => {
  await choose(SENTENCES);
  await page.getByRole("radio", { name: "Sentence similarity" }).check({ force: true });
  await run("Compare");
  await waitForAnswer();
  const scores = page.getByRole("list", { name: "Sentences, nearest first" }).getByRole("listitem");
  expect(await scores.count()).toBe(3);
  await takeScreenshot(page, "sentence-similarity");
  await page.getByRole("radio", { name: "Feature extraction" }).check({ force: true });
  await run("Embed");
  await waitForAnswer();
  await page.getByText("Dimensions").waitFor();
  await takeScreenshot(page, "feature-extraction");
});

test("the curl line answers what the page answers", async () => {
  await choose(STORYTELLER);
  await page.getByLabel("Prompt").fill('It\'s a "red" circle');
  const text = execFileSync("sh", ["-c", `${await curlLine()} -s`], { timeout: PATIENCE_MS });
  expect(text.toString()).toContain("event: done");
});

test("a model is unloaded and its bytes come back", async () => {
  await choose(CLASSIFIER);
  await run("blue square");
  await run("Classify");
  await waitForAnswer();
  const row = page.getByTestId(`in memory ${CLASSIFIER}`);
  await row.getByText("Loaded in").waitFor();
  await row.getByRole("button", { name: `Unload ${CLASSIFIER}` }).click();
  await page.getByText(/ freed$/).waitFor();
  await row.waitFor({ state: "detached" });
  await takeScreenshot(page, "unloaded");
});

test("the page is whole in the dark and on a phone", async () => {
  await choose(STORYTELLER);
  await page.getByRole("radio", { name: "Dark" }).check({ force: true });
  await run("Generate");
  await waitForAnswer();
  await takeScreenshot(page, "dark");
  await page.setViewportSize({ width: 390, height: 844 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow).toBeLessThanOrEqual(0);
  await takeScreenshot(page, "phone");
});

test("a server that goes away is said to be gone, and comes back", async () => {
  await page.getByText("Live", { exact: true }).waitFor();
  await page.route("**/api/models/status/stream", (route) => route.abort());
  await page.reload();
  await page.getByText("Server gone; reconnecting…").waitFor();
  await takeScreenshot(page, "server-gone");
  await page.unroute("**/api/models/status/stream");
  await page.getByText("Live", { exact: true }).waitFor();
});
