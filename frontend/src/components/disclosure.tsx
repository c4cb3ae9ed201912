// Something that opens below its title.

import type { ReactNode } from "react";

import styles from "./disclosure.module.css";

interface DisclosureProps {
  title: string;
  /** A short remark beside the title. */
  note?: string | undefined;
  /** Opens it, for example because a field inside is at fault. */
  open?: boolean;
  children: ReactNode;
}

export function Disclosure({ title, note, open, children }: DisclosureProps) {
  return (
    <details className={styles.disclosure} open={open}>
      <summary className={styles.summary}>
        <span>{title}</span>
        {note === undefined ? null : <span className={styles.note}>{note}</span>}
      </summary>
      <div className={styles.body}>{children}</div>
    </details>
  );
}
