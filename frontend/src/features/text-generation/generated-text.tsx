// The text as its tokens arrive, with their rate, and afterwards the server's own figures.

import type { TextAnswer } from "@/api/contract";
import { Card } from "@/components/card";
import { Facts, type Fact } from "@/components/facts";
import { VisuallyHidden } from "@/components/visually-hidden";
import { formatMilliseconds } from "@/format/duration";
import { ErrorNotice } from "@/inference/error-notice";
import { RunFacts } from "@/inference/run-facts";
import { RunProgress } from "@/inference/run-progress";
import {
  firstTokenMilliseconds,
  isActive,
  tokensPerSecond,
  type RunState,
} from "@/inference/run-state";

import styles from "./generated-text.module.css";

const FINISHES: Record<string, string> = {
  stop: "the model ended the text",
  length: "max_new_tokens was reached",
  stop_string: "a stop string came up",
};

/** With `showText` false only the figures: the text stands in the conversation. */
export function GeneratedText({ state, showText }: { state: RunState; showText: boolean }) {
  if (state.phase === "idle") return null;
  const active = isActive(state);
  const answer = state.answer?.result.task_output as TextAnswer | undefined;
  const prompt = showText ? state.request?.inputs["text"] : "";
  // The answer counts: it is what the server stands for.
  const text = answer?.text ?? state.text;
  return (
    <Card title="Answer">
      <VisuallyHidden>
        <span role="status">{announcement(state, answer)}</span>
      </VisuallyHidden>
      <RunProgress state={state} />
      {showText && (text !== "" || active) ? (
        <p className={styles.text} data-testid="generated-text" aria-busy={active}>
          <span className={styles.prompt}>{typeof prompt === "string" ? prompt : ""}</span>
          {text}
          {active ? <span className={styles.caret} aria-hidden="true" /> : null}
        </p>
      ) : null}
      {state.error === null ? null : <ErrorNotice error={state.error} />}
      {state.tokens > 0 || answer !== undefined ? (
        <Facts large facts={figures(state, answer)} />
      ) : null}
      {answer === undefined ? null : (
        <p className={styles.finish}>
          Ended because {FINISHES[answer.finish_reason] ?? answer.finish_reason}.
        </p>
      )}
      {state.answer === null ? null : <RunFacts metadata={state.answer.result.metadata} />}
    </Card>
  );
}

/** The server's figures once it has given them, before that what the page sees. */
function figures(state: RunState, answer: TextAnswer | undefined): Fact[] {
  const rate = state.answer?.tokens_per_second ?? tokensPerSecond(state);
  const first = state.answer?.first_token_latency_ms ?? firstTokenMilliseconds(state);
  const facts: Fact[] = [{ name: "Tokens", value: answer?.generated_tokens ?? state.tokens }];
  if (rate !== null)
    facts.push({ name: "Tokens per second", value: rate.toFixed(rate < 10 ? 1 : 0) });
  if (first !== null) facts.push({ name: "First token after", value: formatMilliseconds(first) });
  const promptTokens = answer?.prompt_tokens ?? state.start?.prompt_tokens;
  if (typeof promptTokens === "number") facts.push({ name: "Prompt tokens", value: promptTokens });
  const kept = answer?.cached_tokens ?? 0;
  if (kept > 0) facts.push({ name: "Of these, kept of an earlier text", value: kept });
  return facts;
}

function announcement(state: RunState, answer: TextAnswer | undefined): string {
  if (answer !== undefined) return `Done: ${answer.text}`;
  return isActive(state) ? "Working" : "";
}
