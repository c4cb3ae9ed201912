// Text ranking and text retrieval: a query and candidates in, the candidates best first out.

import { useState } from "react";

import type { InferenceRequest, RankingAnswer } from "@/api/contract";
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

interface Ranking {
  task: string;
  title: string;
  button: string;
}

const RANKING: Ranking = { task: "text-ranking", title: "Text ranking", button: "Rank" };
const RETRIEVAL: Ranking = { task: "text-retrieval", title: "Text retrieval", button: "Find" };

const QUERY = "Where is the small red circle?";
const CANDIDATES = [
  "Mia has a small red circle. It lies on the left.",
  "Tom has a large blue circle. It lies at the top.",
  "The boat left the harbour at noon.",
].join("\n");

export function TextRankingView(props: TaskViewProps) {
  return <RankingView {...props} ranking={RANKING} />;
}

export function TextRetrievalView(props: TaskViewProps) {
  return <RankingView {...props} ranking={RETRIEVAL} />;
}

function RankingView({ model, ranking }: TaskViewProps & { ranking: Ranking }) {
  const run = useRun();
  const [query, setQuery] = useState(QUERY);
  const [lines, setLines] = useState(CANDIDATES);

  const candidates = lines.split("\n").filter((line) => line.trim() !== "");
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: ranking.task,
    inputs: { query, candidates },
  };
  const missing = query.trim() === "" ? "Write a query" : null;

  return (
    <>
      <Card title={ranking.title}>
        <Field label="Query" error={fieldError(run.state.error, "inputs.query")}>
          {(control) => (
            <input
              {...control}
              value={query}
              onChange={(event) => {
                setQuery(event.target.value);
              }}
            />
          )}
        </Field>
        <Field
          label="Candidates"
          hint="One a line"
          error={fieldError(run.state.error, "inputs.candidates")}
        >
          {(control) => (
            <textarea
              {...control}
              rows={5}
              value={lines}
              onChange={(event) => {
                setLines(event.target.value);
              }}
            />
          )}
        </Field>
        <RunControls
          run={run}
          label={ranking.button}
          missing={missing ?? (candidates.length === 0 ? "Write a candidate" : null)}
          onRun={() => {
            run.send(request);
          }}
        />
        <RequestLine request={request} />
      </Card>
      <AnswerCard state={run.state}>
        {(output) => <Ranked output={output as RankingAnswer} state={run.state} />}
      </AnswerCard>
    </>
  );
}

function Ranked({ output, state }: { output: RankingAnswer; state: RunState }) {
  // Those that were sent; the form may say something else by now.
  const sent = (state.request?.inputs["candidates"] ?? []) as string[];
  return (
    <ScoreBars
      label="Candidates, best first"
      scores={output.results.map(({ index, score }) => ({
        name: sent[index] ?? "",
        share: score,
        text: score.toFixed(3).replace("-", "−"),
      }))}
    />
  );
}
