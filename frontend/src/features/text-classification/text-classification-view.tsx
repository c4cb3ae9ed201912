// Text classification: a text, or two that are judged together, in; labels with their scores out.

import { useState } from "react";

import type { InferenceRequest, LabelsAnswer } from "@/api/contract";
import { Card } from "@/components/card";
import { Field } from "@/components/field";
import { AnswerCard } from "@/inference/answer-card";
import { fieldError } from "@/inference/fields";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import { LabelBars } from "./label-bars";

export function TextClassificationView({ model }: TaskViewProps) {
  const run = useRun();
  const [text, setText] = useState("What a lovely small boat!");
  const [pair, setPair] = useState("");

  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "text-classification",
    inputs: { text, ...(pair === "" ? {} : { text_pair: pair }) },
  };

  return (
    <>
      <Card title="Text classification">
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
        <Field
          label="Second text"
          hint="For models that judge pairs; else leave it empty"
          error={fieldError(run.state.error, "inputs.text_pair")}
        >
          {(control) => (
            <input
              {...control}
              value={pair}
              onChange={(event) => {
                setPair(event.target.value);
              }}
            />
          )}
        </Field>
        <RunControls
          run={run}
          label="Classify"
          missing={text.trim() === "" ? "Write a text" : null}
          onRun={() => {
            run.send(request);
          }}
        />
        <RequestLine request={request} />
      </Card>
      <AnswerCard state={run.state}>
        {(output) => <LabelBars output={output as LabelsAnswer} />}
      </AnswerCard>
    </>
  );
}
