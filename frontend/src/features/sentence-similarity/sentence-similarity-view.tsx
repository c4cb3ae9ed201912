// Sentence similarity: one sentence against several, as cosine similarities.

import { useState } from "react";

import type { InferenceRequest, SimilarityAnswer } from "@/api/contract";
import { Card } from "@/components/card";
import { Field } from "@/components/field";
import { ScoreBars } from "@/components/score-bars";
import { AnswerCard } from "@/inference/answer-card";
import { fieldError } from "@/inference/fields";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { RunState } from "@/inference/run-state";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import { rankSentences } from "./rank";

const SOURCE = "a small red circle is left of a blue square";
const OTHERS = [
  "a blue square is right of a small red circle",
  "a little circle in red stands beside a square",
  "a large green triangle moves to the top",
].join("\n");

export function SentenceSimilarityView({ model }: TaskViewProps) {
  const run = useRun();
  const [source, setSource] = useState(SOURCE);
  const [others, setOthers] = useState(OTHERS);

  const sentences = others.split("\n").filter((line) => line.trim() !== "");
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "sentence-similarity",
    inputs: { source_sentence: source, sentences },
  };
  const missing = source.trim() === "" ? "Write the source sentence" : null;

  return (
    <>
      <Card title="Sentence similarity">
        <Field
          label="Source sentence"
          error={fieldError(run.state.error, "inputs.source_sentence")}
        >
          {(control) => (
            <input
              {...control}
              value={source}
              onChange={(event) => {
                setSource(event.target.value);
              }}
            />
          )}
        </Field>
        <Field
          label="Sentences to compare"
          hint="One a line"
          error={fieldError(run.state.error, "inputs.sentences")}
        >
          {(control) => (
            <textarea
              {...control}
              rows={4}
              value={others}
              onChange={(event) => {
                setOthers(event.target.value);
              }}
            />
          )}
        </Field>
        <RunControls
          run={run}
          label="Compare"
          missing={missing ?? (sentences.length === 0 ? "Write a sentence to compare" : null)}
          onRun={() => {
            run.send(request);
          }}
        />
        <RequestLine request={request} />
      </Card>
      <AnswerCard state={run.state}>
        {(output) => <Similarities output={output as SimilarityAnswer} state={run.state} />}
      </AnswerCard>
    </>
  );
}

function Similarities({ output, state }: { output: SimilarityAnswer; state: RunState }) {
  // Those that were sent; the form may say something else by now.
  const sent = (state.request?.inputs["sentences"] ?? []) as string[];
  return (
    <ScoreBars
      label="Sentences, nearest first"
      scores={rankSentences(sent, output.scores).map(({ sentence, score }) => ({
        name: sentence,
        share: score,
        text: score.toFixed(3).replace("-", "−"),
      }))}
    />
  );
}
