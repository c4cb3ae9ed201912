// One model to choose: what it does, how large it is, and why it can't run where it can't.

import type { CatalogueModel } from "@/api/contract";
import { formatBytes } from "@/format/bytes";

import styles from "./model-row.module.css";
import { TaskIcon } from "./task-icon";

interface ModelRowProps {
  group: string;
  model: CatalogueModel;
  isChosen: boolean;
  isResident: boolean;
  onChoose: (model: CatalogueModel) => void;
}

export function ModelRow({ group, model, isChosen, isResident, onChoose }: ModelRowProps) {
  const slash = model.model_id.indexOf("/") + 1;
  const facts = [model.architecture, sizeWords(model)].filter(Boolean).join(" · ");
  return (
    <label className={model.runnable ? styles.row : [styles.row, styles.disabled].join(" ")}>
      <input
        className={styles.input}
        type="radio"
        name={group}
        value={model.model_id}
        checked={isChosen}
        disabled={!model.runnable}
        onChange={() => {
          onChoose(model);
        }}
      />
      <TaskIcon task={model.task ?? null} />
      <span className={styles.words}>
        <span className={styles.name}>
          <span className={styles.owner}>{model.model_id.slice(0, slash)}</span>
          {model.model_id.slice(slash)}
        </span>
        <span className={styles.facts}>{model.task ?? "unknown task"}</span>
        <span className={styles.facts}>
          {facts}
          {isResident ? <span className={styles.resident}>in memory</span> : null}
        </span>
        {model.runnable ? null : (
          <span className={styles.reason}>
            Can’t run: {model.reason?.message ?? "the server does not say why"}
          </span>
        )}
      </span>
    </label>
  );
}

function sizeWords(model: CatalogueModel): string | null {
  return model.weight_bytes === 0 ? null : formatBytes(model.weight_bytes);
}
