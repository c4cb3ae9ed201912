// A conversation between two turns.

import type { ChatMessage } from "@/api/contract";
import type { RunState } from "@/inference/run-state";

/**
 * The conversation that the next message continues: with the answer to the newest message, complete
 * or stopped. A message that was never answered is left out, since no model takes two in a row.
 */
export function settle(
  thread: ChatMessage[],
  { phase, text }: Pick<RunState, "phase" | "text">,
): ChatMessage[] {
  if (thread.at(-1)?.role !== "user") return thread;
  const isAnswered = (phase === "done" || phase === "stopped") && text !== "";
  return isAnswered ? [...thread, { role: "assistant", content: text }] : thread.slice(0, -1);
}
