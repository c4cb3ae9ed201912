// The live panel: every worker with its memory, and every model on it.

import { Card } from "@/components/card";
import { Empty } from "@/components/empty";
import { Notice } from "@/components/notice";

import styles from "./residencies-panel.module.css";
import { ResidencyRow } from "./residency-row";
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
        aside={<span className={styles.count}>{countWords(fleet.residencies)}</span>}
      >
        {fleet.residencies.length === 0 ? (
          <Empty>No model is loaded. The first run loads one.</Empty>
        ) : (
          <ul className={styles.list}>
            {fleet.residencies.map((residency) => (
              <ResidencyRow
                key={`${residency.worker} ${residency.residency_id}`}
                residency={residency}
                now={now}
                isUnloading={unload.pending.includes(residency.model_id)}
                onUnload={() => {
                  unload.start(residency.model_id, false);
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
          fleet.workers.map((worker) => <WorkerMemory key={worker.worker} worker={worker} />)
        )}
      </Card>
    </div>
  );
}

function countWords(residencies: readonly unknown[]): string {
  return residencies.length === 1 ? "1 model" : `${residencies.length} models`;
}
