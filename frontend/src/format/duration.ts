// Lengths of time as people read them.

/** Milliseconds: `0.84 ms`, `84 ms`, `1.84 s`, `2 min 5 s`. */
export function formatMilliseconds(milliseconds: number): string {
  if (milliseconds < 10) return `${milliseconds.toFixed(milliseconds < 1 ? 2 : 1)} ms`;
  if (milliseconds < 999.5) return `${milliseconds.toFixed(0)} ms`;
  if (milliseconds < 59_950)
    return `${(milliseconds / 1000).toFixed(milliseconds < 9_995 ? 2 : 1)} s`;
  return formatSeconds(milliseconds / 1000);
}

/** Whole seconds in the two largest units: `45 s`, `2 min 5 s`, `3 h 12 min`, `2 d 4 h`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return pair(whole, 60, "min", 1, "s");
  if (whole < 86_400) return pair(whole, 3600, "h", 60, "min");
  return pair(whole, 86_400, "d", 3600, "h");
}

/** How long ago, for a list that refreshes every second: `just now`, `12 s ago`. */
export function formatAgo(seconds: number): string {
  return seconds < 1.5 ? "just now" : `${formatSeconds(seconds)} ago`;
}

function pair(seconds: number, large: number, largeUnit: string, small: number, smallUnit: string) {
  const first = Math.floor(seconds / large);
  const second = Math.floor((seconds % large) / small);
  return second === 0 ? `${first} ${largeUnit}` : `${first} ${largeUnit} ${second} ${smallUnit}`;
}
