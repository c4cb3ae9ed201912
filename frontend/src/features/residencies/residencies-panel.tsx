// The live panel: every worker with its memory, and every model on it.

import { Card } from "@/components/card";
import { Empty } from "@/components/empty";
import { Notice } from "@/components/notice";

import { ModelRow } from "./model-row";
import styles from "./residencies-panel.module.css";
import { UnloadReport } from "./unload-report";
import { useClock } from "./use-clock";
import type { LiveFleet } from "./use-fleet";
import { useUnload } from "./use-unload";
import { WorkerMemory } from "./worker-memory";

export function ResidenciesPanel({ fleet, link }: LiveFleet) {
  const now = useClock();
  const unload = useUnload();
  if (fleet === null) {
    return (
      <Card title="In memory">
        <Empty>{link === "reconnecting" ? "The server cannot be reached." : "Connecting…"}</Empty>
      </Card>
    );
  }
  return (
    <div className={link === "live" ? styles.panel : [styles.panel, styles.stale].join(" ")}>
      <Card
        title="In memory"
        aside={<span className={styles.count}>{countWords(fleet.models)}</span>}
      >
        {fleet.models.length === 0 ? (
          <Empty>No model is loaded. The first run loads one.</Empty>
        ) : (
          <ul className={styles.list}>
            {fleet.models.map((model) => (
              <ModelRow
                key={`${model.worker} ${model.residency_id}`}
                model={model}
                now={now}
                isUnloading={unload.pending.includes(model.model_id)}
                onUnload={() => {
                  unload.start(model.model_id, false);
                }}
              />
            ))}
          </ul>
        )}
        <UnloadReport unload={unload} />
      </Card>
      <Card title={fleet.workers.length === 1 ? "Worker" : "Workers"}>
        {fleet.workers.length === 0 ? (
          <Notice tone="warn">No worker is connected, so nothing can run.</Notice>
        ) : (
          fleet.workers.map((worker) => <WorkerMemory key={worker.id} worker={worker} />)
        )}
      </Card>
    </div>
  );
}

function countWords(models: readonly unknown[]): string {
  return models.length === 1 ? "1 model" : `${models.length} models`;
}
