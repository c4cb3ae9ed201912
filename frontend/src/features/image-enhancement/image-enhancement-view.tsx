// Super-resolution and restoration: a picture in, a larger or a better one out, piece by piece.

import { useState } from "react";

import type { ImageEnhancementOptions, ImagesAnswer, InferenceRequest } from "@/api/contract";
import { Card } from "@/components/card";
import { Disclosure } from "@/components/disclosure";
import { Field } from "@/components/field";
import { Segmented } from "@/components/segmented";
import { AnswerCard } from "@/inference/answer-card";
import { fieldError } from "@/inference/fields";
import { MadePicture } from "@/inference/made-picture";
import { OptionFields } from "@/inference/option-fields";
import { readOptions, type OptionSpec, type OptionTexts } from "@/inference/options";
import type { Picture } from "@/inference/picture";
import { PictureInput } from "@/inference/picture-input";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import styles from "./image-enhancement-view.module.css";

const FORMATS = [
  { value: "png", label: "PNG" },
  { value: "jpeg", label: "JPEG" },
  { value: "webp", label: "WebP" },
] as const;

type Format = (typeof FORMATS)[number]["value"];

/** Of models that paint the larger picture in steps. */
const PAINTING: readonly OptionSpec<keyof ImageEnhancementOptions>[] = [
  { name: "num_inference_steps", hint: "From noise to a picture", step: 1 },
  { name: "guidance_scale", hint: "How closely the text is followed", step: 0.5 },
  { name: "noise_level", hint: "How much noise the given picture gets", step: 1 },
  { name: "num_images", hint: "So many pictures", step: 1 },
  { name: "seed", hint: "The same seed paints the same", step: 1 },
];

interface Words {
  task: string;
  title: string;
  verb: string;
  /** Name of the file that is saved. */
  file: string;
  /** Whether models that paint do it too. */
  isPainted: boolean;
}

const LARGER: Words = {
  task: "image-super-resolution",
  title: "Super-resolution",
  verb: "Enlarge",
  file: "larger",
  isPainted: true,
};

const BETTER: Words = {
  task: "image-restoration",
  title: "Restoration",
  verb: "Repair",
  file: "repaired",
  isPainted: false,
};

export function SuperResolutionView(props: TaskViewProps) {
  return <EnhancementView {...props} words={LARGER} />;
}

export function RestorationView(props: TaskViewProps) {
  return <EnhancementView {...props} words={BETTER} />;
}

function EnhancementView({ model, words }: TaskViewProps & { words: Words }) {
  const run = useRun();
  const [picture, setPicture] = useState<Picture | null>(null);
  const [format, setFormat] = useState<Format>("png");
  const [tile, setTile] = useState("");
  const [text, setText] = useState("");
  const [texts, setTexts] = useState<OptionTexts<keyof ImageEnhancementOptions>>({});

  const { error } = run.state;
  const options: Record<string, unknown> = {
    ...readOptions(PAINTING, texts),
    ...(format === "png" ? {} : { format }),
    ...(tile === "" ? {} : { tile: Number(tile) }),
  };
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: words.task,
    inputs: { image_base64: picture?.dataUri ?? "", ...(text === "" ? {} : { text }) },
    ...(Object.keys(options).length === 0 ? {} : { options }),
  };

  return (
    <>
      <Card title={words.title}>
        <PictureInput
          picture={picture}
          error={fieldError(error, "inputs.image_base64")}
          onPicture={(chosen) => {
            // What was made of another picture must not lie on this one.
            run.clear();
            setPicture(chosen);
          }}
        />
        <div className={styles.options}>
          <Segmented label="Format" value={format} choices={FORMATS} onChange={setFormat} />
          <Field
            label="tile"
            hint="Side of the pieces it is made in, in pixels"
            error={fieldError(error, "options.tile")}
          >
            {(control) => (
              <input
                {...control}
                type="number"
                min={32}
                max={512}
                placeholder="default"
                value={tile}
                onChange={(event) => {
                  setTile(event.target.value);
                }}
              />
            )}
          </Field>
        </div>
        {words.isPainted ? (
          <Disclosure title="For models that paint">
            <Field
              label="Text"
              hint="What the picture shows"
              error={fieldError(error, "inputs.text")}
            >
              {(control) => (
                <input
                  {...control}
                  type="text"
                  value={text}
                  onChange={(event) => {
                    setText(event.target.value);
                  }}
                />
              )}
            </Field>
            <OptionFields options={PAINTING} texts={texts} error={error} onChange={setTexts} />
          </Disclosure>
        ) : null}
        <RunControls
          run={run}
          label={words.verb}
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
        {(output) =>
          (output as ImagesAnswer).images.map((made, at) => (
            <MadePicture key={at} made={made} before={picture?.dataUri} name={words.file} />
          ))
        }
      </AnswerCard>
    </>
  );
}
