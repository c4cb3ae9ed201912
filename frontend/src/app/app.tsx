// The page: models on one side, the chosen one's task in the middle, what is in memory on the other.

import { hasWorker } from "@/api/fleet";
import { ModelPicker } from "@/features/model-picker/model-picker";
import { useCatalogue } from "@/features/model-picker/use-catalogue";
import { ResidenciesPanel } from "@/features/residencies/residencies-panel";
import { useFleet } from "@/features/residencies/use-fleet";

import styles from "./app.module.css";
import { Header } from "./header";
import { useChosenModel } from "./use-chosen-model";
import { Workbench } from "./workbench";

export function App() {
  const live = useFleet();
  const hasWorkers = live.fleet === null || hasWorker(live.fleet);
  const catalogue = useCatalogue(live.link !== "reconnecting", hasWorkers);
  const [chosen, choose] = useChosenModel(catalogue.models);
  const resident = new Set(
    live.fleet?.models.filter((model) => model.status === "ready").map((model) => model.model_id),
  );
  return (
    <>
      <Header link={live.link} />
      <div className={styles.page}>
        <aside className={styles.models} aria-label="Choose a model">
          <ModelPicker
            catalogue={catalogue}
            chosen={chosen?.model_id ?? null}
            resident={resident}
            onChoose={choose}
          />
        </aside>
        <main className={styles.main}>
          <Workbench
            model={chosen}
            isUnreachable={live.link === "reconnecting"}
            hasNoWorker={!hasWorkers}
          />
        </main>
        <aside className={styles.memory} aria-label="Models in memory">
          <ResidenciesPanel fleet={live.fleet} link={live.link} />
        </aside>
      </div>
    </>
  );
}
