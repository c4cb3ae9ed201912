// A labelled control with a hint, and the error that the server named this field in.

import { useId, type ReactNode } from "react";

import styles from "./field.module.css";

/** What the control must carry to belong to its label. */
export interface ControlProps {
  id: string;
  className: string | undefined;
  "aria-describedby": string | undefined;
  "aria-invalid": boolean | undefined;
}

interface FieldProps {
  label: string;
  hint?: string | undefined;
  error?: string | null | undefined;
  children: (control: ControlProps) => ReactNode;
}

export function Field({ label, hint, error, children }: FieldProps) {
  const id = useId();
  const hasError = error !== null && error !== undefined;
  const note = hasError ? error : hint;
  return (
    <div className={styles.field}>
      <label htmlFor={id} className={styles.label}>
        {label}
      </label>
      {children({
        id,
        className: styles.control,
        "aria-describedby": note === undefined ? undefined : `${id}-note`,
        "aria-invalid": hasError ? true : undefined,
      })}
      {note === undefined ? null : (
        <p id={`${id}-note`} className={hasError ? styles.error : styles.hint}>
          {note}
        </p>
      )}
    </div>
  );
}
