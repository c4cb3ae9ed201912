// One choice of two or three, all of them in sight.

import { useId } from "react";

import styles from "./segmented.module.css";

interface SegmentedProps<Value extends string> {
  label: string;
  value: Value;
  choices: readonly { value: Value; label: string }[];
  onChange: (value: Value) => void;
}

export function Segmented<Value extends string>(props: SegmentedProps<Value>) {
  const name = useId();
  return (
    <fieldset className={styles.group} aria-label={props.label}>
      {props.choices.map((choice) => (
        <label key={choice.value} className={styles.choice}>
          <input
            type="radio"
            className={styles.input}
            name={name}
            checked={choice.value === props.value}
            onChange={() => {
              props.onChange(choice.value);
            }}
          />
          <span className={styles.text}>{choice.label}</span>
        </label>
      ))}
    </fieldset>
  );
}
