// Names and figures beside each other.

import type { ReactNode } from "react";

import styles from "./facts.module.css";

export interface Fact {
  name: string;
  value: ReactNode;
}

/** `large` for the few figures that matter; the rest in small type. */
export function Facts({ facts, large = false }: { facts: Fact[]; large?: boolean }) {
  return (
    <dl className={large ? styles.large : styles.facts}>
      {facts.map((fact) => (
        <div key={fact.name} className={styles.fact}>
          <dt className={styles.name}>{fact.name}</dt>
          <dd className={styles.value}>{fact.value}</dd>
        </div>
      ))}
    </dl>
  );
}
