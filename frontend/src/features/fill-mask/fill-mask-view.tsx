// Fill-mask: a text with gaps in, the sentences that the likeliest tokens make of it.

import { useState } from "react";

import type { FilledMasks, InferenceRequest } from "@/api/contract";
import { Card } from "@/components/card";
import { Field } from "@/components/field";
import { ScoreBars } from "@/components/score-bars";
import { formatPercent } from "@/format/percent";
import { AnswerCard } from "@/inference/answer-card";
import { fieldError } from "@/inference/fields";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import styles from "./fill-mask-view.module.css";

export function FillMaskView({ model }: TaskViewProps) {
  const run = useRun();
  const [text, setText] = useState("Mia has a small red circle. The circle of Mia is [MASK].");
  const [topK, setTopK] = useState("5");
  const [targets, setTargets] = useState("");

  const words = targets.split("\n").filter((line) => line !== "");
  const options = {
    ...(topK === "" ? {} : { top_k: Number(topK) }),
    ...(words.length === 0 ? {} : { targets: words }),
  };
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "fill-mask",
    inputs: { text },
    ...(Object.keys(options).length === 0 ? {} : { options }),
  };

  return (
    <>
      <Card title="Fill the gap">
        <Field
          label="Text"
          hint="A gap is the model’s own mask token, such as [MASK] or <mask>"
          error={fieldError(run.state.error, "inputs.text")}
        >
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
        <div className={styles.options}>
          <Field
            label="top_k"
            hint="How many tokens"
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
          <Field
            label="targets"
            hint="Only these, one a line"
            error={fieldError(run.state.error, "options.targets")}
          >
            {(control) => (
              <textarea
                {...control}
                rows={1}
                value={targets}
                onChange={(event) => {
                  setTargets(event.target.value);
                }}
              />
            )}
          </Field>
        </div>
        <RunControls
          run={run}
          label="Fill"
          missing={text.trim() === "" ? "Write a text with a gap" : null}
          onRun={() => {
            run.send(request);
          }}
        />
        <RequestLine request={request} />
      </Card>
      <AnswerCard state={run.state}>
        {(output) => <Filled masks={(output as FilledMasks).masks} />}
      </AnswerCard>
    </>
  );
}

function Filled({ masks }: { masks: FilledMasks["masks"] }) {
  return masks.map(({ predictions }, place) => {
    const name = masks.length === 1 ? "The gap" : `Gap ${place + 1}`;
    return (
      <section key={place} className={styles.gap}>
        {masks.length === 1 ? null : <h3 className={styles.name}>{name}</h3>}
        <ScoreBars
          label={`${name}, likeliest first`}
          scores={predictions.map(({ sequence, token_str, score }) => ({
            name: sequence,
            share: score,
            text: `${token_str.trim()} · ${formatPercent(score)}`,
          }))}
        />
      </section>
    );
  });
}
