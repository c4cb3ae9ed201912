// A vector: its size, its first values, and all of it as a strip of shades.

import { Facts } from "@/components/facts";

import { norm, relative } from "./vector";
import styles from "./vector-figure.module.css";

const FIRST_VALUES = 8;

export function VectorFigure({ vector }: { vector: number[] }) {
  const first = vector.slice(0, FIRST_VALUES).map((value) => value.toFixed(4).replace("-", "−"));
  return (
    <>
      <Facts
        large
        facts={[
          { name: "Dimensions", value: vector.length },
          { name: "Length", value: norm(vector).toFixed(4) },
        ]}
      />
      <figure className={styles.figure}>
        <div
          className={styles.strip}
          role="img"
          aria-label={`All ${vector.length} values as shades, negative to positive`}
        >
          {relative(vector).map((share, place) => (
            <span
              key={place}
              className={share < 0 ? styles.negative : styles.positive}
              style={{ opacity: Math.abs(share) }}
              title={`${place}: ${vector[place] ?? 0}`}
            />
          ))}
        </div>
        <figcaption className={styles.legend}>
          <span className={styles.minus}>negative</span>
          <span className={styles.plus}>positive</span>
          <span>stronger is further from zero</span>
        </figcaption>
      </figure>
      <p className={styles.values}>
        <code>
          [{first.join(", ")}
          {vector.length > FIRST_VALUES ? ", …" : ""}]
        </code>
      </p>
    </>
  );
}
