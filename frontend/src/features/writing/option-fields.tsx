// One field per option of the table.

import type { ApiError } from "@/api/api-error";
import { Field } from "@/components/field";
import { fieldError } from "@/inference/fields";

import styles from "./option-fields.module.css";
import { OPTIONS, type OptionTexts } from "./options";

interface OptionFieldsProps {
  texts: OptionTexts;
  error: ApiError | null;
  onChange: (texts: OptionTexts) => void;
}

export function OptionFields({ texts, error, onChange }: OptionFieldsProps) {
  return (
    <div className={styles.grid}>
      {OPTIONS.map(({ name, hint, step }) => (
        <Field key={name} label={name} hint={hint} error={fieldError(error, `options.${name}`)}>
          {(control) => (
            <input
              {...control}
              type="number"
              inputMode={step === 1 ? "numeric" : "decimal"}
              step={step}
              placeholder="default"
              value={texts[name] ?? ""}
              onChange={(event) => {
                onChange({ ...texts, [name]: event.target.value });
              }}
            />
          )}
        </Field>
      ))}
    </div>
  );
}
