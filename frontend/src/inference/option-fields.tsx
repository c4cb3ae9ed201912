// One field per option of a view's table.

import type { ApiError } from "@/api/api-error";
import { Field } from "@/components/field";

import { fieldError } from "./fields";
import styles from "./option-fields.module.css";
import type { OptionSpec, OptionTexts } from "./options";

interface OptionFieldsProps<Name extends string> {
  options: readonly OptionSpec<Name>[];
  texts: OptionTexts<Name>;
  error: ApiError | null;
  onChange: (texts: OptionTexts<Name>) => void;
}

export function OptionFields<Name extends string>({
  options,
  texts,
  error,
  onChange,
}: OptionFieldsProps<Name>) {
  return (
    <div className={styles.grid}>
      {options.map(({ name, hint, step }) => (
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
