// What every view of a task is given.

import type { CatalogueModel } from "@/api/contract";

export interface TaskViewProps {
  model: CatalogueModel;
}
