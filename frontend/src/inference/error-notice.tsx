// An error of the server in full: its code, what it says, the field, and the figures that belong to it.

import type { ReactNode } from "react";

import type { ApiError } from "@/api/api-error";
import { Notice } from "@/components/notice";

import styles from "./error-notice.module.css";
import { plainMessage } from "./fields";

export function ErrorNotice({ error, action }: { error: ApiError; action?: ReactNode }) {
  const details = Object.entries(error.details);
  const message = plainMessage(error);
  return (
    <Notice tone="bad" urgent action={action}>
      <p className={styles.head}>
        <code className={styles.code}>{error.code}</code>
        {error.field === null ? null : (
          <>
            <span className={styles.in}>in</span>
            <code>{error.field}</code>
          </>
        )}
        {error.retryable ? <span className={styles.again}>may work if tried again</span> : null}
      </p>
      {message === "" ? null : <p>{message}</p>}
      {details.length === 0 ? null : (
        <dl className={styles.details}>
          {details.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{typeof value === "string" ? value : JSON.stringify(value)}</dd>
            </div>
          ))}
        </dl>
      )}
    </Notice>
  );
}
