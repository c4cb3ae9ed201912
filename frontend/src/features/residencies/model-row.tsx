// One model in memory: where it is in its life, what it costs, and how to be rid of it.

import type { SeenModel } from "@/api/fleet";
import type { ResidencyStatus } from "@/api/contract";
import { Button } from "@/components/button";
import { Facts, type Fact } from "@/components/facts";
import { formatBytes } from "@/format/bytes";
import { formatAgo, formatMilliseconds } from "@/format/duration";
import { LoadingProgress } from "@/inference/loading-progress";

import { ModelMemory } from "./model-memory";
import styles from "./model-row.module.css";

interface ModelRowProps {
  model: SeenModel;
  /** Milliseconds of the page's own clock. */
  now: number;
  isUnloading: boolean;
  onUnload: () => void;
}

export function ModelRow({ model, now, isUnloading, onUnload }: ModelRowProps) {
  const busy = model.in_flight > 0 || model.queued > 0;
  return (
    <li className={styles.row} data-testid={`in memory ${model.model_id}`}>
      <div className={styles.head}>
        <h3 className={styles.name}>{model.model_id}</h3>
        <span className={[styles.state, styles[tone(model.status, busy)]].join(" ")}>
          {stateWords(model)}
        </span>
      </div>
      {!model.loading ? null : <LoadingProgress loading={model.loading} />}
      {!model.last_error ? null : (
        <p className={styles.error}>
          <code>{model.last_error.code}</code> {model.last_error.message}
        </p>
      )}
      <ModelMemory bytes={model.bytes} />
      <div className={styles.foot}>
        <Facts facts={facts(model, now)} />
        <Button
          small
          aria-label={`Unload ${model.model_id}`}
          disabled={isUnloading || isLeaving(model.status)}
          onClick={onUnload}
        >
          {isUnloading ? "Unloading…" : "Unload"}
        </Button>
      </div>
    </li>
  );
}

function facts(model: SeenModel, now: number): Fact[] {
  const facts: Fact[] = [
    { name: "Where", value: [model.worker, model.device].filter(Boolean).join(" · ") },
    { name: "Type", value: model.dtype },
  ];
  // One repository can be in memory as several kinds of model.
  if (model.kind) facts.push({ name: "As", value: model.kind.replaceAll("_", " ") });
  if (typeof model.load_time_ms === "number") {
    facts.push({ name: "Loaded in", value: formatMilliseconds(model.load_time_ms) });
  }
  const since = Math.max(0, now - model.seenAt) / 1000;
  const usedAgo = model.last_used_s_ago;
  facts.push({
    name: "Last used",
    value: typeof usedAgo === "number" ? formatAgo(usedAgo + since) : "never",
  });
  const { measured } = model.bytes;
  if (typeof measured === "number") facts.push({ name: "Measured", value: formatBytes(measured) });
  return facts;
}

function stateWords(model: SeenModel): string {
  if (model.in_flight > 0) {
    const waiting = model.queued > 0 ? `, ${model.queued} waiting` : "";
    return `${model.in_flight} running${waiting}`;
  }
  return model.pinned ? `${model.status}, pinned` : model.status;
}

function tone(status: ResidencyStatus, busy: boolean): "busy" | "ready" | "failed" | "moving" {
  if (status === "failed") return "failed";
  if (status !== "ready") return "moving";
  return busy ? "busy" : "ready";
}

function isLeaving(status: ResidencyStatus): boolean {
  return status === "draining" || status === "releasing";
}
