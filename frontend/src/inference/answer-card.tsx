// The frame of an answer that arrives whole: progress, error, the answer, how it was made.

import type { ReactNode } from "react";

import { Card } from "@/components/card";

import styles from "./answer-card.module.css";
import { ErrorNotice } from "./error-notice";
import { RunFacts } from "./run-facts";
import { RunProgress } from "./run-progress";
import type { RunState } from "./run-state";

interface AnswerCardProps {
  state: RunState;
  /** Shows `task_output`, whose shape goes by the task. */
  children: (output: unknown) => ReactNode;
}

export function AnswerCard({ state, children }: AnswerCardProps) {
  if (state.phase === "idle") return null;
  return (
    <Card title="Answer">
      <div role="status" className={styles.progress}>
        <RunProgress state={state} />
      </div>
      {state.error === null ? null : <ErrorNotice error={state.error} />}
      {state.answer === null ? null : (
        <>
          {children(state.answer.result.task_output)}
          <RunFacts metadata={state.answer.result.metadata} />
        </>
      )}
    </Card>
  );
}
