// Question answering: a question and a text in, the answer marked in the text.

import { useState } from "react";

import type { InferenceRequest, QuestionAnswer } from "@/api/contract";
import { Card } from "@/components/card";
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

import styles from "./question-answering-view.module.css";

const CONTEXT =
  "Mia has a small red circle. It lies on the left. Tom has a large blue star. Tom works for Ashford Motors.";

export function QuestionAnsweringView({ model }: TaskViewProps) {
  const run = useRun();
  const [question, setQuestion] = useState("Where is the red circle?");
  const [context, setContext] = useState(CONTEXT);
  const [topK, setTopK] = useState("3");
  const [mayBeNone, setMayBeNone] = useState(false);

  const options = {
    ...(topK === "" ? {} : { top_k: Number(topK) }),
    ...(mayBeNone ? { handle_impossible_answer: true } : {}),
  };
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "question-answering",
    inputs: { question, context },
    ...(Object.keys(options).length === 0 ? {} : { options }),
  };
  const missing = question.trim() === "" ? "Write a question" : null;

  return (
    <>
      <Card title="Question answering">
        <Field label="Question" error={fieldError(run.state.error, "inputs.question")}>
          {(control) => (
            <input
              {...control}
              value={question}
              onChange={(event) => {
                setQuestion(event.target.value);
              }}
            />
          )}
        </Field>
        <Field label="Text" error={fieldError(run.state.error, "inputs.context")}>
          {(control) => (
            <textarea
              {...control}
              rows={6}
              value={context}
              onChange={(event) => {
                setContext(event.target.value);
              }}
            />
          )}
        </Field>
        <div className={styles.options}>
          <Field
            label="top_k"
            hint="How many answers"
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
          <label className={styles.check}>
            <input
              type="checkbox"
              checked={mayBeNone}
              onChange={(event) => {
                setMayBeNone(event.target.checked);
              }}
            />
            The text may have no answer
          </label>
        </div>
        <RunControls
          run={run}
          label="Answer"
          missing={missing ?? (context.trim() === "" ? "Write a text" : null)}
          onRun={() => {
            run.send(request);
          }}
        />
        <RequestLine request={request} />
      </Card>
      <AnswerCard state={run.state}>
        {(output) => {
          // The text that was sent; the form may say something else by now.
          const sent = (run.state.request?.inputs["context"] ?? "") as string;
          return <Answers context={sent} best={output as QuestionAnswer} />;
        }}
      </AnswerCard>
    </>
  );
}

function Answers({ context, best }: { context: string; best: QuestionAnswer }) {
  return (
    <>
      <MarkedText text={context} marks={[{ start: best.start, end: best.end, label: "" }]} />
      <ScoreBars
        label="Answers, likeliest first"
        scores={best.answers.map(({ answer, score }) => ({
          name: answer === "" ? "no answer" : answer,
          share: score,
          text: formatPercent(score),
        }))}
      />
    </>
  );
}
