// Text generation: continues a text or a conversation, token by token.

import { useState } from "react";

import type { ChatMessage, InferenceRequest } from "@/api/contract";
import { Card } from "@/components/card";
import { Disclosure } from "@/components/disclosure";
import { Segmented } from "@/components/segmented";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import { isActive } from "@/inference/run-state";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import { ChatForm } from "./chat-form";
import { GeneratedText } from "./generated-text";
import { OptionFields } from "./option-fields";
import { readOptions, type OptionTexts } from "./options";
import { PromptForm } from "./prompt-form";
import { settle } from "./thread";

const MODES = [
  { value: "prompt", label: "Continue a text" },
  { value: "chat", label: "Chat" },
] as const;

type Mode = (typeof MODES)[number]["value"];

const EXAMPLE = "Once upon a time there was a small red circle";

export function TextGenerationView({ model }: TaskViewProps) {
  const run = useRun();
  const [mode, setMode] = useState<Mode>("prompt");
  const [prompt, setPrompt] = useState(EXAMPLE);
  const [thread, setThread] = useState<ChatMessage[]>([]);
  const [message, setMessage] = useState("");
  const [texts, setTexts] = useState<OptionTexts>({ max_new_tokens: "120" });

  const answered = mode === "chat" ? settle(thread, run.state) : thread;
  const nextThread = [...answered, { role: "user", content: message }];
  const options = readOptions(texts);
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "text-generation",
    inputs: mode === "chat" ? { messages: nextThread } : { text: prompt },
    ...(Object.keys(options).length === 0 ? {} : { options }),
  };
  const isEmpty = (mode === "chat" ? message : prompt) === "";
  const fieldAtFault = run.state.error?.field ?? "";

  function send() {
    run.send(request);
    if (mode === "chat") {
      setThread(nextThread);
      setMessage("");
    }
  }

  function change(next: Mode) {
    run.clear();
    setThread([]);
    setMode(next);
  }

  return (
    <>
      <Card
        title="Text generation"
        aside={
          <Segmented label="What to generate" value={mode} choices={MODES} onChange={change} />
        }
      >
        {mode === "chat" ? (
          <ChatForm
            thread={thread}
            run={run}
            message={message}
            onMessage={setMessage}
            onClear={() => {
              run.clear();
              setThread([]);
            }}
          />
        ) : (
          <PromptForm prompt={prompt} error={run.state.error} onPrompt={setPrompt} />
        )}
        <Disclosure
          title="Options"
          note={summary(options)}
          {...(fieldAtFault.startsWith("options") ? { open: true } : {})}
        >
          <OptionFields texts={texts} error={run.state.error} onChange={setTexts} />
        </Disclosure>
        <RunControls
          run={run}
          label={mode === "chat" ? "Send" : "Generate"}
          missing={isEmpty ? (mode === "chat" ? "Write a message" : "Write a prompt") : null}
          onRun={send}
        />
        <RequestLine request={isActive(run.state) ? (run.state.request ?? request) : request} />
      </Card>
      <GeneratedText state={run.state} showText={mode === "prompt"} />
    </>
  );
}

function summary(options: object): string | undefined {
  const words = Object.entries(options).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  return words.length === 0 ? "the model’s defaults" : words.join(", ");
}
