// Zero-shot classification: a text and labels in words in, how well each label fits out.

import { useState } from "react";

import type { InferenceRequest, LabelsAnswer } from "@/api/contract";
import { Card } from "@/components/card";
import { Field } from "@/components/field";
import { Segmented } from "@/components/segmented";
import { AnswerCard } from "@/inference/answer-card";
import { fieldError } from "@/inference/fields";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import { LabelBars } from "./label-bars";

const CHOICES = [
  { value: "one", label: "One of them" },
  { value: "each", label: "Each by itself" },
] as const;

export function ZeroShotClassificationView({ model }: TaskViewProps) {
  const run = useRun();
  const [text, setText] = useState("There is a tiny crimson disc on the left.");
  const [lines, setLines] = useState("red\nblue\ngreen");
  const [template, setTemplate] = useState("");
  const [choice, setChoice] = useState<"one" | "each">("one");

  const labels = lines.split("\n").filter((line) => line.trim() !== "");
  const options = {
    ...(choice === "each" ? { multi_label: true } : {}),
    ...(template === "" ? {} : { hypothesis_template: template }),
  };
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "zero-shot-classification",
    inputs: { text, labels },
    ...(Object.keys(options).length === 0 ? {} : { options }),
  };
  const missing = text.trim() === "" ? "Write a text" : null;

  return (
    <>
      <Card title="Zero-shot classification">
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
          label="Labels"
          hint="One a line"
          error={fieldError(run.state.error, "inputs.labels")}
        >
          {(control) => (
            <textarea
              {...control}
              rows={4}
              value={lines}
              onChange={(event) => {
                setLines(event.target.value);
              }}
            />
          )}
        </Field>
        <Segmented label="Which may hold" value={choice} choices={CHOICES} onChange={setChoice} />
        <Field
          label="hypothesis_template"
          hint="A sentence with {} for the label"
          error={fieldError(run.state.error, "options.hypothesis_template")}
        >
          {(control) => (
            <input
              {...control}
              placeholder="This example is {}."
              value={template}
              onChange={(event) => {
                setTemplate(event.target.value);
              }}
            />
          )}
        </Field>
        <RunControls
          run={run}
          label="Choose"
          missing={missing ?? (labels.length === 0 ? "Write a label" : null)}
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
