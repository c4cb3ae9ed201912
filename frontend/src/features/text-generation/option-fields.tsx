// One field per option of the table.

import { Field, type ControlProps } from "@/components/field";
import { fieldError } from "@/inference/fields";
import type { ApiError } from "@/api/api-error";

import styles from "./option-fields.module.css";
import { OPTIONS, type OptionSpec, type OptionTexts } from "./options";

interface OptionFieldsProps {
  texts: OptionTexts;
  error: ApiError | null;
  onChange: (texts: OptionTexts) => void;
}

export function OptionFields({ texts, error, onChange }: OptionFieldsProps) {
  return (
    <div className={styles.grid}>
      {OPTIONS.map((spec) => (
        <Field
          key={spec.name}
          label={spec.name}
          hint={spec.hint}
          error={fieldError(error, `options.${spec.name}`)}
        >
          {(control) => (
            <OptionControl
              spec={spec}
              control={control}
              value={texts[spec.name] ?? ""}
              onChange={(text) => {
                onChange({ ...texts, [spec.name]: text });
              }}
            />
          )}
        </Field>
      ))}
    </div>
  );
}

interface OptionControlProps {
  spec: OptionSpec;
  control: ControlProps;
  value: string;
  onChange: (text: string) => void;
}

function OptionControl({ spec, control, value, onChange }: OptionControlProps) {
  function change(event: { target: { value: string } }) {
    onChange(event.target.value);
  }
  if (spec.kind === "choice") {
    return (
      <select {...control} value={value} onChange={change}>
        <option value="">model’s default</option>
        <option value="true">true</option>
        <option value="false">false</option>
      </select>
    );
  }
  if (spec.kind === "lines") {
    return <textarea {...control} rows={1} value={value} onChange={change} />;
  }
  return (
    <input
      {...control}
      type="number"
      inputMode={spec.kind === "integer" ? "numeric" : "decimal"}
      step={spec.step ?? 1}
      min={spec.min}
      placeholder="default"
      value={value}
      onChange={change}
    />
  );
}
