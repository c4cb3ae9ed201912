import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { watchStatus } from "./live-status";

type Listener = (message: { data: string }) => void;

/** Stands in for the browser's own, which jsdom doesn't have. */
class FakeEventSource {
  static opened: FakeEventSource[] = [];
  onopen: () => void = () => undefined;
  onerror: () => void = () => undefined;
  isClosed = false;
  readonly url: string;
  readonly #listeners = new Map<string, Listener>();

  constructor(url: string) {
    this.url = url;
    FakeEventSource.opened.push(this);
  }

  addEventListener(type: string, listener: Listener) {
    this.#listeners.set(type, listener);
  }

  send(type: string, data: object) {
    this.#listeners.get(type)?.({ data: JSON.stringify(data) });
  }

  close() {
    this.isClosed = true;
  }
}

beforeEach(() => {
  FakeEventSource.opened = [];
  vi.stubGlobal("EventSource", FakeEventSource);
  vi.useFakeTimers();
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function newest(): FakeEventSource {
  const source = FakeEventSource.opened.at(-1);
  if (source === undefined) throw new Error("nothing was opened");
  return source;
}

test("events come through with their type", () => {
  const onEvent = vi.fn();
  watchStatus({ onEvent, onLink: vi.fn() });
  newest().send("worker", { id: "w" });
  expect(onEvent).toHaveBeenCalledWith({ type: "worker", id: "w" });
});

test("a broken stream is opened again, each time after a longer while", () => {
  const onLink = vi.fn();
  watchStatus({ onEvent: vi.fn(), onLink });
  newest().onopen();
  newest().onerror();
  expect(onLink.mock.calls).toEqual([["live"], ["reconnecting"]]);
  vi.advanceTimersByTime(499);
  expect(FakeEventSource.opened).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(FakeEventSource.opened).toHaveLength(2);
  newest().onerror();
  vi.advanceTimersByTime(999);
  expect(FakeEventSource.opened).toHaveLength(2);
  vi.advanceTimersByTime(1);
  expect(FakeEventSource.opened).toHaveLength(3);
});

test("who stops watching leaves nothing open", () => {
  const stop = watchStatus({ onEvent: vi.fn(), onLink: vi.fn() });
  newest().onerror();
  stop();
  vi.advanceTimersByTime(60_000);
  expect(FakeEventSource.opened).toHaveLength(1);
  expect(newest().isClosed).toBe(true);
});
