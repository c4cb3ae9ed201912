// What the model wrote: as its tokens arrive where it writes one text, else when the search is over.

import type { WrittenText, WrittenTexts } from "@/api/contract";
import { Card } from "@/components/card";
import { VisuallyHidden } from "@/components/visually-hidden";
import { ErrorNotice } from "@/inference/error-notice";
import { RunFacts } from "@/inference/run-facts";
import { RunProgress } from "@/inference/run-progress";
import { isActive, type RunState } from "@/inference/run-state";

import styles from "./written-texts.module.css";

export function WrittenTextsCard({ state }: { state: RunState }) {
  if (state.phase === "idle") return null;
  const answer = state.answer?.result.task_output as WrittenTexts | undefined;
  const texts = answer === undefined ? [] : choicesOf(answer);
  return (
    <Card title="Answer">
      <VisuallyHidden>
        <span role="status">{announcement(state, texts)}</span>
      </VisuallyHidden>
      <RunProgress state={state} />
      {answer === undefined && state.text !== "" ? (
        <p className={styles.text} aria-busy="true">
          {state.text}
        </p>
      ) : null}
      {texts.length > 1 ? (
        <ol className={styles.list}>
          {texts.map((text, place) => (
            <li key={place} className={styles.text}>
              {text.text}
            </li>
          ))}
        </ol>
      ) : (
        texts.map((text) => (
          <p key="only" className={styles.text} data-testid="written-text">
            {text.text}
          </p>
        ))
      )}
      {state.error === null ? null : <ErrorNotice error={state.error} />}
      {state.answer === null ? null : <RunFacts metadata={state.answer.result.metadata} />}
    </Card>
  );
}

function choicesOf(answer: WrittenTexts): WrittenText[] {
  return "choices" in answer ? answer.choices : [answer];
}

function announcement(state: RunState, texts: WrittenText[]): string {
  const [first] = texts;
  if (first !== undefined) return `Done: ${first.text}`;
  return isActive(state) ? "Working" : "";
}
