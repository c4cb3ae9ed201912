// Bytes as people read them: decimal units, three figures.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** `4404019` → `4.40 MB`. Whole bytes below 1,000; three significant figures above. */
export function formatBytes(bytes: number): string {
  let value = Math.abs(bytes);
  let unit = 0;
  // 999.5 would be written 1000 with three figures.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const sign = bytes < 0 ? "−" : "";
  return `${sign}${unit === 0 ? String(Math.round(value)) : threeFigures(value)}\u00a0${UNITS[unit] ?? ""}`;
}

function threeFigures(value: number): string {
  return value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
}
