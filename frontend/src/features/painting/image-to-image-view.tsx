// Image to image: a picture and a text in, other pictures out; with a mask only where it is white.

import { useState } from "react";

import type { ImageToImageOptions, InferenceRequest } from "@/api/contract";
import { Card } from "@/components/card";
import { Disclosure } from "@/components/disclosure";
import { Field } from "@/components/field";
import { fieldError } from "@/inference/fields";
import { OptionFields } from "@/inference/option-fields";
import { readOptions, type OptionTexts } from "@/inference/options";
import type { Picture } from "@/inference/picture";
import { PictureInput } from "@/inference/picture-input";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import { IMAGE_TO_IMAGE } from "./options";
import { PaintingCards } from "./painting-cards";
import { PictureFile } from "./picture-file";

export function ImageToImageView({ model }: TaskViewProps) {
  const run = useRun();
  const [text, setText] = useState("a small blue circle");
  const [picture, setPicture] = useState<Picture | null>(null);
  const [mask, setMask] = useState<Picture | null>(null);
  const [control, setControl] = useState<Picture | null>(null);
  const [texts, setTexts] = useState<OptionTexts<keyof ImageToImageOptions>>({
    preview_every: "2",
  });

  const { error } = run.state;
  const options = readOptions(IMAGE_TO_IMAGE, texts);
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: "image-to-image",
    inputs: {
      image_base64: picture?.dataUri ?? "",
      text,
      ...(mask === null ? {} : { mask_base64: mask.dataUri }),
      ...(control === null ? {} : { control_image_base64: control.dataUri }),
    },
    ...(Object.keys(options).length === 0 ? {} : { options }),
  };

  return (
    <>
      <Card title="Image to image">
        <PictureInput
          picture={picture}
          error={fieldError(error, "inputs.image_base64")}
          onPicture={(chosen) => {
            run.clear();
            setPicture(chosen);
          }}
        />
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
        <PictureFile
          label="Mask"
          hint="White where the picture is painted anew"
          error={fieldError(error, "inputs.mask_base64")}
          onPicture={setMask}
        />
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
          <OptionFields options={IMAGE_TO_IMAGE} texts={texts} error={error} onChange={setTexts} />
        </Disclosure>
        <RunControls
          run={run}
          label="Paint"
          missing={picture === null ? "Choose a picture" : null}
          onRun={() => {
            run.send(request);
          }}
        />
        {picture === null || mask !== null || control !== null ? null : (
          <RequestLine request={request} file={{ field: "image_base64", name: picture.name }} />
        )}
      </Card>
      <PaintingCards state={run.state} alt={text} />
    </>
  );
}
