// A bar that shows a share of a whole, or several shares beside each other.

import styles from "./meter.module.css";

export interface MeterPart {
  /** In the unit of the whole. */
  value: number;
  tone: "accent" | "second" | "third" | "soft" | "warn";
}

interface MeterProps {
  label: string;
  /** The bar in words, such as `3.1 MB of 4.4 MB`. */
  text: string;
  total: number;
  parts: MeterPart[];
  slim?: boolean;
}

export function Meter({ label, text, total, parts, slim = false }: MeterProps) {
  const sum = parts.reduce((before, part) => before + part.value, 0);
  const scale = Math.max(total, sum);
  return (
    <div
      className={slim ? [styles.track, styles.slim].join(" ") : styles.track}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={total}
      aria-valuenow={Math.min(sum, total)}
      aria-valuetext={text}
    >
      {parts.map((part) => (
        <span
          key={part.tone}
          className={[styles.part, styles[part.tone]].join(" ")}
          hidden={part.value === 0}
          style={{ width: `${scale === 0 ? 0 : (part.value / scale) * 100}%` }}
        />
      ))}
    </div>
  );
}
