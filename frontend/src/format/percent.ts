// Shares as people read them.

/** `0.1234` as `12.3 %`. */
export function formatPercent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
