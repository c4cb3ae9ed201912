// A remark on the state of things that asks for attention.

import type { ReactNode } from "react";

import styles from "./notice.module.css";

interface NoticeProps {
  tone: "info" | "warn" | "bad";
  /** Spoken at once by screen readers. */
  urgent?: boolean;
  children: ReactNode;
  action?: ReactNode;
}

export function Notice({ tone, urgent = false, children, action }: NoticeProps) {
  return (
    <div className={[styles.notice, styles[tone]].join(" ")} role={urgent ? "alert" : "status"}>
      <div className={styles.body}>{children}</div>
      {action}
    </div>
  );
}
