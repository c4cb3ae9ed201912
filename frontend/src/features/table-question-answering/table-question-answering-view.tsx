// Questions about tables: a question and a table in, the chosen cells marked in the table, or what the model wrote.

import { useState } from "react";

import type { InferenceRequest, TableAnswer } from "@/api/contract";
import { Card } from "@/components/card";
import { Field } from "@/components/field";
import { parseRows } from "@/format/rows";
import { AnswerCard } from "@/inference/answer-card";
import { fieldError } from "@/inference/fields";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import styles from "./table-question-answering-view.module.css";

const TABLE = `Ship, Built, Passengers
Aurora, 1901, 120
Bella, 1923, 85
Cassandra, 1910, "1,200"`;

export function TableQuestionAnsweringView({ model }: TaskViewProps) {
  const run = useRun();
  const [question, setQuestion] = useState("Which ship was built first?");
  const [text, setText] = useState(TABLE);
  const [truncate, setTruncate] = useState(false);

  const table = parseRows(text);
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "table-question-answering",
    inputs: { question, table },
    ...(truncate ? { options: { truncate } } : {}),
  };
  const missing = question.trim() === "" ? "Write a question" : null;

  return (
    <>
      <Card title="Questions about tables">
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
        <Field
          label="Table"
          hint="A row a line, cells with commas or tabs between; the first line is the header"
          error={fieldError(run.state.error, "inputs.table")}
        >
          {(control) => (
            <textarea
              {...control}
              rows={7}
              value={text}
              onChange={(event) => {
                setText(event.target.value);
              }}
            />
          )}
        </Field>
        <label className={styles.check}>
          <input
            type="checkbox"
            checked={truncate}
            onChange={(event) => {
              setTruncate(event.target.checked);
            }}
          />
          Leave out what does not fit
        </label>
        <RunControls
          run={run}
          label="Answer"
          missing={missing ?? (table.length < 2 ? "Write a header and a row" : null)}
          onRun={() => {
            run.send(request);
          }}
        />
        <RequestLine request={request} />
      </Card>
      <AnswerCard state={run.state}>
        {(output) => {
          // The table that was sent; the form may say something else by now.
          const sent = (run.state.request?.inputs["table"] ?? []) as string[][];
          return <Answer table={sent} output={output as TableAnswer} />;
        }}
      </AnswerCard>
    </>
  );
}

function Answer({ table, output }: { table: string[][]; output: TableAnswer }) {
  const [header = [], ...rows] = table;
  const isChosen = (row: number, column: number) =>
    output.coordinates.some(([inRow, inColumn]) => inRow === row && inColumn === column);
  return (
    <>
      <p className={styles.answer}>{output.answer === "" ? "No cell answers" : output.answer}</p>
      <div className={styles.scroll}>
        <table className={styles.table}>
          <thead>
            <tr>
              {header.map((name, column) => (
                <th key={column} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((cells, row) => (
              <tr key={row}>
                {cells.map((cell, column) => (
                  <td key={column}>{isChosen(row, column) ? <mark>{cell}</mark> : cell}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
