// Text to text, summarization and translation: a text in, another out.

import { useState } from "react";

import type { InferenceRequest, Seq2SeqOptions } from "@/api/contract";
import { Card } from "@/components/card";
import { Disclosure } from "@/components/disclosure";
import { Field } from "@/components/field";
import { fieldError } from "@/inference/fields";
import { OptionFields } from "@/inference/option-fields";
import { readOptions, type OptionTexts } from "@/inference/options";
import { RequestLine } from "@/inference/request-line";
import { RunControls } from "@/inference/run-controls";
import type { TaskViewProps } from "@/inference/task-view";
import { useRun } from "@/inference/use-run";

import { LanguageFields, type Languages } from "./language-fields";
import { OPTIONS } from "./options";
import { WrittenTextsCard } from "./written-texts";

interface Writing {
  task: string;
  title: string;
  button: string;
  example: string;
}

const TEXT_TO_TEXT: Writing = {
  task: "text2text-generation",
  title: "Text to text",
  button: "Answer",
  example: "Is a boat larger than a ship?",
};
const SUMMARIZATION: Writing = {
  task: "summarization",
  title: "Summarization",
  button: "Summarise",
  example:
    'Once there was a small red circle. One day it began to rain. The red circle had no roof. Then a large green star opened a door. "Come in, there is room for two," said the green star. They sat together and listened to the rain.',
};
const TRANSLATION: Writing = {
  task: "translation",
  title: "Translation",
  button: "Translate",
  example:
    "There is a small red circle on the left and a large blue star on the right on a plain ground.",
};

export function Text2TextGenerationView(props: TaskViewProps) {
  return <WritingView {...props} writing={TEXT_TO_TEXT} />;
}

export function SummarizationView(props: TaskViewProps) {
  return <WritingView {...props} writing={SUMMARIZATION} />;
}

export function TranslationView(props: TaskViewProps) {
  return <WritingView {...props} writing={TRANSLATION} />;
}

function WritingView({ model, writing }: TaskViewProps & { writing: Writing }) {
  const run = useRun();
  const [text, setText] = useState(writing.example);
  const [languages, setLanguages] = useState<Languages>({ src_lang: "", tgt_lang: "" });
  const [texts, setTexts] = useState<OptionTexts<keyof Seq2SeqOptions>>({});

  const translates = writing.task === "translation";
  const named = Object.entries(languages).filter(([, language]) => language !== "");
  const options = readOptions(OPTIONS, texts);
  const request: InferenceRequest = {
    model_id: model.model_id,
    task: writing.task,
    inputs: { text, ...(translates ? Object.fromEntries(named) : {}) },
    ...(Object.keys(options).length === 0 ? {} : { options }),
  };

  return (
    <>
      <Card title={writing.title}>
        <Field label="Text" error={fieldError(run.state.error, "inputs.text")}>
          {(control) => (
            <textarea
              {...control}
              rows={4}
              value={text}
              onChange={(event) => {
                setText(event.target.value);
              }}
            />
          )}
        </Field>
        {translates ? (
          <LanguageFields languages={languages} error={run.state.error} onChange={setLanguages} />
        ) : null}
        <Disclosure
          title="Options"
          {...(run.state.error?.field?.startsWith("options") === true ? { open: true } : {})}
        >
          <OptionFields
            options={OPTIONS}
            texts={texts}
            error={run.state.error}
            onChange={setTexts}
          />
        </Disclosure>
        <RunControls
          run={run}
          label={writing.button}
          missing={text === "" ? "Write a text" : null}
          onRun={() => {
            run.send(request);
          }}
        />
        <RequestLine request={request} />
      </Card>
      <WrittenTextsCard state={run.state} />
    </>
  );
}
