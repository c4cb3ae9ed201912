// How far a load is, in the bytes that the worker counts.

import type { LoadingEvent } from "@/api/contract";
import { Meter } from "@/components/meter";
import { formatBytes } from "@/format/bytes";
import { formatSeconds } from "@/format/duration";

import styles from "./loading-progress.module.css";

const STATES: Record<string, string> = {
  queued: "Waiting to load",
  downloading: "Downloading",
  loading: "Loading weights",
  warming: "Warming up",
};

export function LoadingProgress({ loading }: { loading: LoadingEvent }) {
  const state = STATES[loading.state] ?? loading.state;
  // Before the headers are read nobody knows the total.
  const isMeasured = loading.bytes_total > 0;
  const bytes = `${formatBytes(loading.bytes_done)} of ${formatBytes(loading.bytes_total)}`;
  return (
    <div className={styles.progress}>
      <p className={styles.words}>
        <span>{state}</span>
        <span className={styles.figures}>
          {isMeasured ? bytes : null}
          {loading.tensors_total > 0
            ? ` · ${loading.tensors_done} of ${loading.tensors_total} tensors`
            : null}
          {typeof loading.eta_s !== "number" ? null : ` · ${formatSeconds(loading.eta_s)} left`}
        </span>
      </p>
      {isMeasured ? (
        <Meter
          label={state}
          text={bytes}
          total={loading.bytes_total}
          parts={[{ value: loading.bytes_done, tone: "accent" }]}
          slim
        />
      ) : null}
      {loading.evicting.length > 0 ? (
        <p className={styles.figures}>Making room: {loading.evicting.join(", ")} leaves</p>
      ) : null}
    </div>
  );
}
