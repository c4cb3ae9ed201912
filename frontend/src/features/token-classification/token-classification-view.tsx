// Token classification: a text in, its names and terms marked in it.

import { useState } from "react";

import type { EntitiesAnswer, InferenceRequest } from "@/api/contract";
import { Card } from "@/components/card";
import { Empty } from "@/components/empty";
import { Field } from "@/components/field";
import { MarkedText } from "@/components/marked-text";
import { ScoreBars } from "@/components/score-bars";
import { formatPercent } from "@/format/percent";
import { AnswerCard } from "@/inference/answer-card";
import { fieldError } from "@/inference/fields";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import styles from "./token-classification-view.module.css";

const STRATEGIES = ["none", "simple", "first", "average", "max"];

export function TokenClassificationView({ model }: TaskViewProps) {
  const run = useRun();
  const [text, setText] = useState("Ada Lovelace was born in London.");
  const [strategy, setStrategy] = useState("");
  const [stride, setStride] = useState("");

  const options = {
    ...(strategy === "" ? {} : { aggregation_strategy: strategy }),
    ...(stride === "" ? {} : { stride: Number(stride) }),
  };
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "token-classification",
    inputs: { text },
    ...(Object.keys(options).length === 0 ? {} : { options }),
  };

  return (
    <>
      <Card title="Token classification">
        <Field label="Text" error={fieldError(run.state.error, "inputs.text")}>
          {(control) => (
            <textarea
              {...control}
              rows={5}
              value={text}
              onChange={(event) => {
                setText(event.target.value);
              }}
            />
          )}
        </Field>
        <div className={styles.options}>
          <Field
            label="aggregation_strategy"
            hint="How tokens become words"
            error={fieldError(run.state.error, "options.aggregation_strategy")}
          >
            {(control) => (
              <select
                {...control}
                value={strategy}
                onChange={(event) => {
                  setStrategy(event.target.value);
                }}
              >
                <option value="">default</option>
                {STRATEGIES.map((name) => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            )}
          </Field>
          <Field
            label="stride"
            hint="Reads long texts in windows"
            error={fieldError(run.state.error, "options.stride")}
          >
            {(control) => (
              <input
                {...control}
                type="number"
                min={0}
                placeholder="none"
                value={stride}
                onChange={(event) => {
                  setStride(event.target.value);
                }}
              />
            )}
          </Field>
        </div>
        <RunControls
          run={run}
          label="Find"
          missing={text.trim() === "" ? "Write a text" : null}
          onRun={() => {
            run.send(request);
          }}
        />
        <RequestLine request={request} />
      </Card>
      <AnswerCard state={run.state}>
        {(output) => {
          // The text that was sent; the form may say something else by now.
          const sent = (run.state.request?.inputs["text"] ?? "") as string;
          return <Found text={sent} answer={output as EntitiesAnswer} />;
        }}
      </AnswerCard>
    </>
  );
}

function Found({ text, answer }: { text: string; answer: EntitiesAnswer }) {
  const found = answer.entities.map((entity) => ({
    ...entity,
    label: entity.entity_group ?? entity.entity ?? "",
  }));
  return (
    <>
      <MarkedText text={text} marks={found} />
      {found.length === 0 ? (
        <Empty>Nothing was found.</Empty>
      ) : (
        <ScoreBars
          label="What was found, in the order of the text"
          scores={found.map(({ word, label, score }) => ({
            name: `${word} · ${label}`,
            share: score,
            text: formatPercent(score),
          }))}
        />
      )}
    </>
  );
}
