// Names with a score each, as bars.

import styles from "./score-bars.module.css";

export interface Score {
  name: string;
  /** The bar's length, 0 to 1; what is below shows no bar. */
  share: number;
  /** The figure as written. */
  text: string;
}

export function ScoreBars({ label, scores }: { label: string; scores: Score[] }) {
  return (
    <ol className={styles.list} aria-label={label}>
      {scores.map((score, place) => (
        // Two sentences may be the same; their places are not.
        <li key={place} className={styles.item}>
          <span className={styles.name}>{score.name}</span>
          <span className={styles.figure}>{score.text}</span>
          <span className={styles.track}>
            <span
              className={styles.bar}
              style={{ width: `${Math.min(1, Math.max(0, score.share)) * 100}%` }}
            />
          </span>
        </li>
      ))}
    </ol>
  );
}
