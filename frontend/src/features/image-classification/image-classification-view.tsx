// Image classification: a picture in, labels with their scores out.

import { useState } from "react";

import type { InferenceRequest, LabelsAnswer } from "@/api/contract";
import { Card } from "@/components/card";
import { Field } from "@/components/field";
import { ScoreBars } from "@/components/score-bars";
import { AnswerCard } from "@/inference/answer-card";
import { fieldError } from "@/inference/fields";
import type { Picture } from "@/inference/picture";
import { PictureInput } from "@/inference/picture-input";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import styles from "./image-classification-view.module.css";

export function ImageClassificationView({ model }: TaskViewProps) {
  const run = useRun();
  const [picture, setPicture] = useState<Picture | null>(null);
  const [topK, setTopK] = useState("5");

  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "image-classification",
    inputs: { image_base64: picture?.dataUri ?? "" },
    ...(topK === "" ? {} : { options: { top_k: Number(topK) } }),
  };

  return (
    <>
      <Card title="Image classification">
        <PictureInput
          picture={picture}
          error={fieldError(run.state.error, "inputs.image_base64")}
          onPicture={(chosen) => {
            // Labels beside another picture than theirs would be a lie.
            run.clear();
            setPicture(chosen);
          }}
        />
        <div className={styles.options}>
          <Field
            label="top_k"
            hint="How many labels"
            error={fieldError(run.state.error, "options.top_k")}
          >
            {(control) => (
              <input
                {...control}
                type="number"
                min={1}
                placeholder="default"
                value={topK}
                onChange={(event) => {
                  setTopK(event.target.value);
                }}
              />
            )}
          </Field>
        </div>
        <RunControls
          run={run}
          label="Classify"
          missing={picture === null ? "Choose a picture" : null}
          onRun={() => {
            run.send(request);
          }}
        />
        {picture === null ? null : (
          <RequestLine request={request} file={{ field: "image_base64", name: picture.name }} />
        )}
      </Card>
      <AnswerCard state={run.state}>
        {(output) => {
          const { predictions } = output as LabelsAnswer;
          return (
            <ScoreBars
              label="Labels, likeliest first"
              scores={predictions.map(({ label, score }) => ({
                name: label,
                share: score,
                text: `${(score * 100).toFixed(1)} %`,
              }))}
            />
          );
        }}
      </AnswerCard>
    </>
  );
}
