// The status stream, opened again for as long as someone watches.

import type { FleetEvent } from "./fleet";

const PATH = "/api/models/status/stream";
const EVENTS = ["snapshot", "model", "model_gone", "worker"] as const;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 8000;

export interface StatusWatcher {
  onEvent: (event: FleetEvent) => void;
  onLink: (link: "live" | "reconnecting") => void;
}

/** Watches until the answered function is called. */
export function watchStatus(watcher: StatusWatcher): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let retryMs = FIRST_RETRY_MS;

  function open() {
    const opened = new EventSource(PATH);
    source = opened;
    opened.onopen = () => {
      retryMs = FIRST_RETRY_MS;
      watcher.onLink("live");
    };
    opened.onerror = () => {
      // The browser gives up for good on some failures (an HTTP error); the page doesn't.
      opened.close();
      watcher.onLink("reconnecting");
      clearTimeout(timer);
      timer = setTimeout(open, retryMs);
      retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
    };
    for (const type of EVENTS) {
      opened.addEventListener(type, (message: MessageEvent<string>) => {
        watcher.onEvent({ ...(JSON.parse(message.data) as object), type } as FleetEvent);
      });
    }
  }

  open();
  return () => {
    clearTimeout(timer);
    source?.close();
  };
}
