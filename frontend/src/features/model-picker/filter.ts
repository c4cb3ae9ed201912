// Which models a search finds, and in which order they stand.

import type { CatalogueModel } from "@/api/contract";

/** Every word must be in the id, the task or the architecture. What can run comes first. */
export function filterModels(models: CatalogueModel[], search: string): CatalogueModel[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = models.filter((model) => {
    const text = `${model.model_id} ${model.task ?? ""} ${model.architecture ?? ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  return found.sort((a, b) => Number(b.runnable) - Number(a.runnable));
}
