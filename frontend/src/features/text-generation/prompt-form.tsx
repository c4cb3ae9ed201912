// The text that the model continues.

import type { ApiError } from "@/api/api-error";
import { Field } from "@/components/field";
import { fieldError } from "@/inference/fields";

interface PromptFormProps {
  prompt: string;
  error: ApiError | null;
  onPrompt: (prompt: string) => void;
}

export function PromptForm({ prompt, error, onPrompt }: PromptFormProps) {
  return (
    <Field label="Prompt" error={fieldError(error, "inputs.text")}>
      {(control) => (
        <textarea
          {...control}
          rows={3}
          value={prompt}
          onChange={(event) => {
            onPrompt(event.target.value);
          }}
        />
      )}
    </Field>
  );
}
