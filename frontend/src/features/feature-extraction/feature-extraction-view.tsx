// Feature extraction: a text in, its vector out.

import { useState } from "react";

import type { EmbeddingAnswer, InferenceRequest } from "@/api/contract";
import { Card } from "@/components/card";
import { Field } from "@/components/field";
import { AnswerCard } from "@/inference/answer-card";
import { fieldError } from "@/inference/fields";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import { VectorFigure } from "./vector-figure";

const EXAMPLE = "a small red circle";

export function FeatureExtractionView({ model }: TaskViewProps) {
  const run = useRun();
  const [text, setText] = useState(EXAMPLE);

  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "feature-extraction",
    inputs: { text },
  };

  return (
    <>
      <Card title="Feature extraction">
        <Field label="Text" error={fieldError(run.state.error, "inputs.text")}>
          {(control) => (
            <textarea
              {...control}
              rows={3}
              value={text}
              onChange={(event) => {
                setText(event.target.value);
              }}
            />
          )}
        </Field>
        <RunControls
          run={run}
          label="Embed"
          missing={text === "" ? "Write a text" : null}
          onRun={() => {
            run.send(request);
          }}
        />
        <RequestLine request={request} />
      </Card>
      <AnswerCard state={run.state}>
        {(output) => <VectorFigure vector={(output as EmbeddingAnswer).embedding} />}
      </AnswerCard>
    </>
  );
}
