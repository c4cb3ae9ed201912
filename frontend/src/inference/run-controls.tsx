// Run and Stop, and the keys that do the same.

import { useEffect } from "react";

import { Button } from "@/components/button";

import styles from "./run-controls.module.css";
import { isActive } from "./run-state";
import type { Run } from "./use-run";

interface RunControlsProps {
  run: Run;
  label: string;
  /** Why it can't be run yet, or null. */
  missing: string | null;
  onRun: () => void;
}

export function RunControls({ run, label, missing, onRun }: RunControlsProps) {
  const active = isActive(run.state);

  useEffect(() => {
    function onKey(event: KeyboardEvent) {
      if (
        event.key === "Enter" &&
        (event.ctrlKey || event.metaKey) &&
        !active &&
        missing === null
      ) {
        event.preventDefault();
        onRun();
      }
      if (event.key === "Escape" && active) run.stop();
    }
    window.addEventListener("keydown", onKey);
    return () => {
      window.removeEventListener("keydown", onKey);
    };
  });

  return (
    <div className={styles.controls}>
      {active ? (
        <Button onClick={run.stop}>Stop</Button>
      ) : (
        <Button kind="primary" disabled={missing !== null} onClick={onRun}>
          {label}
        </Button>
      )}
      <span className={missing === null ? [styles.hint, styles.keys].join(" ") : styles.hint}>
        {missing ?? (active ? "Esc stops" : "Ctrl + Enter")}
      </span>
    </div>
  );
}
