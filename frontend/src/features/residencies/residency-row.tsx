// One model in memory: where it is in its life, what it costs, and how to be rid of it.

import type { SeenResidency } from "@/api/fleet";
import type { ResidencyStatus } from "@/api/contract";
import { Button } from "@/components/button";
import { Facts, type Fact } from "@/components/facts";
import { VisuallyHidden } from "@/components/visually-hidden";
import { formatBytes } from "@/format/bytes";
import { formatAgo, formatMilliseconds } from "@/format/duration";
import { LoadingProgress } from "@/inference/loading-progress";

import { ResidencyBytes } from "./residency-bytes";
import styles from "./residency-row.module.css";

interface ResidencyRowProps {
  residency: SeenResidency;
  /** Milliseconds of the page's own clock. */
  now: number;
  isUnloading: boolean;
  onUnload: () => void;
}

export function ResidencyRow({ residency, now, isUnloading, onUnload }: ResidencyRowProps) {
  const busy = residency.in_flight > 0 || residency.queued > 0;
  return (
    <li className={styles.row} data-testid={`residency ${residency.model_id}`}>
      <div className={styles.head}>
        <h3 className={styles.name}>{residency.model_id}</h3>
        <span className={[styles.state, styles[tone(residency.status, busy)]].join(" ")}>
          {stateWords(residency)}
        </span>
      </div>
      {residency.loading === undefined ? null : <LoadingProgress loading={residency.loading} />}
      {residency.last_error === undefined ? null : (
        <p className={styles.error}>
          <code>{residency.last_error.code}</code> {residency.last_error.message}
        </p>
      )}
      {residency.bytes.map((bytes) => (
        <ResidencyBytes key={bytes.device} bytes={bytes} />
      ))}
      <div className={styles.foot}>
        <Facts facts={facts(residency, now)} />
        <Button small disabled={isUnloading || isLeaving(residency.status)} onClick={onUnload}>
          {isUnloading ? "Unloading…" : "Unload"}
          <VisuallyHidden> {residency.model_id}</VisuallyHidden>
        </Button>
      </div>
    </li>
  );
}

function facts(residency: SeenResidency, now: number): Fact[] {
  const devices = residency.bytes.map((bytes) => bytes.device).join(", ");
  const facts: Fact[] = [
    { name: "Where", value: [residency.worker, devices].filter(Boolean).join(" · ") },
    { name: "Type", value: residency.dtype },
  ];
  if (residency.load_time_ms !== undefined) {
    facts.push({ name: "Loaded in", value: formatMilliseconds(residency.load_time_ms) });
  }
  const since = Math.max(0, now - residency.seenAt) / 1000;
  const isUsed = residency.last_used_s_ago !== undefined;
  facts.push({
    name: "Last used",
    value: isUsed ? formatAgo((residency.last_used_s_ago ?? 0) + since) : "never",
  });
  const measured = residency.bytes.reduce((sum, bytes) => sum + (bytes.measured ?? 0), 0);
  if (measured > 0) facts.push({ name: "Measured", value: formatBytes(measured) });
  return facts;
}

function stateWords(residency: SeenResidency): string {
  if (residency.in_flight > 0) {
    const waiting = residency.queued > 0 ? `, ${residency.queued} waiting` : "";
    return `${residency.in_flight} running${waiting}`;
  }
  return residency.pinned ? `${residency.status}, pinned` : residency.status;
}

function tone(status: ResidencyStatus, busy: boolean): "busy" | "ready" | "failed" | "moving" {
  if (status === "failed") return "failed";
  if (status !== "ready") return "moving";
  return busy ? "busy" : "ready";
}

function isLeaving(status: ResidencyStatus): boolean {
  return status === "draining" || status === "releasing";
}
