// What the server is doing for a run, in its own words; nothing is guessed.

import { Meter } from "@/components/meter";
import { formatSeconds } from "@/format/duration";

import { LoadingProgress } from "./loading-progress";
import styles from "./run-progress.module.css";
import type { RunState } from "./run-state";

const REASONS: Record<string, string> = {
  busy: "the model is busy",
  loading: "the model is being loaded",
  no_room: "there is no room for the model yet",
};

/** Tasks whose steps are steps; others count tokens. */
const PAINTS = new Set([
  "text-to-image",
  "image-to-image",
  "unconditional-image-generation",
  "image-super-resolution",
]);

export function RunProgress({ state }: { state: RunState }) {
  if (state.phase === "loading" && state.loading !== null) {
    return <LoadingProgress loading={state.loading} />;
  }
  if (state.phase === "running" && state.progress !== null) {
    const { step, total_steps, eta_s } = state.progress;
    // A task that takes a fixed number of steps says so when it starts; the others count tokens.
    const isFixed = typeof state.start?.total_steps === "number";
    const left = typeof eta_s === "number" && eta_s > 0 ? ` · ${formatSeconds(eta_s)} left` : "";
    return (
      <Meter
        label="Progress"
        text={
          isFixed || PAINTS.has(state.request?.task ?? "")
            ? `Step ${String(step)} of ${String(total_steps)}${left}`
            : `${String(step)} of at most ${String(total_steps)} tokens`
        }
        total={total_steps}
        parts={[{ value: step, tone: "accent" }]}
      />
    );
  }
  const words = progressWords(state);
  return words === null ? null : (
    <p className={styles.words}>
      <span className={styles.dot} aria-hidden="true" />
      {words}
    </p>
  );
}

function progressWords(state: RunState): string | null {
  switch (state.phase) {
    case "sending":
      return "Sent; waiting for the server";
    case "queued":
      return state.queued === null
        ? "Queued"
        : `Place ${state.queued.position} in the queue: ${REASONS[state.queued.reason] ?? state.queued.reason}`;
    case "running":
      return state.start === null
        ? "Running"
        : `Running on ${state.start.device} of ${state.start.worker} in ${state.start.dtype}`;
    case "stopped":
      return "Stopped; the server was told to cancel";
    default:
      return null;
  }
}
