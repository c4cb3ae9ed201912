// What a model takes in memory: weights, caches, adapters if it has any, workspace.

import type { ModelBytes } from "@/api/contract";
import { Meter } from "@/components/meter";
import { formatBytes } from "@/format/bytes";

import styles from "./model-memory.module.css";

const PARTS = [
  { key: "weights", name: "Weights", tone: "accent" },
  { key: "cache", name: "Cache", tone: "second" },
  { key: "adapters", name: "Adapters", tone: "soft" },
  { key: "workspace", name: "Workspace", tone: "third" },
] as const;

export function ModelMemory({ bytes }: { bytes: ModelBytes }) {
  const all = PARTS.map((part) => ({ ...part, value: bytes[part.key] }));
  const parts = all.filter((part) => part.key !== "adapters" || part.value > 0);
  const words = parts.map((part) => `${part.name} ${formatBytes(part.value)}`).join(", ");
  return (
    <div className={styles.bytes}>
      <Meter label="Memory" text={words} total={bytes.total} parts={parts} slim />
      <ul className={styles.legend} aria-hidden="true">
        {parts.map((part) => (
          <li key={part.key} className={styles[part.tone]}>
            {part.name} <strong>{formatBytes(part.value)}</strong>
          </li>
        ))}
      </ul>
    </div>
  );
}
