// Text to image: a text in, pictures out.

import { useState } from "react";

import type { InferenceRequest, TextToImageOptions } from "@/api/contract";
import { Card } from "@/components/card";
import { Disclosure } from "@/components/disclosure";
import { Field } from "@/components/field";
import { fieldError } from "@/inference/fields";
import { OptionFields } from "@/inference/option-fields";
import { readOptions, type OptionTexts } from "@/inference/options";
import type { Picture } from "@/inference/picture";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import { TEXT_TO_IMAGE } from "./options";
import { PaintingCards } from "./painting-cards";
import { PictureFile } from "./picture-file";

export function TextToImageView({ model }: TaskViewProps) {
  const run = useRun();
  const [text, setText] = useState("a small red circle on blue");
  const [negative, setNegative] = useState("");
  const [control, setControl] = useState<Picture | null>(null);
  const [texts, setTexts] = useState<OptionTexts<keyof TextToImageOptions>>({ preview_every: "2" });

  const { error } = run.state;
  const options = readOptions(TEXT_TO_IMAGE, texts);
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "text-to-image",
    inputs: {
      text,
      ...(negative === "" ? {} : { negative_prompt: negative }),
      ...(control === null ? {} : { control_image_base64: control.dataUri }),
    },
    ...(Object.keys(options).length === 0 ? {} : { options }),
  };

  return (
    <>
      <Card title="Text to image">
        <Field label="Text" error={fieldError(error, "inputs.text")}>
          {(control) => (
            <textarea
              {...control}
              rows={2}
              value={text}
              onChange={(event) => {
                setText(event.target.value);
              }}
            />
          )}
        </Field>
        <Field
          label="Not"
          hint="What the picture should not show"
          error={fieldError(error, "inputs.negative_prompt")}
        >
          {(control) => (
            <input
              {...control}
              type="text"
              value={negative}
              onChange={(event) => {
                setNegative(event.target.value);
              }}
            />
          )}
        </Field>
        <PictureFile
          label="Paint after"
          hint="Edges or a pose, for models with a ControlNet"
          error={fieldError(error, "inputs.control_image_base64")}
          onPicture={setControl}
        />
        <Disclosure
          title="Options"
          {...(error?.field?.startsWith("options") === true ? { open: true } : {})}
        >
          <OptionFields options={TEXT_TO_IMAGE} texts={texts} error={error} onChange={setTexts} />
        </Disclosure>
        <RunControls
          run={run}
          label="Paint"
          missing={null}
          onRun={() => {
            run.send(request);
          }}
        />
        {control === null ? (
          <RequestLine request={request} />
        ) : (
          <RequestLine
            request={request}
            file={{ field: "control_image_base64", name: control.name }}
          />
        )}
      </Card>
      <PaintingCards state={run.state} alt={text} />
    </>
  );
}
