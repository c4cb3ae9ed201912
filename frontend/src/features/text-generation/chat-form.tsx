// A conversation: what was said so far, and the next message.

import type { ChatMessage } from "@/api/contract";
import { Button } from "@/components/button";
import { Field } from "@/components/field";
import { fieldError } from "@/inference/fields";
import { isActive } from "@/inference/run-state";
import type { Run } from "@/inference/use-run";

import styles from "./chat-form.module.css";

interface ChatFormProps {
  /** Up to the newest message of the user; the answer to it is still in the run. */
  thread: ChatMessage[];
  run: Run;
  message: string;
  onMessage: (message: string) => void;
  onClear: () => void;
}

export function ChatForm({ thread, run, message, onMessage, onClear }: ChatFormProps) {
  const { state } = run;
  const answer = state.phase === "idle" ? null : state.text;
  return (
    <>
      {thread.length === 0 ? null : (
        <div className={styles.thread} role="log" aria-label="Conversation" aria-live="off">
          {thread.map((turn, place) => (
            <p key={place} className={turn.role === "user" ? styles.user : styles.model}>
              {turn.content}
            </p>
          ))}
          {answer === null || (answer === "" && !isActive(state)) ? null : (
            <p className={styles.model}>
              {answer}
              {isActive(state) ? <span className={styles.caret} aria-hidden="true" /> : null}
            </p>
          )}
          <Button small className={styles.clear} onClick={onClear}>
            New conversation
          </Button>
        </div>
      )}
      <Field label="Message" error={fieldError(state.error, "inputs.messages")}>
        {(control) => (
          <textarea
            {...control}
            rows={2}
            value={message}
            onChange={(event) => {
              onMessage(event.target.value);
            }}
          />
        )}
      </Field>
    </>
  );
}
