// Unconditional generation: nothing in, pictures out.

import { useState } from "react";

import type { InferenceRequest, UnconditionalImageGenerationOptions } from "@/api/contract";
import { Card } from "@/components/card";
import { Disclosure } from "@/components/disclosure";
import { OptionFields } from "@/inference/option-fields";
import { readOptions, type OptionTexts } from "@/inference/options";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import { UNCONDITIONAL } from "./options";
import { PaintingCards } from "./painting-cards";

export function UnconditionalView({ model }: TaskViewProps) {
  const run = useRun();
  const [texts, setTexts] = useState<OptionTexts<keyof UnconditionalImageGenerationOptions>>({
    preview_every: "10",
  });

  const { error } = run.state;
  const options = readOptions(UNCONDITIONAL, texts);
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "unconditional-image-generation",
    inputs: {},
    ...(Object.keys(options).length === 0 ? {} : { options }),
  };

  return (
    <>
      <Card title="Pictures like those that the model has seen">
        <Disclosure
          title="Options"
          {...(error?.field?.startsWith("options") === true ? { open: true } : {})}
        >
          <OptionFields options={UNCONDITIONAL} texts={texts} error={error} onChange={setTexts} />
        </Disclosure>
        <RunControls
          run={run}
          label="Paint"
          missing={null}
          onRun={() => {
            run.send(request);
          }}
        />
        <RequestLine request={request} />
      </Card>
      <PaintingCards state={run.state} alt="What the model made" />
    </>
  );
}
