// From which language into which, in the model's own spelling.

import type { ApiError } from "@/api/api-error";
import { Field } from "@/components/field";
import { fieldError } from "@/inference/fields";
import styles from "@/inference/option-fields.module.css";

export interface Languages {
  src_lang: string;
  tgt_lang: string;
}

interface LanguageFieldsProps {
  languages: Languages;
  error: ApiError | null;
  onChange: (languages: Languages) => void;
}

const FIELDS = [
  { name: "src_lang", label: "From", hint: "As the model writes it: en, en_XX, eng_Latn" },
  { name: "tgt_lang", label: "Into", hint: "Empty where the model knows one pair" },
] as const;

export function LanguageFields({ languages, error, onChange }: LanguageFieldsProps) {
  return (
    <div className={styles.grid}>
      {FIELDS.map(({ name, label, hint }) => (
        <Field key={name} label={label} hint={hint} error={fieldError(error, `inputs.${name}`)}>
          {(control) => (
            <input
              {...control}
              placeholder="the model’s own"
              value={languages[name]}
              onChange={(event) => {
                onChange({ ...languages, [name]: event.target.value.trim() });
              }}
            />
          )}
        </Field>
      ))}
    </div>
  );
}
