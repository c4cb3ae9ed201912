// The place where the chosen model works.

import { useState } from "react";

import type { CatalogueModel } from "@/api/contract";
import { Empty } from "@/components/empty";
import { Notice } from "@/components/notice";
import { Segmented } from "@/components/segmented";

import { viewsOf } from "./task-views";
import styles from "./workbench.module.css";

interface WorkbenchProps {
  model: CatalogueModel | null;
  isUnreachable: boolean;
  hasNoWorker: boolean;
}

export function Workbench({ model, isUnreachable, hasNoWorker }: WorkbenchProps) {
  return (
    <>
      {isUnreachable ? (
        <Notice tone="warn">
          The server cannot be reached. This page tries again by itself; what is shown was true when
          it was last heard.
        </Notice>
      ) : null}
      {hasNoWorker && !isUnreachable ? (
        <Notice tone="warn">No worker is connected: a run will be refused until one is.</Notice>
      ) : null}
      {model === null ? (
        <Empty>Choose a model to begin.</Empty>
      ) : (
        <ModelTasks key={model.model_id} model={model} />
      )}
    </>
  );
}

/** One view per task of the model; changing the task or the model stops what runs. */
function ModelTasks({ model }: { model: CatalogueModel }) {
  const views = viewsOf(model);
  const [task, setTask] = useState(views[0]?.task ?? "");
  const view = views.find((one) => one.task === task);
  return (
    <>
      <div className={styles.head}>
        <p className={styles.model}>{model.model_id}</p>
        {views.length < 2 ? null : (
          <Segmented
            label="Task"
            value={task}
            choices={views.map((one) => ({ value: one.task, label: one.label }))}
            onChange={setTask}
          />
        )}
      </div>
      {view === undefined ? (
        <Empty>
          {model.task === undefined || model.task === null
            ? "The task of this model is unknown."
            : `This page has no view for ${model.task}.`}
        </Empty>
      ) : (
        <view.View key={view.task} model={model} />
      )}
    </>
  );
}
